"""The frozen part of a network, run once: its outputs are kept on disk as float16, verified and memory-mapped."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import numpy as np

from transfer_utils.config.options import VIEW_OPTIONS, RunConfig
from transfer_utils.data.augment import blend, draw_view, training_view
from transfer_utils.data.dataset import Split
from transfer_utils.errors import UserError
from transfer_utils.models.engine import Engine, choose_engine
from transfer_utils.models.fast_layers import tensors_in
from transfer_utils.models.weights import sha256_of_weights
from transfer_utils.utils.array_cache import open_array
from transfer_utils.utils.disk import check_disk, free_bytes
from transfer_utils.utils.files import cache_folder
from transfer_utils.utils.progress import Progress
from transfer_utils.utils.text import counted, format_bytes

# Part of every key: raise it when the meaning of a cached number changes.
LAYOUT = 1

CHUNK = 512  # images between two reports of progress

DISK_RESERVE = 1 << 30  # bytes that a cache leaves free for everything else
FLOAT16_MAX = 65504  # outputs of ReLU6 networks stay far below; those of an untrained network may not

Draw = Callable[[np.ndarray], np.ndarray]  # from positions (m,) in a split to what an engine takes


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
        config: its ``engine`` and ``cache_dir``.
        engine: makes an engine for ``model``, to share one between calls; called only if something is to be computed.

    Returns:
        A read-only memory map (n, ...) float16; values beyond ±65504 are clipped.

    Raises:
        UserError: the engine is unavailable, or the disk of the cache has too little free space.
    """
    engine = engine or functools.partial(Engine, model, config.engine)
    key = _key(model, split, config)
    return _cached(key, len(split), engine, split.take, config, title="features", progress=progress)


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
        views: K.
        size: number of training images.
        bytes_per_view: of disk.
        engine: makes the trunk's engine at the first call; later calls return the same one.
    """

    def __init__(
        self, trunk: keras.Model, split: Split, n_classes: int, config: RunConfig, progress: Progress | None = None
    ):
        self._trunk, self._split, self._config, self._progress = trunk, split, config, progress
        self._n_classes, self._key = n_classes, _key(trunk, split, config)
        self.engine = functools.cache(lambda: Engine(trunk, config.engine))  # made when it is first needed
        self.plain_views, self.views, self.size = config.plain_views, config.cached_views, len(split)
        self.bytes_per_view = 2 * len(split) * int(np.prod(trunk.output.shape[1:]))

    def view(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one view: activations (n, ...) float16, memory-mapped, and labels (n, n_classes) float32."""
        config, split = self._config, self._split
        drawn = draw_view(len(split), config, number)

        def draw(positions: np.ndarray) -> np.ndarray:
            return training_view(split, positions, config, number, self._n_classes, drawn)[0]

        key, title = self._view_key(number), f"view {number + 1} of {self.views}"
        activations = _cached(key, len(split), self.engine, draw, config, title=title, progress=self._progress)
        labels = split.one_hot(self._n_classes)
        if "partners" in drawn:  # Mixup blended the images
            labels = blend(labels, labels[drawn["partners"]], drawn["share"])
        return activations, labels

    def plain(self, split: Split) -> np.ndarray:
        """Return the activations (n, ...) float16 of images as they are, such as the validation split."""
        config, title = self._config, "validation activations"
        key = _key(self._trunk, split, config)
        return _cached(key, len(split), self.engine, split.take, config, title=title, progress=self._progress)

    def features(self, tail: keras.Model, parts: Iterable[tuple[Split, np.ndarray]]) -> list[np.ndarray]:
        """Return for each part the outputs (m, ...) float16 of a frozen ``tail``; only the tail is run.

        Args:
            tail: boundary activations to one tensor; its weights are part of the cache's key.
            parts: a split, and int (m,) which of its images, as they are.
        """
        config, engine = self._config, functools.cache(functools.partial(Engine, tail, self._config.engine, maps=True))

        def of_part(split: Split, positions: np.ndarray) -> np.ndarray:
            part, maps = split.part(positions), self.plain(split)
            key = _digest(_key(self._trunk, part, config), _key(tail, part, config))

            def draw(rows: np.ndarray) -> np.ndarray:
                return maps[positions[rows]]

            return _cached(key, len(part), engine, draw, config, title="features", progress=self._progress)

        return [of_part(split, positions) for split, positions in parts]

    def bytes_needed(self, validation: Split) -> int:
        """Return how many bytes of disk the views and the validation split take that are not cached yet.

        Raises:
            UserError: the disk has too little free space for them; the message names how many views would fit.
        """
        validation_path = _path(_key(self._trunk, validation, self._config), self._config)
        folder = validation_path.parent
        missing = sum(not _path(self._view_key(number), self._config).exists() for number in range(self.views))
        cached, needed = validation_path.exists(), missing * self.bytes_per_view
        for_validation = 0 if cached else self.bytes_per_view * len(validation) // len(self._split)
        available = max(0, free_bytes(folder) - DISK_RESERVE - for_validation)
        fitting = self.views - missing + available // self.bytes_per_view
        if fitting < self.views:
            on_pixels = "" if fitting else ", which trains on pixels"
            raise UserError(
                f"{counted(self.views, 'cached view')} would take {format_bytes(needed)} more in {folder}, where "
                f"{format_bytes(available)} are free besides the {format_bytes(DISK_RESERVE)} kept in reserve: "
                f"use --views {fitting}{on_pixels}, lower --image_size, or choose another disk with --cache_dir."
            )
        return needed + for_validation

    def _view_key(self, number: int) -> str:
        if self.plain_views:
            return self._key
        options = {name: getattr(self._config, name) for name in VIEW_OPTIONS}
        return _digest(self._key, json.dumps(options), str(number))


def image_chunks(n: int) -> Iterator[np.ndarray]:
    """Yield the positions 0 ... n - 1 in runs of at most ``CHUNK``."""
    for start in range(0, n, CHUNK):
        yield np.arange(start, min(start + CHUNK, n))


def _cached(
    key: str,
    n: int,
    engine: Callable[[], Engine],
    draw: Draw,
    config: RunConfig,
    *,
    title: str,
    progress: Progress | None,
) -> np.ndarray:
    """Open the cache file of ``key``; if it is missing or damaged, one process builds it first and all read it."""
    path, used = _path(key, config), []

    def chunks() -> Iterator[np.ndarray]:
        used.append(engine())
        advice = "Lower --views or --image_size, choose another disk with --cache_dir, or empty the cache."
        check_disk(path.parent, 2 * n * int(np.prod(used[0].shape)), advice, DISK_RESERVE)
        for positions in image_chunks(n):
            yield np.clip(used[0](draw(positions)), -FLOAT16_MAX, FLOAT16_MAX).astype("<f2")
            if progress:
                progress(title, int(positions[-1]) + 1, n)

    return open_array(path, chunks, lambda sha256: {"sha256": sha256, "engine": used[0].kind})[0]


def _path(key: str, config: RunConfig) -> Path:
    return cache_folder(config.cache_dir) / "features" / f"{key}.npy"


def _key(model: keras.Model, split: Split, config: RunConfig) -> str:
    """Name everything that decides the outputs: network, weights, preprocessing, images, and what computes them."""
    structure = json.dumps(list(_structure(model)), sort_keys=True, default=str)
    engine, _ = choose_engine(config.engine)
    if engine == "keras":
        engine = f"keras on {keras.backend.backend()}"
    return _digest(str(LAYOUT), structure, sha256_of_weights(model), split.fingerprint, engine)


def _structure(model: keras.Model) -> Iterator[tuple]:
    """Yield kind, settings and inputs of every layer that computes, and which outputs the network has.

    Names are left out, since Keras counts them up: a layer is identified by its place.
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
        outputs = described["output_layers"]
        outputs = [outputs] if isinstance(outputs[0], str) else outputs
        yield "gives", _placed([(name, tensor) for name, _, tensor in outputs], place)


def _placed(tensors: list[tuple[str, int]], place: dict[str, int]) -> list[tuple[int, int]]:
    return [(place[name], tensor) for name, tensor in tensors]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
