"""Facts about the machine that affect a run's numbers and speed: versions, cores, memory."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from contextlib import suppress
from pathlib import Path

import psutil

PACKAGES = ("transfer-utils", "keras", "tensorflow", "ai-edge-litert", "numpy", "scikit-learn")
OTHER_BACKENDS = ("jax", "torch")  # named where they are installed


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect a run's numbers."""
    installed = {"python": platform.python_version()}
    for name in (*PACKAGES, *OTHER_BACKENDS):
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in PACKAGES:
                installed[name] = "not installed"
    return installed


def machine() -> dict[str, object]:
    """Return what affects the speed of a run: operating system, processor family, cores, and memory in GB."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": available_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def available_cores() -> int:
    """Return how many cores this process may use, given its CPU affinity and the CPU quota of its container."""
    from joblib import cpu_count  # here: importing joblib takes a tenth of a second

    return cpu_count()


def peak_memory_mb() -> int | None:
    """Return the peak resident memory of this process in MiB, or None if the system does not report it.

    It is recorded under this name since the first run.
    """
    # On Linux, what getrusage returns begins with the peak of the process that started this one.
    with suppress(OSError):
        if peak := re.search(rb"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_bytes(), re.MULTILINE):
            return round(int(peak[1]) / 1024)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20) if platform.system() == "Darwin" else peak / 1024)
