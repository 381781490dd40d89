"""``transfer-utils compare``: train the transfer model and the baseline, plot both, and compare their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transfer_utils.config.options import NO_COPY, RunConfig
from transfer_utils.experiment.run import run_experiment
from transfer_utils.records.folder import Run
from transfer_utils.report.comparison import ANALYSIS_NAME, analysis, draw_comparison
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.progress import Log, Progress


def run_comparison(config: RunConfig, *, progress: Progress | None = None, log: Log = print) -> str:
    """Train the transfer model and the baseline with the same options, draw two figures, and write the analysis.

    The figures are written to ``figures_dir``, or to the folder of the transfer run if it is empty. The analysis is
    written to the folder of the transfer run as ``comparison.md``.

    Returns:
        The analysis as Markdown; all of its numbers are from the two records.

    Raises:
        UserError: the baseline would train for no epochs.
    """
    config.check_baseline()

    def run(**changes: Any) -> Run:
        return run_experiment(config.model_copy(update=changes), reuse=True, progress=progress, log=log)

    transfer = run(model="transfer")  # which refuses a path that cannot be used, before another is made of it
    paths = {name: _of_baseline(getattr(config, name)) for name in ("model_path", "json_output_path")}
    baseline = run(model="baseline", source_probe=False, **paths)
    figures = draw_comparison(transfer, baseline, Path(config.figures_dir) if config.figures_dir else transfer.folder)
    text = analysis(transfer.record, baseline.record)
    write_bytes(transfer.folder / ANALYSIS_NAME, text.encode())
    log("Figures: " + ", ".join(str(path) for path in figures))
    return text


def _of_baseline(path: str) -> str:
    """Return where the baseline writes what the transfer model writes to ``path``: a/b_baseline.json for a/b.json."""
    if path in ("", NO_COPY):
        return path
    return str(Path(path).with_stem(f"{Path(path).stem}_baseline"))
