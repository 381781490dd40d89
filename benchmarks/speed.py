"""The comparisons: each returns rows for the table, with every round's seconds and the accuracy of both sides."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks import plain
from benchmarks.pairs import Timed, alternate, ratio
from transfer_utils.config import RunConfig, preset
from transfer_utils.data.splits import Dataset, load_dataset
from transfer_utils.experiment.phases import predict_probabilities
from transfer_utils.experiment.run import run_experiment
from transfer_utils.features import BoundaryCache, extract_features
from transfer_utils.models.engine import Engine
from transfer_utils.models.litert import LiteRT, convert
from transfer_utils.models.networks import (
    build_backbone,
    build_feature_extractor,
    build_full_model,
    build_tail,
    build_top_classifier,
    build_trunk,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)
from transfer_utils.records import RunRecord
from transfer_utils.results.curves import first_reaching, timeline
from transfer_utils.training.linear_head import solve_head, start_head
from transfer_utils.training.stages import run_stage2_finetuning

TRUNK_IMAGES = {0.35: 2048, 1.0: 512}
EPOCH_IMAGES = 2048
SINGLE_IMAGES = 100


def trunk(data_dir: str, rounds: int) -> list[dict]:
    """Frozen features a second, at 160 px: ``predict`` as it comes, at its best batch size, and the engine."""
    return [row for alpha, n in TRUNK_IMAGES.items() for row in _trunk_rows(alpha, n, rounds)]


def head(data_dir: str, rounds: int) -> list[dict]:
    """A linear head on all CIFAR-10 features: 30 epochs of AdamW against the solved regression."""
    config, dataset = _cifar10(data_dir)
    extractor = build_feature_extractor(config, build_backbone(config)[0])
    data = [
        (np.asarray(extract_features(extractor, split, config), "float32"), np.eye(10, dtype="float32")[split.labels])
        for split in (dataset.train, dataset.validation)
    ]

    def by_adamw() -> float:
        keras.utils.set_random_seed(0)
        return plain.train_head(build_top_classifier(1280, 10, config), *data, config, 30)

    def by_solving() -> float:
        network = build_top_classifier(1280, 10, config)
        start_head(network, solve_head(*data, config.label_smoothing))
        hits = network.predict(data[1][0], verbose=0, batch_size=1024).argmax(axis=1)
        return float(np.mean(hits == dataset.validation.labels))

    found = alternate({"plain": by_adamw, "ours": by_solving}, rounds)
    return [
        _row("head, 40,000 images", "30 epochs of AdamW", found, "plain", "ours", len(dataset.train), "images/s", 6)
        | _accuracies(found)
    ]


def stage2_epoch(data_dir: str, rounds: int) -> list[dict]:
    """One epoch of the last 30 layers: images drawn and pushed through everything, against cached activations."""
    # Two epochs, of which the second is timed: the first also builds the graph.
    config, dataset = _cifar10(data_dir, epochs_stage1=0, epochs_stage2=2, views=1, schedule="plateau")
    part = dataset.train.part(np.arange(EPOCH_IMAGES))
    base, _ = build_backbone(config)
    network = build_full_model(base, build_top_classifier(1280, 10, config), config)
    unfreeze_model_tail(base, config.n_unfreeze)
    layers, tail = split_at_freeze_boundary(base)
    tail_model = build_tail(tail, build_top_classifier(1280, 10, config))
    images, steps = plain.augmented(part, 10, config), -(-len(part) // config.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        config = config.model_copy(update={"cache_dir": folder})
        cache = BoundaryCache(build_trunk(layers, config), part, 10, config)
        validation = cache.plain(part)[:128], np.eye(10, dtype="float32")[part.labels[:128]]

        def plainly() -> Timed:
            return Timed(plain.fine_tune(network, images, steps, config, 2)[-1], None)

        def ours() -> Timed:
            return Timed(run_stage2_finetuning(tail_model, cache, validation, config)["seconds"][-1], None)

        def cached() -> None:
            shutil.rmtree(Path(folder, "features"))
            cache.view(0)

        found = alternate(
            {
                "plain": plainly,
                "ours": ours,
                "caching": cached,
            },
            rounds,
        )
    views, epochs = preset("cifar10").cached_views, preset("cifar10").epochs_stage2
    share = views / epochs
    found["whole"] = {
        "seconds": [a + share * b for a, b in zip(found["ours"]["seconds"], found["caching"]["seconds"], strict=True)]
    }
    found["whole"]["median"] = float(np.median(found["whole"]["seconds"]))
    against = "augmented and pushed through all layers"
    return [
        _row("stage-2 epoch", against, found, "plain", "ours", len(part), "images/s", 6),
        _row(
            f"the same, {views} cached views counted in over {epochs} epochs",
            against, found, "plain", "whole", len(part), "images/s", None,
        ),
    ]  # fmt: skip


def end_to_end(data_dir: str, rounds: int) -> list[dict]:
    """Both stages on 10,000 training images, from decoded images to a trained network; every round has its own seed."""
    return _both_stages("10,000 images", data_dir, rounds, labels_per_class=1000)


def end_to_end_all(data_dir: str, rounds: int) -> list[dict]:
    """The same on all 40,000 training images: half an hour a round on two cores."""
    return _both_stages("40,000 images", data_dir, rounds)


def single_image(data_dir: str, rounds: int) -> list[dict]:
    """One image at a time through the exported network, against ``predict`` and against calling the model."""
    config = preset("cifar10", weights="random")
    base, _ = build_backbone(config)
    network = build_full_model(base, build_top_classifier(1280, 10, config), config)
    exported = LiteRT(convert(network, 1))
    images = np.random.default_rng(0).integers(0, 256, (SINGLE_IMAGES, 1, 32, 32, 3), dtype=np.uint8)
    sides = {
        "predict": lambda image: network.predict(image, verbose=0),
        "call": lambda image: network(image, training=False),
        "ours": exported,
    }
    for answer in sides.values():
        answer(images[0])  # traced before it is timed
    found = alternate({name: lambda f=f: [f(image) for image in images] for name, f in sides.items()}, rounds)
    return [
        _row("single image, exported", against, found, name, "ours", len(images), "images/s", 10)
        for name, against in (("predict", "`model.predict`"), ("call", "`model(x)`"))
    ]


COMPARISONS = {
    "trunk": trunk,
    "head": head,
    "stage2_epoch": stage2_epoch,
    "single_image": single_image,
    "end_to_end": end_to_end,
    "end_to_end_all": end_to_end_all,
}


def _both_stages(images: str, data_dir: str, rounds: int, **options) -> list[dict]:
    """Return two rows: the whole of both sides, and of ours the time until it is as accurate as plain Keras ends."""
    config, dataset = _cifar10(data_dir, **options)
    extractor = build_feature_extractor(config, build_backbone(config)[0])
    batch = plain.best_batch(extractor, dataset.train.take(np.arange(min(512, len(dataset.train)))))
    seeds, records = {"plain": iter(range(rounds)), "ours": iter(range(rounds))}, []

    def plainly() -> Timed:
        seeded = config.model_copy(update={"seed": next(seeds["plain"])})
        keras.utils.set_random_seed(seeded.seed)
        data = load_dataset(seeded)
        started = time.perf_counter()
        network = plain.recipe(data.train, data.validation, 10, seeded, batch)
        seconds = time.perf_counter() - started
        found = predict_probabilities(Engine(network), data.validation, seeded)
        return Timed(seconds, float(np.mean(found.argmax(axis=1) == data.validation.labels)))

    def ours() -> Timed:
        with tempfile.TemporaryDirectory() as folder:
            places = {"cache_dir": f"{folder}/cache", "output_dir": f"{folder}/runs"}
            seeded = config.model_copy(update={"seed": next(seeds["ours"]), **places})
            record = run_experiment(seeded, log=lambda line: None).record
        records.append(record)
        # Building the networks counts on both sides; reading the images, saving and judging on neither.
        took = record.timing_sec
        seconds = took["total"] - sum(took[phase] for phase in ("data", "saving", "evaluation"))
        return Timed(seconds, record.metrics["val_end2end"])

    found = alternate({"plain": plainly, "ours": ours}, rounds)
    rows = [_row(f"both stages, {images}", "plain Keras, same epochs", found, "plain", "ours", 1, "runs/s", None)]
    rows[0] |= _accuracies(found)
    reached = [
        seconds_until(accuracy, record, seconds)
        for accuracy, record, seconds in zip(found["plain"]["results"], records, found["ours"]["seconds"], strict=True)
    ]
    if None in reached:
        return rows  # ours ended below plain Keras in some round, as the accuracies beside it say
    found["until"] = {"seconds": reached, "median": float(np.median(reached))}
    against = "plain Keras, until ours has its accuracy"
    return [*rows, _row(f"both stages, {images}", against, found, "plain", "until", 1, "runs/s", 10)]


def seconds_until(accuracy: float, record: RunRecord, whole: float) -> float | None:
    """Return how long a run took until the end of its first epoch of at least this validation accuracy.

    Args:
        whole: seconds of the run; what is no epoch, such as building the networks, came before all of them.
    """
    reached = first_reaching(record, accuracy)
    return round(whole - timeline(record)[-1].seconds + reached.seconds, 4) if reached else None


def _trunk_rows(alpha: float, n: int, rounds: int) -> list[dict]:
    config = preset("cifar10", alpha=alpha, weights="random")  # speed does not depend on what the weights are
    extractor = build_feature_extractor(config, build_backbone(config)[0])
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    batch, engine = plain.best_batch(extractor, images), Engine(extractor, "litert")
    engine(images[:64])
    found = alternate(
        {
            "predict": lambda: extractor.predict(images, verbose=0),
            "best": lambda: extractor.predict(images, batch_size=batch, verbose=0),
            "ours": lambda: engine(images),
        },
        rounds,
    )
    a, b = (found[name]["results"][-1] for name in ("predict", "ours"))
    cosine = float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())
    return [
        _row(f"trunk, alpha {alpha:g}", against, found, name, "ours", n, "images/s", target) | {"least_cosine": cosine}
        for name, against, target in (
            ("predict", "`predict` as it comes", 5),
            ("best", f"`predict` at its best batch size, {batch}", 3),
        )
    ]


def _cifar10(data_dir: str, **options) -> tuple[RunConfig, Dataset]:
    config = preset("cifar10", data_dir=data_dir, model_path="none", tta=False, **options)
    return config, load_dataset(config)


def _row(what: str, against: str, found: dict, slow: str, fast: str, n: int, unit: str, target: float | None) -> dict:
    """Return one line of the table: the rates of both sides, how many times faster, its spread, and the target."""
    return {
        "what": what,
        "against": against,
        "unit": unit,
        "plain": n / found[slow]["median"],
        "ours": n / found[fast]["median"],
        "ratio": ratio(found[slow], found[fast]),
        "target": target,
        "seconds": {"plain": found[slow]["seconds"], "ours": found[fast]["seconds"]},
    }


def _accuracies(found: dict) -> dict:
    """Return the validation accuracy of both sides in every round, to stand beside their times."""
    return {"val_accuracy": {side: found[side]["results"] for side in ("plain", "ours")}}
