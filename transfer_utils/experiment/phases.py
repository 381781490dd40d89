"""What a run computes, phase by phase: the dataset, the two stages or the baseline, the evaluation, the saved model."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from transfer_utils import evaluation
from transfer_utils.config import NO_COPY, RunConfig
from transfer_utils.data.augment import tta_views
from transfer_utils.data.splits import Dataset, Split, load_dataset
from transfer_utils.errors import UserError
from transfer_utils.features import BoundaryCache, extract_features, image_chunks
from transfer_utils.models.batchnorm_folding import fold_batch_norms
from transfer_utils.models.engine import Engine, choose_engine, litert_missing
from transfer_utils.models.litert import LiteRT, convert
from transfer_utils.models.networks import (
    build_backbone,
    build_baseline_cnn,
    build_feature_extractor,
    build_full_model,
    build_tail,
    build_tail_extractor,
    build_top_classifier,
    build_trunk,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)
from transfer_utils.models.saving import load_model, name_classes, save_model
from transfer_utils.records import pack_bits
from transfer_utils.training import distribute
from transfer_utils.training.linear_head import solve_head, start_head
from transfer_utils.training.stages import Batch, Curves, run_stage1_training, run_stage2_finetuning, train_baseline
from transfer_utils.utils.files import write_bytes

if TYPE_CHECKING:
    from transfer_utils.experiment.session import RunSession
    from transfer_utils.records import RunRecord
    from transfer_utils.utils.progress import Log

CHECKPOINT = "checkpoint-{}.npz"

EXPORT_PRECISIONS = ("float32", "float16", "int8")

# Images that int8 is calibrated on: the converter's guide asks for a hundred to five hundred.
CALIBRATION = 500


def compute(session: RunSession) -> None:
    """Fill the record of ``sitting`` and leave the trained model beside it."""
    config = session.config
    _precisions(config)  # what cannot be exported is said before hours of training
    if names := distribute.devices(config):
        session.log(f"Trained on {len(names)} devices, {', '.join(names)}; the frozen part runs on one.")
    keras.utils.set_random_seed(config.seed)
    with session.phase("data"):
        dataset = load_dataset(config, session.progress)
    _describe(dataset, session)
    model = _train_transfer(dataset, session) if config.model == "transfer" else _train_baseline(dataset, session)
    with session.phase("saving"):
        _save(model, dataset, session)
    session.record.timing_sec.pop("evaluation", None)  # it begins anew, whatever an earlier sitting had of it
    with session.phase("evaluation"):
        _evaluate(dataset, session)
    if config.export != "none":
        with session.phase("export"):
            _evaluate_exports(dataset, session)
    session.log(_summary(session.record.metrics))


def predict_probabilities(
    engine: Engine | LiteRT,
    split: Split,
    config: RunConfig,
    *,
    tta: bool = False,
    known: np.ndarray | None = None,
    progress=None,
    title: str = "evaluation",
) -> np.ndarray:
    """Return class probabilities (n, classes) float32 for a split; with ``tta`` the mean over its views.

    Args:
        known: those of the images as they are, their first view, where they have been computed before.
    """
    parts = []
    for positions in image_chunks(len(split)):
        images = split.take(positions)
        views = tta_views(images, config.horizontal_flip, config.tta_shift) if tta else [images]
        found = [] if known is None else [known[positions]]
        found += [engine(view) for view in views[len(found) :]]
        parts.append(np.mean(found, axis=0))
        if progress:
            progress(title, int(positions[-1]) + 1, len(split))
    return np.concatenate(parts)


def _describe(dataset: Dataset, session: RunSession) -> None:
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    # Of other images the splits are drawn anew too: what was trained on may now be in the test split.
    session.restart_if_changed("The images", session.record.dataset.get("fingerprint"), dataset.fingerprint)
    session.record.dataset = {
        "name": dataset.name,
        "description": dataset.description,
        "fingerprint": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "images": {name: len(split) for name, split in splits.items()},
        "skipped": dataset.n_skipped,
    }
    session.record.notes = list(dataset.notes)
    for note in dataset.notes:
        session.log(note)
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
    session.log(f"{dataset.description}: {sizes} images, {len(dataset.class_names)} classes.")
    session.save()


def _train_transfer(dataset: Dataset, session: RunSession) -> keras.Model:
    config, record, n_classes = session.config, session.record, len(dataset.class_names)
    began = record.weights.get("sha256")
    with distribute.scope(config):
        base, record.weights = build_backbone(config)
    session.restart_if_changed(f"The weights of {config.weights}", began, record.weights["sha256"])
    extractor = build_feature_extractor(config, base)
    with distribute.scope(config):
        head = build_top_classifier(extractor.output.shape[-1], n_classes, config)
        model = build_full_model(base, head, config)
    kind, reason = choose_engine(config.engine)
    record.network = {"backbone_layers": len(base.layers), "parameters": model.count_params(), "engine": kind}
    record.network["backend"] = keras.backend.backend()
    width = f" alpha {config.alpha:g}" if config.backbone == "MobileNetV2" else ""
    session.log(
        f"{config.backbone}{width} at {config.image_size} px, weights from {record.weights['source']}: "
        f"{len(base.layers)} layers, {base.count_params():,} weights, {extractor.output.shape[-1]:,} features. "
        f"The frozen part runs on {kind} ({reason})."
    )

    cache = _cache_boundary(base, dataset, session) if config.n_unfreeze and config.epochs_stage2 else None
    _train_head(base, extractor, head, dataset, cache, session)
    if config.n_unfreeze and config.epochs_stage2:
        _fine_tune(base, head, dataset, cache, session)
    return model


def _cache_boundary(base: keras.Model, dataset: Dataset, session: RunSession) -> BoundaryCache | None:
    """Unfreeze the tail of ``base`` and return the cache before it, of which plain images are computed here.

    Returns None where stage 2 trains on pixels.
    """
    config, record = session.config, session.record
    unfrozen = unfreeze_model_tail(base, config.n_unfreeze, config.batch_norm)
    if not unfrozen.weights:
        raise UserError(f"None of the last {config.n_unfreeze} layers of {config.backbone} has weights: unfreeze more.")
    session.log(f"Stage 2: {unfrozen}, besides the head.")
    trunk, _ = split_at_freeze_boundary(base) if config.views else (None, base)
    if trunk is None:
        return None
    record.network["boundary"] = {"layer": trunk.layers[-1].name, "shape": list(trunk.output.shape[1:])}
    classes = len(dataset.class_names)
    cache = BoundaryCache(build_trunk(trunk, config), dataset.train, classes, config, session.progress)
    if needed := cache.bytes_needed(dataset.validation):
        session.log(f"{_views(cache.views)} of each training image pass the frozen part: {needed / 1e9:.2f} GB.")
    if cache.plain_views:
        _fill(cache, dataset, session)
    return cache


def _fill(cache: BoundaryCache, dataset: Dataset, session: RunSession) -> None:
    with session.phase("boundary"):
        cache.plain(dataset.validation)
        for number in range(cache.views):
            cache.view(number)


def _train_head(
    base: keras.Model,
    extractor: keras.Model,
    head: keras.Model,
    dataset: Dataset,
    cache: BoundaryCache | None,
    session: RunSession,
) -> None:
    """Stage 1: solve the head where it is linear, then train it for the epochs that are asked for, if any."""
    config, record = session.config, session.record
    record.network["trainable_stage1"] = _trainable(head)
    solved = config.head_start == "convex" and config.head == "batchnorm" and not config.hidden_units
    if not (solved or config.epochs_stage1):
        return
    splits = (dataset.train, dataset.validation)
    with session.phase("features"):
        if cache and cache.plain_views:
            tail = build_tail_extractor(split_at_freeze_boundary(base)[1])
            features = [cache.features(tail, split) for split in splits]
        else:
            engine = functools.cache(lambda: Engine(extractor, config.engine))
            features = [
                extract_features(extractor, split, config, engine=engine, progress=session.progress) for split in splits
            ]
    with session.phase("stage1"):
        labels = [_one_hot(split, len(dataset.class_names)) for split in splits]
        data = list(zip(features, labels, strict=True))
        on_begin = functools.partial(_start_from_solution, head, *data, session) if solved else None
        if config.epochs_stage1:
            run_stage1_training(head, *data, config, on_begin=on_begin, **_hooks("stage1", session))
        elif on_begin:
            on_begin()
    _tell("stage 1", record.curves.get("stage1", {}), session)


def _start_from_solution(head: keras.Model, train: Batch, validation: Batch, session: RunSession) -> None:
    """Solve the linear head and set the Keras head to the solution."""
    solved = solve_head(train, validation, session.config.label_smoothing)
    start_head(head, solved)
    session.record.metrics["val_convex"] = solved.val_accuracy
    session.log(
        "Softmax regression on the frozen features: validation accuracy "
        f"{100 * solved.val_accuracy:.1f} % (L2 {solved.l2:.2g})."
    )
    session.save()  # before the first checkpoint: a sitting that resumes from one does not come here


def _fine_tune(
    base: keras.Model, head: keras.Model, dataset: Dataset, cache: BoundaryCache | None, session: RunSession
) -> None:
    """Stage 2: train the unfrozen tail and the head, on cached activations where there are any."""
    config, labels = session.config, _one_hot(dataset.validation, len(dataset.class_names))
    session.record.network["trainable_stage2"] = _trainable(base) + _trainable(head)
    if cache and not cache.plain_views:
        _fill(cache, dataset, session)
    with session.phase("stage2"):
        with distribute.scope(config):
            if cache:
                model = build_tail(split_at_freeze_boundary(base)[1], head)
            else:
                model = build_full_model(fold_batch_norms(base), head, config)
        train = cache or dataset.train
        inputs = cache.plain(dataset.validation) if cache else dataset.validation.take()
        run_stage2_finetuning(model, train, (inputs, labels), config, **_hooks("stage2", session))
    _tell("stage 2", session.record.curves["stage2"], session)


def _views(number: int) -> str:
    return "One view" if number == 1 else f"{number} views"


def _train_baseline(dataset: Dataset, session: RunSession) -> keras.Model:
    config, n_classes = session.config, len(dataset.class_names)
    with distribute.scope(config):
        model = build_baseline_cnn(n_classes, config.stored_size)
    session.record.network = {"parameters": model.count_params(), "trainable_stage1": _trainable(model)}
    session.record.network["backend"] = keras.backend.backend()
    validation = (dataset.validation.take(), _one_hot(dataset.validation, n_classes))
    with session.phase("baseline"):
        train_baseline(model, dataset.train, validation, config, **_hooks("baseline", session))
    _tell("baseline", session.record.curves.get("baseline", {}), session)
    return model


def _save(model: keras.Model, dataset: Dataset, session: RunSession) -> None:
    suffix = "" if session.config.model == "transfer" else "_baseline"
    save_model(model, session.folder / "model.keras")
    session.record.files = {"model": "model.keras"}
    for precision in _precisions(session.config):
        name = f"model-{precision}.tflite"
        calibration = _calibration(dataset.train) if precision == "int8" else None
        write_bytes(session.folder / name, convert(model, 1, precision, calibration))
        name_classes(session.folder / name, list(dataset.class_names))
        session.record.files[precision] = name
    if session.config.model_path == NO_COPY:
        return
    outside = Path(session.config.model_path or f"{dataset.name}{suffix}.h5")
    copy_model(model, session.record, outside, session.log)
    session.record.files["exported"] = str(outside)


def copy_model(model: keras.Model, record: RunRecord, path: Path, log: Log) -> None:
    """Write a run's model outside its folder, with the names of its classes beside it."""
    save_model(model, path)
    name_classes(path, record.dataset["class_names"])
    log(f"Saved the model as {path}.")


def _precisions(config: RunConfig) -> tuple[str, ...]:
    """Return the precisions of the LiteRT files that the run is to leave."""
    if config.export == "none":
        return ()
    if missing := litert_missing():
        raise UserError(f"export must be 'none' here, got {config.export!r}: {missing}.")
    return EXPORT_PRECISIONS if config.export == "all" else (config.export,)


def _calibration(split: Split) -> np.ndarray:
    """Return training images, spread over the split, that show the converter the range of every activation."""
    return split.take(np.linspace(0, len(split) - 1, min(CALIBRATION, len(split))).astype(int))


def _evaluate(dataset: Dataset, session: RunSession) -> None:
    """Write the metrics of the final model. Only here and in ``_evaluate_exports`` is the test split read."""
    config, record = session.config, session.record
    # The saved file is what is judged, so that the numbers are true of it.
    engine = Engine(load_model(session.folder / "model.keras"), config.engine)
    sample, plain = dataset.train.part(np.arange(min(evaluation.TRAIN_SAMPLE, len(dataset.train)))), {}
    for key, split in (("train", sample), ("val", dataset.validation), ("test", dataset.test)):
        plain[key], result = _judge(engine, split, f"evaluating on {key}", dataset, session)
        record.metrics |= _with_interval(key, result, f"{key}_end2end")
        record.metrics |= {f"{key}_loss": result["loss"], f"{key}_ece": result["ece"]}
    record.confusion_matrix, record.per_class = result["confusion_matrix"], result["per_class"]
    record.calibration = evaluation.calibration(plain["test"], dataset.test.labels)
    correct = plain["test"].argmax(axis=1) == dataset.test.labels
    record.test_correct = pack_bits(correct)
    if config.tta:
        for key, split in (("val", dataset.validation), ("test", dataset.test)):
            title, look = f"evaluating on {key}, averaged views", {"tta": True, "known": plain[key]}
            _, result = _judge(engine, split, title, dataset, session, **look)
            record.metrics |= _with_interval(f"{key}_tta", result)


def _evaluate_exports(dataset: Dataset, session: RunSession) -> None:
    record = session.record
    for precision in _precisions(session.config):
        file = session.folder / record.files[precision]
        exported = LiteRT(file.read_bytes())
        for key, split in (("val", dataset.validation), ("test", dataset.test)):
            _, result = _judge(exported, split, f"evaluating {file.name} on {key}", dataset, session)
            record.metrics |= _with_interval(f"{key}_{precision}", result)
        accuracy, size = record.metrics[f"test_{precision}"], file.stat().st_size
        session.log(f"{file}: {size / 1e6:.2f} MB, test accuracy {100 * accuracy:.1f} %.")


def _judge(
    engine: Engine | LiteRT, split: Split, title: str, dataset: Dataset, session: RunSession, **look
) -> tuple[np.ndarray, dict]:
    """Return the probabilities (n, classes) of a split and what they say of it."""
    found = predict_probabilities(engine, split, session.config, progress=session.progress, title=title, **look)
    return found, evaluation.evaluate(found, split.labels, list(dataset.class_names))


def _with_interval(name: str, result: dict, accuracy: str = "") -> dict[str, float]:
    return {accuracy or name: result["accuracy"], f"{name}_low": result["low"], f"{name}_high": result["high"]}


def _hooks(name: str, session: RunSession) -> dict:
    """Return what a stage reports to: its checkpoint in the run's folder, the record after each epoch, the bar."""

    def on_epoch_end(epoch: int, curves: Curves) -> None:
        session.record.curves = {**session.record.curves, name: curves}
        session.save()

    return {
        "checkpoint": session.folder / CHECKPOINT.format(name),
        "on_epoch_end": on_epoch_end,
        "on_step_end": session.progress,
    }


def _tell(title: str, curves: Curves, session: RunSession) -> None:
    """Say how a stage went: its epoch of least validation loss."""
    if not curves:
        return
    best = int(np.argmin(curves["val_loss"]))
    session.log(
        f"{title}: validation accuracy {100 * curves['val_accuracy'][best]:.1f} % in the best of "
        f"{len(curves['val_accuracy'])} epochs, {sum(curves['seconds']):.0f} s."
    )


def _summary(metrics: dict[str, float | None]) -> str:
    line = f"Test accuracy {100 * metrics['test_end2end']:.1f} %"
    line += f" (95 % interval {100 * metrics['test_low']:.1f} to {100 * metrics['test_high']:.1f})"
    if metrics.get("test_tta") is not None:
        line += f", {100 * metrics['test_tta']:.1f} % with test-time augmentation"
    return line + "."


def _trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def _one_hot(split: Split, n_classes: int) -> np.ndarray:
    return np.eye(n_classes, dtype="float32")[split.labels]
