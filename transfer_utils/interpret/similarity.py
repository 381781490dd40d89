"""Similarity of two representations of the same images, and of the classes of neighbours in one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transfer_utils.errors import UserError


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the similarity of two representations (linear CKA, Kornblith et al. 2019, arXiv 1905.00414, section 3).

    It does not change if either representation is rotated, mirrored or scaled. The feature-space form used here needs a
    matrix of shape (d_a, d_b) instead of (n, n).

    Args:
        a, b: (n, d_a) and (n, d_b), rows for the same images.

    Returns:
        A number in [0, 1], 1 for equal representations; NaN if one of them is constant.

    Raises:
        UserError: the shapes do not match.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or not len(a):
        raise UserError(f"a and b must have shapes (n, d_a) and (n, d_b), got {a.shape} and {b.shape}.")
    a, b = (x - x.mean(axis=0, dtype="float64") for x in (a, b))
    scale = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / scale) if scale > 0 else float("nan")


def cka_matrix(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return ``linear_cka`` of each layer of ``before`` (rows) with each layer of ``after`` (columns), float64."""
    return np.array([[linear_cka(a, b) for b in after.values()] for a in before.values()])


def neighbour_agreement(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of images whose nearest neighbour (Euclidean distance) has the same class.

    Args:
        features: (n, d), n at least 2.
        labels: (n,).

    Raises:
        UserError: fewer than two rows, or a different number of labels.
    """
    from sklearn.neighbors import NearestNeighbors

    features, labels = np.asarray(features), np.asarray(labels)
    if len(features) < 2 or len(features) != len(labels):
        raise UserError(f"features must have at least two rows, one per label, got {len(features)} and {len(labels)}.")
    # Without a query, scikit-learn does not count a point as its own neighbour.
    nearest = NearestNeighbors(n_neighbors=1).fit(features).kneighbors(return_distance=False)[:, 0]
    return float((labels[nearest] == labels).mean())
