"""Metrics of predicted probabilities: accuracy, confusion matrix, scores per class, calibration and temperature.

The functions take arrays and return Python numbers, ready for a run record. Probabilities have shape (n, classes) and
rows that sum to 1; labels are integers of shape (n,).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # the submodules load on first use, which keeps this import fast

from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import wilson_interval

MIN_PROBABILITY = 1e-7  # Keras clips here too, so both give the same cross-entropy
ROW_SUM_TOLERANCE = 1e-3  # the error of a float16 softmax over 1,000 classes is smaller
TEMPERATURE_LIMITS = (0.05, 20.0)  # without any mistakes, the optimum would be 0


def evaluate(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Compare predicted probabilities with the true labels, integers (n,) in [0, classes).

    The probabilities are float (n, classes), each row a distribution over the classes.

    Args:
        class_names: one name per class, in the order of the columns.

    Returns:
        ``accuracy`` with its Wilson interval ``low`` and ``high``; ``loss``, the mean cross-entropy in nats; ``ece``
        (see ``calibration``); ``confusion_matrix``, counts of shape (classes, classes), rows true and columns
        predicted; ``per_class`` with the ``name``, ``precision``, ``recall``, ``f1`` and ``support`` of each class.
        The three scores are None for a class without labels; the precision is None for a class without predictions.

    Raises:
        UserError: no images, NaN, rows that are not distributions, a label out of range, or different counts.
    """
    probabilities, labels = _checked(probabilities, labels)
    classes = probabilities.shape[1]
    if len(class_names) != classes:
        raise UserError(f"class_names must have {classes} names, one per class, got {len(class_names)}")
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    low, high = wilson_interval(correct, len(labels))
    return {
        "accuracy": correct / len(labels),
        "low": low,
        "high": high,
        "loss": _cross_entropy(probabilities, labels),
        "ece": calibration(probabilities, labels)["ece"],
        "confusion_matrix": confusion_matrix(labels, predicted, classes).tolist(),
        "per_class": _per_class(labels, predicted, class_names),
    }


def is_lower(accuracy: float, than: float) -> bool:
    """Return whether an accuracy is lower than another one.

    Keras's are float32, those of a solved head exact: two that are both 0.9 are close, but not equal.
    """
    return accuracy < than and not math.isclose(accuracy, than, rel_tol=1e-6)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Count pairs of true class (rows) and predicted class (columns): shape (n_classes, n_classes), int64.

    The ``labels`` and the ``predicted`` classes have shape (n,) and are integers in [0, n_classes).

    Raises:
        UserError: no images, a class out of range, or different counts.
    """
    labels = _checked_classes("labels", labels, n_classes)
    predicted = _checked_classes("predicted", predicted, n_classes)
    _same_count("predicted", predicted, "labels", labels)
    pairs = labels.astype(int) * n_classes + predicted.astype(int)
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> dict[str, Any]:
    """Compare the confidence of a model with its accuracy (Guo et al. 2017, arXiv 1706.04599, section 2).

    The predictions, float (n, classes), are grouped by confidence, the largest probability of a row, into ``bins`` bins
    of equal width over [0, 1]. A value on an edge belongs to the lower bin. The labels are integers (n,) in
    [0, classes).

    Returns:
        ``edges`` (bins + 1 numbers); the ``count``, mean ``confidence`` and ``accuracy`` of each bin, the last two
        None if the bin is empty; ``ece`` and ``mce``, the expected and maximum calibration error, in [0, 1].

    Raises:
        UserError: as in ``evaluate``, or fewer than one bin.
    """
    if bins < 1:
        raise UserError(f"bins must be at least 1, got {bins}")
    probabilities, labels = _checked(probabilities, labels)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_of = np.digitize(confidence, edges[1:-1], right=True)
    count = np.bincount(bin_of, minlength=bins)
    filled = count > 0
    mean_confidence = np.bincount(bin_of, confidence, bins)[filled] / count[filled]
    accuracy = np.bincount(bin_of, correct, bins)[filled] / count[filled]
    gap = np.abs(accuracy - mean_confidence)
    return {
        "edges": edges.tolist(),
        "confidence": _with_none(mean_confidence, filled),
        "accuracy": _with_none(accuracy, filled),
        "count": count.tolist(),
        "ece": float(gap @ count[filled] / len(labels)),
        "mce": float(gap.max()),
    }


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature that minimises the validation loss (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    Args:
        probabilities, labels: as in ``evaluate``, of the validation split, never of the test split.

    Returns:
        The temperature for ``apply_temperature``, in [0.05, 20]: above 1 for an overconfident model, exactly 1 if no
        other value lowers the loss.

    Raises:
        UserError: as in ``evaluate``.
    """
    probabilities, labels = _checked(probabilities, labels)

    def loss(log_temperature: float) -> float:
        return _cross_entropy(apply_temperature(probabilities, math.exp(log_temperature)), labels)

    result = scipy.optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURE_LIMITS), method="bounded")
    return math.exp(result.x) if result.fun < loss(0.0) else 1.0


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return softmax(log(probabilities) / temperature), float64 of shape (n, classes).

    The logarithms equal the logits of the model up to a constant per row, which does not change the softmax. The
    predicted classes stay the same.

    Raises:
        UserError: the temperature is not positive and finite.
    """
    if not 0 < temperature < math.inf:
        raise UserError(f"temperature must be positive and finite, got {temperature}")
    # A probability that underflowed to 0 becomes the smallest positive float32.
    logits = np.log(np.maximum(np.asarray(probabilities, float), np.finfo(np.float32).tiny))
    return scipy.special.softmax(logits / temperature, axis=1)


def _cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    of_true_class = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(of_true_class, MIN_PROBABILITY, 1 - MIN_PROBABILITY)).mean())


def _per_class(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    import sklearn.metrics

    scores = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(len(class_names)), zero_division=np.nan
    )
    report = []
    for name, *values, support in zip(class_names, *scores, strict=True):
        precision, recall, f1 = (None if support == 0 or math.isnan(value) else float(value) for value in values)
        report.append({"name": str(name), "precision": precision, "recall": recall, "f1": f1, "support": int(support)})
    return report


def _with_none(values: np.ndarray, filled: np.ndarray) -> list[float | None]:
    """Assign ``values`` to the filled bins and None to the empty ones."""
    remaining = iter(values.tolist())
    return [next(remaining) if full else None for full in filled]


def _checked(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Validate both arrays; return the probabilities as float64 with rows scaled to sum to 1, and the labels."""
    probabilities = np.asarray(probabilities, float)
    if probabilities.ndim != 2:
        raise UserError(f"probabilities must have shape (n, classes), got {probabilities.shape}")
    labels = _checked_classes("labels", labels, probabilities.shape[1])
    _same_count("probabilities", probabilities, "labels", labels)
    if np.isnan(probabilities).any():
        row = int(np.isnan(probabilities).any(axis=1).argmax())
        raise UserError(f"probabilities must be numbers, got NaN in row {row}: the training may have diverged")
    sums = probabilities.sum(axis=1)
    wrong = (np.abs(sums - 1) > ROW_SUM_TOLERANCE) | (probabilities < 0).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"probabilities must be at least 0 and each row must sum to 1, got row {row} with smallest value "
            f"{probabilities[row].min():.4g} and sum {sums[row]:.4g}: logits need a softmax first"
        )
    return probabilities / sums[:, None], labels


def _checked_classes(name: str, values: np.ndarray, n_classes: int) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise UserError(f"{name} must have shape (n,), got {values.shape}")
    if values.size == 0:
        raise UserError(f"{name} must have at least one image, got none")
    if values.dtype.kind not in "iu":
        raise UserError(f"{name} must be integers, got {values.dtype}")
    outside = (values < 0) | (values >= n_classes)
    if outside.any():
        index = int(outside.argmax())
        raise UserError(f"{name} must be between 0 and {n_classes - 1}, got {values[index]} at position {index}")
    return values


def _same_count(name: str, values: np.ndarray, other_name: str, other: np.ndarray) -> None:
    if len(values) != len(other):
        raise UserError(f"{name} and {other_name} must have the same length, got {len(values)} and {len(other)}")
