"""The command line: the flags of the original script, errors that help, and an exit status that can be relied on."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
from PIL import Image

from tests import tiny
from transfer_utils.cli import compare
from transfer_utils.cli.main import main
from transfer_utils.config import PRESETS, RunConfig, preset
from transfer_utils.course import run as course
from transfer_utils.errors import Diverged, UserError
from transfer_utils.experiment import phases
from transfer_utils.experiment import run as experiment
from transfer_utils.models.saving import save_model
from transfer_utils.records import RECORD_NAME

# The command that users of the original script know, with its defaults.
ORIGINAL = (
    "train --n_unfreeze 0 --epochs_stage1 10 --epochs_stage2 10 --batch_size 128 --augment --rotation 15 --zoom 0.1 "
    '--width_shift 0.1 --height_shift 0.1 --use_mixup --json_output_path ""'
)


@pytest.fixture
def asked(monkeypatch):
    """Return the options of all runs that were asked for; none of them is done."""
    configs: list[RunConfig] = []

    def run(config, **ignored):
        configs.append(config)
        return SimpleNamespace(path="runs/0001/run.json")

    monkeypatch.setattr(experiment, "run_experiment", run)
    monkeypatch.setattr(compare, "run_comparison", run)
    return configs


def test_the_original_command_works_and_its_values_are_the_defaults(asked):
    assert main(shlex.split(ORIGINAL)) == 0
    assert asked == [preset("none", augment=True, use_mixup=True)]
    assert main(["train"]) == 0
    assert asked[1] == preset("none")


def test_every_option_is_in_the_help_with_its_default_and_with_hyphens(capsys):
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in RunConfig.model_fields.items():
        for start in ("--", "--no-") if field.annotation is bool else ("--",):
            for spelling in (name, name.replace("_", "-")):
                assert re.search(rf"(?<![\w-]){start}{spelling}(?![\w-])", text), spelling
        default = "empty" if field.default == "" else str(field.default)
        unit = field.json_schema_extra["unit"]
        described = f"{field.description} [default: {default}{' ' + unit if unit else ''}]"
        assert described.replace(" ", "") in text.replace(" ", ""), name


def test_hyphens_work_as_underscores_do(asked):
    words = "--n_unfreeze 30 --epochs_stage1 3 --json_output_path a_b.json --use_mixup --no-horizontal_flip --zoom 0.15"
    main(["train", *words.split()])
    main(["train", *(word.replace("_", "-") if word.startswith("--") else word for word in words.split())])
    assert asked[0] == asked[1]
    changed = {"n_unfreeze": 30, "epochs_stage1": 3, "json_output_path": "a_b.json", "use_mixup": True}
    assert asked[0].changes() == changed | {"horizontal_flip": False, "zoom": 0.15}


def test_an_option_overrides_its_preset_and_nothing_else(asked):
    main(["train", "--preset", "offline", "--no-augment", "--image_size", "32"])
    assert asked[0] == preset("offline", augment=False, image_size=32)


def test_compare_has_more_epochs_and_unfreezes_unless_a_preset_says_otherwise(asked):
    main(["compare"])
    main(["compare", "--epochs_stage2", "3"])
    main(["compare", "--preset", "cifar10"])
    assert asked[0] == preset("none", epochs_stage1=20, epochs_stage2=20, n_unfreeze=30)
    assert asked[1] == preset("none", epochs_stage1=20, epochs_stage2=3, n_unfreeze=30)
    assert asked[2] == preset("cifar10")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train --zom 0.1", "No such option '--zom'. Did you mean '--zoom'?"),
        ("train --n-unfreez 3", "No such option '--n-unfreez'."),
        ("train --zoom 2", "zoom must be less than 1, got '2'."),
        ("train --zoom wide", "zoom must be a number, got 'wide'."),
        ("train --epochs_stage1 1.5", "epochs_stage1 must be a whole number, got '1.5'."),
        ("train --zoom", "requires an argument"),
        ("train --preset ofline", "got 'ofline'. Did you mean 'offline'?"),
        ("train --optimizer_stage1 adamw", "got 'adamw'. Did you mean 'AdamW'?"),
        (
            "train --image_size 16 --zoom 2",
            "image_size must be at least 32, got '16'.\nzoom must be less than 1, got '2'.",
        ),
        ("train extra", "unexpected extra argument (extra)"),
        ("trian", "No such command 'trian'. (Did you mean"),
        ("predict model.keras", "Missing argument 'IMAGES...'"),
        ("predict none.keras a.png", "There is no model file none.keras."),
        (f"report --runs {'r' * 300}", "Too long a name for a file or folder here: rrr"),
        ("course --publish -p seed 1", "leave out --preset and --parameter"),
        ("course --publish --preset offline", "leave out --preset and --parameter"),
        ("train --weights none.h5 --dataset photo-digits --quiet", "or an existing file, got 'none.h5'."),
    ],
)
@pytest.mark.fault(29)
def test_what_the_user_can_put_right_is_said_in_words_and_exits_2(capsys, monkeypatch, words, said):
    tiny.use_backbone(monkeypatch)
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and "Error: " in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("zoom must be small."), 2, "Error: zoom must be small.\n"),
        (Diverged("The loss became nan."), 2, "Error: The loss became nan.\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "Error: OSError: [Errno 28] No space left on device (--debug",
        ),
        (MemoryError(), 1, "Error: MemoryError (--debug shows where)\n"),
        (RuntimeError("a\nb"), 1, "Error: RuntimeError: a (--debug shows where)\n"),
        (KeyboardInterrupt(), 130, "Interrupted. The same command goes on where this one stopped.\n"),
        (SystemExit(143), 143, "Interrupted. The same command goes on where this one stopped.\n"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.fault(6)
def test_the_exit_status_says_whose_turn_it_is_and_only_debug_shows_where(capsys, monkeypatch, error, code, said):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(experiment, "run_experiment", fail)
    assert main(["train"]) == code
    quiet = capsys.readouterr().err
    assert said in quiet.lstrip("\n") and "Traceback" not in quiet
    assert main(["train", "--debug"]) == code
    assert ("in fail" in capsys.readouterr().err) == isinstance(error, Exception)


@pytest.mark.fault(6)
def test_a_signal_to_terminate_is_an_exit_that_can_be_tidied_up_after(monkeypatch):
    tidied = []

    def run(config, **ignored):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            tidied.append(True)

    monkeypatch.setattr(experiment, "run_experiment", run)
    assert main(["train"]) == 143 and tidied == [True]


def test_quiet_keeps_back_everything_but_what_failed(capfd, monkeypatch):
    def fail(*given, log, log_error, **how) -> int:
        log("done")
        log_error("01 broke")
        return 1

    monkeypatch.setattr(course, "run_course", fail)
    assert main(["course", "--quiet"]) == 1
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == "01 broke\n"


def test_quiet_prints_nothing_and_otherwise_it_says_where_the_record_is(capfd, monkeypatch):
    monkeypatch.setattr(phases, "compute", lambda session: session.log("a line"))
    assert main(["train", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["train", "--seed", "1"]) == 0
    path = Path("runs/0002-cifar10-transfer") / RECORD_NAME
    assert capfd.readouterr() == (f"a line\nRecorded in {path}.\n", "")
    assert json.loads(path.read_text())["command"] == "transfer-utils train --seed 1"


def test_predict_answers_for_what_it_can_read_and_exits_2_for_the_rest(capsys):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4, "softmax")])
    save_model(model, "model.keras")
    Image.new("RGB", (9, 9)).save("good.png")
    os.rename("good.png", b"b\xff.png")
    Image.new("RGB", (9, 9)).save("good.png")
    Path("bad.png").write_text("no picture")
    assert main(["predict", "model.keras", "bad.png", "good.png", os.fsdecode(b"b\xff.png")]) == 2
    out, err = capsys.readouterr()
    shares = r"(, )?class \d \d+\.\d %"
    assert re.fullmatch(rf"good\.png: ({shares}){{3}}\nb\\udcff\.png: ({shares}){{3}}\n", out)
    assert err.startswith("Error: bad.png: ") and err.endswith("Error: 1 of 3 images could not be read.\n")
    assert main(["predict", "--top", "1", "model.keras", "good.png"]) == 0
    assert len(re.findall(shares, capsys.readouterr().out)) == 1


def test_doctor_prints_the_presets(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in PRESETS) and "Versions" in out


@pytest.mark.parametrize(
    ("words", "verb", "answer", "asked"),
    [
        (
            "pretrain --output_dir w --n_letters 50 --epochs 2 --seed 3",
            "training.pretrain.pretrain_backbone",
            {"curves": {"val_accuracy": [0.25]}, "weights": {"file": "w.npz"}},
            (("w",), {"n_letters": 50, "epochs": 2, "seed": 3}),
        ),
        (
            "report --study s.yaml --runs r --output_dir o --medium",
            "report.article.write_report",
            None,
            (("s.yaml", "r", "o"), {"medium": True}),
        ),
        ("dashboard --runs r --port 9000", "dashboard.launch.launch", 3, (("r", 9000), {})),
        ("doctor --cache_dir c", "cli.doctor.examine", "all is well", (("c",), {})),
    ],
)
def test_a_command_hands_over_what_it_is_told_and_tells_what_it_gets(capsys, monkeypatch, words, verb, answer, asked):
    found = []

    def take(*given, **named):
        found.append((given, {name: value for name, value in named.items() if name not in ("progress", "log")}))
        return answer

    monkeypatch.setattr(f"transfer_utils.{verb}", take)
    status = main(words.split())
    assert found == [asked] and status == (answer if verb.startswith("dashboard") else 0)
    told = {"pretrain": "w.npz: 25.0 % of the held-out letters right; in w.\n", "doctor": "all is well\n"}
    assert capsys.readouterr().out == told.get(words.split()[0], "")


def test_help_and_wrong_options_load_no_tensorflow():
    code = (
        "import sys; from transfer_utils.cli import main; main(['train', '--help']); main(['train', '--zoom', '2'])\n"
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'scipy', 'sklearn', 'streamlit'} & set(sys.modules)\n"
        "sys.exit(f'it loads {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
