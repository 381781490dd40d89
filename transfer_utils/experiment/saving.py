"""What a run leaves besides its record: the trained model, its LiteRT files, and a copy outside the run's folder."""

from __future__ import annotations

import keras

from transfer_utils.config.options import RunConfig
from transfer_utils.data.dataset import Dataset
from transfer_utils.errors import UserError
from transfer_utils.experiment.session import RunSession, copy_path
from transfer_utils.models.engine import litert_missing
from transfer_utils.models.litert import convert
from transfer_utils.models.saving import copy_model, save_model
from transfer_utils.records.record import PRECISIONS
from transfer_utils.utils.files import write_bytes

CALIBRATION_IMAGES = 500  # for int8; the converter's guide asks for a hundred to five hundred


def export_precisions(config: RunConfig) -> tuple[str, ...]:
    """Return the precisions of the LiteRT files that the run is to write.

    Raises:
        UserError: LiteRT files are asked for and cannot be made here.
    """
    if config.export == "none":
        return ()
    if missing := litert_missing():
        raise UserError(f"export must be 'none' here, got {config.export!r}: {missing}.")
    return PRECISIONS if config.export == "all" else (config.export,)


def save_trained_model(model: keras.Model, precisions: tuple[str, ...], dataset: Dataset, session: RunSession) -> None:
    """Write the model, and its LiteRT files of these precisions, into the run's folder."""
    save_model(model, session.folder / "model.keras")
    session.record.files = {"model": "model.keras"}
    for precision in precisions:
        name = f"model-{precision}.tflite"
        # Spread over the split, they show the converter the range of every activation.
        train = dataset.train
        calibration = train.take(train.spread(CALIBRATION_IMAGES)) if precision == "int8" else None
        write_bytes(session.folder / name, convert(model, 1, precision, calibration))
        session.record.files[precision] = name


def copy_trained_model(model: keras.Model, session: RunSession) -> None:
    """Write a copy of the model outside the run's folder, if requested, after the evaluation has chosen a threshold."""
    if copy := copy_path(session.config):
        copy_model(model, session.record, copy, session.log)
        session.record.files["exported"] = str(copy)
