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

MANY = 8_000  # images


class LinearHead(NamedTuple):
    """A solved head: ``softmax(((x - mean) / deviation) @ kernel + bias)``, and how it was found.

    Attributes:
        mean, deviation: (d,) float32, of the training features.
        kernel, bias: (d, classes) and (classes,) float32.
        l2: the strength chosen on validation.
        val_loss: cross-entropy on validation, in nats, with the same label smoothing.
        val_accuracy: accuracy on validation, 0-1.
    """

    mean: np.ndarray
    deviation: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    l2: float
    val_loss: float
    val_accuracy: float


def solve_head(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray], label_smoothing: float = 0.0
) -> LinearHead:
    """Return the best linear head along a path of L2 strengths, chosen by validation loss.

    Args:
        train, validation: features (n, d) and labels (n, classes), rows that sum to 1.
        label_smoothing: share of each label that is spread over all classes.
    """
    x, y = np.array(train[0], "float32"), _smooth(train[1], label_smoothing)
    mean = x.mean(axis=0)
    x -= mean  # in place: of 40,000 images, every copy would take 200 MB
    deviation = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x)) + 1e-3  # a feature that never moves must not blow up
    x /= deviation
    x_val, y_val = np.asarray(validation[0], "float32"), _smooth(validation[1], label_smoothing)
    variances, axes = _principal_axes(x)
    path, matrix = L2_PATH, np.zeros((x.shape[1] + 1, y.shape[1]), "float32")
    # More images bear less L2: where there are many, a quarter of them tells where along the path to begin.
    for every in (4, 1) if len(x) >= MANY else (1,):
        best: LinearHead | None = None
        for l2 in path:
            matrix = _minimise(matrix, x[::every], y[::every].T, l2, variances, axes)
            kernel = matrix[:-1] / deviation[:, None]
            logits = x_val @ kernel + (matrix[-1] - mean @ kernel)
            val_loss = _cross_entropy(logits, y_val)
            if best is not None and val_loss >= best.val_loss:
                break
            accuracy = float(np.mean(logits.argmax(axis=1) == y_val.argmax(axis=1)))
            best = LinearHead(mean, deviation, matrix[:-1], matrix[-1], l2, val_loss, accuracy)
        path = path[path.index(best.l2) :]
        matrix = np.vstack([best.kernel, best.bias])
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


def _minimise(
    start: np.ndarray, x: np.ndarray, y: np.ndarray, l2: float, variances: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """Return the matrix (d + 1, classes), kernel above bias, of least loss, for ``x`` (n, d) and ``y`` (classes, n).

    The steps are made along the principal axes, each in units of its curvature. The numbers of a class lie side by
    side, which makes the softmax several times faster.
    """
    n, classes = len(x), len(y)
    # The softmax curves by at most half the variance of a feature (Boehning 1992); the last entry is the bias's.
    curvature = np.sqrt(0.5 * np.maximum(variances, 0) + l2)
    steps = (axes / curvature).astype("float32")
    bias_step = np.float32(np.sqrt(0.5 + l2))

    def loss_and_gradient(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        moved = scaled.reshape(-1, classes).astype("float32")
        kernel, bias = steps @ moved[:-1], moved[-1] / bias_step
        log_p = np.ascontiguousarray((x @ kernel).T) + bias[:, None]
        log_p -= log_p.max(axis=0)
        log_p -= np.log(np.exp(log_p).sum(axis=0))
        wrong = (np.exp(log_p) - y) / n
        gradient = np.vstack([steps.T @ ((wrong @ x).T + l2 * kernel), wrong.sum(axis=1) / bias_step])
        return float(0.5 * l2 * (kernel**2).sum() - (y * log_p).sum() / n), gradient.ravel().astype("float64")

    on_begin = np.vstack([(axes.T @ start[:-1]) * curvature[:, None], start[-1:] * bias_step])
    options = {"maxiter": MAX_STEPS, "ftol": TOLERANCE}
    found = minimize(loss_and_gradient, on_begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    moved = found.x.reshape(-1, classes).astype("float32")
    return np.vstack([steps @ moved[:-1], moved[-1:] / bias_step])


def _cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    return float(-(y * (logits - logsumexp(logits, axis=1, keepdims=True))).sum(axis=1).mean())


def _smooth(labels: np.ndarray, share: float) -> np.ndarray:
    return ((1 - share) * labels + share / labels.shape[1]).astype("float32")
