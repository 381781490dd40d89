"""The files of a page: its model and class names, its card, what it refuses, and what it does without npm."""

import base64
import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from transfer_utils.cli.main import main
from transfer_utils.data.images import decode_image
from transfer_utils.demo import library, page
from transfer_utils.demo.page import demo_fragment, read_classifier, write_demo
from transfer_utils.errors import UserError
from transfer_utils.models.litert import convert, load_exported
from transfer_utils.models.saving import name_classes, save_model
from transfer_utils.records.record import RunRecord, read_record

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
NAMES = ["red", "green", "<b>blue</b>"]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Return a model that tells images of 16 px apart by their mean colour."""
    pixels = keras.Input((16, 16, 3))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    network = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(mean))
    network.set_weights([9 * np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    return network


@pytest.fixture(scope="module")
def exported(model) -> bytes:
    return convert(model, 1)


@pytest.fixture
def file(exported, tmp_path):
    """Return an exported model with its class names beside it."""
    path = tmp_path / "models" / "model-float32.tflite"
    path.parent.mkdir()
    path.write_bytes(exported)
    name_classes(path, RunRecord(dataset={"class_names": NAMES}))
    return path


@pytest.fixture
def with_library(monkeypatch):
    monkeypatch.setattr(page, "library_files", lambda *_: {"index.js": b"library"})


def about(folder) -> dict:
    return json.loads((folder / "model.json").read_text("utf-8"))


def test_the_command_writes_a_folder_with_all_that_the_page_loads(file, exported, with_library, tmp_path, capsys):
    Image.new("RGB", (60, 40), "red").save("example.jpg")
    assert main(["demo", str(file), "out", "--example", "example.jpg"]) == 0
    folder = tmp_path / "out"
    assert "python -m http.server" in capsys.readouterr().out
    assert (folder / "model.tflite").read_bytes() == exported
    assert about(folder)["class_names"] == NAMES
    html = (folder / "index.html").read_text("utf-8")
    for name in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert name.startswith("data:") or (folder / name).is_file(), name
    code = "".join((folder / name).read_text("utf-8") for name in page.SCRIPTS)
    for name in re.findall(r'from "(\./[^"]+)"|import\("(\./[^"]+)"\)', code):
        assert (folder / "".join(name)).is_file(), name
    assert (np.asarray(Image.open(folder / "examples" / "1.png")) == decode_image("example.jpg", 16)).all()


def test_only_the_examples_of_an_earlier_call_are_removed(file, with_library, tmp_path):
    folder, lines = tmp_path / "my page", []
    pictures = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    for path in pictures:
        Image.new("RGB", (60, 40), "red").save(path)
    write_demo(file, folder, examples=pictures)
    (folder / "examples" / "my holiday.png").write_bytes(b"x" * 9_000_000)
    write_demo(file, folder, examples=pictures[:1], log=lines.append)
    assert sorted(path.name for path in (folder / "examples").iterdir()) == ["1.png", "my holiday.png"]
    assert " kB, for any web server" in lines[0], "the user's own file counts"
    assert f"--directory '{folder}' 8000" in lines[1]


@pytest.mark.parametrize("theirs", ["examples/7.png", "index.html", "model.json"])
def test_a_file_of_the_user_is_not_replaced(file, with_library, tmp_path, theirs):
    path = tmp_path / "site" / theirs
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=f"{path.name} is not of an earlier page and would be replaced"):
        write_demo(file, tmp_path / "site")
    assert path.read_bytes() == b"mine" and not (tmp_path / "site" / "model.tflite").exists()


def test_nothing_is_loaded_from_another_server_and_the_browser_holds_the_page_to_it(file, with_library, tmp_path):
    html = write_demo(file, tmp_path / "out").read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "http" not in policy
    for name in page.SCRIPTS:
        assert not re.search(r"https?://(?!;)\w", (tmp_path / "out" / name).read_text("utf-8")), name


def test_an_exported_file_has_an_accuracy_of_its_own(file):
    record = RunRecord(files={"int8": "model-int8.tflite"}, dataset={"class_names": NAMES})
    record.metrics = {"test_end2end": 0.80, "test_int8": 0.61, "test_int8_low": 0.5, "test_int8_high": 0.7}
    record.save(file.with_name("run.json"))
    cards = {}
    for path in (file, file.with_name("model-int8.tflite")):
        path.write_bytes(file.read_bytes())
        cards[path.name] = demo_fragment(read_classifier(path), [], "")
    assert "80.0 %" in cards["model-float32.tflite"] and "61.0 %" not in cards["model-float32.tflite"]
    assert "61.0 % (50.0–70.0)" in cards["model-int8.tflite"] and "80.0 %" not in cards["model-int8.tflite"]


def test_where_no_model_can_be_converted_the_page_says_why(model, tmp_path, monkeypatch):
    save_model(model, tmp_path / "model.keras")
    monkeypatch.setattr(page, "litert_missing", lambda: "there is no converter")
    with pytest.raises(UserError, match=r"converted for a page: there is no converter\."):
        read_classifier(tmp_path / "model.keras")


def test_a_page_without_a_server_names_one_for_this_machine_alone(file):
    assert "http.server --bind 127.0.0.1" in demo_fragment(read_classifier(file), [], "")


def test_text_of_a_model_or_a_record_stays_text(file):
    name_classes(file, RunRecord(dataset={"class_names": ["</script><script>alert(1)</script>", "b", "c"]}))
    RunRecord(dataset={"description": "<img src=x>", "class_names": []}).save(file.with_name("run.json"))
    html = demo_fragment(read_classifier(file), [], "")
    assert "<img" not in html and html.count("<script") == 1 and "&lt;img src=x&gt;" in html


def test_a_run_is_converted_and_its_card_is_that_of_the_record(model, small_record, with_library, tmp_path):
    run = tmp_path / "runs" / "0001-run"
    run.mkdir(parents=True)
    save_model(model, run / "model.keras")
    small_record.dataset |= {"class_names": NAMES, "images": {"train": 1257, "validation": 0, "test": 540}}
    small_record.command = "transfer-utils train --data_dir /home/someone/photos"
    small_record.config["weights"] = "/home/someone/mine.h5"
    small_record.save(run / "run.json")
    html = write_demo(run, tmp_path / "out").read_text("utf-8")
    probabilities = load_exported(tmp_path / "out" / "model.tflite")(IMAGES)
    assert np.allclose(probabilities, model.predict(IMAGES, verbose=0), atol=1e-5)
    assert about(tmp_path / "out") == {"class_names": NAMES, "not_sure_below": 0.0}
    for text in (
        "80.0 % (63.0–90.0)",
        "1,257 for training, 540 for the test",
        "digits on photographs",
        "2026-03-01",
        "mine.h5 weights",
    ):
        assert text in html
    assert "someone" not in html


def test_a_file_that_the_run_exported_is_preferred_to_a_conversion(file, exported, small_record):
    (file.parent / "model.keras").write_bytes(b"unused")
    small_record.save(file.with_name("run.json"))
    assert read_classifier(file.parent).content == exported


@pytest.mark.parametrize(
    "beside, recorded, threshold",
    [(None, {"threshold": 0.4, "threshold_float32": 0.5}, 0.5), (NAMES, {"threshold_float32": 0.5}, 0.0)],
)
def test_the_threshold_of_not_sure_comes_from_beside_the_model(beside, recorded, threshold, file):
    notes = file.with_name(f"{file.name}.classes.json")
    notes.unlink() if beside is None else notes.write_text(json.dumps(beside))
    files = {"model": "model.keras", "float32": file.name}
    RunRecord(dataset={"class_names": NAMES}, files=files, not_sure=recorded).save(file.with_name("run.json"))
    classifier = read_classifier(file)
    assert classifier.not_sure_below == threshold
    html = demo_fragment(classifier, [], "")
    assert ("Not sure" in html) == ("not likely enough" in html) == bool(threshold)
    assert (f"below {100 * threshold:.1f} %" in html) == bool(threshold)


def test_what_is_no_classifier_is_refused_with_a_sentence(file, small_record, tmp_path):
    flat = keras.Input((4,))
    save_model(keras.Model(flat, keras.layers.Dense(2)(flat)), tmp_path / "flat.keras")
    (tmp_path / "text.tflite").write_text("not a model")
    small_record.save(tmp_path / "empty" / "run.json")
    for path, words in {
        "flat.keras": "must map square colour images",
        "text.tflite": "cannot be loaded",
        "none.tflite": "There is no model file",
        "empty": "has no saved model",
        "models": "is a folder: name the model file in it",
    }.items():
        with pytest.raises(UserError, match=words):
            read_classifier(tmp_path / path)
    with pytest.raises(UserError, match="is a file"):
        write_demo(file, file)


def test_without_the_library_nothing_is_written_and_the_message_says_what_to_do(
    file, monkeypatch, one_round, tmp_path, capsys
):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    assert main(["demo", str(file), "out", "--cache_dir", str(tmp_path / "cache")]) == 2
    assert f"npm pack {library.CORE.name}@{library.CORE.version}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_the_library_imports_its_loader_by_the_name_of_a_file(monkeypatch):
    module = f"{library.IMPORT};\n//# sourceMappingURL=index.js.map\nexport const a = 1;\n".encode()
    monkeypatch.setattr(library, "package_files", lambda package, names, *_: dict.fromkeys(names, module))
    files = library.library_files()
    assert files["index.js"] == b'from "./loader.js";\nexport const a = 1;\n'
    assert {f"{name}.wasm" for name in library.BUILDS} < set(files) and b"Apache" in files["NOTICE"]
    monkeypatch.setattr(library, "package_files", lambda package, names, *_: dict.fromkeys(names, b"import 'x'"))
    with pytest.raises(ValueError, match="does not import"):
        library.library_files()


@pytest.mark.parametrize("package", [library.CORE, library.LOADER])
def test_the_files_of_npm_are_pinned_by_their_sha_512(package):
    assert len(base64.b64decode(package.integrity.removeprefix("sha512-"), validate=True)) == 64


def test_the_model_on_the_site_is_that_of_the_record_beside_it():
    folder = ROOT / "docs" / "site" / "digits"
    record, classifier = read_record(folder / "run.json"), read_classifier(folder / "model-float16.tflite")
    from transfer_utils.config.options import preset
    from transfer_utils.data import load_dataset

    test = load_dataset(preset("offline")).test
    answers = load_exported(folder / "model-float16.tflite")(test.take()).argmax(axis=1)
    assert np.isclose((answers == test.labels).mean(), record.metrics["test_end2end"], atol=0.004)
    assert classifier.classes == [str(digit) for digit in range(10)]
