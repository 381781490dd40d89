"""Save whole models atomically, and load them without running code that is not part of Keras."""

from __future__ import annotations

import io
import json
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

from transfer_utils.config.options import MODEL_SUFFIXES
from transfer_utils.errors import UserError
from transfer_utils.models.file_checks import check_declared_size, check_h5, first_line
from transfer_utils.models.weights import update_normalization
from transfer_utils.records.record import MAX_RECORD_BYTES, RECORD_NAME, RunRecord, read_record
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.utils.files import replacing, write_bytes, write_json
from transfer_utils.utils.keras_private import save_h5, without_memory
from transfer_utils.utils.progress import Log
from transfer_utils.utils.text import as_text, enumerated, finite_number

# How the files of each format begin; a LiteRT file has its mark at the fifth byte.
BEGINNINGS = {".keras": b"PK\x03\x04", ".h5": b"\x89HDF\r\n\x1a\n", ".tflite": b"TFL3"}

BYTES_PER_WEIGHT = 4

MAX_DESCRIPTION_BYTES = 16 << 20  # the configurations of our backbones take less than one megabyte


def save_model(model: keras.Model, path: str | Path) -> Path:
    """Save a model as ``.keras`` or ``.h5``; a failed save leaves the previous file unchanged.

    Raises:
        UserError: ``path`` has another suffix.
    """
    path = Path(path)
    if path.suffix not in MODEL_SUFFIXES:
        raise UserError(f"path must end in {' or '.join(MODEL_SUFFIXES)}, got {str(path)!r}.")
    if path.suffix == ".h5":
        # HDF5 aborts the process if its file cannot grow (a full disk), so it writes to memory first.
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            save_h5(model, file)
        write_bytes(path, content.getvalue())
    else:
        with replacing(path) as temporary:
            model.save(temporary)
    return path


def load_model(path: str | Path) -> keras.Model:
    """Load a saved model uncompiled and in safe mode; models with foreign code are refused before Keras reads them.

    Raises:
        UserError: the file does not exist, is not a model, contains code, links or pickles, or lacks the weights of the
            network that it describes.
    """
    path = Path(path)
    check_is_model(path, MODEL_SUFFIXES)
    config = refuse_foreign_code(path)
    try:
        _refuse_undue_size(path, config)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        update_normalization(model)
        return model
    except UserError:
        raise
    except Exception as error:  # Keras raises many types of exceptions for a file that is not a model
        reason = first_line(error)
        if "could not be deserialized" in reason:
            reason = "it uses a layer that is not Keras's own, or one of another version of Keras."
        raise UserError(f"{path} cannot be loaded as a model: {reason}") from None


def check_is_model(path: Path, suffixes: tuple[str, ...]) -> None:
    """Check that there is a file whose name ends as its format requires; without reading more than its beginning.

    Raises:
        UserError: there is none, it is a folder, its name has none of ``suffixes``, or that of another format.
    """
    if path.is_dir():
        inside = sorted(child.name for child in path.iterdir() if child.suffix in suffixes)
        example = f", such as {path / inside[0]}" if inside else ""
        raise UserError(f"{path} is a folder: name the model file in it{example}.")
    if not path.is_file():
        raise UserError(f"There is no model file {path}.")
    with open(path, "rb") as file:
        start = file.read(8)
    kinds = [kind for kind, mark in BEGINNINGS.items() if mark in (start[: len(mark)], start[4:])]
    if path.suffix in suffixes and kinds in ([], [path.suffix]):
        return
    names = enumerated(suffixes, "or")
    hint = f" It has the content of a {kinds[0]} file: rename it to {path.stem}{kinds[0]}." if kinds else ""
    raise UserError(f"{path} cannot be read as a model: its name must end in {names}.{hint}")


def refuse_foreign_code(path: Path) -> object:
    """Read the configuration of a model without building it, and refuse layers that are not part of Keras.

    Returns:
        The configuration.

    Raises:
        UserError: the file contains a Lambda layer, a class from outside Keras or a link to another file, declares
            an absurd size, or is not a model.
    """
    # As Keras does, decide by the name: a file can be valid in both formats and harmless in only one of them.
    read_config = _read_keras_config if path.suffix == ".keras" else _read_h5_config
    try:
        config = read_config(path)
        _refuse_foreign_layers(config, path)
        return config
    except UserError:
        raise
    except Exception as error:  # zipfile, its decompressors, h5py and json raise many types for a file that is no model
        raise UserError(f"{path} is not a Keras model: {error}") from None


def _read_keras_config(path: Path) -> object:
    with zipfile.ZipFile(path) as archive:
        extra = set(archive.namelist()) - {"config.json", "metadata.json", "model.weights.h5"}
        if extra:
            raise UserError(f"{path} is refused: it contains {min(extra)!r}, which no model needs.")
        size = archive.getinfo("config.json").file_size
        if size > MAX_DESCRIPTION_BYTES:
            raise UserError(f"{path} is refused: its configuration has {size} bytes, more than any model needs.")
        check_declared_size(path, sum(member.file_size for member in archive.infolist()))
        with archive.open("model.weights.h5") as weights:
            check_h5(path, weights)
        return json.loads(archive.read("config.json"))


def _read_h5_config(path: Path) -> object:
    check_h5(path)
    with h5py.File(path, "r") as file:
        return json.loads(file.attrs["model_config"])


def _refuse_foreign_layers(value: object, path: Path) -> None:
    if isinstance(value, dict):
        module, name = value.get("module"), value.get("class_name")
        foreign = isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins")
        if name in ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer") or (foreign and name):
            raise UserError(f"{path} is refused: it contains {name!r}, code that is not part of Keras.")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _refuse_foreign_layers(item, path)


def _refuse_undue_size(path: Path, config: object) -> None:
    """Refuse a file of kilobytes that describes a network of gigabytes, before there is memory for that."""
    with without_memory():
        if path.suffix == ".keras":
            model = keras.saving.deserialize_keras_object(_without_compilation(config), safe_mode=True)
        else:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    check_declared_size(path, sum(BYTES_PER_WEIGHT * math.prod(variable.shape) for variable in model.variables))


def _without_compilation(config: object) -> object:
    """Return a configuration without the optimizers of its parts, whose counters always have memory."""
    if isinstance(config, dict):
        return {key: _without_compilation(value) for key, value in config.items() if key != "compile_config"}
    return [_without_compilation(item) for item in config] if isinstance(config, list) else config


def copy_model(model: keras.Model, record: RunRecord, path: Path, log: Log) -> None:
    """Save a run's model outside its folder, with a file of its class names and threshold beside it."""
    save_model(model, path)
    _names_path(path).unlink(missing_ok=True)  # if what follows fails, no model has the names and threshold of another
    name_classes(path, record)
    log(f"Saved the model as {path}.")


def name_classes(model_path: Path, record: RunRecord) -> None:
    """Write the class names and the threshold of a run's model beside it, to ``<model>.classes.json``.

    So they stay with a file that leaves the folder of its run, or that has a threshold of its own.
    """
    write_json(_names_path(model_path), record.class_notes(model_path.name))


def names_and_threshold(model_path: Path, n_classes: int) -> tuple[list[str], float]:
    """Return the class names of a model, in the order of its outputs, and the probability below which it is "not sure".

    They come from the file that ``name_classes`` wrote, or from the record of the run in the same folder. Otherwise the
    names are ``class 0``, ``class 1``, ..., and the threshold is 0, below which no probability lies.

    Raises:
        UserError: the file or the record cannot be read, or the threshold is not a number from 0 to 1.

    Warns:
        UserWarning: there are no names, or those of another model.
    """
    notes = _notes(model_path)
    names, value = notes.get("class_names"), notes.get("not_sure_below", 0.0)
    if not isinstance(names, list) or len(names) != n_classes:
        problem = (
            "The class names beside it are those of another model" if names else "There are no class names beside it"
        )
        warnings.warn(
            f"The classes of {model_path} are numbered. {problem}: put its {_names_path(model_path).name}, or the "
            f"{RECORD_NAME} of its run, into the same folder.",
            stacklevel=2,
        )
        return [f"class {i}" for i in range(n_classes)], 0.0
    threshold = finite_number(value)
    if threshold is None or not 0 <= threshold <= 1:
        raise UserError(f"not_sure_below beside {model_path} must be from 0 to 1, got {as_text(value, 40)}.")
    return [str(name) for name in names], threshold


def _notes(model_path: Path) -> dict[str, Any]:
    """Return what is written beside a model: ``class_names`` and ``not_sure_below``, as far as they are there."""
    path, record_path = _names_path(model_path), model_path.parent / RECORD_NAME
    try:
        if path.is_file():
            if path.stat().st_size > MAX_RECORD_BYTES:
                raise ValueError(f"they take more than {MAX_RECORD_BYTES >> 20} MB")
            notes = json.loads(path.read_text("utf-8"))
            return notes if isinstance(notes, dict) else {"class_names": notes}  # a list, without a threshold
        if record_path.is_file():
            return read_record(record_path).class_notes(model_path.name)
    except (UnreadableRecord, ValueError, RecursionError) as error:
        raise UserError(f"The class names beside {model_path} cannot be read: {error}") from None
    return {}


def _names_path(model_path: Path) -> Path:
    return model_path.with_name(model_path.name + ".classes.json")
