"""The weights of a backbone: ImageNet, the shipped photo-letters weights, a file, or random.

Weight files are untrusted: their structure and values are checked (see also ``file_checks``), and the SHA-256 of a
download is stored when it is first used.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from importlib import resources
from pathlib import Path

import keras
import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.errors import UserError
from transfer_utils.models.fast_layers import layers_of
from transfer_utils.models.file_checks import check_declared_size, check_h5, damaged, first_line
from transfer_utils.utils.download import download
from transfer_utils.utils.files import cache_folder, keras_home, lock, replacing, write_json
from transfer_utils.utils.progress import Progress

STDDEV = (0.229, 0.224, 0.225)  # of the pixels of ImageNet by channel, as in keras.applications.efficientnet

LETTERS_FILE = "letters_mobilenetv2_0.35.npz"

# Where keras.applications gets its weights; it stores them under the same names, in <keras home>/models.
IMAGENET_SERVER = "https://storage.googleapis.com/"
_APPLICATIONS = "tensorflow/keras-applications"
_KERNELS = "weights_tf_dim_ordering_tf_kernels"
IMAGENET_FILES = {
    "MobileNetV2": f"{_APPLICATIONS}/mobilenet_v2/mobilenet_v2_{_KERNELS}_{{alpha}}_224_no_top.h5",
    "EfficientNetB0": "keras-applications/efficientnetb0_notop.h5",
    "EfficientNetV2B0": f"{_APPLICATIONS}/efficientnet_v2/efficientnetv2-b0_notop.h5",
    "ResNet50": f"{_APPLICATIONS}/resnet/resnet50_{_KERNELS}_notop.h5",
    "InceptionV3": f"{_APPLICATIONS}/inception_v3/inception_v3_{_KERNELS}_notop.h5",
    "VGG16": f"{_APPLICATIONS}/vgg16/vgg16_{_KERNELS}_notop.h5",
}


def load_weights(base: keras.Model, config: RunConfig, progress: Progress | None = None) -> dict[str, str]:
    """Load the weights ``config.weights`` into ``base``; return their source and SHA-256.

    Random weights are left as they are in ``base``. A download of ImageNet weights reports to ``progress``.

    Raises:
        UserError: the file is missing, damaged, unsafe or of another network, or the download is unavailable.
    """
    if config.weights == "random":
        source = f"random, seed {config.seed}"
    elif config.weights == "imagenet":
        source = "ImageNet, keras.applications"
        _load_imagenet(base, config, progress)
    elif config.weights == "letters":
        source = "photo-letters, shipped with the package"
        with resources.as_file(resources.files("transfer_utils") / "letters" / LETTERS_FILE) as path:
            load_weights_file(base, path)
    else:
        path = config.weights_file()
        source = path.name
        load_weights_file(base, path)
        if config.backbone == "EfficientNetB0" and path.name == imagenet_path(config).name:
            _fold_in_rescaling(base)
    digest = sha256_of_weights(base)
    if config.weights == "imagenet":
        _check_first_use(config, digest)
    return {"source": source, "sha256": digest}


def _load_imagenet(base: keras.Model, config: RunConfig, progress: Progress | None) -> None:
    """Load the ImageNet weights of the backbone into ``base``; the first use downloads them.

    Keras has MobileNetV2 weights for the sizes 96, 128, 160, 192 and 224. All runs use those of 224, so that runs at
    different image sizes differ in nothing else.

    Raises:
        UserError: the weights are neither on this machine nor available, or the file is damaged.
    """
    path, name = imagenet_path(config), f"the ImageNet weights of {config.backbone}"
    advice = (
        f"Put the file {path.name} into {path.parent}, or run again with a network. --preset offline needs neither."
    )
    with lock(cache_folder(config.cache_dir) / "weights" / path.name):
        download(path, [imagenet_address(config)], name, advice, progress=progress)
        check_h5(path)
        try:
            _load_h5(base, path)
        except Exception as error:  # h5py and Keras raise many types of exceptions for a file that does not fit
            raise damaged(path, error) from None
    if not all(np.isfinite(value).all() for value in base.get_weights()):
        raise damaged(path, ValueError("it contains values that are not finite"))
    if config.backbone == "EfficientNetB0":
        _fold_in_rescaling(base)


def _fold_in_rescaling(base: keras.Model) -> None:
    """Scale the variance of the Normalization layer, to replace a Rescaling layer after it by 1 / sqrt(STDDEV).

    Keras adds that layer to EfficientNetB0 only with ImageNet weights (keras.applications.efficientnet); our backbone
    is built without weights and does not have it.
    """
    normalization = next(layers_of(base, keras.layers.Normalization))
    variance = normalization.adapt_variance
    variance.assign(variance * np.reshape(np.float32(STDDEV), variance.shape))
    normalization.finalize_state()


def imagenet_path(config: RunConfig) -> Path:
    """Return the path at which Keras stores the ImageNet weights of the backbone; the file may not exist yet."""
    return keras_home() / "models" / Path(imagenet_address(config)).name


def imagenet_address(config: RunConfig) -> str:
    """Return the address from which Keras downloads the ImageNet weights of the backbone."""
    return IMAGENET_SERVER + IMAGENET_FILES[config.backbone].format(alpha=config.alpha)


def load_weights_file(base: keras.Model, path: Path) -> None:
    """Check a ``.npz`` file (ours), ``.h5`` or ``.weights.h5`` file (Keras) and load it into ``base``.

    Raises:
        UserError: the file is damaged, unsafe, or of another network.
    """
    if path.suffix == ".npz":
        load_weights_npz(base, path)
        return
    if path.suffix != ".h5":
        raise UserError(f"weights must be a .npz or .h5 file of a backbone's weights, not a whole model: got {path}.")
    check_h5(path)
    try:
        _load_h5(base, path)
    except Exception as error:  # h5py and Keras raise many types of exceptions for a file that does not fit
        raise UserError(f"{path} does not hold the weights of this backbone: {first_line(error)}") from None
    _check_finite(path, base, base.get_weights())


def _load_h5(base: keras.Model, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about empty groups; a missing weight is an error anyway
        base.load_weights(path)


def save_weights_npz(base: keras.Model, path: Path) -> None:
    """Save all weights as a compressed ``.npz``, in float16, or float32 where float16 is not precise enough."""
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
    """Load a file of ``save_weights_npz`` into ``base``, by the order of the arrays and not by their names.

    Raises:
        UserError: the file is not of this kind, it unpacks to a hundred times its size, the number or shapes of its
            arrays differ, or values are not finite.
    """
    try:
        with zipfile.ZipFile(path) as members:
            check_declared_size(path, sum(member.file_size for member in members.infolist()))
        with np.load(path, allow_pickle=False) as archive:
            values = [archive[key].astype(np.float32) for key in sorted(archive.files)]
    except UserError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib raise many types of exceptions for a damaged file
        raise UserError(f"{path} is not a weights file: {first_line(error)}") from None
    shapes, expected = [value.shape for value in values], [tuple(weight.shape) for weight in base.weights]
    if shapes != expected:
        pairs = enumerate(zip(shapes, expected, strict=False))
        different = [
            f" (array {i} must have shape {right}, got {shape})" for i, (shape, right) in pairs if shape != right
        ]
        raise UserError(
            f"{path} does not fit this backbone: expected {len(expected)} arrays, got {len(shapes)}"
            f"{different[0] if different else ''}."
        )
    _check_finite(path, base, values)
    base.set_weights(values)
    update_normalization(base)


def _check_finite(path: Path, base: keras.Model, values: list[np.ndarray]) -> None:
    for weight, value in zip(base.weights, values, strict=True):
        if not np.isfinite(value).all():
            raise UserError(f"{path} is damaged: {weight.path} contains values that are not finite.")


def update_normalization(model: keras.Model) -> None:
    """Update the copies of their weights with which the Normalization layers of EfficientNets compute.

    Keras does not, where it loads the weights of a nested model from a ``.h5`` file.
    """
    for layer in layers_of(model, keras.layers.Normalization):
        layer.finalize_state()


def sha256_of_weights(model: keras.Model) -> str:
    """Return the SHA-256 of all weights of ``model`` (shapes and float32 values, in order), 64 hex digits."""
    digest = hashlib.sha256()
    for weight in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight), dtype=np.float32)
        digest.update(repr(value.shape).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _check_first_use(config: RunConfig, digest: str) -> None:
    """Store the hash of a download at its first use, and refuse a file that has changed since.

    Keras does not publish a hash for every file.
    """
    path, file = cache_folder(config.cache_dir) / "weights" / "seen.json", imagenet_path(config)
    with lock(path):
        digests = _read_digests(path)
        first = digests.setdefault(file.name, digest)
        if first != digest:
            raise UserError(
                f"The weights in {file} have changed since their first use: "
                f"SHA-256 {digest[:12]}…, before {first[:12]}…. "
                f"If you changed the file on purpose, remove its line from {path}."
            )
        write_json(path, digests)


def _read_digests(path: Path) -> dict[str, str]:
    try:
        digests = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        digests = None
    if isinstance(digests, dict) and all(isinstance(digest, str) for digest in digests.values()):
        return digests
    warnings.warn(
        f"{path} is damaged and is written again: the weights are not compared with their first use.", stacklevel=2
    )
    return {}
