"""Train the model of a run, transfer in two stages or the baseline, with checkpoints and a record after each epoch."""

from __future__ import annotations

import functools
from typing import NamedTuple

import keras
import numpy as np

from transfer_utils.config.recorded import without_effect
from transfer_utils.data.dataset import Dataset, Split
from transfer_utils.errors import UserError
from transfer_utils.evaluation.percent import percent
from transfer_utils.experiment.few_images import few_held_out, record_cross_validation
from transfer_utils.experiment.session import RunSession, add_note
from transfer_utils.experiment.source_task import probe_source_task
from transfer_utils.features import BoundaryCache, extract_features
from transfer_utils.models.engine import Engine, choose_engine, gpus
from transfer_utils.models.fast_layers import with_fast_layers
from transfer_utils.models.networks import (
    BASELINES,
    build_backbone,
    build_feature_extractor,
    build_full_model,
    build_tail,
    build_tail_extractor,
    build_top_classifier,
    build_trunk,
    count_trainable,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)
from transfer_utils.records.record import RunRecord
from transfer_utils.training import distribute
from transfer_utils.training.checkpoints import Curves
from transfer_utils.training.linear_head import solve_head, start_head
from transfer_utils.training.loop import Batch, Hooks, Quality
from transfer_utils.training.stages import run_stage1_training, run_stage2_finetuning, train_baseline
from transfer_utils.utils.text import counted, enumerated, format_bytes

CHECKPOINT = "checkpoint-{}.npz"

# Images on which the head is solved if stage 2 starts right after it: more of them improve the head, but not the
# fine-tuned network.
START_IMAGES = 10_000


class Network(NamedTuple):
    """The parts of a transfer model; they share their layers, so that training one trains the others."""

    base: keras.Model
    extractor: keras.Model
    head: keras.Model
    full: keras.Model


def train_model(dataset: Dataset, session: RunSession) -> keras.Model:
    """Build and train the model that the options of ``session`` ask for, and return it."""
    for line in without_effect(session.config):
        session.log(line)
    train = _train_transfer if session.config.model == "transfer" else _train_baseline
    return train(dataset, session)


def _train_transfer(dataset: Dataset, session: RunSession) -> keras.Model:
    config = session.config
    with session.phase("building"):
        network = _build_transfer(dataset, session)
    if config.source_probe:
        _probe("before", network.base, session)
    cache = _cache_boundary(network.base, dataset, session) if config.fine_tunes else None
    _train_head(network, dataset, cache, session)
    if config.fine_tunes:
        _fine_tune(network, dataset, cache, session)
    if config.source_probe:
        _probe("after", network.base, session)
        unfreeze_model_tail(network.base, config.n_unfreeze, config.batch_norm)  # the probe froze what is saved
    return network.full


def _probe(when: str, base: keras.Model, session: RunSession) -> None:
    """Record what a linear probe of the backbone reads of its source task, ``before`` or ``after`` stage 2."""
    # Of its own, as what came before stage 2 counts as time before its first epoch.
    with session.phase("source_task" if when == "before" else "source_task_after"):
        measured = probe_source_task(base, session.config)
    name = f"source_{when}"
    session.record.metrics |= {name: measured.mean, f"{name}_low": measured.low, f"{name}_high": measured.high}
    session.log(
        f"A linear probe {when} stage 2 classifies {percent(measured.mean)} of the source task's letters correctly."
    )


def _build_transfer(dataset: Dataset, session: RunSession) -> Network:
    config, record = session.config, session.record
    weights_before = record.weights.get("sha256")
    with distribute.scope(config):
        base, record.weights = build_backbone(config, session.progress)
    session.restart_if_changed(f"The weights of {config.weights}", weights_before, record.weights["sha256"])
    extractor = build_feature_extractor(config, base)
    n_features = extractor.output.shape[-1]
    with distribute.scope(config):
        head = build_top_classifier(n_features, len(dataset.class_names), config)
        full = build_full_model(base, head, config)
    session.check_room(full.count_params(), (full if config.fine_tunes else head).count_params())
    engine, reason = choose_engine(config.engine)
    record.network = {"backbone_layers": len(base.layers), "parameters": full.count_params(), "engine": engine}
    _name_backend(record)
    width = f" alpha {config.alpha:g}" if config.backbone == "MobileNetV2" else ""
    session.log(
        f"{config.backbone}{width} at {config.image_size} px, weights from {record.weights['source']}: "
        f"{len(base.layers)} layers, {base.count_params():,} weights, {n_features:,} features. "
        f"The frozen part runs on {engine} ({reason})."
    )
    return Network(base, extractor, head, full)


def _name_backend(record: RunRecord) -> None:
    record.network["backend"] = keras.backend.backend()
    record.machine["gpus"] = gpus() or record.machine.get("gpus", [])  # also if only an earlier session had any


def _cache_boundary(base: keras.Model, dataset: Dataset, session: RunSession) -> BoundaryCache | None:
    """Unfreeze the tail of ``base`` and return the cache of what enters it, filled if its images are plain.

    Returns None where stage 2 trains on pixels.
    """
    config, record = session.config, session.record
    unfrozen = unfreeze_model_tail(base, config.n_unfreeze, config.batch_norm)
    if not unfrozen.weights:
        raise UserError(f"None of the last {config.n_unfreeze} layers of {config.backbone} has weights: unfreeze more.")
    session.log(f"For stage 2, {unfrozen}, besides the head.")
    if config.image_size_start:
        session.log(f"It trains at {enumerated(list(map(str, config.sides)))} px, one side after the other.")
    trunk, _ = split_at_freeze_boundary(base) if config.views else (None, base)
    if trunk is None:
        return None
    record.network["boundary"] = {"layer": trunk.layers[-1].name, "shape": list(trunk.output.shape[1:])}
    n_classes = len(dataset.class_names)
    cache = BoundaryCache(build_trunk(trunk, config), dataset.train, n_classes, config, session.progress)
    if needed := cache.bytes_needed(dataset.validation):
        views = counted(cache.views, "view")
        session.log(f"The frozen part is run once on {views} of each training image: {format_bytes(needed)}.")
    if cache.plain_views:
        _fill(cache, dataset, session)
    return cache


def _fill(cache: BoundaryCache, dataset: Dataset, session: RunSession) -> None:
    with session.phase("boundary"):
        cache.plain(dataset.validation)
        for number in range(cache.views):
            cache.view(number)
            session.save()  # with the time so far: a run that is killed does not make this view again


def _train_head(network: Network, dataset: Dataset, cache: BoundaryCache | None, session: RunSession) -> None:
    """Stage 1: solve the head if it is linear, then train it for ``epochs_stage1`` epochs."""
    config, record, head = session.config, session.record, network.head
    record.network["trainable_stage1"] = count_trainable(head)
    if not (config.solves_head or config.epochs_stage1):
        if config.head_start == "convex":
            note = (
                "Only a head of one linear layer behind BatchNorm is solved, and epochs_stage1 is 0, so stage 2 "
                "starts with random weights in the head. Set epochs_stage1, or hidden_units 0 and head batchnorm."
            )
            add_note(note, session)
        return
    starts_stage2 = config.fine_tunes and not config.epochs_stage1
    limit = START_IMAGES if starts_stage2 else len(dataset.train)
    parts = [(dataset.train, dataset.train.spread(limit)), (dataset.validation, np.arange(len(dataset.validation)))]
    with session.phase("features"):
        features = _features(network, parts, cache, session)
    with session.phase("stage1"):
        splits = [split.part(positions) for split, positions in parts]
        labels = [split.one_hot(len(dataset.class_names)) for split in splits]
        data = list(zip(features, labels, strict=True))
        start = functools.partial(_start_from_solution, head, *data, session) if config.solves_head else None
        if few_held_out(dataset):
            record_cross_validation(features, labels, splits, session)
        if config.epochs_stage1:
            run_stage1_training(head, *data, config, on_begin=start, **_hooks("stage1", session))
        elif start:
            start()
    stage1 = record.curves.get("stage1", {})
    _log_stage("Stage 1", stage1, session)
    solved = record.metrics.get("val_convex_loss")
    if solved is not None and stage1 and config.selection == "validation" and solved <= min(stage1["val_loss"]):
        session.log("No epoch of stage 1 had a lower validation loss than the solved head, which is kept.")


def _features(
    network: Network, parts: list[tuple[Split, np.ndarray]], cache: BoundaryCache | None, session: RunSession
) -> list[np.ndarray]:
    """Return the features (m, d) of the images at these positions of each split.

    If the boundary activations of plain images are cached already, only the tail has to be run on them.
    """
    config, extractor = session.config, network.extractor
    if cache and cache.plain_views:
        return cache.features(build_tail_extractor(split_at_freeze_boundary(network.base)[1]), parts)
    engine = functools.cache(lambda: Engine(extractor, config.engine))
    return [
        extract_features(extractor, split.part(positions), config, engine=engine, progress=session.progress)
        for split, positions in parts
    ]


def _start_from_solution(head: keras.Model, train: Batch, validation: Batch, session: RunSession) -> None:
    """Solve the linear head and set the Keras head to the solution."""
    config = session.config
    solution = solve_head(train, validation, config.label_smoothing, config.selection == "validation")
    start_head(head, solution)
    session.record.metrics |= {"val_convex": solution.val_accuracy, "val_convex_loss": solution.val_loss}
    session.log(
        "Softmax regression on the frozen features: validation accuracy "
        f"{percent(solution.val_accuracy)} (L2 {solution.l2:.2g}, {len(train[1]):,} images)."
    )
    session.save()  # before the first checkpoint: a session that resumes from one does not come here


def _fine_tune(network: Network, dataset: Dataset, cache: BoundaryCache | None, session: RunSession) -> None:
    """Stage 2: train the unfrozen tail and the head, on cached activations if there are any."""
    config, base, head = session.config, network.base, network.head
    session.record.network["trainable_stage2"] = count_trainable(base) + count_trainable(head)
    if cache and not cache.plain_views:
        _fill(cache, dataset, session)
    with session.phase("stage2"):
        with distribute.scope(config):
            if cache:
                model = build_tail(split_at_freeze_boundary(base)[1], head)
            else:
                model = build_full_model(with_fast_layers(base), head, config)
        inputs = cache.plain(dataset.validation) if cache else dataset.validation
        validation = inputs, dataset.validation.one_hot(len(dataset.class_names))
        fallback: list[Quality] = []  # before and after, if stage 2 is not kept
        hooks = {**_hooks("stage2", session), "on_fallback": lambda *qualities: fallback.extend(qualities)}
        metrics = session.record.metrics
        if not config.epochs_stage1 and metrics.get("val_convex_loss") is not None:  # the head is as it was solved
            hooks["start"] = Quality(metrics["val_convex_loss"], metrics["val_convex"])
        run_stage2_finetuning(model, cache or dataset.train, validation, config, **hooks)
    _log_stage("Stage 2", session.record.curves["stage2"], session)
    session.record.network["weights_from"] = "stage1" if fallback else "stage2"
    if fallback:
        before, after = fallback
        note = (
            "Stage 2 is kept only if it lowers the validation loss without lowering the accuracy. It did not "
            f"({percent(before.val_accuracy)} and a loss of {before.val_loss:.3f} before, "
            f"{percent(after.val_accuracy)} and {after.val_loss:.3f} in its best epoch), so the weights from before "
            "are kept. A lower learning_rate_stage2 may help."
        )
        add_note(note, session)
    session.save()


def _train_baseline(dataset: Dataset, session: RunSession) -> keras.Model:
    config, n_classes = session.config, len(dataset.class_names)
    with distribute.scope(config):
        model = BASELINES[config.baseline](n_classes, config.stored_size)
    session.check_room(model.count_params(), model.count_params())
    session.record.network = {"parameters": model.count_params(), "trainable_stage1": count_trainable(model)}
    _name_backend(session.record)
    validation = dataset.validation, dataset.validation.one_hot(n_classes)
    fallback: list[Quality] = []
    hooks = {**_hooks("baseline", session), "on_fallback": lambda *qualities: fallback.extend(qualities)}
    with session.phase("baseline"):
        train_baseline(model, dataset.train, validation, config, **hooks)
    _log_stage("Baseline", session.record.curves["baseline"], session)
    if fallback:
        add_note(
            "No epoch of the baseline had a lower validation loss than the random weights it began with, which are "
            f"kept ({percent(fallback[0].val_accuracy)} on validation). A lower learning_rate_baseline may help.",
            session,
        )
    return model


def _hooks(stage: str, session: RunSession) -> Hooks:
    """Return the hooks of a stage: its checkpoint in the run's folder, the record after each epoch, the bar."""

    def on_epoch_end(epoch: int, curves: Curves) -> None:
        session.record.curves = {**session.record.curves, stage: curves}
        session.save()

    checkpoint = session.folder / CHECKPOINT.format(stage)
    return Hooks(checkpoint=checkpoint, on_epoch_end=on_epoch_end, on_step_end=session.progress, log=session.log)


def _log_stage(title: str, curves: Curves, session: RunSession) -> None:
    """Log the epoch whose weights are kept: that of least validation loss, or the last one."""
    if not curves:
        return
    which, kept = "last", len(curves["val_loss"]) - 1
    if session.config.selection == "validation":
        which, kept = "best", int(np.argmin(curves["val_loss"]))
    session.log(
        f"{title}: validation accuracy {percent(curves['val_accuracy'][kept])} in the {which} of "
        f"{counted(len(curves['val_loss']), 'epoch')}, {sum(curves['seconds']):.0f} s."
    )
