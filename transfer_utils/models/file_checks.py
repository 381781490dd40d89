"""Checks of untrusted files, before Keras reads them: damage, links to other files, absurd sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py

from transfer_utils.errors import UserError
from transfer_utils.utils.files import keras_home, set_aside
from transfer_utils.utils.text import format_bytes

# Content that a file may declare, as a multiple of its size: weights hardly compress, a zip bomb compresses by 1,000.
MAX_EXPANSION = 100


def check_h5(path: Path, content: BinaryIO | None = None) -> None:
    """Refuse an HDF5 file that is damaged, declares an absurd size, or links to other files.

    Args:
        content: the opened HDF5 file, if ``path`` is an archive that contains it.

    Raises:
        UserError: with the reason; a damaged download is renamed first, so that the next run downloads it again.
    """
    try:
        with h5py.File(content or path, "r") as file:
            datasets = list(_datasets(path, "", file, set()))
            check_declared_size(path, sum(dataset.nbytes for dataset in datasets))
            for dataset in datasets:
                dataset[()]  # a truncated file fails here and not in the middle of training
    except (OSError, KeyError, RuntimeError) as error:
        raise damaged(path, error) from None


def check_declared_size(path: Path, n_bytes: int) -> None:
    """Refuse a small file that declares much larger content, before memory is allocated for it.

    Raises:
        UserError: ``n_bytes`` is more than 100 times the size of the file.
    """
    size = path.stat().st_size
    if n_bytes > MAX_EXPANSION * size:
        raise UserError(
            f"{path} is refused: it has {format_bytes(size)} but declares {format_bytes(n_bytes)} of content, "
            f"more than {MAX_EXPANSION} times as much."
        )


def _datasets(path: Path, parent: str, group: h5py.Group, seen: set[int]) -> Iterator[h5py.Dataset]:
    """Yield every dataset below ``group``; ``seen`` collects where in the file they and their groups are."""
    for key in group:
        name, link = f"{parent}/{key}", group.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UserError(f"{path} is refused: {name} links to another file.")
        if isinstance(link, h5py.SoftLink):
            raise UserError(f"{path} is refused: {name} is a soft link, which Keras weights do not contain.")
        item = group[key]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:  # a few groups that contain each other can make more paths than anyone can follow
            raise UserError(f"{path} is refused: {name} is linked twice.")
        seen.add(address)
        if isinstance(item, h5py.Group):
            yield from _datasets(path, name, item, seen)
        elif not isinstance(item, h5py.Dataset):
            raise UserError(f"{path} is refused: {name} is neither a group nor a dataset.")
        elif item.external or item.is_virtual:
            raise UserError(f"{path} is refused: {name} stores its values in another file.")
        else:
            yield item


def damaged(path: Path, error: Exception) -> UserError:
    """Return the error for a damaged file; rename the file if it is a download of Keras."""
    message = f"{path} is damaged ({first_line(error)})."
    if path.parent == keras_home() / "models":
        try:
            aside = set_aside(path)
        except OSError:
            return UserError(f"{message} Replace it with an intact copy.")
        message += f" It was renamed to {aside.name}; run again to download it, or put an intact copy in its place."
    return UserError(message)


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind; messages of h5py and Keras can be very long."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
