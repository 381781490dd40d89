"""Run the frozen part once and keep what it gives: memory-mapped float16, checked by its hash, never half-written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from numpy.lib.format import write_array_header_1_0

from transfer_utils.config import RunConfig
from transfer_utils.data.augment import draw_view, training_view
from transfer_utils.data.splits import Split
from transfer_utils.errors import UserError
from transfer_utils.models.batchnorm_folding import tensors_in
from transfer_utils.models.engine import Engine, choose_engine
from transfer_utils.models.weights import sha256_of_weights
from transfer_utils.utils.files import cache_folder, lock, replacing, sha256_of, write_json
from transfer_utils.utils.progress import Progress

# Part of every key: raise it when the meaning of a cached number changes.
LAYOUT = 1

# The options that decide what a view shows.
DRAWN_BY = ("seed", "augment", "rotation", "zoom", "width_shift", "height_shift", "horizontal_flip")
DRAWN_BY += ("use_mixup", "mixup_alpha")

CHUNK = 512  # images between two reports of progress

DISK_RESERVE = 1 << 30  # bytes that a cache leaves free for everything else


def extract_features(
    model: keras.Model,
    split: Split,
    config: RunConfig,
    *,
    engine: Callable[[], Engine] | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the outputs of a frozen ``model`` on every image of ``split``, computed at the first call only.

    Args:
        model: pixels (n, side, side, 3), 0-255, to one tensor; its weights are part of the cache's key.
        engine: gives an engine for ``model``, to share one between calls; called only when something is to be computed.

    Returns:
        A read-only memory map (n, ...) float16.
    """
    engine = engine or (lambda: Engine(model, config.engine))
    return _cached(_key(model, split, config), split, engine, None, config, "features", progress)


class BoundaryCache:
    """The activations at the freeze boundary: of K augmented views of the training images, and of plain images.

    Training the unfrozen tail on these costs a fraction of pushing every image through the frozen trunk each epoch.
    Epoch ``e`` sees view ``e`` modulo K.

    Args:
        trunk: pixels (n, side, side, 3), 0-255, to boundary activations.
        split: the training images.
        n_classes: width of the one-hot labels.
        config: its ``cached_views`` is K.

    Attributes:
        plain_views: whether the one view shows the images as they are.
    """

    def __init__(
        self, trunk: keras.Model, split: Split, n_classes: int, config: RunConfig, progress: Progress | None = None
    ):
        self._trunk, self._split, self._config, self._progress = trunk, split, config, progress
        self._n_classes = n_classes
        self._engine: Engine | None = None
        self._key = _key(trunk, split, config)
        self.plain_views = not (config.augment or config.use_mixup)
        self.views = config.cached_views
        self.size = len(split)
        self.bytes_per_view = 2 * len(split) * int(np.prod(trunk.output.shape[1:]))

    def view(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one view: activations (n, ...) float16, memory-mapped, and labels (n, n_classes) float32."""
        config, split = self._config, self._split
        drawn = draw_view(len(split), config, number)

        def draw(positions: np.ndarray) -> np.ndarray:
            return training_view(split, positions, config, number, self._n_classes, drawn)[0]

        activations = _cached(
            self._view_key(number),
            split,
            self.engine,
            draw if drawn else None,
            config,
            f"view {number + 1} of {self.views}",
            self._progress,
        )
        return activations, view_labels(split, drawn, self._n_classes)

    def bytes_needed(self, validation: Split) -> int:
        """Return how many bytes of disk the views take, and the validation split, that are not cached yet.

        Raises:
            UserError: the disk has no room for them; the message names how many views would fit.
        """
        held_out = _path(_key(self._trunk, validation, self._config), self._config)
        folder = held_out.parent
        missing = sum(not _path(self._view_key(number), self._config).exists() for number in range(self.views))
        apart = 0 if held_out.exists() else self.bytes_per_view * len(validation) // len(self._split)
        room = max(0, _room(folder) - apart)
        fitting = self.views - missing + room // self.bytes_per_view
        if fitting < self.views:
            advice = f"{fitting} fit: --views {fitting}" if fitting else "not one fits"
            raise UserError(
                f"{self.views} cached views need {missing * self.bytes_per_view / 1e9:.2f} GB more in {folder}, where "
                f"{room / 1e9:.2f} GB are free besides the 1 GB that stays reserved: {advice}; or lower "
                "--image_size, or name another disk with --cache_dir."
            )
        return missing * self.bytes_per_view + apart

    def _view_key(self, number: int) -> str:
        if self.plain_views:
            return self._key
        options = {name: getattr(self._config, name) for name in DRAWN_BY}
        return _digest(self._key, json.dumps(options), str(number))

    def plain(self, split: Split) -> np.ndarray:
        """Return the activations (n, ...) float16 of images as they are, such as the validation split."""
        key = _key(self._trunk, split, self._config)
        return _cached(key, split, self.engine, None, self._config, "validation activations", self._progress)

    def features(self, tail: keras.Model, split: Split) -> np.ndarray:
        """Return what a frozen ``tail`` gives for images as they are, (n, ...) float16: only the tail is run.

        Args:
            tail: boundary activations to one tensor; its weights are part of the cache's key.
        """
        key, maps = _digest(_key(self._trunk, split, self._config), _key(tail, split, self._config)), self.plain(split)

        def engine() -> Engine:
            return Engine(tail, self._config.engine, maps=True)

        return _cached(key, split, engine, maps.__getitem__, self._config, "features", self._progress)

    def engine(self) -> Engine:
        """Return the trunk's engine, built when it is first needed."""
        if self._engine is None:
            self._engine = Engine(self._trunk, self._config.engine)
        return self._engine


def view_labels(split: Split, drawn: dict[str, np.ndarray], n_classes: int) -> np.ndarray:
    """Return the labels (n, n_classes) float32 of a whole view, blended where Mixup blended its images."""
    one_hot = np.eye(n_classes, dtype="float32")[split.labels]
    if "partners" in drawn:
        return drawn["share"] * one_hot + (1 - drawn["share"]) * one_hot[drawn["partners"]]
    return one_hot


def image_chunks(n: int, size: int = CHUNK) -> Iterator[np.ndarray]:
    """Yield the positions 0 ... n - 1 in runs of at most ``size``."""
    for start in range(0, n, size):
        yield np.arange(start, min(start + size, n))


def _cached(
    key: str,
    split: Split,
    engine: Callable[[], Engine],
    draw: Callable[[np.ndarray], np.ndarray] | None,
    config: RunConfig,
    title: str,
    progress: Progress | None,
) -> np.ndarray:
    """Open the cache file of ``key``; where it is missing or damaged, one process builds it first and all read it."""
    path = _path(key, config)
    with lock(path):
        if not _intact(path):
            _build(path, split, engine(), draw or split.take, title, progress)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _path(key: str, config: RunConfig) -> Path:
    return cache_folder(config.cache_dir) / "features" / f"{key}.npy"


def _build(
    path: Path,
    split: Split,
    engine: Engine,
    draw: Callable[[np.ndarray], np.ndarray],
    title: str,
    progress: Progress | None,
) -> None:
    n = len(split)
    check_disk(path.parent, 2 * n * int(np.prod(engine.shape)))
    path.with_suffix(".json").unlink(missing_ok=True)
    with replacing(path) as temporary:
        # Written, not mapped: on a full disk a write raises OSError, where a mapped page ends the process.
        with open(temporary, "wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (n, *engine.shape)}
            write_array_header_1_0(file, header)
            for positions in image_chunks(n, CHUNK):
                # float16 ends at 65,504; ReLU6 networks stay far below, an untrained one need not.
                file.write(np.clip(engine(draw(positions)), -65504, 65504).astype("<f2").tobytes())
                if progress:
                    progress(title, int(positions[-1]) + 1, n)
        digest = sha256_of(temporary)
    write_json(path.with_suffix(".json"), {"sha256": digest, "engine": engine.kind})


def _intact(path: Path) -> bool:
    """Say whether a cache file and its hash are both there and agree."""
    note = path.with_suffix(".json")
    try:
        return json.loads(note.read_text())["sha256"] == sha256_of(path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to start writing what will not fit.

    Raises:
        UserError: ``needed`` bytes would leave less than the reserve on the disk of ``folder``.
    """
    room = _room(folder)
    if needed > room:
        free = room + DISK_RESERVE
        raise UserError(
            f"The cache in {folder} needs {needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free (1 GB stays "
            "reserved). Lower --views or --image_size, name another disk with --cache_dir, or empty the cache."
        )


def _room(folder: Path) -> int:
    """Return how many bytes a cache may take in ``folder``, which is made; negative where the reserve is in use."""
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free - DISK_RESERVE


def _key(model: keras.Model, split: Split, config: RunConfig) -> str:
    """Name everything that decides the outputs: network, weights, preprocessing, images, and what computes them."""
    structure = json.dumps(list(_structure(model)), sort_keys=True, default=str)
    engine, _ = choose_engine(config.engine)
    if engine == "keras":
        engine = f"keras on {keras.backend.backend()}"
    return _digest(str(LAYOUT), structure, sha256_of_weights(model), split.fingerprint, engine)


def _structure(model: keras.Model) -> Iterator[tuple]:
    """Yield kind, settings and inputs of every layer that computes, and what the network gives.

    Names are left out, since Keras counts them up: a layer is known by its place.
    """
    described = model.get_config()
    wired = described["layers"] if "output_layers" in described else []  # a Sequential model is wired by its order
    place = {layer["name"]: number for number, layer in enumerate(wired)}
    inputs = {layer["name"]: _placed(tensors_in(layer["inbound_nodes"]), place) for layer in wired}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield "network", inputs.get(layer.name)
            yield from _structure(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            skipped = ("name", "trainable", "dtype")
            settings = {k: v for k, v in layer.get_config().items() if k not in skipped}
            yield type(layer).__name__, inputs.get(layer.name), settings
    if wired:
        given = described["output_layers"]
        given = [given] if isinstance(given[0], str) else given
        yield "gives", _placed([(name, tensor) for name, _, tensor in given], place)


def _placed(tensors: list[tuple[str, int]], place: dict[str, int]) -> list[tuple[int, int]]:
    return [(place[name], tensor) for name, tensor in tensors]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
