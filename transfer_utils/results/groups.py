"""Groups of runs: the seeds of one configuration, the values of one option, and the best configuration."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

from transfer_utils.config import Identity
from transfer_utils.records import RunRecord
from transfer_utils.results.formatting import with_deviation
from transfer_utils.results.options import REPEATS, by_configuration, option_text, sort_key
from transfer_utils.results.table import Row, differing
from transfer_utils.utils.text import MISSING

MAX_NAME_OPTIONS = 2  # a label in a chart has two short lines


@dataclass
class RunGroup:
    """Several runs and the name of their group, which tells it from the other groups."""

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
        """The sample standard deviation, or None for fewer than two runs."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def shown(self, metric: str) -> str:
        """The mean and the standard deviation as text."""
        return with_deviation(self.mean(metric), self.deviation(metric))

    @property
    def size(self) -> str:
        """The number of runs as text; runs that differ only in the seed are called seeds."""
        seeds = {row.options.get("seed") for row in self.rows}
        same = len({row.without() for row in self.rows}) == 1
        word = "seed" if same and len(seeds) == len(self.rows) and None not in seeds else "run"
        return f"{len(self.rows)} {word}{'s' if len(self.rows) > 1 else ''}"


def group_by(rows: list[Row], option: str) -> list[RunGroup]:
    """Group rows by the value of one option, in the order of the values."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: sort_key(option, row.config.get(option))):
        groups.setdefault(row.options.get(option, MISSING), []).append(row)
    return [RunGroup(option_text(option, members[0].config.get(option)), members) for members in groups.values()]


def group_by_configuration(rows: list[Row]) -> list[RunGroup]:
    """Group rows that differ only in the seed; each group is named by as few options as distinguish the groups."""
    groups = [RunGroup(members[0].name, members) for members in by_configuration(rows, lambda row: row.config)]
    _name_groups(groups)
    return groups


def describe(row: Row, options: list[str], max_options: int = 5) -> str:
    """Describe some options of a row, such as ``last 30 layers unfrozen · augmented``."""
    unused = {"backbone", "n_unfreeze"} if row.from_scratch else {name for name in options if "baseline" in name}
    texts = [option_text(name, row.config[name]) for name in options if name in row.config and name not in unused]
    return " · ".join(texts[:max_options]) + (" · …" if len(texts) > max_options else "")


def _name_groups(groups: list[RunGroup], ignoring: set[str] = REPEATS) -> None:
    """Name each group by the options that distinguish it, the most important first.

    If that takes more than ``MAX_NAME_OPTIONS``, a name leaves out the values that most groups share. A group that has
    only such values gets its full name.
    """
    firsts = [group.rows[0] for group in groups]
    needed: list[str] = []
    distinct = 1
    for name in differing(firsts):
        if name not in ignoring:
            count = len({tuple(row.options.get(option) for option in (*needed, name)) for row in firsts})
            if count > distinct:
                needed.append(name)
                distinct = count
    common = _common_values(firsts, needed) if len(needed) > MAX_NAME_OPTIONS else {}
    for group, row in zip(groups, firsts, strict=True):
        special = [name for name in needed if name not in common or row.options.get(name) != common[name]]
        group.name = describe(row, special) or describe(row, needed) or group.name


def _common_values(rows: list[Row], options: list[str]) -> dict[str, str | None]:
    """Return the values that more than half of the rows share."""
    common = {}
    for option in options:
        [(value, count)] = Counter(row.options.get(option) for row in rows).most_common(1)
        if count > len(rows) / 2:
            common[option] = value
    return common


@dataclass
class Family:
    """Runs that differ only in one option and the seed, grouped by its value; ``name`` describes what they share."""

    name: str
    groups: list[RunGroup]


def families(rows: list[Row], option: str) -> list[Family]:
    """Return the runs that show the effect of one option, everything else being equal; the most values first."""
    candidates: dict[Identity, list[Row]] = {}
    for row in rows:
        if option in row.options and row.metric("val_end2end") is not None:
            candidates.setdefault(row.without(option), []).append(row)
    counted = [(len({row.options[option] for row in members}), members) for members in candidates.values()]
    counted = [(count, members) for count, members in counted if count > 1]
    counted.sort(key=lambda pair: (-pair[0], pair[1][0].from_scratch))
    named = [RunGroup("", members) for _, members in counted]
    _name_groups(named, {option, *REPEATS})
    return [Family(group.name, group_by(group.rows, option)) for group in named]


@dataclass
class Best:
    """The configuration with the highest mean validation accuracy on one dataset, and the reason as a sentence."""

    dataset: str
    group: RunGroup
    options: str
    why: str


def best_configurations(rows: list[Row]) -> list[Best]:
    """Return the best configuration for each dataset by validation accuracy; test accuracy plays no part."""
    finished = [row for row in rows if row.status == "completed" and row.metric("val_end2end") is not None]
    best = []
    for dataset in dict.fromkeys(row.dataset for row in finished):
        candidates = [row for row in finished if row.dataset == dataset]
        groups = group_by_configuration(candidates)
        groups.sort(key=lambda group: group.mean("val_end2end"), reverse=True)
        first = groups[0].rows[0]
        options = [name for name in differing(candidates) if name not in REPEATS]
        best.append(Best(dataset, groups[0], describe(first, options) or first.name, _reason(groups)))
    return best


def _reason(groups: list[RunGroup]) -> str:
    if len(groups) == 1:
        return f"The only completed configuration, {groups[0].size}."
    mean = "mean of " if len(groups[0].rows) > 1 else ""
    lead = 100 * (groups[0].mean("val_end2end") - groups[1].mean("val_end2end"))
    return (
        f"Highest validation accuracy of {len(groups)} configurations ({mean}{groups[0].size}), "
        f"{lead:.1f} points ahead of the next. Test accuracy was not considered."
    )
