"""How time and memory grow with the number of images: ``cifar10`` in a process of its own for each number."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.pairs import wait_until_quiet

LABELS_PER_CLASS = (400, 1200, 4000)  # 4,000, 12,000 and 40,000 training images
ALL_LABELS = 5000  # per class of CIFAR-10; validation takes a quarter of the training images of them
PHASES = ("boundary", "features", "stage1", "stage2")


def growth(data_dir: str, max_wait: float = 0.0) -> list[dict[str, Any]]:
    """Return for each number of training images the seconds of each phase, the peak memory, and the busy cores.

    The memory is in MiB: of the whole process, and from its start to the end of each phase. The system must report it,
    which Windows does not.

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
            subprocess.run([sys.executable, "-m", "transfer_utils", *words], check=True)
            record = json.loads(next(Path(folder).glob("*/run.json")).read_text("utf-8"))
        seconds = {phase: record["timing_sec"].get(phase) or 0.0 for phase in PHASES}
        until = {phase: record["peak_memory_mb"][phase] for phase in PHASES}
        images, memory = record["dataset"]["images"]["train"], record["machine"]["peak_memory_mb"]
        row = {"images": images, "seconds": seconds, "peak_memory_mb": memory, "peak_memory_mb_until": until}
        rows.append(row | {"load": round(load, 2)})
    return rows
