"""One run, from options to record: claim a folder, compute, and record the outcome, whatever it is."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext

from filelock import Timeout

from transfer_utils.config.options import NAMED_WEIGHTS, RunConfig
from transfer_utils.errors import Diverged, UserError
from transfer_utils.experiment.session import (
    RunSession,
    check_paths,
    claim_session,
    configuration_lock,
    copy_path,
    same_configuration,
)
from transfer_utils.records.folder import Run, load_runs
from transfer_utils.records.record import RECORD_NAME
from transfer_utils.utils.progress import Log, Progress


def run_experiment(
    config: RunConfig, *, reuse: bool = False, progress: Progress | None = None, log: Log = print
) -> Run:
    """Do what ``config`` asks: load, train, evaluate, save the model and the record. Resumes an interrupted run.

    Args:
        reuse: return the completed run of the same options in ``output_dir``, if there is one with its model; wait for
            it if another process that reuses runs is computing it.
        progress: called with (title, done, total) during long steps.
        log: called with each line worth reading.

    Returns:
        The completed run.

    Raises:
        UserError: an option or a file that the user can put right.
        Diverged: the training or validation loss became NaN or infinite.

    Options and paths are checked before the run has a folder. After that, the record says ``failed``, ``diverged`` or
    ``interrupted`` before an error is raised again.
    """
    config.check_trains()
    check_paths(config)
    with _one_process(config, log) if reuse else nullcontext():
        if reuse and (done := finished_run(config, progress)):
            log(f"{done.name} has the same options and is complete: it is used again.")
            _write_copies(done, config, log)
            return done
        return _compute(claim_session(config, progress, log))


def finished_run(config: RunConfig, progress: Progress | None = None) -> Run | None:
    """Return the newest completed run of the same options, images and weights file that still has its model.

    Reading the images may mean to download or decode them first, which is reported to ``progress``.
    """
    runs = load_runs(config.output_dir).runs
    inputs = functools.cache(lambda: _fingerprints(config, progress))
    for run in reversed(runs):
        record, model = run.record, run.record.files.get("model")
        same = record.status == "completed" and same_configuration(record, config)
        if same and model and (run.folder / model).is_file():
            images, weights = inputs()
            if record.dataset.get("fingerprint") == images and weights in (None, record.weights.get("sha256")):
                return run
    return None


def _compute(session: RunSession) -> Run:
    try:
        session.save()
        # Here, since it loads TensorFlow for seconds, in which an interrupt must be recorded already.
        with session.phase("loading"):
            from transfer_utils.experiment.phases import compute

        compute(session)
        session.close("completed")
    except Diverged as error:
        session.close("diverged", str(error))
        session.drop_checkpoints()  # it would diverge again
        raise
    except (KeyboardInterrupt, SystemExit):
        session.close("interrupted")
        raise
    except Exception as error:
        session.close("failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        session.release()
    # Only now: whatever stops this, the run is complete. Sixty runs of a sweep would keep gigabytes.
    session.drop_checkpoints()
    return Run(session.record, session.folder / RECORD_NAME)


def _one_process(config: RunConfig, log: Log) -> AbstractContextManager:
    """Keep other processes that reuse runs away from runs of these options; wait while one of them computes."""
    options_lock = configuration_lock(config)
    try:
        return options_lock.acquire()
    except PermissionError:
        return nullcontext()  # it is another user's, whose runs in progress are left to them
    except Timeout:
        log("Another process is computing a run of these options: waiting for it.")
        return options_lock.acquire(timeout=-1)


def _write_copies(run: Run, config: RunConfig, log: Log) -> None:
    """Write the record and the model of a run that is used again to where the options ask for them."""
    if config.json_output_path:
        run.record.save(config.json_output_path)
    if copy := copy_path(config):
        from transfer_utils.models.saving import copy_model, load_model

        try:
            model = load_model(run.folder / run.record.files["model"])
        except UserError as error:
            advice = "If the file is damaged, delete it, and the run is made again."
            raise UserError(f"{str(error).rstrip('.')}. {advice}") from None
        copy_model(model, run.record, copy, log)


def _fingerprints(config: RunConfig, progress: Progress | None) -> tuple[str, str | None]:
    """Return the fingerprints of the images and of a user's own weights file; None where there is no such file."""
    from transfer_utils.data.splits import load_dataset  # here: what only claims a folder needs neither
    from transfer_utils.models.networks import build_backbone

    own = config.model == "transfer" and config.weights not in NAMED_WEIGHTS
    return load_dataset(config, progress).fingerprint, build_backbone(config)[1]["sha256"] if own else None
