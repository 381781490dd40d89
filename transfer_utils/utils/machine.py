"""What a run's numbers and speed depend on, besides its options: versions, cores, memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import psutil

PACKAGES = ("transfer-utils", "keras", "tensorflow", "ai-edge-litert", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, object]:
    """Return what the run's speed depends on: processor family, cores, memory in GB, operating system."""
    memory = round(psutil.virtual_memory().total / 1e9, 1)
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": available_cores(),
        "memory_gb": memory,
    }


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> int | None:
    """Return the largest resident memory of this process so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20) if platform.system() == "Darwin" else peak / 1024)
