"""Transfer learning against the baseline: the figures and the text of ``transfer-utils compare``, from two records."""

from __future__ import annotations

from pathlib import Path

from transfer_utils.evaluation.intervals import difference_interval, mcnemar
from transfer_utils.evaluation.percent import percent, points, with_interval
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord, unpack_bits
from transfer_utils.results.curves import first_reaching, overfitting, timeline
from transfer_utils.results.formatting import markdown_table, p_value
from transfer_utils.results.options import model_name

ANALYSIS_NAME = "comparison.md"
MODELS = ("transfer", "baseline")


def draw_comparison(transfer: Run, baseline: Run, folder: Path) -> list[Path]:
    """Write ``model_comparison.png`` and ``accuracy_comparison.png`` and return their paths."""
    from transfer_utils import plotting

    what = transfer.record.dataset.get("description", "the test images")
    models = "transfer learning and the CNN from scratch"
    paths = [folder / "model_comparison.png", folder / "accuracy_comparison.png"]
    curves = plotting.plot_model_comparison(transfer.record, baseline.record)
    plotting.save_figure(curves, paths[0], f"Accuracy and loss over the epochs on {what}: {models}")
    bars = plotting.plot_accuracy_comparison(transfer.record, baseline.record)
    plotting.save_figure(bars, paths[1], f"Validation and test accuracy on {what} with 95 % intervals: {models}")
    return paths


def analysis(transfer: RunRecord, baseline: RunRecord) -> str:
    """Compare two runs in Markdown: accuracies, overfitting, calibration, time, and the gain.

    Args:
        transfer, baseline: completed runs of this version, evaluated on the same test images in the same order.

    Raises:
        UnreadableRecord: a record does not have the answers for the test images.
    """
    n = transfer.dataset["images"]["test"]
    hits = [unpack_bits(record.test_correct, n) for record in (transfer, baseline)]
    gain, test = difference_interval(*hits), mcnemar(*hits)
    cells = {
        "test accuracy": lambda r: with_interval(*r.bounded("test_end2end")),
        "test accuracy, averaged views": lambda r: with_interval(*r.bounded("test_tta")),
        "validation accuracy": lambda r: with_interval(*r.bounded("val_end2end")),
        "training minus validation accuracy": lambda r: points(overfitting(r)),
        "calibration error (ECE)": lambda r: percent(r.metrics["test_ece"]),
        "epochs trained": lambda r: str(len(timeline(r))),
        "total seconds": lambda r: f"{r.timing_sec['total']:.0f}",
        "weights": lambda r: f"{r.network['parameters']:,}",
    }
    if transfer.metrics.get("test_tta") is None:
        del cells["test accuracy, averaged views"]
    table = markdown_table(["", *MODELS], [[title, cell(transfer), cell(baseline)] for title, cell in cells.items()])
    paragraphs = [
        f"# Transfer against the {model_name(baseline.config)}: {transfer.dataset['description']}",
        f"Trained on {transfer.dataset['images']['train']:,} images, seed {transfer.config['seed']}; "
        f"evaluated on the same {n:,} test images. In parentheses: 95 % intervals.",
        table,
        f"On test, transfer differs from the baseline by {points(gain)}. "
        f"Of the images that one model gets right and the other wrong, transfer has {test['only_a']:,} "
        f"and the baseline {test['only_b']:,} (exact McNemar test, p {p_value(test['p_value'])}).",
        _catching_up(transfer, baseline),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _catching_up(transfer: RunRecord, baseline: RunRecord) -> str:
    """Describe how long transfer takes to reach the baseline's best validation accuracy."""
    moments = timeline(baseline)
    if not moments:
        return "The record of the baseline has no epochs, so it does not tell when transfer was as good."
    best = max(moment.val_accuracy for moment in moments)
    reached = first_reaching(transfer, best)
    start = f"The baseline's highest validation accuracy in any epoch was {percent(best)}"
    if (solved := transfer.metrics.get("val_convex") or 0.0) >= best:
        return f"{start}; transfer's solved head had {percent(solved)} before any epoch."
    if reached is None:
        return f"{start}; transfer did not reach it."
    epochs = "in its first epoch" if reached.epoch == 1 else f"after {reached.epoch} epochs"
    return (
        f"{start}; transfer was as good {epochs}, {reached.seconds:.0f} s of features and training. "
        f"The baseline's epochs took {moments[-1].seconds:.0f} s in all."
    )
