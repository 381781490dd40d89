"""What this machine has, what is cached, and what each preset would need here."""

from __future__ import annotations

import shutil
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import psutil
from rich.table import Table

from transfer_utils.augment import tta_count
from transfer_utils.config import PRESET_PURPOSE, PRESETS, RunConfig, preset
from transfer_utils.files import cache_folder, keras_home
from transfer_utils.machine import machine, versions
from transfer_utils.sources import CIFAR10_ARCHIVE
from transfer_utils.wording import duration, plain_text

# Measured on two cores of a server processor, in images a second, at 160 px and alpha 0.35: the frozen trunk on LiteRT.
# Used for estimates only.
TRUNK_RATE, REFERENCE_CORES = 1500, 2
REFERENCE_PIXELS, REFERENCE_ALPHA = 160 * 160, 0.35
# There too: up to so many unfrozen layers, bytes of an image's boundary activations (float16) at the end of a block,
# and images a second that are trained on them, from the third on by the share of multiply-adds. With more layers,
# training is on the images themselves.
TAILS = (
    (30, 2 * 5 * 5 * 56, 2300),
    (92, 2 * 10 * 10 * 24, 1050),
    (119, 2 * 20 * 20 * 16, 700),
    (144, 2 * 40 * 40 * 8, 500),
    (152, 2 * 80 * 80 * 16, 350),
)
WHOLE_RATE = 300

IMAGES = {"cifar10": 50_000, "photo-digits": 1_257}


def examine(cache_dir: str = "") -> str:
    """Return the report of ``transfer-utils doctor`` as plain text."""
    return plain_text(110, _versions(), _machine(cache_dir), _downloads(), _presets())


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", show_header=bool(columns), box=None, pad_edge=False
    )
    for column in columns or ("", ""):
        table.add_column(column, overflow="fold")
    return table


def _versions() -> Table:
    table = _table("Versions")
    for name, version in versions().items():
        table.add_row(name, version)
    # PEP 706: without this filter an archive can write outside its folder; the patched Pythons have it.
    safe = "yes" if hasattr(tarfile, "data_filter") else "no: update Python, archives could write outside their folder"
    table.add_row("safe tar extraction", safe)
    return table


def _machine(cache_dir: str) -> Table:
    from transfer_utils.engine import gpus  # here: it loads the backend

    table, facts, cache = _table("This machine"), machine(), cache_folder(cache_dir)
    table.add_row("system", f"{facts['system']} {facts['processor']}, Python at {sys.prefix}")
    table.add_row("cores", str(facts["cores"]))
    table.add_row("memory", f"{facts['memory_gb']} GB, {psutil.virtual_memory().available / 1e9:.1f} GB free")
    table.add_row("disk for the cache", f"{shutil.disk_usage(cache).free / 1e9:.1f} GB free at {cache}")
    table.add_row("cache", f"{_size(cache) / 1e9:.2f} GB; it may be deleted at any time")
    table.add_row("GPU", ", ".join(gpus()) or "none; none is needed")
    return table


def _downloads() -> Table:
    from transfer_utils.weights import imagenet_path

    table, seen = _table("Downloads"), set()
    for name in PRESETS:
        config = preset(name)
        if config.weights == "imagenet" and (path := imagenet_path(config)) not in seen:
            seen.add(path)
            table.add_row(f"{config.backbone} {config.alpha:g}", _presence(path))
    table.add_row("CIFAR-10", _presence(keras_home() / "datasets" / CIFAR10_ARCHIVE))
    table.add_row("letters weights", "shipped with the package")
    return table


def _presets() -> Table:
    table = _table("Presets on this machine, about", "preset", "for", "both stages", "disk", "memory")
    for name in PRESETS:
        seconds, disk, memory = estimate(preset(name))
        table.add_row(name, PRESET_PURPOSE[name], duration(seconds), f"{disk / 1e9:.1f} GB", f"{memory / 1e9:.1f} GB")
    return table


def estimate(config: RunConfig) -> tuple[float, float, float]:
    """Return about how many seconds, bytes of disk and bytes of memory a run of ``config`` takes on this machine."""
    images = IMAGES.get(config.dataset, 10_000)
    validation = config.validation_share * images
    train = min(images - validation, 10 * config.labels_per_class or images)
    held_out = validation + (10_000 if config.dataset == "cifar10" else 540)
    work = config.image_size**2 / REFERENCE_PIXELS * (config.alpha / REFERENCE_ALPHA) ** 1.5
    rate = max(1, int(machine()["cores"])) / REFERENCE_CORES / work
    fine_tuned = bool(config.n_unfreeze and config.epochs_stage2)
    epochs = config.epochs_stage2 if fine_tuned else 0
    boundary, tail_rate = _tail(config)
    cached = config.cached_views * train + held_out if fine_tuned and boundary else 0
    looks = tta_count(config.horizontal_flip, config.tta_shift) if config.tta else 1
    passes = train + held_out * (1 + looks) + cached
    seconds = 30 + (passes / TRUNK_RATE + epochs * (train + held_out / 3) / tail_rate) / rate
    scale = config.image_size**2 / REFERENCE_PIXELS * max(1.0, config.alpha)
    disk = images * 3 * config.stored_size**2 + 2 * 1280 * (train + held_out) + cached * boundary * scale
    return seconds, disk, 1.2e9 + 0.3 * min(disk, 2e9)


def _tail(config: RunConfig) -> tuple[int, int]:
    """Return the bytes of an image at the freeze boundary, 0 where nothing is cached, and images trained a second."""
    if config.views and config.n_unfreeze >= 0:
        for layers, size, images_a_second in TAILS:
            if config.n_unfreeze <= layers:
                return size, images_a_second
    return 0, WHOLE_RATE


def _presence(path: Path) -> str:
    return f"cached in {path.parent}" if path.exists() else f"not here yet: {path.name} goes to {path.parent}"


def _size(folder: Path) -> int:
    size = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a run that is at it renames and removes files
            size += file.stat().st_size if file.is_file() else 0
    return size
