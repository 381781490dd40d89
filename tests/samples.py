"""Run records with realistic numbers from a seeded generator, for tests of whatever reads records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.evaluation.intervals import wilson_interval
from transfer_utils.records.predictions import PREDICTIONS_NAME, Predictions, load_predictions, save_predictions
from transfer_utils.records.record import RECORD_NAME, RunRecord, finite, pack_bits, read_record
from transfer_utils.records.thumbnails import THUMBNAILS_NAME, save_thumbnails

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
N_TEST, N_VALIDATION = 10_000, 10_000
TESTED_CLASSES = ["<b>cat</b>", "dog", "bird"]  # of a run that keeps its predictions
RUNNING = "depth-60-0"  # the sample run in progress; its lock must be held for it to count as such
OLD_LOG = {
    "config": {
        "base_model": "MobileNetV2",
        "n_unfreeze": 30,
        "augment": "True",
        "use_mixup": "False",
        "batch_size": 64,
        "epochs_stage2": 100,
    },
    "metrics": {"val_end2end": 0.9228, "test_end2end": 0.9156},
    "timing_sec": {"total": 937.45},
    "curves": {},
    "confusion_matrix": [[922, 5], [9, 899]],
}


def write_samples(folder: Path) -> Path:
    """Write twelve runs of every status and two old logs into ``folder``."""
    cifar = {"preset": "cifar10", "schedule": "cosine", "hidden_units": 0, "tta": True, "learning_rate_stage2": 1e-3}
    runs = [
        *(("head-only", {**cifar, "epochs_stage2": 0, "seed": seed}, "completed") for seed in (0, 1)),
        *(("depth-10", {**cifar, "n_unfreeze": 10, "seed": seed}, "completed") for seed in (0, 1)),
        *(("depth-30", {**cifar, "n_unfreeze": 30, "augment": True, "seed": seed}, "completed") for seed in (0, 1, 2)),
        ("depth-30-hot", {**cifar, "n_unfreeze": 30, "learning_rate_stage2": 1.0, "seed": 0}, "diverged"),
        ("baseline", {"model": "baseline", "seed": 0, "epochs_stage1": 20, "epochs_stage2": 0}, "completed"),
        ("labels-20", {**cifar, "labels_per_class": 20, "n_unfreeze": 30, "seed": 0}, "interrupted"),
        ("depth-60", {**cifar, "n_unfreeze": 60, "augment": True, "seed": 0}, "running"),
        ("depth-all", {**cifar, "n_unfreeze": -1, "augment": True, "seed": 0}, "failed"),
    ]
    for index, (name, options, status) in enumerate(runs):
        write_run(folder / f"{name}-{options['seed']}", options, status, index)
    (folder / "old-log.json").write_text(json.dumps(OLD_LOG), encoding="utf-8")
    flat = {**OLD_LOG, "curves": {"accuracy": [0.7, 0.8, 0.85], "val_accuracy": [0.72, 0.79, 0.81]}}
    (folder / "old-log-with-curves.json").write_text(json.dumps(flat), encoding="utf-8")
    return folder


def write_study(folder: Path) -> Path:
    """Write the runs of a complete study: every stage, three seeds each."""
    base = {"preset": "cifar10", "schedule": "cosine", "hidden_units": 0, "n_unfreeze": 30, "tta": True}
    base |= {"learning_rate_stage2": 1e-3, "augment": True}
    head = {**base, "n_unfreeze": 0, "epochs_stage2": 0, "augment": False}
    configurations: list[tuple[str, dict[str, Any]]] = [
        *((f"head-{name}", {**head, "optimizer_stage1": name}) for name in ("AdamW", "Adam", "SGD")),
        *((f"depth-{depth}", {**base, "n_unfreeze": depth}) for depth in (0, 10, 30, 60, -1)),
        *((f"rate-{rate:g}", {**base, "learning_rate_stage2": rate}) for rate in (1e-5, 1e-4, 1e-2, 1e-1)),
        *((f"plain-{rate:g}", {**base, "learning_rate_stage2": rate, "augment": False}) for rate in (1e-5, 1e-3)),
        ("mixup", {**base, "use_mixup": True}),
        ("batch-norm-trained", {**base, "batch_norm": "trained"}),
        *((f"labels-{n}", {**base, "labels_per_class": n}) for n in (5, 20, 100, 500)),
        *((f"side-{side}", {**base, "image_size": side}) for side in (96, 128, 224)),
    ]
    scratch = {"model": "baseline", "epochs_stage1": 20, "epochs_stage2": 0}
    configurations += [(f"scratch-{n or 'all'}", {**scratch, "labels_per_class": n}) for n in (5, 20, 100, 500, 0)]
    for index, (name, options) in enumerate(configurations):
        for seed in range(3):
            write_run(folder / f"{name}-s{seed}", {**options, "seed": seed}, "completed", 3 * index + seed)
    return folder


def write_run(folder: Path, options: dict[str, Any], status: str, index: int) -> Path:
    """Write one run, whose numbers depend on its options."""
    config = RunConfig(**options)
    random = np.random.default_rng([config.seed, index])
    curves = _curves(config, status, random)
    last = next(reversed(curves.values()))
    accuracy = (last["val_accuracy"][-1] or 0.1) if last["val_accuracy"] else 0.1
    record = RunRecord(
        run_id=f"{index + 1:04d}-{folder.name}",
        status=status,
        created=f"2026-03-{1 + index // 24:02d}T{index % 24:02d}:10:00Z",
        command=config.command(),
        config=config.model_dump(),
        dataset={
            "name": "cifar10",
            "description": "CIFAR-10, JPEG copy",
            "fingerprint": "0" * 64,
            "class_names": list(CLASSES),
            "images": {"train": 10 * (config.labels_per_class or 4000), "validation": N_VALIDATION, "test": N_TEST},
        },
        weights={"source": "ImageNet, keras.applications", "sha256": "0" * 64},
        versions={"python": "3.11.9", "keras": "3.15.1", "tensorflow": "2.21.0", "transfer_utils": "0.1.0"},
        machine={"system": "Linux", "cores": 2, "memory_gb": 23.4},
        network={"parameters": 423_000, "trainable_stage1": 12_810, "trainable_stage2": 292_000},
        curves=finite(curves),
        timing_sec={"features": 24.1, **{stage: sum(curve["seconds"]) for stage, curve in curves.items()}},
        files={"model": "model.keras"},
    )
    record.timing_sec["total"] = sum(value or 0 for value in record.timing_sec.values())
    if status == "completed":
        _add_results(record, accuracy, random)
    if status == "failed":
        record.error = "MemoryError: 12.4 GB are needed for the activations, 9.1 GB are free"
    folder.mkdir(parents=True)
    record.save(folder / RECORD_NAME)
    return folder / RECORD_NAME


def write_stopped_early(folder: Path) -> Path:
    """Write a run that stopped after 12 of its 20 epochs."""
    path = write_run(folder, {"epochs_stage1": 8, "epochs_stage2": 12, "n_unfreeze": 10}, "completed", 0)
    record = read_record(path)
    record.curves["stage2"] = {name: values[:4] for name, values in record.curves["stage2"].items()}
    record.save(path)
    return path


def set_accuracy(record: RunRecord, accuracy: float, n: int, *splits: str) -> None:
    """Set the accuracy on splits of ``n`` images with its interval; on the test split the first images are the hits."""
    low, high = wilson_interval(round(accuracy * n), n)
    for split in splits:
        record.metrics |= {f"{split}_end2end": accuracy, f"{split}_low": low, f"{split}_high": high}
    if "test" in splits:
        record.test_correct = pack_bits(np.arange(n) < round(accuracy * n))


def predictions(seed: int, n: int = 300, classes: int = 3, names: bool = True) -> Predictions:
    """Return predictions of which three quarters are right; the labels are the same for every seed."""
    labels = np.random.default_rng(0).integers(0, classes, n)
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (n, classes)) + 2 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    files = (
        [f"test/{TESTED_CLASSES[label % 3].strip('</b>')}/{at}.png" for at, label in enumerate(labels)] if names else []
    )
    return Predictions(probabilities, labels, np.arange(n), probabilities.argmax(axis=1), files)


def write_tested(
    folder: Path, test: Predictions, thumbnails: Iterable[int] | None = None, names: object = TESTED_CLASSES
) -> Predictions:
    """Write a run that keeps predictions, and thumbnails of these positions (by default of all images)."""
    record = read_record(write_run(folder, {"dataset": "folder", "data_dir": "pets"}, "completed", 0))
    record.dataset = {"name": "folder", "class_names": names}
    record.confusion_matrix = test.confusion_matrix().tolist()
    record.save(folder / "run.json")
    save_predictions(folder / PREDICTIONS_NAME, {"val": test, "test": test})
    positions = range(len(test)) if thumbnails is None else thumbnails
    save_thumbnails(folder / THUMBNAILS_NAME, positions, lambda rows: np.zeros((len(rows), 8, 8, 3), np.uint8))
    return load_predictions(folder)["test"]  # rounded to float16, as the page reads them


def _curves(config: RunConfig, status: str, random: np.random.Generator) -> dict[str, dict[str, list]]:
    few = config.labels_per_class / 5000 if config.labels_per_class else 1.0
    scarcity = -np.log10(few) * (0.085 if config.model == "transfer" else 0.13)
    start, probe = (0.35, 0.70 - scarcity) if config.model == "baseline" else (0.55, 0.757 - scarcity)
    probe += {"SGD": -0.006, "Adam": 0.001}.get(config.optimizer_stage1, 0.0)
    probe += {96: -0.06, 128: -0.02, 224: 0.015}.get(config.image_size, 0.0)
    stage = "baseline" if config.model == "baseline" else "stage1"
    curves = {stage: _curve(max(start - scarcity, 0.1), probe, config.epochs_stage1, 2.1, random, config)}
    if config.epochs_stage2:
        gain = {0: 0.0, 10: 0.055, 30: 0.084, 60: 0.108, -1: 0.118}.get(config.n_unfreeze, 0.08)
        off = np.log10(config.learning_rate_stage2 / 1e-3)
        gain = gain - 0.022 * abs(off) if off < 0 else gain - 0.16 * off
        gain += (0.008 if config.augment else 0.0) + (0.004 if config.use_mixup else 0.0)
        epochs = {"running": 6, "interrupted": 4, "failed": 1}.get(status, config.epochs_stage2)
        curves["stage2"] = _curve(probe + 0.01, probe + gain, epochs, 18.0, random, config)
    if status == "diverged":
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            curves["stage2"][name][2:] = [float("nan")]
        curves["stage2"]["learning_rate"][3:] = curves["stage2"]["seconds"][3:] = []
    return curves


def _curve(first: float, last: float, epochs: int, pace: float, random: np.random.Generator, config: RunConfig) -> dict:
    steps = np.arange(epochs)
    validation = last - (last - first) * np.exp(-steps / 2.2) + random.normal(0, 0.0025, epochs)
    gap = (0.05 if config.augment else 0.11) * (1 - np.exp(-steps / 6))
    training = np.clip(validation + gap + random.normal(0, 0.001, epochs), 0, 0.999)
    validation = np.clip(validation, 0.05, 0.999)
    return {
        "loss": (-np.log(training) * 1.6 + 0.2).tolist(),
        "accuracy": training.tolist(),
        "val_loss": (-np.log(validation) * 1.7 + 0.22).tolist(),
        "val_accuracy": validation.tolist(),
        "learning_rate": (config.learning_rate_stage2 * (1 + np.cos(np.pi * steps / max(epochs, 1))) / 2).tolist(),
        "seconds": (pace + random.normal(0, pace / 20, epochs)).tolist(),
    }


def _add_results(record: RunRecord, accuracy: float, random: np.random.Generator) -> None:
    matrix = _confusion(accuracy, random)
    correct = int(np.trace(matrix))
    validated = round(accuracy * N_VALIDATION)
    record.confusion_matrix = matrix.tolist()
    columns, rows, right = matrix.sum(0), matrix.sum(1), np.diag(matrix)
    precision, recall = right / np.maximum(columns, 1), right / rows
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    record.per_class = [
        {"name": name, "precision": p, "recall": r, "f1": f, "support": int(n)}
        for name, p, r, f, n in zip(CLASSES, precision.tolist(), recall.tolist(), f1.tolist(), rows, strict=True)
    ]
    edges = np.linspace(0, 1, 16)
    confidence = np.where(np.arange(15) > 1, (edges[:-1] + edges[1:]) / 2, np.nan)
    share = np.where(np.arange(15) > 1, np.exp(np.arange(15) / 3.0), 0)
    curve = np.clip(confidence - 0.06 * np.sin(np.pi * confidence) + random.normal(0, 0.01, 15), 0, 1)
    count = (share / share.sum() * N_TEST).astype(int)
    bins = {"edges": edges, "confidence": confidence, "accuracy": curve, "count": count, "ece": 0.041, "mce": 0.09}
    record.calibration = finite(bins)
    set_accuracy(record, validated / N_VALIDATION, N_VALIDATION, "val")
    set_accuracy(record, correct / N_TEST, N_TEST, "test")
    record.test_correct = pack_bits(random.random(N_TEST) < correct / N_TEST)
    record.metrics |= {
        "val_loss": float(-np.log(accuracy) * 1.7 + 0.22),
        "test_loss": float(-np.log(accuracy) * 1.7 + 0.24),
        "test_ece": 0.041,
        "val_tta": min(validated / N_VALIDATION + 0.009, 1) if record.config["tta"] else None,
        "test_tta": min(correct / N_TEST + 0.009, 1) if record.config["tta"] else None,
        "train_end2end": min(accuracy + 0.05, 1),
    }


def _confusion(accuracy: float, random: np.random.Generator) -> np.ndarray:
    """Draw 1,000 test images per class; errors are between similar classes, such as cat and dog."""
    similarity = np.ones((10, 10)) + 9 * np.eye(10)[[2, 9, 4, 5, 2, 3, 2, 4, 0, 1]]
    matrix = np.zeros((10, 10), int)
    for true in range(10):
        hit = np.clip(accuracy + (-0.12 if true in (2, 3) else 0.02) + random.normal(0, 0.006), 0.02, 0.995)
        wrong = np.where(np.arange(10) == true, 0, similarity[true])
        chances = wrong / wrong.sum() * (1 - hit)
        chances[true] = hit
        matrix[true] = random.multinomial(1000, chances)
    return matrix
