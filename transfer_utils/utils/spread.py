"""Some of many, spread evenly over all of them."""

from __future__ import annotations

import numpy as np


def spread_evenly(n: int, limit: int) -> np.ndarray:
    """Return the positions, int (m,), of at most ``limit`` of ``n`` things, evenly from the first to the last."""
    return np.linspace(0, n - 1, min(limit, n)).astype(int)
