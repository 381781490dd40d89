"""Simulate faults that would end the test process: a writer killed at a random moment, and a full disk.

    python faults.py FOLDER kill:record:300     kill 300 writers of a run record and check the file after each
    python faults.py FOLDER fill:keras:20       fill the disk at 20 points of a model file and check the file after each

The counts are printed as JSON. The kinds of files named ``naive...`` are written in place, as negative controls.
"""

import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

LOSSES = ("broken", "lost", "silent", "left_over")
NOTES = 500  # in each record, so that writing takes a while
MIN_LIFETIME = 0.02  # seconds, so that even a quick writer writes before it is killed


class Kind(NamedTuple):
    """A kind of file: how it is written with a generation number inside, and how that number is read."""

    suffix: str
    write: Callable[[Path, int], object]
    read: Callable[[Path], int]


def play(folder: Path, *faults: str) -> dict[str, dict[str, int]]:
    """Simulate faults such as ``kill:record:300`` in a child process and return the counts of each."""
    done = subprocess.run([sys.executable, __file__, str(folder), *faults], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def survived(counts: dict[str, dict[str, int]], tally: Callable[..., None]) -> bool:
    """Report the attempts and losses, without the negative controls, to ``tally``; return whether nothing was lost."""
    results = [result for fault, result in counts.items() if "naive" not in fault]
    lost = sum(result.get(name, 0) for result in results for name in LOSSES)
    tally(sum(result["tried"] for result in results), lost)
    return not lost


def kill(kind: Kind, times: int, folder: Path) -> dict[str, int]:
    """Kill ``times`` writers; count broken files, replaced files and leftovers."""
    path = folder / f"file{kind.suffix}"
    kind.write(path, 0)
    started = time.monotonic()
    kind.write(path, 1)
    max_lifetime = max(4 * (time.monotonic() - started), MIN_LIFETIME)
    last, broken, replaced = 1, 0, 0
    rng = random.Random(0)
    for _ in range(times):
        child = os.fork()
        if child == 0:
            _write_forever(kind, path, last)
        time.sleep(rng.uniform(0, max_lifetime))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the writer failed before it was killed"
        generation = _generation(kind, path)
        broken += generation < last
        replaced += generation > last
        last = max(last, generation)
    kind.write(path, last + 1)
    return {"tried": times, "broken": broken, "replaced": replaced, "left_over": len(os.listdir(folder)) - 1}


def fill(kind: Kind, times: int, folder: Path) -> dict[str, int]:
    """Fill the disk at ``times`` points of a file; count lost files, silent failures and leftovers."""
    path = folder / f"file{kind.suffix}"
    kind.write(path, 0)
    tried = lost = silent = 0
    for limit in range(0, path.stat().st_size, path.stat().st_size // times + 1):
        with suppress(OSError), limited(limit):
            kind.write(path, 1)
            silent += 1
        lost += _generation(kind, path) != 0
        tried += 1
    return {"tried": tried, "lost": lost, "silent": silent, "left_over": len(os.listdir(folder)) - 1}


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes in the block, as if the disk were full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _write_forever(kind: Kind, path: Path, last: int) -> None:
    try:
        for generation in itertools.count(last + 1):
            kind.write(path, generation)
    finally:
        os._exit(1)


def _generation(kind: Kind, path: Path) -> int:
    """Return the generation in a file, or -1 if the file is broken."""
    try:
        return kind.read(path)
    except Exception:
        return -1


def record_kind(naive: bool = False) -> Kind:
    from transfer_utils.records.record import RunRecord, read_record

    def write(path: Path, generation: int) -> None:
        notes = [str(generation)] * NOTES
        if naive:
            with open(path, "w") as file:
                json.dump({"notes": notes}, file)
        else:
            RunRecord(notes=notes).save(path)

    def read(path: Path) -> int:
        notes = read_record(path).notes
        return int(notes[0]) if notes == notes[:1] * NOTES else -1

    return Kind(".json", write, read)


def array_kind() -> Kind:
    import numpy as np

    from transfer_utils.utils.files import replacing

    def write(path: Path, generation: int) -> None:
        with replacing(path) as temporary:
            np.save(temporary, np.full((100, 1280), generation, np.float16))

    def read(path: Path) -> int:
        array = np.load(path)
        return int(array[0, 0]) if np.ptp(array) == 0 else -1

    return Kind(".npy", write, read)


def model_kind(suffix: str, naive: bool = False) -> Kind:
    import keras
    import numpy as np

    from transfer_utils.models.saving import load_model, save_model

    model = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(64)])

    def write(path: Path, generation: int) -> None:
        for variable in model.variables:
            variable.assign(np.full(variable.shape, generation, "float32"))
        if naive:
            model.save(path)
        else:
            save_model(model, path)

    def read(path: Path) -> int:
        weights = np.concatenate([array.ravel() for array in load_model(path).get_weights()])
        return int(weights[0]) if np.ptp(weights) == 0 else -1

    return Kind(suffix, write, read)


KINDS: dict[str, Callable[[], Kind]] = {
    "record": record_kind,
    "array": array_kind,
    "keras": lambda: model_kind(".keras"),
    "h5": lambda: model_kind(".h5"),
    "naive": lambda: record_kind(naive=True),
    "naive-keras": lambda: model_kind(".keras", naive=True),
    "naive-h5": lambda: model_kind(".h5", naive=True),
}

if __name__ == "__main__":
    counts = {}
    for job in sys.argv[2:]:
        fault, name, times = job.split(":")
        place = Path(sys.argv[1], f"{fault}-{name}")
        place.mkdir()
        counts[f"{fault}:{name}"] = {"kill": kill, "fill": fill}[fault](KINDS[name](), int(times), place)
    print(json.dumps(counts))
