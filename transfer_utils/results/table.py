"""Runs as rows of a table: name, options and results of each, and the options in which several differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transfer_utils.config.options import PATH_OPTIONS
from transfer_utils.config.recorded import Identity, augments, fine_tunes, identity, ignored
from transfer_utils.evaluation.percent import with_interval
from transfer_utils.records.folder import Listing, Run
from transfer_utils.records.record import RunRecord
from transfer_utils.results.curves import History, mean_history
from transfer_utils.results.options import (
    ORDER,
    REPEATS,
    model_name,
    normalised,
    value_text,
)
from transfer_utils.utils.text import MISSING, as_text, finite_number

METRICS_OF = {"validation": "val", "test": "test"}  # how the names of the metrics of a split begin
MAX_EPOCHS = 10_000  # that an option can set; a damaged record may have any number
STOPPED = "stopped"  # the status of a run that is recorded as running although no process works on it


@dataclass(eq=False)
class Row:
    """One run with the values that tables and charts show. ``name`` is printable and unique in the runs folder.

    ``is_live`` is False if the record says that the run is running but no process works on it any more.
    """

    name: str
    run: Run
    is_live: bool = True

    @property
    def record(self) -> RunRecord:
        return self.run.record

    @property
    def status(self) -> str:
        """The recorded status, or ``stopped`` for a run that ended without recording how."""
        return self.record.status if self.is_live or self.record.status != "running" else STOPPED

    @cached_property
    def config(self) -> dict[str, Any]:
        """The options under their current names."""
        return normalised(self.record.config)

    @cached_property
    def options(self) -> dict[str, str]:
        """The recorded options as text, without the preset and the path options; ``–`` has no effect on this run."""
        hidden, unused = {"preset", *PATH_OPTIONS}, ignored(self.config)
        return {
            name: MISSING if name in unused else value_text(name, value)
            for name, value in self.config.items()
            if name not in hidden
        }

    def without(self, *options: str) -> Identity:
        """The identity of the run without the seed and these options: equal for runs that differ only in them.

        The images are part of it, which the options do not tell: a folder may change, and CIFAR-10 has two copies.
        """
        return identity(self.config, ignoring={*REPEATS, *options}) | {("images", self.images)}

    @cached_property
    def repeated(self) -> Identity | str:
        """What this run shares with others of the same options, seed and images; without a recorded seed, nothing."""
        return identity(self.config) | {("images", self.images)} if "seed" in self.config else self.name

    @cached_property
    def images(self) -> str:
        """What tells the images of a run from others, as far as its record does."""
        recorded = self.record.dataset
        return repr((self.dataset, *map(recorded.get, ("description", "class_names")), self.record.images.get("test")))

    @property
    def dataset(self) -> str:
        name = self.record.dataset.get("name") or self.config.get("dataset")
        if name == "folder":
            name = Path(str(self.config.get("data_dir", ""))).name or name
        return as_text(name, 40)

    @property
    def network(self) -> str:
        """The backbone, or the name of the baseline."""
        return model_name(self.config) if self.from_scratch else as_text(self.config.get("backbone"), 40)

    @property
    def from_scratch(self) -> bool:
        return self.config.get("model") == "baseline"

    @property
    def fine_tunes(self) -> bool:
        """Whether the run has a stage 2."""
        return fine_tunes(self.config)

    @property
    def unfrozen(self) -> str:
        return self.options.get("n_unfreeze", MISSING)

    @property
    def labels(self) -> str:
        return value_text("labels_per_class", self.config.get("labels_per_class"))

    @property
    def augmentation(self) -> str:
        """Whether augmentation and Mixup are used, as text."""
        augmented = augments(self.config)
        if self.options.get("augment") == MISSING and not (self.from_scratch and augmented):
            return MISSING
        used = ["yes"] * (augmented is True) + ["Mixup"] * (self.config.get("use_mixup") is True)
        return " + ".join(used) or ("no" if "augment" in self.config else MISSING)

    def metric(self, name: str) -> float | None:
        return self.record.metrics.get(name)

    def accuracy(self, split: str) -> str:
        """The final model's accuracy on ``val`` or ``test``, with its interval if it is recorded, as text."""
        return with_interval(*self.record.bounded(f"{split}_end2end"))

    @property
    def seconds(self) -> float | None:
        return self.record.timing_sec.get("total")

    @cached_property
    def history(self) -> History:
        return mean_history([self.record])

    @property
    def epochs(self) -> int:
        """The number of epochs that ran, over all stages."""
        return len(self.history.epochs)

    @property
    def planned_stages(self) -> dict[str, int]:
        """The number of epochs of each stage set by the options; ``epochs_baseline`` 0 means the sum of both stages."""
        options = ("epochs_stage1", "epochs_stage2", "epochs_baseline")
        recorded = (finite_number(self.config.get(name)) or 0 for name in options)
        first, second, baseline = (int(min(max(number, 0), MAX_EPOCHS)) for number in recorded)
        if self.from_scratch:
            return {"baseline": baseline or first + second}
        return {"stage1": first, "stage2": second} if self.fine_tunes else {"stage1": first}

    @property
    def planned(self) -> int:
        """The number of epochs set by the options, over all stages."""
        return sum(self.planned_stages.values())

    @property
    def created(self) -> str:
        """The date and time (to the minute) of the start of the run."""
        return as_text(self.record.created[:16].replace("T", " ")) if self.record.created else MISSING


def make_rows(listing: Listing, root: Path, known: Mapping[str, Row] | None = None) -> list[Row]:
    """Return a row for each run, named by its folder below ``root``, or by its file if it is a single log.

    Args:
        known: earlier rows by name; the row of a record that is the same object is used again, with its cached values.
    """
    known = known or {}
    rows: dict[str, Row] = {}
    for run in listing.runs:
        path = run.path.relative_to(root)
        path = path.parent if run.has_folder else path.with_suffix("")
        name = base = as_text(root.resolve().name if path == Path() else path.as_posix())
        count = 1
        while name in rows:  # a folder and a log of the same name, or two names with the same printable form
            count += 1
            name = f"{base} ({count})"
        earlier = known.get(name)
        rows[name] = earlier if earlier and earlier.record is run.record else Row(name, run)
    return list(rows.values())


def differing(rows: Iterable[Row]) -> list[str]:
    """Return the options for which at least two rows record and use different values, the most important first."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.options.items():
            if value != MISSING:
                values.setdefault(name, set()).add(value)
    names = (name for name, texts in values.items() if len(texts) > 1)
    return sorted(names, key=lambda name: ORDER.get(name, len(ORDER)))
