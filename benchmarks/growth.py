"""How time and memory grow with the number of images: ``cifar10`` in a process of its own for each number."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.pairs import wait_until_quiet

LABELS_PER_CLASS = (400, 1200, 4000)  # 4,000, 12,000 and 40,000 training images
ALL_LABELS = 5000  # per class of CIFAR-10; validation takes a quarter of the training images of them
PHASES = ("boundary", "features", "stage1", "stage2")
LOOK_SECONDS = 0.1  # between two looks at the memory of the process


def growth(data_dir: str, max_wait: float = 0.0) -> list[dict[str, Any]]:
    """Return for each number of training images the seconds of each phase, the peak memory, and the busy cores.

    The memory is in MiB: of the whole process, and from its start to the end of each phase. *Own* memory leaves out the
    pages of mapped files, such as cached activations and libraries, which the system can drop when it needs room. Linux
    alone reports it.

    Args:
        max_wait: seconds to wait before each run until other processes keep few cores busy.
    """
    rows = []
    for labels in LABELS_PER_CLASS:
        with tempfile.TemporaryDirectory() as folder:
            words = ["train", "--preset", "cifar10", "--quiet", "--no-tta", "--model_path", "none"]
            words += ["--labels_per_class", str(labels), "--validation_share", str(labels / 4 / ALL_LABELS)]
            words += ["--output_dir", folder, "--cache_dir", f"{folder}/cache"]
            words += ["--data_dir", data_dir] if data_dir else []
            load = wait_until_quiet(max_wait)
            own = _run([sys.executable, "-m", "transfer_utils", *words])
            record = json.loads(next(Path(folder).glob("*/run.json")).read_text("utf-8"))
        seconds = {phase: record["timing_sec"].get(phase) or 0.0 for phase in PHASES}
        until = {phase: record["peak_memory_mb"][phase] for phase in PHASES}
        images, memory = record["dataset"]["images"]["train"], record["machine"]["peak_memory_mb"]
        row = {"images": images, "seconds": seconds, "peak_memory_mb_until": until, "load": round(load, 2)}
        rows.append(row | {"peak_memory_mb": memory, "peak_own_memory_mb": own})
    return rows


def _run(command: list[str]) -> int:
    """Run a command and return the peak of its own memory in MiB, sampled every ``LOOK_SECONDS``.

    Raises:
        CalledProcessError: it failed.
    """
    peak = 0
    with subprocess.Popen(command) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.Error):  # it has just ended
                memory = watched.memory_info()
                peak = max(peak, memory.rss - memory.shared)
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return round(peak / 2**20)
