"""Arrays cached on disk: one ``.npy`` file, memory-mapped, with a JSON note beside it that holds its SHA-256."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from transfer_utils.utils.files import lock, replacing, sha256_of, write_json

Note = dict[str, Any]


def open_array(
    path: Path,
    chunks: Callable[[], Iterable[np.ndarray]],
    make_note: Callable[[str], Note],
    matches: Callable[[Note, str], bool] = lambda note, sha256: note["sha256"] == sha256,
) -> tuple[np.memmap, Note]:
    """Open the array cached at ``path``; build it first if it is missing or damaged.

    When several processes need the same array, one builds it while the others wait.

    Args:
        path: the ``.npy`` file; its note is the ``.json`` file beside it.
        chunks: called to build the array; yields its rows in parts (k, ...) of one dtype, at least one part.
        make_note: called after the last part with the array's SHA-256 (64 hex digits); returns the note.
        matches: called with the note and the array's SHA-256; returns whether the cached array is intact. By default,
            it is if the note's ``sha256`` is that.

    Returns:
        The array (n, ...), memory-mapped and read-only, and its note.

    Raises:
        OSError: the array could not be written, for example because the disk is full.

    Warns:
        UserWarning: the cached array or its note is damaged, and the array is built again.
    """
    note = _read_note(path, matches)
    if note is None:
        with lock(path):
            note = _read_note(path, matches)  # another process may have built it meanwhile
            if note is None:
                if path.exists() and path.with_suffix(".json").exists():
                    warnings.warn(f"The cache file {path} or its note is damaged; it is built again.", stacklevel=2)
                note = _build(path, chunks(), make_note)
    return np.load(path, mmap_mode="r", allow_pickle=False), note


def _read_note(path: Path, matches: Callable[[Note, str], bool]) -> Note | None:
    """Return the note of an intact array, or None."""
    try:
        note = json.loads(path.with_suffix(".json").read_bytes())
        return note if matches(note, sha256_of(path)) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _build(path: Path, chunks: Iterable[np.ndarray], make_note: Callable[[str], Note]) -> Note:
    chunks = iter(chunks)
    first, n = next(chunks), 0
    with replacing(path) as temporary:
        # Written, not memory-mapped: on a full disk a write raises OSError, but a map kills the process.
        with open(temporary, "wb") as file:
            _write_header(file, first, 0)
            for chunk in itertools.chain([first], chunks):
                file.write(np.ascontiguousarray(chunk).data)
                n += len(chunk)
            file.seek(0)
            _write_header(file, first, n)
        sha256 = sha256_of(temporary)
    note = make_note(sha256)
    write_json(path.with_suffix(".json"), note)
    return note


def _write_header(file: BinaryIO, chunk: np.ndarray, n: int) -> None:
    # NumPy pads the header so that its length does not depend on the number of rows.
    header = {"descr": dtype_to_descr(chunk.dtype), "fortran_order": False, "shape": (n, *chunk.shape[1:])}
    write_array_header_1_0(file, header)
