"""The evaluation of the saved model on all splits; no model is asked about the test split before it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.data.augment import tta_views
from transfer_utils.data.dataset import Dataset, Split
from transfer_utils.evaluation import metrics
from transfer_utils.evaluation.not_sure import describe_not_sure, not_sure_threshold
from transfer_utils.evaluation.percent import percent
from transfer_utils.experiment.session import RunSession
from transfer_utils.features import CHUNK, image_chunks
from transfer_utils.models.engine import Engine
from transfer_utils.models.litert import LiteRT
from transfer_utils.models.saving import load_model, name_classes
from transfer_utils.records.predictions import PREDICTIONS_NAME, SPLITS, Predictions, save_predictions
from transfer_utils.records.record import pack_bits
from transfer_utils.utils.progress import Progress

TRAIN_SAMPLE = 5000  # training images that are evaluated; enough for the train-validation gap to within a point
MAX_MATRIX = 500  # classes; that of more would make the record too large, and can be had from the predictions beside it


class TimedEngine:
    """Calls an engine and adds up the images and the seconds that the calls took."""

    def __init__(self, engine: Engine | LiteRT):
        self._engine, self.images, self.seconds = engine, 0, 0.0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        started = time.monotonic()
        outputs = self._engine(images)
        self.seconds += time.monotonic() - started
        self.images += len(images)
        return outputs


def evaluate_model(dataset: Dataset, session: RunSession) -> Predictions:
    """Write the metrics of the final model into the record of ``session``, and its predictions beside it.

    Returns:
        The predictions for the test split.
    """
    config, record = session.config, session.record
    # The saved file is evaluated, so that the numbers describe it.
    engine = Engine(load_model(session.folder / "model.keras"), config.engine)
    for size in (CHUNK, 1):  # calls of two sizes prepare the engine for batches of any, which is not to be timed
        engine(dataset.train.take(slice(size)))
    engine = TimedEngine(engine)
    sample = dataset.train.part(np.arange(min(TRAIN_SAMPLE, len(dataset.train))))
    splits, probabilities = {"train": sample, "val": dataset.validation, "test": dataset.test}, {}
    for key, split in splits.items():
        probabilities[key] = _predict(engine, split, f"evaluating on {key}", session)
        result = metrics.evaluate(probabilities[key], split.labels, dataset.class_names)
        record.metrics |= _with_interval(key, result, f"{key}_end2end")
        record.metrics |= {f"{key}_loss": result["loss"], f"{key}_ece": result["ece"]}
        if key == "test":
            record.per_class = result["per_class"]
            if len(dataset.class_names) <= MAX_MATRIX:
                record.confusion_matrix = result["confusion_matrix"]
    record.calibration = metrics.calibration(probabilities["test"], dataset.test.labels)
    held_out = {key: probabilities[key] for key in SPLITS}
    record.not_sure = describe_not_sure(held_out, dataset.test.labels, config.not_sure_rate)
    predictions = {key: _kept(probabilities[key], splits[key]) for key in SPLITS}
    save_predictions(session.folder / PREDICTIONS_NAME, predictions)
    record.files["predictions"] = PREDICTIONS_NAME
    record.test_correct = pack_bits(predictions["test"].predicted == dataset.test.labels)
    if config.tta:
        for key in ("val", "test"):
            title, plain = f"evaluating on {key}, averaged views", probabilities[key]
            averaged = _predict(engine, splits[key], title, session, tta=True, plain=plain)
            result = metrics.evaluate(averaged, splits[key].labels, dataset.class_names)
            record.metrics |= _with_interval(f"{key}_tta", result)
    record.inference = {"images": engine.images, "seconds": round(engine.seconds, 3)}
    return predictions["test"]


def evaluate_exports(precisions: tuple[str, ...], dataset: Dataset, session: RunSession) -> None:
    """Write the accuracy and the threshold of every exported LiteRT file into the record of ``session``.

    Beside each file, its class names and its threshold are written.
    """
    record = session.record
    for precision in precisions:
        file = session.folder / record.files[precision]
        exported = LiteRT(file.read_bytes())
        for key, split in (("val", dataset.validation), ("test", dataset.test)):
            probabilities = _predict(exported, split, f"evaluating {file.name} on {key}", session)
            if key == "val":  # on what the file gives, as ``predict`` reads it
                threshold = not_sure_threshold(probabilities.max(axis=1), session.config.not_sure_rate)
            # In int8 they are multiples of 1/256, so that a row may sum to a little less than 1.
            # With hundreds of classes all of a row may be 0: the file then says nothing.
            sums = probabilities.sum(axis=1, keepdims=True)
            probabilities = np.where(sums > 0, probabilities / np.maximum(sums, 1 / 256), 1 / probabilities.shape[1])
            result = metrics.evaluate(probabilities, split.labels, dataset.class_names)
            record.metrics |= _with_interval(f"{key}_{precision}", result)
        record.not_sure = {**record.not_sure, f"threshold_{precision}": threshold}
        name_classes(file, record)
        accuracy, size = record.metrics[f"test_{precision}"], file.stat().st_size
        session.log(f"{file}: {size / 1e6:.2f} MB, test accuracy {percent(accuracy)}.")


def predict_probabilities(
    engine: Engine | LiteRT | TimedEngine,
    split: Split,
    config: RunConfig,
    *,
    tta: bool = False,
    plain: np.ndarray | None = None,
    progress: Progress | None = None,
    title: str = "evaluation",
) -> np.ndarray:
    """Return class probabilities (n, classes) float32 for a split; with ``tta`` the mean over its views.

    Args:
        plain: float32 (n, classes), the probabilities of the unchanged images (the first view), if already computed.
    """
    chunks = []
    for positions in image_chunks(len(split)):
        images = split.take(positions)
        views = tta_views(images, config.horizontal_flip, config.tta_shift) if tta else [images]
        outputs = [] if plain is None else [plain[positions]]
        outputs += [engine(view) for view in views[len(outputs) :]]
        chunks.append(np.mean(outputs, axis=0))
        if progress:
            progress(title, int(positions[-1]) + 1, len(split))
    return np.concatenate(chunks)


def _predict(engine: LiteRT | TimedEngine, split: Split, title: str, session: RunSession, **views: Any) -> np.ndarray:
    return predict_probabilities(engine, split, session.config, progress=session.progress, title=title, **views)


def _kept(probabilities: np.ndarray, split: Split) -> Predictions:
    return Predictions(probabilities, split.labels, split.index, probabilities.argmax(axis=1), split.names())


def _with_interval(name: str, result: dict[str, Any], accuracy: str = "") -> dict[str, float]:
    return {accuracy or name: result["accuracy"], f"{name}_low": result["low"], f"{name}_high": result["high"]}
