"""What a click on Train does on the page Teach: measure the head by cross-validation, then make an ordinary run."""

from __future__ import annotations

import time
from pathlib import Path

from transfer_utils.config.options import RunConfig
from transfer_utils.errors import UserError
from transfer_utils.evaluation.percent import percent
from transfer_utils.experiment.run import run_experiment
from transfer_utils.records.folder import Run
from transfer_utils.teach.collection import BESIDE, Collection
from transfer_utils.teach.messages import Step, write_model
from transfer_utils.utils.progress import Log, Progress

SECONDS_BETWEEN = 0.3  # two reports of progress


def teach(config: RunConfig, *, log: Log = print) -> Run:
    """Write the measurement of the head of ``config`` beside the pictures of its collection, then make its run.

    The run is that of ``train`` with the same options; a completed one is used again.

    Raises:
        UserError: ``data_dir`` is not a collection, or as in ``cross_validate`` and ``run_experiment``.
    """
    collection = Collection(Path(config.data_dir))
    if not collection.beside.is_dir():
        raise UserError(f"data_dir must be a folder of the page Teach, which holds {BESIDE}, got {config.data_dir!r}.")
    from transfer_utils.experiment.cross_validation import cross_validate  # here, since it loads TensorFlow for seconds

    report = _reporter(collection.step)
    try:
        report("Loading the network", 0, 1)
        measurement = cross_validate(config, collection.digest(), report)
        write_model(collection.measurement, measurement)
        log(f"Cross-validation: {percent(measurement.accuracy)} of {measurement.n:,} pictures.")
        report("Training the head", 0, 1)
        return run_experiment(config, reuse=True, progress=report, log=log)
    finally:
        collection.step.unlink(missing_ok=True)


def _reporter(path: Path) -> Progress:
    """Return a function that writes how far a command has come to ``path``, a few times per second at most."""
    written, current = 0.0, ""

    def progress(title: str, done: int, total: int, unit: str = "") -> None:
        nonlocal written, current
        if title == current and time.monotonic() - written < SECONDS_BETWEEN:
            return
        written, current = time.monotonic(), title
        write_model(path, Step(title=title, done=done, total=total))

    return progress
