"""A limit on the memory that a test's code may take."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_below(limit: float) -> Iterator[None]:
    """Fail if Python holds ``limit`` bytes more at any moment of the block than before it."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < limit, f"{peak:,} bytes"
    finally:
        tracemalloc.stop()
