"""The comparisons: each returns rows for the table, with every round's seconds and the accuracy of both sides."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import plain
from benchmarks.pairs import Timed, compare
from transfer_utils.config.options import ALL_LAYERS, RunConfig, preset
from transfer_utils.data.dataset import Dataset
from transfer_utils.data.splits import load_dataset
from transfer_utils.experiment.evaluate import predict_probabilities
from transfer_utils.experiment.run import run_experiment
from transfer_utils.features import BoundaryCache, extract_features
from transfer_utils.models.engine import Engine
from transfer_utils.models.fast_layers import with_fast_layers
from transfer_utils.models.litert import LiteRT, convert
from transfer_utils.models.networks import (
    build_backbone,
    build_compact_cnn,
    build_feature_extractor,
    build_tail,
    build_top_classifier,
    build_trunk,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)
from transfer_utils.training.linear_head import solve_head, start_head
from transfer_utils.training.optimizers import build_optimizer, compile_model
from transfer_utils.training.stages import run_stage2_finetuning

# The presets of the recipes: that of most tutorials, and ours with four epochs and with two.
RECIPES = {"classic": "cifar10-classic", "short": "cifar10", "fast": "cifar10-fast"}
CLASSIC = RECIPES["classic"]
TRUNK_IMAGES = {0.35: 2048, 1.0: 512}
EPOCH_IMAGES = 2048
STEPS = 10
SINGLE_IMAGES = 100

Rows = list[dict[str, Any]]
Measure = Callable[[dict], dict]  # runs sides in turn: pairs.alternate with its rounds and waiting


def trunk(data_dir: str, measure: Measure) -> Rows:
    """Frozen features a second, at 160 px: ``predict``, ``predict_on_batch`` at its best batch size, and the engine."""
    return [row for alpha, n in TRUNK_IMAGES.items() for row in _trunk_rows(alpha, n, measure)]


def head(data_dir: str, measure: Measure) -> Rows:
    """A linear head on all CIFAR-10 features: 30 epochs of AdamW against the solved regression."""
    config, dataset = _cifar10(data_dir, CLASSIC)
    extractor = build_feature_extractor(config, build_backbone(config)[0])
    data = [
        (np.asarray(extract_features(extractor, split, config), "float32"), split.one_hot(10))
        for split in (dataset.train, dataset.validation)
    ]

    batch = plain.best_head_batch(data[0], config)
    tuned = config.model_copy(update={"batch_size": batch})

    def by_adamw() -> float:
        keras.utils.set_random_seed(0)
        return plain.train_head(build_top_classifier(1280, 10, config), *data, tuned, 30)

    def by_solving() -> float:
        network = build_top_classifier(1280, 10, config)
        start_head(network, solve_head(*data, config.label_smoothing))
        hits = network.predict(data[1][0], verbose=0, batch_size=1024).argmax(axis=1)
        return float(np.mean(hits == dataset.validation.labels))

    measured = measure({"plain": by_adamw, "ours": by_solving})
    n = len(dataset.train)
    against = f"30 epochs of AdamW at their best batch size, {batch}"
    row = _row(f"head, {n:,} images", against, compare(measured["plain"], measured["ours"], n), target=6)
    return [row | _accuracies(measured, "plain", "ours")]


def stage2_epoch(data_dir: str, measure: Measure) -> Rows:
    """One epoch of the last 30 layers: images drawn and pushed through everything, against cached activations."""
    # Two epochs, of which the second is timed: the first also builds the graph.
    config, dataset = _cifar10(data_dir, CLASSIC, epochs_stage1=0, epochs_stage2=2, views=1, schedule="plateau")
    views, epochs = preset(CLASSIC).views, preset(CLASSIC).epochs_stage2
    part = dataset.train.part(np.arange(EPOCH_IMAGES))
    base, _ = build_backbone(config)
    network = plain.with_new_head(base, 10, config)
    unfreeze_model_tail(base, config.n_unfreeze)
    layers, tail = split_at_freeze_boundary(base)
    tail_model = build_tail(tail, build_top_classifier(1280, 10, config))
    batch = plain.best_train_batch(part, 10, config)
    tuned = config.model_copy(update={"batch_size": batch})
    images, steps = plain.training_images(part, 10, tuned), -(-len(part) // batch)
    with tempfile.TemporaryDirectory() as folder:
        config = config.model_copy(update={"cache_dir": folder})
        cache = BoundaryCache(build_trunk(layers, config), part, 10, config)
        validation = cache.plain(part)[:128], np.eye(10, dtype="float32")[part.labels[:128]]

        def by_fit() -> Timed:
            return Timed(plain.fine_tune(network, images, steps, tuned, 2)[-1], None)

        def on_cached_maps() -> Timed:
            return Timed(run_stage2_finetuning(tail_model, cache, validation, config)["seconds"][-1], None)

        def caching() -> None:
            shutil.rmtree(Path(folder, "features"))
            cache.view(0)

        measured = measure({"plain": by_fit, "ours": on_cached_maps, "caching": caching})
    share = views / epochs
    pairs = zip(measured["ours"]["seconds"], measured["caching"]["seconds"], strict=True)
    measured["whole"] = measured["ours"] | {"seconds": [epoch + share * view for epoch, view in pairs]}
    against, n = f"augmented and pushed through all layers, at its best batch size, {batch}", len(part)
    whole = f"the same, {views} cached views counted in over {epochs} epochs"
    return [
        _row("stage-2 epoch", against, compare(measured["plain"], measured["ours"], n), target=6),
        _row(whole, against, compare(measured["plain"], measured["whole"], n)),
    ]


def batch_norm(data_dir: str, measure: Measure) -> Rows:
    """Training steps in which BatchNorm is trained as well: the layers of Keras, and faster ones in their place."""
    config = preset("cifar10", weights="random", n_unfreeze=ALL_LAYERS, batch_norm="trained")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (config.batch_size, 32, 32, 3)).astype("float32")
    labels = np.eye(10, dtype="float32")[rng.integers(10, size=len(images))]

    def mobilenet(faster: Callable) -> keras.Model:
        base, _ = build_backbone(config)
        unfreeze_model_tail(base, config.n_unfreeze, config.batch_norm)
        return plain.with_new_head(faster(base), 10, config)

    def compact(faster: Callable) -> keras.Model:
        return faster(build_compact_cnn())

    def steps(network: keras.Model) -> Callable[[], list]:
        compile_model(network, build_optimizer("AdamW", 1e-3, 0.0), 0.0)
        network.train_on_batch(images, labels)  # traced before it is timed
        return lambda: [network.train_on_batch(images, labels) for _ in range(STEPS)]

    rows, n = [], STEPS * len(images)
    for name, build in (("all layers, 128 px", mobilenet), ("the compact CNN", compact)):
        measured = measure({"plain": steps(build(lambda model: model)), "ours": steps(build(with_fast_layers))})
        what, against = f"steps with trained BatchNorm, {name}", "the layers of Keras"
        rows.append(_row(what, against, compare(measured["plain"], measured["ours"], n)))
    return rows


def single_image(data_dir: str, measure: Measure) -> Rows:
    """One image at a time through the exported network, against four ways to ask the Keras model."""
    config = preset(CLASSIC, weights="random")
    network = plain.with_new_head(build_backbone(config)[0], 10, config)
    exported = LiteRT(convert(network, 1))
    images = np.random.default_rng(0).integers(0, 256, (SINGLE_IMAGES, 1, 32, 32, 3), dtype=np.uint8)
    graph = tf.function(lambda image: network(image, training=False), autograph=False)
    sides = {
        "predict": lambda image: network.predict(image, verbose=0),
        "call": lambda image: network(image, training=False),
        "on_batch": network.predict_on_batch,
        "graph": lambda image: graph(tf.constant(image)).numpy(),
        "ours": exported,
    }
    for answer in sides.values():
        answer(images[0])  # traced before it is timed
    measured = measure({name: lambda f=f: [f(image) for image in images] for name, f in sides.items()})
    return [
        _row("single image, exported", against, compare(measured[name], measured["ours"], len(images)), target=target)
        for name, against, target in (
            ("predict", "`model.predict`", None),
            ("call", "`model(x)`", None),
            ("on_batch", "`model.predict_on_batch`", 5),
            ("graph", "`tf.function(model)`", 5),
        )
    ]


def end_to_end(data_dir: str, measure: Measure) -> Rows:
    """Both stages on 10,000 training images and a quarter as many for validation, each system with each recipe.

    Every round has its own seed.
    """
    pairs = [("classic", "fast"), ("classic", "short"), ("classic", "classic"), ("short", "short")]
    return _both_stages("10,000 images", data_dir, measure, pairs, labels_per_class=1000, validation_share=0.05)


def end_to_end_all(data_dir: str, measure: Measure) -> Rows:
    """All 40,000 training images: plain Keras with the classic recipe, ours with the fast and the short one."""
    return _both_stages("40,000 images", data_dir, measure, [("classic", "fast"), ("classic", "short")])


ALL = (trunk, head, stage2_epoch, batch_norm, single_image, end_to_end, end_to_end_all)
COMPARISONS = {comparison.__name__: comparison for comparison in ALL}


def _both_stages(images: str, data_dir: str, measure: Measure, pairs: list[tuple[str, str]], **options: Any) -> Rows:
    """Return a row for each pair of a plain recipe and one of ours, from decoded images to a trained network.

    Both systems with the same recipe tell the gain of the system from that of the recipe. The aim stands beside a row
    of two recipes only if ours ended at least as accurate as plain Keras in every round.
    """
    sides, batches = {}, {}
    for plain_recipe, our_recipe in pairs:
        if plain_recipe not in batches:
            config, dataset = _cifar10(data_dir, RECIPES[plain_recipe], **options)
            batches[plain_recipe] = _best_batches(config, dataset)
            sides[f"plain {plain_recipe}"] = _plain_side(config, *batches[plain_recipe])
        if f"ours {our_recipe}" not in sides:
            sides[f"ours {our_recipe}"] = _our_side(_cifar10(data_dir, RECIPES[our_recipe], **options)[0])
    measured = measure(sides)
    rows = []
    for plain_recipe, our_recipe in pairs:
        slow, fast = f"plain {plain_recipe}", f"ours {our_recipe}"
        tuned = "in batches of {} for inference and {} for training".format(*batches[plain_recipe])
        against = f"plain Keras with the {plain_recipe} recipe, {tuned}; ours with the {our_recipe} one"
        if plain_recipe == our_recipe:
            against = f"plain Keras, {tuned}; both with the {our_recipe} recipe"
        accuracies = _accuracies(measured, slow, fast)
        each_round = zip(*accuracies["val_accuracy"].values(), strict=True)
        as_accurate = our_recipe == "fast" and all(ours >= plains for plains, ours in each_round)
        compared, target = compare(measured[slow], measured[fast], 1), 10 if as_accurate else None
        rows.append(_row(f"both stages, {images}", against, compared, target=target, unit="runs/s") | accuracies)
    return rows


def _best_batches(config: RunConfig, dataset: Dataset) -> tuple[int, int]:
    """Return the batch sizes at which plain Keras is fastest, for inference and for training."""
    extractor = build_feature_extractor(config, build_backbone(config)[0])
    some = dataset.train.take(np.arange(min(512, len(dataset.train))))
    return plain.best_predict_batch(extractor, some), plain.best_train_batch(dataset.train, 10, config)


def _plain_side(config: RunConfig, predict_batch: int, train_batch: int) -> Callable[[], Timed]:
    """Return what trains with plain Keras, in batches of these sizes, and gives its validation accuracy."""
    config = config.model_copy(update={"batch_size": train_batch})
    seeds = iter(range(1000))

    def train() -> Timed:
        seeded = config.model_copy(update={"seed": next(seeds)})
        keras.utils.set_random_seed(seeded.seed)
        data = load_dataset(seeded)
        started = time.perf_counter()
        network = plain.recipe(data.train, data.validation, len(data.class_names), seeded, predict_batch)
        seconds = time.perf_counter() - started
        probabilities = predict_probabilities(Engine(network), data.validation, seeded)
        return Timed(seconds, float(np.mean(probabilities.argmax(axis=1) == data.validation.labels)))

    return train


def _our_side(config: RunConfig) -> Callable[[], Timed]:
    """Return what trains with this package, with empty caches, and gives its validation accuracy."""
    seeds = iter(range(1000))

    def train() -> Timed:
        with tempfile.TemporaryDirectory() as folder:
            places = {"cache_dir": f"{folder}/cache", "output_dir": f"{folder}/runs"}
            seeded = config.model_copy(update={"seed": next(seeds), **places})
            record = run_experiment(seeded, log=lambda line: None).record
        # Building the networks counts on both sides; reading the images, saving and evaluating on neither;
        # plain Keras keeps no thumbnails.
        took = record.timing_sec
        seconds = took["total"] - sum(took[phase] for phase in ("data", "saving", "evaluation", "thumbnails"))
        return Timed(seconds, record.metrics["val_end2end"])

    return train


def _trunk_rows(alpha: float, n: int, measure: Measure) -> Rows:
    # Speed does not depend on the values of the weights.
    config = preset(CLASSIC, alpha=alpha, weights="random")
    extractor = build_feature_extractor(config, build_backbone(config)[0])
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    batch, engine = plain.best_predict_batch(extractor, images), Engine(extractor, "litert")
    engine(images[:64])
    measured = measure(
        {
            "predict": lambda: extractor.predict(images, verbose=0),
            "best": lambda: plain.predict(extractor, images, batch),
            "ours": lambda: engine(images),
        }
    )
    a, b = (measured[name]["results"][-1] for name in ("predict", "ours"))
    cosine = float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())
    return [
        _row(f"trunk, alpha {alpha:g}", against, compare(measured[name], measured["ours"], n), target=target)
        | {"min_cosine": cosine}
        for name, against, target in (
            ("predict", "`predict` as it comes", None),
            ("best", f"`predict_on_batch` at its best batch size, {batch}", 5 if alpha < 1 else 3),
        )
    ]


def _cifar10(data_dir: str, name: str, **options: Any) -> tuple[RunConfig, Dataset]:
    config = preset(name, data_dir=data_dir, model_path="none", tta=False, **options)
    return config, load_dataset(config)


def _row(
    what: str, against: str, compared: dict, *, target: float | None = None, unit: str = "images/s"
) -> dict[str, Any]:
    """Return one line of the table: both rates, how many times faster, its spread, the load, and the aim."""
    return {"what": what, "against": against, "unit": unit, "target": target, **compared}


def _accuracies(measured: dict, slow: str, fast: str) -> dict[str, Any]:
    """Return the validation accuracy of both sides in every round, to stand beside their times."""
    return {"val_accuracy": {"plain": measured[slow]["results"], "ours": measured[fast]["results"]}}
