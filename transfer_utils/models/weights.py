"""Where a backbone's weights come from: ImageNet, the letters that ship with the package, a file, or chance.

Nothing here trusts a file: weights are checked for structure and finiteness before a layer sees them, files that could
reach outside themselves are refused, and the SHA-256 of every download is remembered at first use.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import keras
import numpy as np

from transfer_utils.config import RunConfig
from transfer_utils.errors import UserError
from transfer_utils.utils.files import cache_folder, keras_home, lock, replacing, write_json

LETTERS_FILE = "letters_mobilenetv2_0.35.npz"

DOWNLOAD_ATTEMPTS = 3

# The names under which keras.applications keeps its downloads, in <keras home>/models.
IMAGENET_FILES = {
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5",
    "EfficientNetB0": "efficientnetb0_notop.h5",
    "EfficientNetV2B0": "efficientnetv2-b0_notop.h5",
    "ResNet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "InceptionV3": "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "VGG16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
}


def load_weights(base: keras.Model, config: RunConfig) -> dict[str, str]:
    """Give ``base`` the weights that ``config.weights`` names and return where they came from, with their SHA-256.

    Raises:
        UserError: a file that is missing, damaged, unsafe or of another network; a download that cannot be had.
    """
    if config.weights == "random":
        source = f"random, seed {config.seed}"
    elif config.weights == "imagenet":
        source = "ImageNet, keras.applications"
        _set_weights(base, imagenet_weights(config))
    elif config.weights == "letters":
        source = "photo-letters, shipped with the package"
        with resources.as_file(resources.files("transfer_utils") / "letters" / LETTERS_FILE) as path:
            load_weights_file(base, path)
    else:
        path = Path(config.weights).expanduser()
        if not path.is_file():
            raise UserError(
                f"weights must be 'imagenet', 'letters', 'random' or an existing file, got {config.weights!r}."
            )
        source = path.name
        load_weights_file(base, path)
    digest = sha256_of_weights(base)
    if config.weights == "imagenet":
        _remember(config, digest)
    return {"source": source, "sha256": digest}


def imagenet_weights(config: RunConfig) -> list[np.ndarray]:
    """Return the ImageNet weights of the backbone, downloaded under a lock at first use.

    MobileNetV2 has other weights for each of the sides 96, 128, 160, 192 and 224. All our runs take those of 224, at
    any side, so that runs at different sides differ in the side alone.
    """
    application = getattr(keras.applications, config.backbone)
    width = {"alpha": config.alpha} if config.backbone == "MobileNetV2" else {}
    path = imagenet_path(config)
    with lock(cache_folder(config.cache_dir) / "weights" / path.name):
        if path.exists():
            check_h5(path)
        for attempt in range(DOWNLOAD_ATTEMPTS):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that no side was named, and those of 224 are taken: as meant
                    donor = application(include_top=False, weights="imagenet", input_shape=(None, None, 3), **width)
                break
            except Exception as error:  # Keras raises a plain Exception when an address cannot be reached
                if path.exists():
                    raise _damaged(path, error) from None
                problem = error
                if attempt < DOWNLOAD_ATTEMPTS - 1:
                    time.sleep(2**attempt)
        else:
            raise UserError(
                f"The ImageNet weights of {config.backbone} are not on this machine and could not be downloaded "
                f"({_first_line(problem)}). Put the file {path.name} into {path.parent}, or run again with a network; "
                "--preset offline needs neither."
            )
    values = donor.get_weights()
    if not all(np.isfinite(value).all() for value in values):
        raise _damaged(path, ValueError("it holds numbers that are not finite"))
    if config.backbone == "EfficientNetB0":
        _fold_in_rescaling(donor, values)
    return values


def _fold_in_rescaling(donor: keras.Model, values: list[np.ndarray]) -> None:
    """Multiply the variances that ``donor`` normalises pixels by, so that no Rescaling layer is needed behind.

    Keras puts that layer into EfficientNetB0 with ImageNet weights alone (keras.applications.efficientnet); ours is
    built without weights, and has none.
    """
    normalization = next(layer for layer in donor.layers if isinstance(layer, keras.layers.Normalization))
    rescaling = donor.layers[donor.layers.index(normalization) + 1]
    place = next(i for i, weight in enumerate(donor.weights) if weight is normalization.adapt_variance)
    values[place] = values[place] / np.square(np.asarray(rescaling.scale, "float32")).reshape(values[place].shape)


def imagenet_path(config: RunConfig) -> Path:
    """Return where Keras keeps the ImageNet weights of the backbone, whether they are there or not."""
    name = IMAGENET_FILES[config.backbone].format(alpha=config.alpha)
    return keras_home() / "models" / name


def load_weights_file(base: keras.Model, path: Path) -> None:
    """Load ``.npz`` (ours), ``.h5`` or ``.weights.h5`` (Keras) into ``base``, after every check.

    Raises:
        UserError: the file is damaged, unsafe, or fits another network.
    """
    if path.suffix == ".npz":
        load_weights_npz(base, path)
        return
    check_h5(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about groups that hold nothing; whatever misses a number is an error
            base.load_weights(path)
    except Exception as error:  # h5py and Keras raise many kinds for a file that does not fit
        raise UserError(f"{path} does not hold the weights of this backbone: {_first_line(error)}") from None
    for weight in base.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise UserError(f"{path} is damaged: {weight.path} holds numbers that are not finite.")


def save_weights_npz(base: keras.Model, path: Path) -> None:
    """Write all weights as one compressed ``.npz``: float16, but float32 where a number is too large for that."""
    arrays = {}
    for i, weight in enumerate(base.weights):
        value = keras.ops.convert_to_numpy(weight).astype(np.float32)
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        exact = np.allclose(half.astype(np.float32), value, rtol=2e-3, atol=1e-6)
        arrays[f"{i:03d}/{weight.path}"] = half if exact else value
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_weights_npz(base: keras.Model, path: Path) -> None:
    """Load what ``save_weights_npz`` wrote; order and shapes decide, names are for the reader.

    Raises:
        UserError: not such a file, or arrays of another count, shape, or not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = [archive[key].astype(np.float32) for key in sorted(archive.files)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a weights file: {_first_line(error)}") from None
    shapes, expected = [value.shape for value in values], [tuple(weight.shape) for weight in base.weights]
    if shapes != expected:
        wrong = next((i for i, pair in enumerate(zip(shapes, expected, strict=False)) if pair[0] != pair[1]), None)
        detail = f"array {wrong} has shape {shapes[wrong]}, not {expected[wrong]}" if wrong is not None else "others"
        raise UserError(
            f"{path} does not fit this backbone: expected {len(expected)} arrays, got {len(shapes)} ({detail})."
        )
    for weight, value in zip(base.weights, values, strict=True):
        if not np.isfinite(value).all():
            raise UserError(f"{path} is damaged: {weight.path} holds numbers that are not finite.")
    _set_weights(base, values)


def _set_weights(base: keras.Model, values: list[np.ndarray]) -> None:
    """Set all weights; a Normalization layer, as in the EfficientNets, works from copies that are made anew."""
    base.set_weights(values)
    for layer in base.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def check_h5(path: Path, content: BinaryIO | None = None) -> None:
    """Refuse an HDF5 file that is damaged or that points outside itself (external links or storage).

    Args:
        content: the HDF5 file itself, open, where ``path`` is an archive that holds it.

    Raises:
        UserError: with the reason; a damaged download is moved aside first, so that the next run fetches it anew.
    """

    def look(name: str, group: h5py.Group) -> None:
        for key in group:
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise UserError(f"{path} is refused: {name}/{key} links to another file.")
            if isinstance(link, h5py.SoftLink):
                raise UserError(f"{path} is refused: {name}/{key} is a soft link, which no Keras weights hold.")
            item = group[key]
            if isinstance(item, h5py.Group):
                look(f"{name}/{key}", item)
            elif not isinstance(item, h5py.Dataset):
                raise UserError(f"{path} is refused: {name}/{key} is neither a group nor numbers.")
            elif item.external or item.is_virtual:
                raise UserError(f"{path} is refused: {name}/{key} keeps its numbers in another file.")
            else:
                item[()]  # a truncated file fails here, not in the middle of a training

    try:
        with h5py.File(content or path, "r") as file:
            look("", file)
    except UserError:
        raise
    except (OSError, KeyError, RuntimeError) as error:
        raise _damaged(path, error) from None


def sha256_of_weights(model: keras.Model) -> str:
    """Return the SHA-256 over all weights of ``model``: shapes and float32 bytes, in order."""
    digest = hashlib.sha256()
    for weight in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight), dtype=np.float32)
        digest.update(repr(value.shape).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _damaged(path: Path, error: Exception) -> UserError:
    """Move a damaged download out of the way and say so."""
    message = f"{path} is damaged ({_first_line(error)})."
    if path.parent == keras_home() / "models":
        aside = path.with_name(path.name + ".damaged")
        try:
            path.replace(aside)
        except OSError:
            return UserError(f"{message} Put a good copy in its place.")
        message += f" It was moved to {aside.name}; run again to download it anew, or put a good copy in its place."
    return UserError(message)


def _remember(config: RunConfig, digest: str) -> None:
    """Keep the hash of a download's first use; report a later change, since no hash is published for every file."""
    memory = cache_folder(config.cache_dir) / "weights" / "seen.json"
    name = imagenet_path(config).name
    with lock(memory):
        seen: dict[str, Any] = json.loads(memory.read_text()) if memory.exists() else {}
        known = seen.setdefault(name, digest)
        if known != digest:
            raise UserError(
                f"The weights in {imagenet_path(config)} are not those of their first use here: "
                f"SHA-256 {digest[:12]}…, before {known[:12]}…. "
                f"If you changed the file on purpose, remove its line from {memory}."
            )
        write_json(memory, seen)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
