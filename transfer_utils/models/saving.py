"""Saving and loading whole models: in one step, in safe mode, and never with foreign code."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from pathlib import Path

import h5py
import keras
from keras.src.legacy.saving import legacy_h5_format

from transfer_utils.config import MODEL_SUFFIXES
from transfer_utils.errors import UserError
from transfer_utils.models.weights import check_h5
from transfer_utils.records import RECORD_NAME, RunRecord, UnreadableRecord, read_record
from transfer_utils.utils.files import replacing, write_bytes, write_json
from transfer_utils.utils.progress import Log

MAX_DESCRIPTION_BYTES = 16 << 20  # bytes; those of our backbones take under one megabyte


def save_model(model: keras.Model, path: str | Path) -> Path:
    """Save a model as ``.keras`` or ``.h5`` in one step: a failed save leaves the previous file as it was.

    Raises:
        UserError: another suffix.
    """
    path = Path(path)
    if path.suffix not in MODEL_SUFFIXES:
        raise UserError(f"model_path must end in {' or '.join(MODEL_SUFFIXES)}, got {str(path)!r}.")
    logging.getLogger("absl").setLevel(
        logging.ERROR
    )  # Keras advises against .h5 at every save; the caller asked for it
    if path.suffix == ".h5":
        # HDF5 brings the process down when its file cannot grow (a full disk): it writes to memory, we to the disk.
        image = io.BytesIO()
        with h5py.File(image, "w") as file:
            legacy_h5_format.save_model_to_hdf5(model, file)
        write_bytes(path, image.getvalue())
    else:
        with replacing(path) as temporary:
            model.save(temporary)
    return path


def load_model(path: str | Path) -> keras.Model:
    """Load a saved model, in safe mode, uncompiled; layers that run foreign code are refused before Keras sees them.

    Raises:
        UserError: no such file, no model, or a model with code, links or pickles in it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no model file {path}.")
    refuse_foreign_code(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that is no model
        raise UserError(f"{path} cannot be loaded as a model: {str(error).splitlines()[0][:200]}") from None


def refuse_foreign_code(path: Path) -> None:
    """Read a model's description without building it, and refuse anything but layers that Keras itself brings.

    Raises:
        UserError: a Lambda layer, a class from outside Keras, a link to another file, or a file that is no model.
    """
    try:
        # By the name, as Keras does: a file can be both formats at once, and harmless in the one that is looked at.
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                extra = set(archive.namelist()) - {"config.json", "metadata.json", "model.weights.h5"}
                if extra:
                    raise UserError(f"{path} is refused: it holds {sorted(extra)[0]!r}, which no model needs.")
                size = archive.getinfo("config.json").file_size
                if size > MAX_DESCRIPTION_BYTES:
                    raise UserError(f"{path} is refused: a description of {size} bytes; no model needs that.")
                with archive.open("model.weights.h5") as inside:
                    check_h5(path, inside)
                description = json.loads(archive.read("config.json"))
        elif path.suffix == ".h5":
            check_h5(path)
            with h5py.File(path, "r") as file:
                description = json.loads(file.attrs["model_config"])
        else:
            raise UserError(f"{path} is no Keras model: its name must end in .keras or .h5.")
        _refuse_in(description, path)
    except UserError:
        raise
    except (KeyError, ValueError, TypeError, OSError, RecursionError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no Keras model: {error}") from None


def _refuse_in(value: object, path: Path) -> None:
    if isinstance(value, dict):
        module, name = value.get("module"), value.get("class_name")
        foreign = isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins")
        if name in ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer") or (foreign and name):
            raise UserError(f"{path} is refused: it holds {name!r}, code that is not Keras's own.")
        for item in value.values():
            _refuse_in(item, path)
    elif isinstance(value, list):
        for item in value:
            _refuse_in(item, path)


def copy_model(model: keras.Model, record: RunRecord, path: Path, log: Log) -> None:
    """Write a run's model outside its folder, with the names of its classes beside it."""
    save_model(model, path)
    name_classes(path, record.dataset["class_names"])
    log(f"Saved the model as {path}.")


def name_classes(model_path: Path, names: list[str]) -> None:
    """Write the class names beside a model that stands outside its run's folder, as ``<model>.classes.json``."""
    write_json(_names_path(model_path), names)


def class_names(model_path: Path, n_classes: int) -> list[str]:
    """Return the names of a model's classes, in the order of its outputs."""
    found: list[str] = []
    try:
        if _names_path(model_path).is_file():
            found = json.loads(_names_path(model_path).read_text("utf-8"))
        elif (model_path.parent / RECORD_NAME).is_file():
            found = read_record(model_path.parent / RECORD_NAME).dataset.get("class_names", [])
    except (UnreadableRecord, ValueError) as error:
        raise UserError(f"The class names beside {model_path} cannot be read: {error}") from None
    fits = isinstance(found, list) and len(found) == n_classes
    return [str(name) for name in found] if fits else [f"class {i}" for i in range(n_classes)]


def _names_path(model_path: Path) -> Path:
    return model_path.with_name(model_path.name + ".classes.json")
