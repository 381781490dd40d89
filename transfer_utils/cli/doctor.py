"""A report on this machine, the cached downloads, and the requirements of each preset."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from rich.table import Column, Table

from transfer_utils.config.options import preset
from transfer_utils.config.presets import PRESET_PURPOSE, PRESETS
from transfer_utils.data.cifar10 import SHA256, archive_path
from transfer_utils.results.formatting import duration, plain_text
from transfer_utils.studies.cost import estimate
from transfer_utils.utils.disk import free_bytes
from transfer_utils.utils.files import cache_folder, sha256_of
from transfer_utils.utils.machine import machine, versions
from transfer_utils.utils.text import format_bytes


def examine(cache_dir: str = "") -> str:
    """Return the report of ``transfer-utils doctor`` as plain text."""
    return plain_text(110, _versions(), _machine(cache_dir), _downloads(), _presets())


def _table(title: str, *columns: str) -> Table:
    headers = (Column(name, overflow="fold") for name in columns or ("", ""))
    return Table(*headers, title=title, title_justify="left", show_header=bool(columns), box=None, pad_edge=False)


def _versions() -> Table:
    table = _table("Versions")
    for name, version in versions().items():
        table.add_row(name, version)
    return table


def _machine(cache_dir: str) -> Table:
    from transfer_utils.models.engine import gpus  # slow: it loads the backend

    table, facts, cache = _table("This machine"), machine(), cache_folder(cache_dir)
    table.add_row("system", f"{facts['system']} {facts['processor']}, Python at {sys.prefix}")
    table.add_row("cores", str(facts["cores"]))
    table.add_row("memory", f"{facts['memory_gb']} GB, {psutil.virtual_memory().available / 1e9:.1f} GB free")
    table.add_row("disk for the cache", f"{format_bytes(free_bytes(cache))} free at {cache}")
    table.add_row("cache", f"{format_bytes(_size(cache))}; it can be deleted at any time")
    table.add_row("GPU", ", ".join(gpus()) or "none (not required)")
    return table


def _downloads() -> Table:
    from transfer_utils.models.weights import imagenet_path

    table = _table("Downloads")
    configs = [preset(name) for name in PRESETS]
    weights = {imagenet_path(config): config for config in configs if config.weights == "imagenet"}
    for path, config in weights.items():
        table.add_row(f"{config.backbone} {config.alpha:g}", _cached(path, lambda path: path.stat().st_size > 0))
    table.add_row("CIFAR-10", _cached(archive_path(), lambda path: sha256_of(path) == SHA256))
    table.add_row("letters weights", "included in the package")
    return table


def _presets() -> Table:
    table = _table("Presets on this machine (estimates)", "preset", "purpose", "time of both stages", "disk", "memory")
    for name in PRESETS:
        seconds, disk, memory = estimate(preset(name))
        table.add_row(name, PRESET_PURPOSE[name], duration(seconds), format_bytes(disk), format_bytes(memory))
    return table


def _cached(path: Path, is_whole: Callable[[Path], bool]) -> str:
    if not path.exists():
        return f"not cached: {path.name} belongs in {path.parent}"
    return f"cached in {path.parent}" if is_whole(path) else f"damaged: remove {path}, and it is downloaded again"


def _size(folder: Path) -> int:
    size = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a run in progress renames and removes files
            size += file.stat().st_size if file.is_file() else 0
    return size
