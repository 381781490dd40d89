"""Runs as rows: what each one is called, was asked and reached, and in which options several differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transfer_utils.records import RECORD_NAME, Listing, Run, RunRecord
from transfer_utils.results.curves import History, mean_history
from transfer_utils.results.formatting import with_interval
from transfer_utils.results.options import DEFAULTS, NOT_COMPARED, ORDER, REPEATS, normalised, said
from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import MISSING, as_text, finite_number


@dataclass(eq=False)
class Row:
    """One run and everything that tables and charts ask of it. ``name`` is unique in the folder and printable."""

    name: str
    run: Run

    @property
    def record(self) -> RunRecord:
        return self.run.record

    @property
    def status(self) -> str:
        return self.record.status

    @cached_property
    def config(self) -> dict[str, Any]:
        """The options under today's names."""
        return normalised(self.record.config)

    @cached_property
    def options(self) -> dict[str, str]:
        """The options that decide what the run computes, as text."""
        return {name: said(name, value) for name, value in self.config.items() if name not in NOT_COMPARED}

    @cached_property
    def configuration(self) -> frozenset[tuple[str, str]]:
        """The options without the seed: equal for runs that repeat each other.

        Those at their default are left out, since a record that is older than an option has none of it.
        """
        told = ((name, value) for name, value in self.options.items() if name not in REPEATS)
        return frozenset((name, value) for name, value in told if value != DEFAULTS.get(name))

    def without(self, option: str) -> frozenset[tuple[str, str]]:
        """The configuration but for one option: equal for runs that show what this option does."""
        return self.configuration - {(option, self.options.get(option, ""))}

    @property
    def dataset(self) -> str:
        given = self.record.dataset.get("name") or self.config.get("dataset")
        if given == "folder":
            given = Path(str(self.config.get("data_dir", ""))).name or given
        return as_text(given, 40)

    @property
    def network(self) -> str:
        """The backbone, or what stands in for it."""
        if self.from_scratch:
            return MODEL_NAMES["baseline"]
        return as_text(self.config.get("backbone"), 40)

    @property
    def from_scratch(self) -> bool:
        return self.config.get("model") == "baseline"

    @property
    def fine_tunes(self) -> bool:
        """Whether the options ask for a second stage."""
        return not self.from_scratch and bool(self.config.get("n_unfreeze")) and self.config.get("epochs_stage2") != 0

    @property
    def unfrozen(self) -> str:
        if self.from_scratch:
            return MISSING
        return said("n_unfreeze", self.config.get("n_unfreeze"))

    @property
    def labels(self) -> str:
        return said("labels_per_class", self.config.get("labels_per_class"))

    @property
    def augmentation(self) -> str:
        """Augmentation and Mixup in a word."""
        used = [word for name, word in (("augment", "yes"), ("use_mixup", "Mixup")) if self.config.get(name) is True]
        if used:
            return " + ".join(used)
        return "no" if "augment" in self.config else MISSING

    def metric(self, name: str) -> float | None:
        return finite_number(self.record.metrics.get(name))

    def accuracy(self, split: str) -> str:
        """The final model's accuracy on ``val`` or ``test``, with its interval where the record has one."""
        metrics = self.record.metrics
        return with_interval(metrics.get(f"{split}_end2end"), metrics.get(f"{split}_low"), metrics.get(f"{split}_high"))

    @property
    def seconds(self) -> float | None:
        return finite_number(self.record.timing_sec.get("total"))

    @cached_property
    def history(self) -> History:
        return mean_history([self.record])

    @property
    def epochs(self) -> int:
        """The epochs that ran, over all stages."""
        return len(self.history.epochs)

    @property
    def planned(self) -> int:
        """The epochs that the options ask for; the network from scratch has its own, or those of both stages."""
        own = finite_number(self.config.get("epochs_baseline"))
        if self.from_scratch and own:
            return int(own)
        stages = ["epochs_stage1", "epochs_stage2"] if self.from_scratch or self.fine_tunes else ["epochs_stage1"]
        return int(finite_number(sum(finite_number(self.config.get(name)) or 0 for name in stages)) or 0)

    @property
    def created(self) -> str:
        """The day and the minute the run began, as far as the record says."""
        return as_text(self.record.created[:16].replace("T", " ")) if self.record.created else MISSING

    @cached_property
    def words(self) -> str:
        """What the search looks through: the name, the status, the data and every ``option=value``."""
        options = " ".join(f"{name}={as_text(value)}" for name, value in self.config.items())
        return f"{self.name} {self.status} {self.dataset} {self.network} {options}".lower()


def make_rows(listing: Listing, root: Path) -> list[Row]:
    """Name every run by its folder below ``root``; a log that stands alone goes by its file's name."""
    rows: dict[str, Row] = {}
    for run in listing.runs:
        place = run.path.relative_to(root)
        place = place.parent if place.name == RECORD_NAME else place.with_suffix("")
        name = wanted = as_text(root.resolve().name if place == Path() else place.as_posix())
        count = 1
        while name in rows:  # a folder and a log of the same name, or two names that print alike
            count += 1
            name = f"{wanted} ({count})"
        rows[name] = Row(name, run)
    return list(rows.values())


def differing(rows: Iterable[Row]) -> list[str]:
    """Return the options for which at least two rows state different values, the most telling first."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.options.items():
            values.setdefault(name, set()).add(value)
    return sorted(
        (name for name, found in values.items() if len(found) > 1), key=lambda name: ORDER.get(name, len(ORDER))
    )
