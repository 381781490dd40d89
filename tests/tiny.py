"""A dataset of sixty images of two classes and a backbone of a dozen layers, which train in seconds."""

import functools
import sys

import numpy as np
from PIL import Image

from transfer_utils.config.options import RunConfig, preset
from transfer_utils.data.dataset import Split

SIDE = 32
PER_CLASS = {"train": 20, "validation": 5, "test": 5}
CLASSES = ["rings", "stripes"]

# Every split is a whole number of batches, so that each function is traced for a single shape.
OPTIONS = {
    "dataset": "folder",
    "weights": "random",
    "image_size": SIDE,
    "hidden_units": 0,
    "n_unfreeze": 3,
    "epochs_stage1": 2,
    "epochs_stage2": 2,
    "batch_size": 10,
    "learning_rate_stage2": 1e-3,
    "augment": True,
    "views": 2,
}

SMALL = [__file__]  # arguments of Python for the command line with the small backbone

# The command line with a training that only takes a tenth of a second per epoch, and resumes from its record.
TRAINING = """
import sys, time, types
from transfer_utils.cli.main import main

def compute(session):
    stage = "stage2" if session.config.n_unfreeze else "stage1"
    losses = session.record.curves.setdefault(stage, {"loss": []})["loss"]
    while len(losses) < session.config.epochs_stage2:
        time.sleep(0.1)
        losses.append(1.0 - len(losses) / 100)
        session.save()

phases = types.ModuleType("phases")
phases.compute = compute
sys.modules["transfer_utils.experiment.phases"] = phases
sys.exit(main())
"""


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def quiet(line: str) -> None:
    """Log nothing."""


def raise_interrupt(*args, **options) -> None:
    raise KeyboardInterrupt


def config(**options) -> RunConfig:
    """Return the options of a run that takes a few seconds."""
    return preset("none", **{"data_dir": image_folder(), **OPTIONS, **options})


@functools.cache
def image_folder() -> str:
    """Return a folder of PNG images, ``<split>/<class>/<n>.png``, which is created once per session."""
    from tests.conftest import CACHES  # here: it creates caches, which a child process inherits

    rng = np.random.default_rng(0)
    down, across = np.mgrid[:SIDE, :SIDE]
    for split, count in PER_CLASS.items():
        for name in CLASSES:
            folder = CACHES / "shapes" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                distance = across if name == "stripes" else np.hypot(down - rng.integers(SIDE), across - SIDE // 2)
                light = 127 + 80 * np.sin(distance * rng.uniform(0.7, 1.3))
                pixels = light[..., None] + rng.normal(0, 25, (SIDE, SIDE, 3)) + rng.uniform(-40, 40, 3)
                Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(folder / f"{number}.png")
    return str(CACHES / "shapes")


def split(seed: int = 0, n: int = 40, side: int = SIDE) -> Split:
    """Return random pictures, of two classes in turn."""
    images = np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)
    return Split(images, np.arange(n) % 2, np.arange(n))


def backbone(input_shape: tuple[int, int, int] = (SIDE, SIDE, 3), **ignored):
    """Build a small substitute for ``keras.applications.MobileNetV2`` with one residual block.

    The last three layers are a Conv, a BatchNorm and a ReLU; every path passes the layer before them.
    """
    import keras
    from keras import layers

    pixels = keras.Input(input_shape)
    x = layers.Conv2D(8, 3, strides=4, padding="same", use_bias=False, name="conv_1")(pixels)
    x = layers.BatchNormalization(momentum=0.999, name="norm_1")(x)
    x = layers.ReLU(6, name="relu_1")(x)
    branch = layers.Conv2D(8, 1, use_bias=False, name="conv_2")(x)
    branch = layers.BatchNormalization(momentum=0.999, name="norm_2")(branch)
    x = layers.Add(name="add")([x, branch])
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv_3")(x)
    x = layers.BatchNormalization(momentum=0.999, name="norm_3")(x)
    x = layers.ReLU(6, name="relu_3")(x)
    return keras.Model(pixels, x, name="tiny")


def model(options: RunConfig, classes: int = 2):
    """Return the backbone with the head of these options, from pixels to probabilities."""
    from transfer_utils.models.networks import build_full_model, build_top_classifier

    base = backbone((options.image_size, options.image_size, 3))
    return build_full_model(base, build_top_classifier(16, classes, options), options)


def use_backbone(monkeypatch) -> None:
    """Replace ``MobileNetV2`` by ``backbone`` until the end of a test."""
    import keras

    monkeypatch.setattr(keras.applications, "MobileNetV2", backbone)


def weights_of(model) -> dict[str, np.ndarray]:
    """Return a copy of all weights of a model by path."""
    return {weight.path: weight.numpy().copy() for weight in model.weights}


def moved(before: dict[str, np.ndarray], model) -> set[str]:
    """Return the paths of the weights that have changed in any bit."""
    return {path for path, value in weights_of(model).items() if value.tobytes() != before[path].tobytes()}


if __name__ == "__main__":  # the command line, with the small backbone
    import keras

    from transfer_utils.cli.main import main

    keras.applications.MobileNetV2 = backbone
    sys.exit(main())
