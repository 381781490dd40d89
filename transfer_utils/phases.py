"""What a run computes, phase by phase: the dataset, the two stages or the baseline, the evaluation, the saved model."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from transfer_utils import distribute, evaluation
from transfer_utils.augment import tta_views
from transfer_utils.config import NO_COPY, RunConfig
from transfer_utils.convex import solve_head, start_head
from transfer_utils.data import Dataset, Split, load_dataset
from transfer_utils.engine import Engine, choose_engine, litert_missing
from transfer_utils.errors import UserError
from transfer_utils.features import BoundaryCache, extract_features, image_chunks
from transfer_utils.files import write_bytes
from transfer_utils.folding import fold_batch_norms
from transfer_utils.litert import LiteRT, convert
from transfer_utils.model_files import load_model, save_model
from transfer_utils.models import (
    build_backbone,
    build_baseline_cnn,
    build_feature_extractor,
    build_full_model,
    build_tail,
    build_top_classifier,
    build_trunk,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)
from transfer_utils.predict import name_classes
from transfer_utils.records import pack_bits
from transfer_utils.training import Batch, Curves, run_stage1_training, run_stage2_finetuning, train_baseline

if TYPE_CHECKING:
    from transfer_utils.experiment import Say, Sitting
    from transfer_utils.records import RunRecord

CHECKPOINT = "checkpoint-{}.npz"

PRECISIONS = ("float32", "float16", "int8")

# Images that int8 is calibrated on: the converter's guide asks for a hundred to five hundred.
CALIBRATION = 500


def compute(sitting: Sitting) -> None:
    """Fill the record of ``sitting`` and leave the trained model beside it."""
    config = sitting.config
    _precisions(config)  # what cannot be exported is said before hours of training
    if names := distribute.devices(config):
        sitting.say(f"Trained on {len(names)} devices, {', '.join(names)}; the frozen part runs on one.")
    keras.utils.set_random_seed(config.seed)
    with sitting.phase("data"):
        dataset = load_dataset(config, sitting.progress)
    _describe(dataset, sitting)
    model = _train_transfer(dataset, sitting) if config.model == "transfer" else _train_baseline(dataset, sitting)
    with sitting.phase("saving"):
        _save(model, dataset, sitting)
    sitting.record.timing_sec.pop("evaluation", None)  # it begins anew, whatever an earlier sitting had of it
    with sitting.phase("evaluation"):
        _evaluate(dataset, sitting)
    if config.export != "none":
        with sitting.phase("export"):
            _evaluate_exports(dataset, sitting)
    sitting.say(_summary(sitting.record.metrics))


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


def _describe(dataset: Dataset, sitting: Sitting) -> None:
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    # Of other images the splits are drawn anew too: what was trained on may now be in the test split.
    sitting.goes_on_with("The images", sitting.record.dataset.get("fingerprint"), dataset.fingerprint)
    sitting.record.dataset = {
        "name": dataset.name,
        "description": dataset.description,
        "fingerprint": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "images": {name: len(split) for name, split in splits.items()},
        "skipped": dataset.n_skipped,
    }
    sitting.record.notes = list(dataset.notes)
    for note in dataset.notes:
        sitting.say(note)
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
    sitting.say(f"{dataset.description}: {sizes} images, {len(dataset.class_names)} classes.")
    sitting.save()


def _train_transfer(dataset: Dataset, sitting: Sitting) -> keras.Model:
    config, record, n_classes = sitting.config, sitting.record, len(dataset.class_names)
    began = record.weights.get("sha256")
    with distribute.scope(config):
        base, record.weights = build_backbone(config)
    sitting.goes_on_with(f"The weights of {config.weights}", began, record.weights["sha256"])
    extractor = build_feature_extractor(config, base)
    with distribute.scope(config):
        head = build_top_classifier(extractor.output.shape[-1], n_classes, config)
        model = build_full_model(base, head, config)
    kind, reason = choose_engine(config.engine)
    record.network = {"backbone_layers": len(base.layers), "parameters": model.count_params(), "engine": kind}
    record.network["backend"] = keras.backend.backend()
    width = f" alpha {config.alpha:g}" if config.backbone == "MobileNetV2" else ""
    sitting.say(
        f"{config.backbone}{width} at {config.image_size} px, weights from {record.weights['source']}: "
        f"{len(base.layers)} layers, {base.count_params():,} weights, {extractor.output.shape[-1]:,} features. "
        f"The frozen part runs on {kind} ({reason})."
    )

    with sitting.phase("features"):
        engine = functools.cache(lambda: Engine(extractor, config.engine))
        train, validation = (
            extract_features(extractor, split, config, engine=engine, progress=sitting.progress)
            for split in (dataset.train, dataset.validation)
        )
    labels = [_one_hot(split, n_classes) for split in (dataset.train, dataset.validation)]
    with sitting.phase("stage1"):
        record.network["trainable_stage1"] = _trainable(head)
        data, hooks = ((train, labels[0]), (validation, labels[1])), _hooks("stage1", sitting)
        if config.head_start == "convex" and config.head == "batchnorm" and not config.hidden_units:
            hooks["begin"] = functools.partial(_start_from_solution, head, *data, sitting)
        run_stage1_training(head, *data, config, **hooks)
    _tell("stage 1", record.curves.get("stage1", {}), sitting)
    if config.n_unfreeze and config.epochs_stage2:
        _fine_tune(base, head, dataset, sitting)
    return model


def _start_from_solution(head: keras.Model, train: Batch, validation: Batch, sitting: Sitting) -> None:
    """Solve the linear head and set the Keras head to the solution."""
    solved = solve_head(train, validation, sitting.config.label_smoothing)
    start_head(head, solved)
    hits = head.predict(np.asarray(validation[0], "float32"), verbose=0, batch_size=1024).argmax(1)
    accuracy = float(np.mean(hits == validation[1].argmax(1)))
    sitting.record.metrics["val_convex"] = accuracy
    sitting.say(
        f"Softmax regression on the frozen features: validation accuracy {100 * accuracy:.1f} % (L2 {solved.l2:.2g})."
    )
    sitting.save()  # before the first checkpoint: a sitting that resumes from one does not come here


def _fine_tune(base: keras.Model, head: keras.Model, dataset: Dataset, sitting: Sitting) -> None:
    config, record, n_classes = sitting.config, sitting.record, len(dataset.class_names)
    unfrozen = unfreeze_model_tail(base, config.n_unfreeze, config.batch_norm)
    if not unfrozen.weights:
        raise UserError(f"None of the last {config.n_unfreeze} layers of {config.backbone} has weights: unfreeze more.")
    sitting.say(f"Stage 2: {unfrozen}, besides the head.")
    record.network["trainable_stage2"] = unfrozen.weights + _trainable(head)
    labels = _one_hot(dataset.validation, n_classes)
    trunk, tail = split_at_freeze_boundary(base) if config.views else (None, base)
    if trunk is None:
        train, inputs = dataset.train, dataset.validation.take()
    else:
        record.network["boundary"] = {"layer": trunk.layers[-1].name, "shape": list(trunk.output.shape[1:])}
        train = BoundaryCache(build_trunk(trunk, config), dataset.train, n_classes, config, sitting.progress)
        if needed := train.bytes_needed(dataset.validation):
            sitting.say(f"{train.views} views of each training image pass the frozen part: {needed / 1e9:.2f} GB.")
        with sitting.phase("boundary"):
            inputs = train.plain(dataset.validation)
            for number in range(train.views):
                train.view(number)
    with sitting.phase("stage2"):
        with distribute.scope(config):
            model = build_full_model(fold_batch_norms(base), head, config) if trunk is None else build_tail(tail, head)
        run_stage2_finetuning(model, train, (inputs, labels), config, **_hooks("stage2", sitting))
    _tell("stage 2", record.curves["stage2"], sitting)


def _train_baseline(dataset: Dataset, sitting: Sitting) -> keras.Model:
    config, n_classes = sitting.config, len(dataset.class_names)
    with distribute.scope(config):
        model = build_baseline_cnn(n_classes, config.stored_size)
    sitting.record.network = {"parameters": model.count_params(), "trainable_stage1": _trainable(model)}
    sitting.record.network["backend"] = keras.backend.backend()
    validation = (dataset.validation.take(), _one_hot(dataset.validation, n_classes))
    with sitting.phase("baseline"):
        train_baseline(model, dataset.train, validation, config, **_hooks("baseline", sitting))
    _tell("baseline", sitting.record.curves.get("baseline", {}), sitting)
    return model


def _save(model: keras.Model, dataset: Dataset, sitting: Sitting) -> None:
    suffix = "" if sitting.config.model == "transfer" else "_baseline"
    save_model(model, sitting.folder / "model.keras")
    sitting.record.files = {"model": "model.keras"}
    for precision in _precisions(sitting.config):
        name = f"model-{precision}.tflite"
        calibration = _calibration(dataset.train) if precision == "int8" else None
        write_bytes(sitting.folder / name, convert(model, 1, precision, calibration))
        name_classes(sitting.folder / name, list(dataset.class_names))
        sitting.record.files[precision] = name
    if sitting.config.model_path == NO_COPY:
        return
    outside = Path(sitting.config.model_path or f"{dataset.name}{suffix}.h5")
    copy_model(model, sitting.record, outside, sitting.say)
    sitting.record.files["exported"] = str(outside)


def copy_model(model: keras.Model, record: RunRecord, path: Path, say: Say) -> None:
    """Write a run's model outside its folder, with the names of its classes beside it."""
    save_model(model, path)
    name_classes(path, record.dataset["class_names"])
    say(f"Saved the model as {path}.")


def _precisions(config: RunConfig) -> tuple[str, ...]:
    """Return the precisions of the LiteRT files that the run is to leave."""
    if config.export == "none":
        return ()
    if missing := litert_missing():
        raise UserError(f"export must be 'none' here, got {config.export!r}: {missing}.")
    return PRECISIONS if config.export == "all" else (config.export,)


def _calibration(split: Split) -> np.ndarray:
    """Return training images, spread over the split, that show the converter the range of every activation."""
    return split.take(np.linspace(0, len(split) - 1, min(CALIBRATION, len(split))).astype(int))


def _evaluate(dataset: Dataset, sitting: Sitting) -> None:
    """Write the metrics of the final model. Only here and in ``_evaluate_exports`` is the test split read."""
    config, record = sitting.config, sitting.record
    # The saved file is what is judged, so that the numbers are true of it.
    engine = Engine(load_model(sitting.folder / "model.keras"), config.engine)
    sample, plain = dataset.train.part(np.arange(min(evaluation.TRAIN_SAMPLE, len(dataset.train)))), {}
    for key, split in (("train", sample), ("val", dataset.validation), ("test", dataset.test)):
        plain[key], result = _judge(engine, split, f"evaluating on {key}", dataset, sitting)
        record.metrics |= _with_interval(key, result, f"{key}_end2end")
        record.metrics |= {f"{key}_loss": result["loss"], f"{key}_ece": result["ece"]}
    record.confusion_matrix, record.per_class = result["confusion_matrix"], result["per_class"]
    record.calibration = evaluation.calibration(plain["test"], dataset.test.labels)
    correct = plain["test"].argmax(axis=1) == dataset.test.labels
    record.test_correct = pack_bits(correct)
    if config.tta:
        for key, split in (("val", dataset.validation), ("test", dataset.test)):
            title, look = f"evaluating on {key}, averaged views", {"tta": True, "known": plain[key]}
            _, result = _judge(engine, split, title, dataset, sitting, **look)
            record.metrics |= _with_interval(f"{key}_tta", result)


def _evaluate_exports(dataset: Dataset, sitting: Sitting) -> None:
    record = sitting.record
    for precision in _precisions(sitting.config):
        file = sitting.folder / record.files[precision]
        exported = LiteRT(file.read_bytes())
        for key, split in (("val", dataset.validation), ("test", dataset.test)):
            _, result = _judge(exported, split, f"evaluating {file.name} on {key}", dataset, sitting)
            record.metrics |= _with_interval(f"{key}_{precision}", result)
        accuracy, size = record.metrics[f"test_{precision}"], file.stat().st_size
        sitting.say(f"{file}: {size / 1e6:.2f} MB, test accuracy {100 * accuracy:.1f} %.")


def _judge(
    engine: Engine | LiteRT, split: Split, title: str, dataset: Dataset, sitting: Sitting, **look
) -> tuple[np.ndarray, dict]:
    """Return the probabilities (n, classes) of a split and what they say of it."""
    found = predict_probabilities(engine, split, sitting.config, progress=sitting.progress, title=title, **look)
    return found, evaluation.evaluate(found, split.labels, list(dataset.class_names))


def _with_interval(name: str, result: dict, accuracy: str = "") -> dict[str, float]:
    return {accuracy or name: result["accuracy"], f"{name}_low": result["low"], f"{name}_high": result["high"]}


def _hooks(name: str, sitting: Sitting) -> dict:
    """Return what a stage reports to: its checkpoint in the run's folder, the record after each epoch, the bar."""

    def report(epoch: int, curves: Curves) -> None:
        sitting.record.curves = {**sitting.record.curves, name: curves}
        sitting.save()

    return {"checkpoint": sitting.folder / CHECKPOINT.format(name), "report": report, "tick": sitting.progress}


def _tell(title: str, curves: Curves, sitting: Sitting) -> None:
    """Say how a stage went: its epoch of least validation loss."""
    if not curves:
        return
    best = int(np.argmin(curves["val_loss"]))
    sitting.say(
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
