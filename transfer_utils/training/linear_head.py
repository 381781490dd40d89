"""The part of stage 1 that is convex, solved as such: softmax regression on standardised features, by L-BFGS.

A linear head has one best setting for each strength of L2; Newton-like steps over all images find it in seconds, where
stochastic steps take epochs. The head then starts from there.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

# From strong to weak: each solution starts from the one before, and the path ends when validation gets worse.
L2_PATH = tuple(10.0**power for power in np.arange(0.0, -5.5, -0.5))

# Validation loss is known to about a hundredth; five digits of the training loss are more than it can tell apart.
TOLERANCE, MAX_STEPS = 1e-5, 100


class LinearHead(NamedTuple):
    """A solved head: ``softmax(((x - mean) / deviation) @ kernel + bias)``, and how it was found.

    Attributes:
        mean, deviation: (d,) float32, of the training features.
        kernel, bias: (d, classes) and (classes,) float32.
        l2: the strength chosen on validation; val_loss: cross-entropy there, in nats, with the same label smoothing.
    """

    mean: np.ndarray
    deviation: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    l2: float
    val_loss: float


def solve_head(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray], label_smoothing: float = 0.0
) -> LinearHead:
    """Return the best linear head along a path of L2 strengths, chosen by validation loss.

    Args:
        train, validation: features (n, d) and labels (n, classes), rows that sum to 1.
        label_smoothing: share of each label that is spread over all classes.
    """
    x, y = np.asarray(train[0], "float32"), _smooth(train[1], label_smoothing)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-3  # a feature that never moves must not blow up
    x = (x - mean) / deviation
    variances, axes = _principal_axes(x)
    x = x @ axes
    x_val = (np.asarray(validation[0], "float32") - mean) / deviation @ axes
    y_val = _smooth(validation[1], label_smoothing)
    best: LinearHead | None = None
    matrix = np.zeros((x.shape[1] + 1, y.shape[1]), "float32")
    for l2 in L2_PATH:
        matrix = _minimise(matrix, x, y, l2, variances)
        val_loss = _cross_entropy(x_val @ matrix[:-1] + matrix[-1], y_val)
        if best is not None and val_loss >= best.val_loss:
            break
        best = LinearHead(mean, deviation, axes @ matrix[:-1], matrix[-1], l2, val_loss)
    return best


def start_head(head: keras.Model, solved: LinearHead) -> None:
    """Set a Keras head of BatchNorm, Dropout and softmax to ``solved``: the standardisation goes into the BatchNorm."""
    norm, dense = head.get_layer("head_batchnorm"), head.get_layer("head")
    variance = np.maximum(solved.deviation**2 - norm.epsilon, 0)
    scale = np.sqrt(variance + norm.epsilon) / solved.deviation  # 1, but for features that hardly move
    norm.set_weights([scale, np.zeros_like(solved.mean), solved.mean, variance])
    dense.set_weights([solved.kernel, solved.bias])


def _principal_axes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances (k,) along the principal axes of ``x`` (n, d), and the axes (d, k).

    There the curvature of the loss is almost diagonal, so that a tenth of the steps will do. Few images span only n
    axes; along all others L2 leaves the best kernel at zero, so they are left out.
    """
    if 2 * len(x) < x.shape[1]:  # with more, this takes longer than it saves
        _, singular, axes = np.linalg.svd(x, full_matrices=False)
        return singular**2 / len(x), axes.T
    return np.linalg.eigh(x.T @ x / len(x))


def _minimise(start: np.ndarray, x: np.ndarray, y: np.ndarray, l2: float, variances: np.ndarray) -> np.ndarray:
    """Return the matrix (d + 1, classes), kernel above bias, of least loss; ``x`` lies along its principal axes."""
    n = len(x)
    # The softmax curves by at most half the variance of a feature (Boehning 1992); the last entry is the bias's.
    curvature = np.append(0.5 * np.maximum(variances, 0), 0.5) + l2
    scale = np.sqrt(curvature).astype("float32")[:, None]

    def loss_and_gradient(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        matrix = scaled.reshape(start.shape).astype("float32") / scale
        kernel, bias = matrix[:-1], matrix[-1]
        logits = x @ kernel + bias
        log_p = logits - logsumexp(logits, axis=1, keepdims=True)
        wrong = (np.exp(log_p) - y) / n
        gradient = np.vstack([x.T @ wrong + l2 * kernel, wrong.sum(axis=0)]) / scale
        return float(-(y * log_p).sum() / n + 0.5 * l2 * (kernel**2).sum()), gradient.ravel().astype("float64")

    options = {"maxiter": MAX_STEPS, "ftol": TOLERANCE}
    found = minimize(loss_and_gradient, (start * scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(start.shape).astype("float32") / scale


def _cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    return float(-(y * (logits - logsumexp(logits, axis=1, keepdims=True))).sum(axis=1).mean())


def _smooth(labels: np.ndarray, share: float) -> np.ndarray:
    return ((1 - share) * labels + share / labels.shape[1]).astype("float32")
