"""Runs as rows: what each one is called and reached, how runs differ, how they group, and which one is best."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transfer_utils.dashboard import plain
from transfer_utils.dashboard.history import History, mean_history
from transfer_utils.dashboard.options import NOT_COMPARED, ORDER, REPEATS, normalised, phrase, said, sort_key
from transfer_utils.palette import MODEL_NAMES
from transfer_utils.records import RECORD_NAME, Listing, Run, RunRecord


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
        """The options without the seed: equal for runs that repeat each other."""
        return frozenset((name, value) for name, value in self.options.items() if name not in REPEATS)

    def without(self, option: str) -> frozenset[tuple[str, str]]:
        """The configuration but for one option: equal for runs that show what this option does."""
        return self.configuration - {(option, self.options.get(option, ""))}

    @property
    def dataset(self) -> str:
        given = self.record.dataset.get("name") or self.config.get("dataset")
        if given == "folder":
            given = Path(str(self.config.get("data_dir", ""))).name or given
        return plain.text(given, 40)

    @property
    def network(self) -> str:
        """The backbone, or what stands in for it."""
        if self.from_scratch:
            return MODEL_NAMES["baseline"]
        return plain.text(self.config.get("backbone"), 40)

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
            return plain.MISSING
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
        return "no" if "augment" in self.config else plain.MISSING

    def metric(self, name: str) -> float | None:
        return plain.number(self.record.metrics.get(name))

    def accuracy(self, split: str) -> str:
        """The final model's accuracy on ``val`` or ``test``, with its interval where the record has one."""
        metrics = self.record.metrics
        return plain.with_interval(
            metrics.get(f"{split}_end2end"), metrics.get(f"{split}_low"), metrics.get(f"{split}_high")
        )

    @property
    def seconds(self) -> float | None:
        return plain.number(self.record.timing_sec.get("total"))

    @cached_property
    def history(self) -> History:
        return mean_history([self.record])

    @property
    def epochs(self) -> int:
        """The epochs that ran, over all stages."""
        return len(self.history.epochs)

    @property
    def planned(self) -> int:
        """The epochs that the options ask for: both stages, for the network from scratch too."""
        stages = ["epochs_stage1", "epochs_stage2"] if self.from_scratch or self.fine_tunes else ["epochs_stage1"]
        return int(sum(plain.number(self.config.get(name)) or 0 for name in stages))

    @property
    def created(self) -> str:
        """The day and the minute the run began, as far as the record says."""
        return plain.text(self.record.created[:16].replace("T", " ")) if self.record.created else plain.MISSING

    @cached_property
    def words(self) -> str:
        """What the search looks through: the name, the status, the data and every ``option=value``."""
        options = " ".join(f"{name}={plain.text(value)}" for name, value in self.config.items())
        return f"{self.name} {self.status} {self.dataset} {self.network} {options}".lower()


def make_rows(listing: Listing, root: Path) -> list[Row]:
    """Name every run by its folder below ``root``; a log that stands alone goes by its file's name."""
    rows: dict[str, Row] = {}
    for run in listing.runs:
        place = run.path.relative_to(root)
        place = place.parent if place.name == RECORD_NAME else place.with_suffix("")
        name = wanted = plain.text(root.resolve().name if place == Path() else place.as_posix())
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


@dataclass
class Group:
    """Runs that belong together, and what sets them apart from the other groups, in words."""

    name: str
    rows: list[Row]

    @property
    def records(self) -> list[RunRecord]:
        return [row.record for row in self.rows]

    def values(self, metric: str) -> list[float]:
        return [value for row in self.rows if (value := row.metric(metric)) is not None]

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """The sample standard deviation; one run has none."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def shown(self, metric: str) -> str:
        """The mean and its standard deviation, in words."""
        return plain.with_deviation(self.mean(metric), self.deviation(metric))

    @property
    def size(self) -> str:
        """How many runs these are; runs that differ in the seed alone are called seeds."""
        seeds = {row.options.get("seed") for row in self.rows}
        alike = len({row.configuration for row in self.rows}) == 1
        word = "seed" if alike and len(seeds) == len(self.rows) and None not in seeds else "run"
        return f"{len(self.rows)} {word}{'s' if len(self.rows) > 1 else ''}"


def group_by(rows: list[Row], option: str) -> list[Group]:
    """Gather rows by the value of one option, in the order of the values."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: sort_key(option, row.config.get(option))):
        found.setdefault(row.options.get(option, plain.MISSING), []).append(row)
    return [Group(phrase(option, members[0].config.get(option)), members) for members in found.values()]


def group_by_configuration(rows: list[Row]) -> list[Group]:
    """Gather rows that differ in nothing but the seed, named by as few options as tell the groups apart."""
    found: dict[frozenset, list[Row]] = {}
    for row in rows:
        found.setdefault(row.configuration, []).append(row)
    groups = [Group(members[0].name, members) for members in found.values()]
    _name_apart(groups)
    return groups


def describe(row: Row, options: list[str], most: int = 5) -> str:
    """Return some options of a row in words, such as ``last 30 layers unfrozen · augmented``."""
    unused = {"backbone", "n_unfreeze"} if row.from_scratch else set()
    told = [phrase(name, row.config[name]) for name in options if name in row.config and name not in unused]
    return " · ".join(told[:most]) + (" · …" if len(told) > most else "")


def _name_apart(groups: list[Group], besides: set[str] = REPEATS) -> None:
    """Name each group by the options that set it apart: the most telling first, none that adds no distinction."""
    firsts = [group.rows[0] for group in groups]
    needed: list[str] = []
    apart = 1
    for name in differing(firsts):
        if name not in besides:
            now = len({tuple(row.options.get(one) for one in (*needed, name)) for row in firsts})
            if now > apart:
                needed.append(name)
                apart = now
    for group, row in zip(groups, firsts, strict=True):
        group.name = describe(row, needed) or group.name


@dataclass
class Family:
    """Runs that are equal but for one option and the seed: their groups by its value, and what they share in words."""

    name: str
    groups: list[Group]


def families(rows: list[Row], option: str) -> list[Family]:
    """Find the runs that show what one option does, all else being equal: first those with the most values."""
    found: dict[frozenset, list[Row]] = {}
    for row in rows:
        if option in row.options and row.metric("val_end2end") is not None:
            found.setdefault(row.without(option), []).append(row)
    kept = [members for members in found.values() if len({row.options[option] for row in members}) > 1]
    kept.sort(key=lambda members: (-len({row.options[option] for row in members}), members[0].from_scratch))
    names = [Group("", members) for members in kept]
    _name_apart(names, {option, *REPEATS})
    return [Family(group.name, group_by(group.rows, option)) for group in names]


@dataclass
class Best:
    """The configuration with the highest mean validation accuracy on one dataset, in words, and why it is named."""

    dataset: str
    group: Group
    options: str
    why: str


def best_configurations(rows: list[Row]) -> list[Best]:
    """Name the best configuration for each dataset by validation accuracy; the test split has no say."""
    finished = [row for row in rows if row.status == "completed" and row.metric("val_end2end") is not None]
    found = []
    for dataset in dict.fromkeys(row.dataset for row in finished):
        candidates = [row for row in finished if row.dataset == dataset]
        groups = group_by_configuration(candidates)
        groups.sort(key=lambda group: group.mean("val_end2end"), reverse=True)
        first = groups[0].rows[0]
        telling = [name for name in differing(candidates) if name not in REPEATS]
        found.append(Best(dataset, groups[0], describe(first, telling) or first.name, _why(groups)))
    return found


def _why(groups: list[Group]) -> str:
    if len(groups) == 1:
        return f"The only completed configuration, {groups[0].size}."
    lead = 100 * (groups[0].mean("val_end2end") - groups[1].mean("val_end2end"))
    return (
        f"Highest validation accuracy of {len(groups)} configurations (mean of {groups[0].size}), "
        f"{lead:.1f} points ahead of the next. The test accuracy had no say."
    )
