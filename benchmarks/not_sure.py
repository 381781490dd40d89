"""How well three scores of a classifier tell pictures that are none of its classes from its own test images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import scipy.special

from transfer_utils.config.options import RunConfig, preset
from transfer_utils.data.photo_digits import photo_halves, random_crop, render_digits
from transfer_utils.data.photo_letters import render_letters
from transfer_utils.data.splits import load_dataset
from transfer_utils.evaluation.not_sure import auroc, not_sure_threshold
from transfer_utils.experiment.run import run_experiment
from transfer_utils.models.engine import Engine
from transfer_utils.models.saving import load_model

PRESETS = ("offline", "cifar10-fast")
FOREIGN = 2_000  # pictures of each kind
LETTERS_SEED = 1  # the backbone of the offline preset was pretrained on letters of seed 0

# Of logits (n, classes); each is higher for pictures like those of the training.
SCORES = {
    "largest probability": lambda logits: scipy.special.softmax(logits, axis=1).max(axis=1),  # arXiv 1610.02136
    "largest logit": lambda logits: logits.max(axis=1),  # Hendrycks et al. 2022, arXiv 1911.11132
    "energy": lambda logits: scipy.special.logsumexp(logits, axis=1),  # Liu et al. 2020, arXiv 2010.03759
}


def not_sure(data_dir: str, runs: str) -> list[dict[str, Any]]:
    """Return a row for each preset: what each score does to its test images, and to each kind of foreign pictures.

    For the test images, ``share`` is the share that gets no answer and ``right`` the accuracy on the others, for the
    threshold that the preset's ``not_sure_rate`` gives on validation; for foreign pictures, the ``share`` that gets no
    answer and the ``auroc`` with its interval.

    Args:
        runs: folder of runs; those of the presets are trained there unless it has them, complete and with their models.
    """
    rows = []
    for name in PRESETS:
        images = {"data_dir": data_dir} if name.startswith("cifar10") else {}
        config = preset(name, output_dir=runs, model_path="none", **images)
        run = run_experiment(config, reuse=True)
        logits_of = Engine(without_softmax(load_model(run.folder / run.record.files["model"])), config.engine)
        dataset = load_dataset(config)
        validation, test = (logits_of(split.take()) for split in (dataset.validation, dataset.test))
        right = test.argmax(axis=1) == dataset.test.labels
        foreign = {kind: logits_of(pictures) for kind, pictures in foreign_pictures(config).items()}
        row: dict[str, Any] = {
            "data": dataset.description,
            "fingerprint": run.record.fingerprint,
            "rate": config.not_sure_rate,
        }
        row["images"] = {"test": len(test), **{kind: len(logits) for kind, logits in foreign.items()}}
        row["test"], row["foreign"] = {}, {kind: {} for kind in foreign}
        for score, of in SCORES.items():
            threshold = not_sure_threshold(of(validation), config.not_sure_rate)
            answered = of(test) >= threshold
            row["test"][score] = {"share": float(1 - answered.mean()), "right": float(right[answered].mean())}
            for kind, logits in foreign.items():
                share = float((of(logits) < threshold).mean())
                row["foreign"][kind][score] = {"auroc": auroc(of(test), of(logits))[:3], "share": share}
        rows.append(row)
    return rows


def without_softmax(model: keras.Model) -> keras.Model:
    """Return the model from pixels to logits; it shares all layers but the last activation."""
    *_, last = model.layers
    inner = last.layers[-1] if hasattr(last, "layers") else last
    inner.activation = keras.activations.linear
    return model


def foreign_pictures(config: RunConfig) -> dict[str, np.ndarray]:
    """Return pictures of other things, uint8 (n, 32, 32, 3), by what they show."""
    rng = np.random.default_rng(0)
    kinds = {"letters": render_letters(FOREIGN, LETTERS_SEED)[0]}
    if config.dataset != "photo-digits":
        kinds["digits on photographs"] = render_digits()[0]
    crops = [random_crop(photo_halves("left"), rng) for _ in range(FOREIGN)]
    kinds["photographs without a glyph"] = np.stack(crops)
    kinds["uniform noise"] = rng.integers(0, 256, (FOREIGN, 32, 32, 3), dtype=np.uint8)
    return kinds
