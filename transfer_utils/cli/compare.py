"""``transfer-utils compare``: run transfer learning and the baseline, draw both, and write what transfer gained."""

from __future__ import annotations

from pathlib import Path

from transfer_utils.config import NO_COPY, RunConfig
from transfer_utils.experiment.run import run_experiment
from transfer_utils.report.comparison import ANALYSIS_NAME, analysis, draw_comparison
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.progress import Log, Progress


def run_comparison(config: RunConfig, *, progress: Progress | None = None, log: Log = print) -> str:
    """Train the transfer model and the baseline with the same options, draw the two figures, write the analysis.

    The figures go to ``figures_dir``, or to the transfer run's folder; the analysis goes there as ``comparison.md``.

    Returns:
        The analysis, Markdown, whose every number is from the two records.

    Raises:
        UserError: the baseline would have no epochs.
    """
    config.check_baseline()
    # What was named for one model must not be overwritten by the other.
    model_path = NO_COPY if config.model_path == NO_COPY else ""
    beside = {"model_path": model_path, "json_output_path": _beside(config.json_output_path)}
    transfer, baseline = (
        run_experiment(config.model_copy(update=changes), reuse=True, progress=progress, log=log)
        for changes in ({"model": "transfer"}, {"model": "baseline", **beside})
    )
    figures = draw_comparison(transfer, baseline, Path(config.figures_dir) if config.figures_dir else transfer.folder)
    text = analysis(transfer.record, baseline.record)
    write_bytes(transfer.folder / ANALYSIS_NAME, text.encode())
    log("Figures: " + ", ".join(str(path) for path in figures))
    return text


def _beside(path: str) -> str:
    """Return where the baseline's log goes: ``a/b_baseline.json`` for ``a/b.json``."""
    return str(Path(path).with_name(f"{Path(path).stem}_baseline{Path(path).suffix}")) if path else ""
