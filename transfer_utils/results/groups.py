"""Runs that belong together: seeds of one configuration, values of one option, and the best of all by validation."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

from transfer_utils.records import RunRecord
from transfer_utils.results.formatting import with_deviation
from transfer_utils.results.options import REPEATS, phrase, sort_key
from transfer_utils.results.table import Row, differing
from transfer_utils.utils.text import MISSING

MAX_NAME_OPTIONS = 2  # options; a chart has room for two short lines


@dataclass
class RunGroup:
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
        return with_deviation(self.mean(metric), self.deviation(metric))

    @property
    def size(self) -> str:
        """How many runs these are; runs that differ in the seed alone are called seeds."""
        seeds = {row.options.get("seed") for row in self.rows}
        alike = len({row.configuration for row in self.rows}) == 1
        word = "seed" if alike and len(seeds) == len(self.rows) and None not in seeds else "run"
        return f"{len(self.rows)} {word}{'s' if len(self.rows) > 1 else ''}"


def group_by(rows: list[Row], option: str) -> list[RunGroup]:
    """Gather rows by the value of one option, in the order of the values."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: sort_key(option, row.config.get(option))):
        found.setdefault(row.options.get(option, MISSING), []).append(row)
    return [RunGroup(phrase(option, members[0].config.get(option)), members) for members in found.values()]


def group_by_configuration(rows: list[Row]) -> list[RunGroup]:
    """Gather rows that differ in nothing but the seed, named by as few options as tell the groups apart."""
    found: dict[frozenset, list[Row]] = {}
    for row in rows:
        found.setdefault(row.configuration, []).append(row)
    groups = [RunGroup(members[0].name, members) for members in found.values()]
    _name_apart(groups)
    return groups


def describe(row: Row, options: list[str], most: int = 5) -> str:
    """Return some options of a row in words, such as ``last 30 layers unfrozen · augmented``."""
    unused = {"backbone", "n_unfreeze"} if row.from_scratch else set()
    told = [phrase(name, row.config[name]) for name in options if name in row.config and name not in unused]
    return " · ".join(told[:most]) + (" · …" if len(told) > most else "")


def _name_apart(groups: list[RunGroup], besides: set[str] = REPEATS) -> None:
    """Name each group by the options that set it apart: the most telling first, none that adds no distinction.

    Where that takes many words, a group is named by what it alone does, and only the one that does as most in full.
    """
    firsts = [group.rows[0] for group in groups]
    needed: list[str] = []
    apart = 1
    for name in differing(firsts):
        if name not in besides:
            now = len({tuple(row.options.get(one) for one in (*needed, name)) for row in firsts})
            if now > apart:
                needed.append(name)
                apart = now
    usual = _usual(firsts, needed) if len(needed) > MAX_NAME_OPTIONS else {}
    for group, row in zip(groups, firsts, strict=True):
        special = [name for name in needed if name not in usual or row.options.get(name) != usual[name]]
        group.name = describe(row, special) or describe(row, needed) or group.name


def _usual(rows: list[Row], options: list[str]) -> dict[str, str | None]:
    """Return the values that more than half of the rows share."""
    usual = {}
    for option in options:
        [(value, count)] = Counter(row.options.get(option) for row in rows).most_common(1)
        if count > len(rows) / 2:
            usual[option] = value
    return usual


@dataclass
class Family:
    """Runs that are equal but for one option and the seed: their groups by its value, and what they share in words."""

    name: str
    groups: list[RunGroup]


def families(rows: list[Row], option: str) -> list[Family]:
    """Find the runs that show what one option does, all else being equal: first those with the most values."""
    found: dict[frozenset, list[Row]] = {}
    for row in rows:
        if option in row.options and row.metric("val_end2end") is not None:
            found.setdefault(row.without(option), []).append(row)
    kept = [members for members in found.values() if len({row.options[option] for row in members}) > 1]
    kept.sort(key=lambda members: (-len({row.options[option] for row in members}), members[0].from_scratch))
    names = [RunGroup("", members) for members in kept]
    _name_apart(names, {option, *REPEATS})
    return [Family(group.name, group_by(group.rows, option)) for group in names]


@dataclass
class Best:
    """The configuration with the highest mean validation accuracy on one dataset, in words, and why it is named."""

    dataset: str
    group: RunGroup
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


def _why(groups: list[RunGroup]) -> str:
    if len(groups) == 1:
        return f"The only completed configuration, {groups[0].size}."
    mean = "mean of " if len(groups[0].rows) > 1 else ""
    lead = 100 * (groups[0].mean("val_end2end") - groups[1].mean("val_end2end"))
    return (
        f"Highest validation accuracy of {len(groups)} configurations ({mean}{groups[0].size}), "
        f"{lead:.1f} points ahead of the next. The test accuracy had no say."
    )
