"""The linear head, solved: softmax regression on standardised features by L-BFGS (Liu & Nocedal 1989).

The loss of a linear head is convex, so it has one minimum for each strength of L2. Quasi-Newton steps over all images
find it in seconds, where stochastic steps take epochs. Training can then start from the solution.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import scipy
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from threadpoolctl import ThreadpoolController

# From strong to weak: each solution starts from the one before, and the path ends when the validation loss rises.
L2_PATH = tuple(float(10.0**power) for power in np.arange(0.0, -5.5, -0.5))  # not NumPy's, which make float64 of all

# Divided by the number of images, where nothing is chosen on validation; 1 / C in scikit-learn. Near the best for 5 and
# for 20 labels per class of CIFAR-10 and of photo-digits, measured once.
FIXED_L2 = 50.0

# The validation loss is known to about a hundredth, so five digits of the training loss are enough.
TOLERANCE, MAX_STEPS = 1e-5, 100

LARGE = 8_000  # images; of at least so many, a quarter gives the axes and where the search for L2 begins

BLOCK = 500  # images; their features stay in the cache of the processor from the logits to the gradient

Fold = tuple[np.ndarray, np.ndarray]  # positions to learn from, and held-out positions


class LinearHead(NamedTuple):
    """A solved head, ``softmax(((x - mean) / deviation) @ kernel + bias)``, and its quality on validation.

    Attributes:
        mean, deviation: (d,) float32: mean and standard deviation, plus 0.001, of the training features.
        kernel, bias: (d, classes) and (classes,) float32.
        l2: the weight of ``0.5 * sum(kernel**2)`` in the loss, chosen on validation unless it is fixed.
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

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, float32 (n, classes), for features (n, d)."""
        kernel = self.kernel / self.deviation[:, None]
        return softmax(np.asarray(features, "float32") @ kernel + (self.bias - self.mean @ kernel), axis=1)


def solve_head(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    label_smoothing: float = 0.0,
    select: bool = True,
) -> LinearHead:
    """Solve softmax regression with L2 by L-BFGS (Liu & Nocedal 1989, Mathematical Programming 45:503-528).

    The loss is the mean cross-entropy in nats plus L2 on the kernel. The strengths fall along a path until the
    validation loss stops falling; the head with the lowest is returned. For many images, the path begins one step below
    what is best for a quarter of them.

    Args:
        train, validation: features (n, d) and labels (n, classes), rows that sum to 1.
        label_smoothing: share of each label that is spread over all classes.
        select: choose L2 on validation; otherwise it is 50 / n, and validation only measures.
    """
    x, y = np.array(train[0], "float32"), _smooth(train[1], label_smoothing)
    mean = x.mean(axis=0)
    x -= mean  # in place: of 40,000 images, every copy would take 200 MB
    deviation = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x)) + 1e-3  # a feature that never moves must not blow up
    x /= deviation
    x_val, y_val = np.asarray(validation[0], "float32"), _smooth(validation[1], label_smoothing)
    # Every fourth image, then all. A quarter that has fewer images than features would lack some of the axes.
    parts = (4, 1) if len(x) >= max(LARGE, 4 * x.shape[1]) else (1,)
    variances, axes = _principal_axes(x[:: parts[0]])  # they only scale the steps
    path = L2_PATH if select else (FIXED_L2 / len(x),)
    matrix = np.zeros((x.shape[1] + 1, y.shape[1]), "float32")
    # The best L2 falls as 1 / n, so the path of all images begins one step, 0.32, below what is best for a quarter.
    for every in parts:
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
        path, matrix = path[path.index(best.l2) + 1 :] or path[-1:], np.vstack([best.kernel, best.bias])
    return best


def out_of_fold(
    x: np.ndarray, y: np.ndarray, folds: Sequence[Fold], label_smoothing: float = 0.0, select: bool = False
) -> np.ndarray:
    """Return the probabilities (n, classes) of each image by a head that was solved without its fold.

    Args:
        x, y: features (n, d) and labels (n, classes), one-hot.
        folds: the positions to learn from and the held-out positions of each; each image is held out once.
        select: choose the L2 of each head, one number, on the fold that it judges; without it, L2 is fixed.
    """
    probabilities = np.zeros(y.shape, "float32")
    for learn, held_out in folds:
        head = solve_head((x[learn], y[learn]), (x[held_out], y[held_out]), label_smoothing, select)
        probabilities[held_out] = head.probabilities(x[held_out])
    return probabilities


def start_head(head: keras.Model, solved: LinearHead) -> None:
    """Set a Keras head to a solution; the standardisation goes into its BatchNorm.

    Args:
        head: the result of ``build_top_classifier`` with ``head="batchnorm"`` and ``hidden_units=0``.
        solved: for the same number of features and classes.

    Raises:
        ValueError: the head has other layers or shapes.
    """
    norm, dense = head.get_layer("head_batchnorm"), head.get_layer("head")
    variance = np.maximum(solved.deviation**2 - norm.epsilon, 0)
    scale = np.sqrt(variance + norm.epsilon) / solved.deviation  # 1, but for features that hardly move
    norm.set_weights([scale, np.zeros_like(solved.mean), solved.mean, variance])
    dense.set_weights([solved.kernel, solved.bias])


def _principal_axes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances (k,) along the principal axes of ``x`` (n, d), and the axes (d, k).

    Along them the curvature of the loss is almost diagonal, so a tenth of the steps is enough. Few images span only n
    axes; along all others L2 keeps the best kernel at zero, so they are left out.
    """
    if 2 * len(x) < x.shape[1]:  # with more images, this takes longer than it saves
        _, singular, axes = np.linalg.svd(x, full_matrices=False)
        return singular**2 / len(x), axes.T
    return np.linalg.eigh(x.T @ x / len(x))


def _minimise(
    start: np.ndarray, x: np.ndarray, y: np.ndarray, l2: float, variances: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """Return the matrix (d + 1, classes), kernel above bias, of least loss, for ``x`` (n, d) and ``y`` (classes, n).

    The steps go along the principal axes, each in units of its curvature. The numbers of a class are contiguous in
    memory, which makes the softmax several times faster, and the images come in blocks, so that all features are read
    once for each step instead of twice.
    """
    n, classes = len(x), len(y)
    # While all classes have the same probability p, the curvature of the softmax is p (1 - p) times the variance.
    equal = (1 - 1 / classes) / classes
    curvature = np.sqrt(equal * np.maximum(variances, 0) + l2)
    steps = (axes / curvature).astype("float32")
    bias_step = np.float32(np.sqrt(equal + l2))

    def loss_and_gradient(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        moved = scaled.reshape(-1, classes).astype("float32")
        kernel, bias = steps @ moved[:-1], moved[-1] / bias_step
        loss, of_kernel, of_bias = 0.0, np.zeros_like(kernel.T), np.zeros_like(bias)
        for first in range(0, n, BLOCK):
            block, labels = x[first : first + BLOCK], y[:, first : first + BLOCK]
            logits = np.ascontiguousarray((block @ kernel).T) + bias[:, None]
            logits -= logits.max(axis=0)
            exps = np.exp(logits)
            sums = exps.sum(axis=0)
            wrong = exps / sums - labels
            loss += float((labels * (np.log(sums) - logits)).sum())
            of_kernel += wrong @ block
            of_bias += wrong.sum(axis=1)
        gradient = np.vstack([steps.T @ (of_kernel.T / n + l2 * kernel), of_bias / (n * bias_step)])
        return float(0.5 * l2 * (kernel**2).sum()) + loss / n, gradient.ravel().astype("float64")

    scaled_start = np.vstack([(axes.T @ start[:-1]) * curvature[:, None], start[-1:] * bias_step])
    options = {"maxiter": MAX_STEPS, "ftol": TOLERANCE}
    # Between two steps the threads of SciPy's BLAS wait in a loop, on the cores that NumPy's need: the head took three
    # times as long.
    with _blas_of_scipy().limit(limits=1):
        solution = minimize(loss_and_gradient, scaled_start.ravel(), jac=True, method="L-BFGS-B", options=options)
    moved = solution.x.reshape(-1, classes).astype("float32")
    return np.vstack([steps @ moved[:-1], moved[-1:] / bias_step])


@functools.cache
def _blas_of_scipy() -> ThreadpoolController:
    """Return the controller of SciPy's BLAS, if it has one of its own, as in its wheels.

    It stays loaded, and to look through all loaded libraries takes milliseconds.
    """
    controller, own = ThreadpoolController(), str(Path(scipy.__file__).resolve().parent)
    paths = [library["filepath"] for library in controller.info() if library["filepath"].startswith(own)]
    return controller.select(filepath=paths)


def _cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    return float(-(y * (logits - logsumexp(logits, axis=1, keepdims=True))).sum(axis=1).mean())


def _smooth(labels: np.ndarray, share: float) -> np.ndarray:
    return ((1 - share) * labels + share / labels.shape[1]).astype("float32")
