"""The comparison: its numbers are those of the two records."""

from types import SimpleNamespace

import numpy as np
import pytest

from transfer_utils.cli import compare
from transfer_utils.cli.compare import run_comparison
from transfer_utils.config.options import preset
from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import difference_interval, mcnemar
from transfer_utils.records.record import RunRecord, pack_bits
from transfer_utils.report.comparison import analysis

N = 200
TRANSFER, BASELINE = np.arange(N) < 160, (np.arange(N) < 90) | (np.arange(N) >= 190)
PREPARING = {"features": 4.0, "stage1": 11.0, "boundary": 2.0}


def curve(accuracies: list[float]) -> dict[str, list[float]]:
    n = len(accuracies)
    names = ("loss", "accuracy", "val_loss")
    return {name: [0.5] * n for name in names} | {"val_accuracy": accuracies, "seconds": [3.0] * n}


def record(model: str, hits: np.ndarray, curves: dict, **metrics: float) -> RunRecord:
    accuracy, steps = float(hits.mean()), {"low": -0.05, "high": 0.04}
    metrics |= {f"{split}_{end}": accuracy + step for split in ("test", "val") for end, step in steps.items()}
    metrics |= {"test_end2end": accuracy, "val_end2end": accuracy, "train_end2end": accuracy + 0.125}
    return RunRecord(
        config=preset("none", model=model, seed=7).model_dump(),
        dataset={"description": "made-up images", "images": {"train": 1234, "validation": 50, "test": N}},
        network={"parameters": 410_208 if model == "transfer" else 315_722},
        curves=curves,
        metrics=metrics,
        timing_sec={"total": 61.4} | (PREPARING if model == "transfer" else {}),
        test_correct=pack_bits(hits),
    )


@pytest.fixture
def pair():
    transfer = record("transfer", TRANSFER, {"stage1": curve([0.3, 0.4]), "stage2": curve([0.5, 0.7])}, test_ece=0.034)
    return transfer, record("baseline", BASELINE, {"baseline": curve([0.2, 0.48, 0.45])}, test_ece=0.21)


def test_the_analysis_has_the_numbers_of_the_records(pair):
    text = analysis(*pair)
    gain, test = difference_interval(TRANSFER, BASELINE), mcnemar(TRANSFER, BASELINE)
    assert (gain.mean, test["only_a"], test["only_b"]) == (30, 70, 10)
    for expected in (
        "# Transfer against the tutorial CNN: made-up images",
        "Trained on 1,234 images, seed 7; evaluated on the same 200 test images.",
        "| test accuracy | 80.0 % (75.0–84.0) | 50.0 % (45.0–54.0) |",
        "| validation accuracy | 80.0 % (75.0–84.0) | 50.0 % (45.0–54.0) |",
        "| training minus validation accuracy | +12.5 points | +12.5 points |",
        "| calibration error (ECE) | 3.4 % | 21.0 % |",
        "| epochs trained | 4 | 3 |",
        "| total seconds | 61 | 61 |",
        "| weights | 410,208 | 315,722 |",
        "In parentheses: 95 % intervals.",
        f"On test, transfer differs from the baseline by +30.0 points ({gain.low:+.1f} to {gain.high:+.1f}).",
        "transfer has 70 and the baseline 10 (exact McNemar test, p < 0.0001).",
        # 4 s of features, 5 s of solving the head, two epochs of stage 1, 2 s at the boundary, and one epoch of stage 2
        "The baseline's highest validation accuracy in any epoch was 48.0 %; transfer was as good after 3 epochs, "
        "20 s of features and training. The baseline's epochs took 9 s in all.",
    ):
        assert expected in text
    assert "averaged views" not in text


def test_averaged_views_have_a_row_if_both_records_have_them(pair):
    for run in pair:
        run.metrics = run.metrics | {"test_tta": 0.81, "test_tta_low": 0.7, "test_tta_high": 0.9}
    line = "| test accuracy, averaged views | 81.0 % (70.0–90.0) | 81.0 % (70.0–90.0) |"
    assert line in analysis(*pair)


@pytest.mark.parametrize(
    ("accuracies", "solved", "sentence"),
    [
        ([0.1, 0.2], 0.4, "transfer did not reach it."),
        ([0.48, 0.2], 0.4, "transfer was as good in its first epoch, 12 s of features and training."),
        ([], 0.5, "transfer's solved head had 50.0 % before any epoch."),
    ],
)
def test_catching_up_may_take_no_epoch_or_one_or_never_happen(pair, accuracies, solved, sentence):
    transfer, baseline = pair
    transfer.curves, transfer.metrics["val_convex"] = {"stage1": curve(accuracies)}, solved
    assert f"in any epoch was 48.0 %; {sentence}" in analysis(transfer, baseline)


def test_a_baseline_whose_record_has_no_epochs_can_be_compared(pair):
    transfer, baseline = pair
    baseline.curves = {}
    text = analysis(transfer, baseline)
    assert text.endswith("The record of the baseline has no epochs, so it does not tell when transfer was as good.\n")


def test_a_baseline_that_wins_and_models_that_agree_have_a_difference_too(pair):
    transfer, baseline = pair
    assert "differs from the baseline by −30.0 points (−" in analysis(baseline, transfer)
    text = analysis(transfer, transfer)
    assert "differs from the baseline by 0.0 points (−" in text and "p = 1)" in text


def test_a_comparison_without_epochs_is_an_error_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match=r"epochs_baseline must be at least 1 .* got 0"):
        run_comparison(preset("none", epochs_stage1=0, epochs_stage2=0, output_dir=str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_both_runs_are_trained_plotted_and_compared(pair, monkeypatch, tmp_path):
    configs, lines = [], []

    def run(config, *, reuse, progress, log):
        assert reuse, "a finished run would be computed again"
        configs.append(config)
        folder = tmp_path / config.model
        folder.mkdir(exist_ok=True)
        return SimpleNamespace(record=pair[config.model == "baseline"], folder=folder, name=config.model)

    monkeypatch.setattr(compare, "run_experiment", run)
    config = preset("offline", model_path="mine.keras", json_output_path="logs/mine.json")
    text = run_comparison(config, log=lines.append)
    assert [(c.model, c.model_path, c.json_output_path) for c in configs] == [
        ("transfer", "mine.keras", "logs/mine.json"),
        ("baseline", "mine_baseline.keras", "logs/mine_baseline.json"),
    ]
    same = configs[0].model_dump(exclude={"model", "model_path", "json_output_path"})
    assert configs[1].model_dump(exclude={"model", "model_path", "json_output_path"}) == same
    assert (tmp_path / "transfer" / "comparison.md").read_text("utf-8") == text == analysis(*pair)
    pictures = [tmp_path / "transfer" / name for name in ("model_comparison.png", "accuracy_comparison.png")]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in pictures)
    assert lines == [f"Figures: {pictures[0]}, {pictures[1]}"]
    run_comparison(config.model_copy(update={"figures_dir": str(tmp_path / "figures"), "json_output_path": ""}))
    assert (tmp_path / "figures" / "model_comparison.png").is_file() and configs[-1].json_output_path == ""
    run_comparison(config.model_copy(update={"model_path": "none"}), log=lines.append)
    assert [c.model_path for c in configs[-2:]] == ["none", "none"]
    run_comparison(config.model_copy(update={"source_probe": True, "model_path": "none"}), log=lines.append)
    assert [c.source_probe for c in configs[-2:]] == [True, False], "the baseline has no source task"
