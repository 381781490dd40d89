"""Model cards and data cards: every number is the record's, and what the record does not say is named."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.conftest import ROOT
from transfer_utils.cli.main import main
from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.evaluation.percent import percent, with_interval
from transfer_utils.records.folder import load_runs
from transfer_utils.records.record import RunRecord
from transfer_utils.report.cards import data_card, model_card, write_cards

LETTERS = ROOT / "transfer_utils" / "letters"
# Numbers of the templates that are not of the record: pixel values, the level of intervals, names of hashes and scores.
OF_THE_TEXT = {"0", "255", "95", "256", "1"}
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?!\w)")


def numbers_of(value):
    """Yield every number of a record in each form in which a card may show it, and the numbers inside its texts."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_of(key)
            yield from numbers_of(item)
    elif isinstance(value, list):
        yield f"{len(value)}"
        for item in value:
            yield from numbers_of(item)
    elif isinstance(value, str):
        yield from NUMBER.findall(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from {f"{value:,.0f}", f"{value:g}", f"{100 * value:.1f}", f"{value:.4f}", str(value)}
        yield from re.findall(r"\d+", f"{value // 60:.0f} {value % 60:02.0f} {value:.0f}")  # of a time in seconds


def full_record(record: RunRecord) -> RunRecord:
    record.fingerprint = "0123456789ab"
    record.dataset |= {"images": {"train": 1234, "validation": 321, "test": 98}, "skipped": 7}
    record.dataset["fingerprint"] = "e" * 64
    record.weights = {"source": "photo-letters, shipped with the package", "sha256": "d" * 64}
    record.network = {"parameters": 423_018}
    record.metrics |= {"test_ece": 0.0413, "test_tta": 0.812, "test_tta_low": 0.64, "test_tta_high": 0.91}
    record.metrics |= {"test_int8": 0.79, "test_int8_low": 0.62, "test_int8_high": 0.893}
    scores = {"precision": 0.81, "recall": 0.76, "f1": 0.784, "support": 33}
    record.per_class = [{"name": name, **scores} for name in ("0", "1", "2")]
    record.not_sure = {"score": "largest probability", "rate": 0.05, "threshold": 0.4321, "val_share": 0.048}
    record.not_sure |= {"test_share": 0.061, "test_accuracy": 0.867, "test_low": 0.7, "test_high": 0.95}
    checked = {"images": 1555, "folds": 5, "repeats": 3, "accuracy": 0.7345, "low": 0.712, "high": 0.756}
    record.cross_validation = checked
    record.notes = ["Skipped 7 files of the train split that could not be decoded."]
    return record


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---\n", 2)[1])


def unmeasured(card: str) -> str:
    return card.split("## Not measured")[1].split("## ")[0]


def test_cards_of_a_damaged_record_leave_out_what_is_lost(small_record):
    record = full_record(small_record)
    record.cross_validation.pop("images")
    record.dataset["class_names"] = 5
    card = model_card(record, "run")
    assert "73.5 % (71.2–75.6) | – |" in card and data_card(record)


def test_every_number_of_both_cards_is_the_records(small_record):
    record = full_record(small_record)
    known = OF_THE_TEXT | set(numbers_of(record.model_dump()))
    for card in (model_card(record, "offline-0"), data_card(record)):
        assert set(NUMBER.findall(body(card))) - known == set()
    shown = body(model_card(record, "offline-0"))
    for text in ("80.0 % (63.0–90.0)", "81.2 % (64.0–91.0)", "79.0 % (62.0–89.3)", "4.1 %", "73.5 % (71.2–75.6)"):
        assert text in shown, text
    for text in ("| 1,555 |", "0.4321", "86.7 % (70.0–95.0)", "6.1 %", "423,018", "81.0 % | 76.0 % | 78.4 % | 33"):
        assert text in shown, text
    parts = ("| train | 1,234 |", "| validation | 321 |", "| test | 98 |", "left out 7 files that", "Skipped 7 files")
    for text in parts:
        assert text in data_card(record), text
    record.dataset["skipped"] = 1
    assert "left out 1 file that" in data_card(record)


def test_the_metadata_have_the_names_of_hugging_face_and_the_exact_values(small_record):
    record = full_record(small_record)
    model, data = metadata(model_card(record, "offline-0")), metadata(data_card(record))
    assert (model["library_name"], model["pipeline_tag"]) == ("keras", "image-classification")
    [entry] = model["model-index"]
    assert entry["name"] == "offline-0"
    values = {result["dataset"]["split"]: result["metrics"][0]["value"] for result in entry["results"]}
    assert values == {"validation": record.metrics["val_end2end"], "test": record.metrics["test_end2end"]}
    splits = {split["name"]: split["num_examples"] for split in data["dataset_info"]["splits"]}
    assert splits == record.dataset["images"] and data["size_categories"] == ["1K<n<10K"]
    label = data["dataset_info"]["features"][1]
    assert label["dtype"]["class_label"]["names"] == {"0": "0", "1": "1", "2": "2"}


def test_what_the_record_lacks_is_named_and_takes_no_room(small_record):
    sparse = small_record
    whole = full_record(copy.deepcopy(sparse))
    sparse.metrics = {"val_end2end": 0.78, "val_low": 0.6, "val_high": 0.89}
    for phrase in ("accuracy on a test split", "probabilities are calibrated", "of each class", 'answer "not sure"'):
        assert phrase in unmeasured(model_card(sparse, "a")) and phrase not in unmeasured(model_card(whole, "a"))
    card = model_card(sparse, "a")
    assert "It is right for 78.0 % (60.0–89.0)" in card and "| – |" not in card and "Cross-validated" not in card
    assert "this is one run" in unmeasured(model_card(whole, "a"))
    assert data_card(RunRecord(config=sparse.config)).count("## Not recorded") == 1, "an old log has no dataset"


def test_a_table_of_many_classes_is_cut_and_says_so(small_record):
    small_record.per_class = [{"name": f"class {n}", "f1": 0.5} for n in range(60)]
    assert "| and 10 more |" in model_card(small_record, "run") and "class 50" not in model_card(small_record, "run")


def test_an_old_log_with_numbers_as_text_gets_a_card(small_record):
    small_record.config |= {"alpha": "0.35", "image_size": "96"}
    assert "MobileNetV2, width 0.35" in model_card(small_record, "run")


def test_a_long_command_is_whole(small_record):
    small_record.command = "transfer-utils train " + "--option value " * 200
    assert small_record.command.strip() in model_card(small_record, "run")


def test_names_of_classes_and_notes_are_text_not_markup(small_record):
    record = full_record(small_record)
    hostile = "<b>a</b>|`x`\n# title\x1b[31m"
    record.dataset["class_names"][0] = record.per_class[0]["name"] = record.notes[0] = hostile
    record.dataset["description"] = record.machine["cores"] = hostile
    record.config |= {"dataset": "folder"} | dict.fromkeys(
        ("stored_size", "image_size", "seed", "labels_per_class"), hostile
    )
    for card in (model_card(record, hostile), data_card(record)):
        assert "<b>" not in body(card) and "\x1b" not in card and "\n# title" not in card and "|`x`" not in body(card)
        assert metadata(card)["license"] == "unknown"


def test_cards_are_made_of_a_committed_run_of_each_kind():
    runs = [run for run in load_runs(ROOT / "runs").runs if run.record.status == "completed"]
    kind = lambda run: tuple(run.record.config.get(name) for name in ("preset", "model", "baseline", "weights"))  # noqa: E731
    one_of_each = {kind(run): run for run in runs}.values()
    assert one_of_each
    for run in one_of_each:
        card = model_card(run.record, run.name)
        assert body(card).count("\n## ") >= 6 and metadata(data_card(run.record))["dataset_info"]["splits"]


def test_the_command_writes_both_cards_beside_the_record_or_where_it_is_told(small_record, tmp_path, capsys):
    full_record(small_record).save(tmp_path / "run" / "run.json")
    assert main(["card", "run"]) == 0
    assert main(["card", "run/run.json", "--output_dir", "cards"]) == 0
    for name in ("model-card.md", "data-card.md"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "cards" / name).read_bytes() != b""
    assert capsys.readouterr().out.splitlines()[0] == "Wrote run/model-card.md."
    assert main(["card", "missing"]) == 2
    assert "RUN must be the folder of a run or its record, got 'missing'" in capsys.readouterr().err


def test_a_note_on_the_training_is_none_on_the_pictures(small_record):
    small_record.notes = ["Stage 2 was no better.", "No epoch of the baseline had a lower validation loss."]
    assert "Stage 2" not in data_card(small_record) and "noted nothing about these pictures" in data_card(small_record)


@pytest.mark.parametrize("path", [".", "run.json"])
def test_a_card_that_is_made_inside_the_folder_of_the_run_has_its_name(small_record, tmp_path, monkeypatch, path):
    small_record.save(tmp_path / "0007-run" / "run.json")
    monkeypatch.chdir(tmp_path / "0007-run")
    write_cards(Path(path))
    card = (tmp_path / "0007-run" / "model-card.md").read_text("utf-8")
    assert "# Model card: 0007-run\n" in card and metadata(card)["model-index"][0]["name"] == "0007-run"


@pytest.mark.parametrize(("status", "message"), [("failed", "run is failed"), (None, "is not a run record")])
def test_a_card_needs_a_completed_run(small_record, tmp_path, status, message):
    path = tmp_path / "run" / "run.json"
    path.parent.mkdir()
    path.write_text("[")
    if status:
        small_record.status = status
        small_record.save(path)
    with pytest.raises(UserError, match=message):
        write_cards(path.parent)
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_the_numbers_of_the_letters_card_are_those_of_the_record_in_the_package():
    card, [file] = (ROOT / "docs" / "letters-model-card.md").read_text("utf-8"), LETTERS.glob("*.json")
    record = json.loads(file.read_text("utf-8"))
    images, options = record["letters"], record["options"]
    accuracy = Estimate.on_images(record["curves"]["val_accuracy"][-1], images["validation"])
    with np.load(file.with_suffix(".npz")) as weights:
        parameters = sum(weights[name].size for name in weights.files)
    for text in (
        f"| {with_interval(*accuracy[:3])} | {images['validation']:,} |",
        f"Chance is {percent(1 / images['classes'])}.",
        f"{options['n_letters']:,} images of [*{record['task']}*](data-card.md): {images['train']:,} for training, "
        f"{images['validation']:,} for validation, {images['classes']} classes",
        f"width {options['alpha']}, without its classifier: {parameters:,} weights",
        f"at {options['image_size']} px",
        f"{options['epochs']} epochs, batches of {options['batch_size']}, learning rate {options['learning_rate']}, "
        f"seed {options['seed']}",
        f"| {record['timing_sec']['total'] / 60:.0f} minutes on two cores |",
        f"[`{record['weights']['file']}`](../transfer_utils/letters)",
        f"SHA-256 of the weights: `{record['weights']['sha256']}`",
    ):
        assert text in card, text


def test_the_time_of_a_run_with_a_gpu_is_not_taken_for_that_of_its_cores(small_record):
    small_record.machine = {"cores": 16, "gpus": []}
    assert "| GPU |" not in model_card(small_record, "run")
    small_record.machine["gpus"] = ["cuda:0"]
    assert "| Cores | 16 |\n| GPU | yes |" in model_card(small_record, "run")


def test_a_number_that_an_old_log_lacks_is_not_zero():
    record = RunRecord(config={"base_model": "MobileNetV2"}, metrics={"test_end2end": 0.9156})
    card = body(model_card(record, "old"))
    assert "for an unnamed dataset. It is right for 91.6 % of the test images." in card
    assert "| Accuracy on test | 91.6 % | not recorded |" in card
    assert "0 classes" not in card + body(data_card(record))
    assert "It is right" not in body(model_card(RunRecord(config=record.config), "older"))
