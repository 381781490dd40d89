"""Transfer against the baseline: run both, draw both, and say what the pretrained network gained, from the records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transfer_utils.evaluation import difference_interval, mcnemar
from transfer_utils.records import Run, RunRecord, unpack_bits
from transfer_utils.results.curves import first_reaching, timeline

ANALYSIS_NAME = "comparison.md"


def draw_comparison(transfer: Run, baseline: Run, folder: Path) -> list[Path]:
    """Write ``model_comparison.png`` and ``accuracy_comparison.png`` and return their paths."""
    from transfer_utils import plotting

    what = transfer.record.dataset.get("description", "the test images")
    drawn: dict[str, tuple[Callable, str]] = {
        "model_comparison.png": (
            plotting.plot_model_comparison,
            f"Accuracy and loss over the epochs on {what}: transfer learning and the CNN from scratch",
        ),
        "accuracy_comparison.png": (
            plotting.plot_accuracy_comparison,
            f"Validation and test accuracy on {what} with 95 % intervals: transfer learning and the CNN from scratch",
        ),
    }
    paths = []
    for name, (draw, alt) in drawn.items():
        plotting.save_figure(draw(transfer.record, baseline.record), folder / name, alt)
        paths.append(folder / name)
    return paths


def analysis(transfer: RunRecord, baseline: RunRecord) -> str:
    """Say in a few lines what transfer gained over the baseline on the same test images, how fast, and at what gap."""
    n = transfer.dataset["images"]["test"]
    hits = [unpack_bits(record.test_correct, n) for record in (transfer, baseline)]
    gain, test = difference_interval(*hits), mcnemar(*hits)
    lines = [
        f"# Transfer against the baseline: {transfer.dataset['description']}",
        "",
        f"Trained on {transfer.dataset['images']['train']:,} images, seed {transfer.config['seed']}; "
        f"judged on the same {n:,} test images.",
        "",
        "| | transfer | baseline |",
        "|---|---|---|",
        _row("test accuracy", transfer, baseline, lambda r: _percent(r, "test_end2end", "test_low", "test_high")),
    ]
    if transfer.metrics.get("test_tta") is not None:
        averaged = "test accuracy, averaged views"
        lines.append(
            _row(averaged, transfer, baseline, lambda r: _percent(r, "test_tta", "test_tta_low", "test_tta_high"))
        )
    lines += [
        _row("validation accuracy", transfer, baseline, lambda r: _percent(r, "val_end2end", "val_low", "val_high")),
        _row("train less validation accuracy", transfer, baseline, _gap),
        _row("calibration error (ECE)", transfer, baseline, lambda r: f"{100 * r.metrics['test_ece']:.1f} %"),
        _row("epochs trained", transfer, baseline, lambda r: str(len(timeline(r)))),
        _row("seconds in all", transfer, baseline, lambda r: f"{r.timing_sec['total']:.0f}"),
        _row("weights", transfer, baseline, lambda r: f"{r.network['parameters']:,}"),
        "",
        f"Transfer gains {gain['difference']:.1f} points on test "
        f"(95 % interval {gain['low']:.1f} to {gain['high']:.1f}). "
        f"Of the images that one model gets right and the other wrong, transfer has {test['only_a']:,} "
        f"and the baseline {test['only_b']:,} (exact McNemar test, p {_p_value(test['p_value'])}).",
        "",
        _catching_up(transfer, baseline),
    ]
    return "\n".join(lines) + "\n"


def _row(title: str, transfer: RunRecord, baseline: RunRecord, configuration: Callable[[RunRecord], str]) -> str:
    return f"| {title} | {configuration(transfer)} | {configuration(baseline)} |"


def _percent(record: RunRecord, key: str, low: str, high: str) -> str:
    value, ends = record.metrics[key], (record.metrics[low], record.metrics[high])
    return f"{100 * value:.1f} % ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"


def _gap(record: RunRecord) -> str:
    return f"{100 * (record.metrics['train_end2end'] - record.metrics['val_end2end']):.1f} points"


def _catching_up(transfer: RunRecord, baseline: RunRecord) -> str:
    """Say after how many epochs and seconds transfer is as good on validation as the baseline ever was."""
    ends = timeline(baseline)
    best = max(moment.val_accuracy for moment in ends)
    reached = first_reaching(transfer, best)
    said = f"The baseline's best validation accuracy of an epoch was {100 * best:.1f} %"
    if reached is None:
        return f"{said}; transfer did not reach it."
    epochs = "in its first epoch" if reached.epoch == 1 else f"after {reached.epoch} epochs"
    return (
        f"{said}; transfer was as good {epochs}, {reached.seconds:.0f} s of features and training, "
        f"where the baseline's epochs took {ends[-1].seconds:.0f} s in all."
    )


def _p_value(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"
