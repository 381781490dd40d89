"""Groups of runs: the seeds of one configuration, the values of one option, and the best configuration."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transfer_utils.config.recorded import Identity
from transfer_utils.evaluation.percent import with_deviation
from transfer_utils.records.record import RunRecord
from transfer_utils.results.options import ORDER, REPEATS, model_name, option_text, sort_key
from transfer_utils.results.table import Row, differing
from transfer_utils.utils.text import MISSING, as_text, counted

FROZEN = option_text("n_unfreeze", 0)
# What the name of the best configuration begins with, besides the options that tell it from the others.
ALWAYS_NAMED = ("model", "n_unfreeze", "augment", "augment_baseline")


@dataclass
class RunGroup:
    """Several runs and the name of their group, which tells it from the other groups."""

    name: str
    rows: list[Row]

    @property
    def records(self) -> list[RunRecord]:
        return [row.record for row in self.rows]

    def newest(self, counts: Callable[[Row], bool]) -> list[Row]:
        """The rows that count; of runs that repeat each other, with the same seed, only the newest of these."""
        by_number = sorted(self.rows, key=lambda row: row.record.run_id)
        return list({row.repeated: row for row in by_number if counts(row)}.values())

    def with_metric(self, metric: str) -> list[Row]:
        """The newest rows that have this metric."""
        return self.newest(lambda row: row.metric(metric) is not None)

    def values(self, metric: str) -> list[float]:
        """The values of a metric, of the newest rows that have it."""
        return [row.metric(metric) for row in self.with_metric(metric)]

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """The sample standard deviation, or None for fewer than two runs."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def shown(self, metric: str) -> str:
        """The mean and the standard deviation as text."""
        return with_deviation(self.mean(metric), self.deviation(metric)) + self.part(metric)

    def part(self, metric: str) -> str:
        """How many of the runs have a metric that others lack, such as `` (2 of 3)``; empty if all or none have it."""
        n, of = len(self.values(metric)), len({row.repeated for row in self.rows})
        return f" ({n} of {of})" if 0 < n < of else ""

    @property
    def size(self) -> str:
        """The number of runs as text; runs that differ only in the seed are called seeds."""
        seeds = {row.options.get("seed") for row in self.rows}
        same = len({row.without() for row in self.rows}) == 1
        word = "seed" if same and len(seeds) == len(self.rows) and None not in seeds else "run"
        return counted(len(self.rows), word)


def group_by(rows: list[Row], *options: str) -> list[RunGroup]:
    """Group rows by the values of ``options``, sorted by the first option, then by the second, and so on.

    A group holds runs of one dataset and one model, all of them fine-tuned or none, so that their mean is of one kind.
    Runs that ignore an option have groups of their own, the last ones.
    """

    def order(row: Row) -> list[tuple]:
        return [(not _uses(row, option), sort_key(option, row.config.get(option))) for option in options]

    datasets, groups = dataset_names(rows), {}
    for row in sorted(rows, key=order):
        values = tuple(row.options.get(option, MISSING) for option in options)
        groups.setdefault((values, _kind(row, datasets[row.images])), []).append(row)
    kinds = [kind for _, kind in groups]
    varied = [place for place, parts in enumerate(zip(*kinds, strict=True)) if len(set(parts)) > 1]
    named = [
        RunGroup(_group_name(members[0], options, [kind[place] for place in varied]), members)
        for (_, kind), members in groups.items()
    ]
    return _tell_apart(named)


def _uses(row: Row, option: str) -> bool:
    return row.options.get(option, MISSING) != MISSING


def _kind(row: Row, dataset: str) -> tuple[str, str, str]:
    """Return model, stages and dataset of a run, as they stand in the names of groups."""
    frozen = "" if row.from_scratch or row.fine_tunes else FROZEN
    return model_name(row.config), frozen, "data not recorded" if dataset == MISSING else dataset


def _group_name(row: Row, options: Sequence[str], kind: list[str]) -> str:
    """Name a group by the values of the options, and by the parts of its kind that vary between the groups."""
    parts = [describe(row, options), *kind]
    name = " · ".join(dict.fromkeys(part for part in parts if part))
    return name or " · ".join(f"{as_text(option, 40)} {MISSING}" for option in options)


def group_by_configuration(rows: list[Row]) -> list[RunGroup]:
    """Group rows that differ only in the seed; each group is named by as few options as distinguish the groups."""
    groups = _configurations(rows)
    _name_groups(groups)
    return groups


def _configurations(rows: list[Row]) -> list[RunGroup]:
    groups: dict[Identity, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.without(), []).append(row)
    return [RunGroup(members[0].name, members) for members in groups.values()]


def describe(row: Row, options: Iterable[str]) -> str:
    """Describe the ``options`` that the row uses, such as ``last 30 layers unfrozen · augmented``."""
    # Two options of a baseline say whether it is augmented.
    return " · ".join(dict.fromkeys(option_text(name, row.config[name]) for name in options if _uses(row, name)))


def _name_groups(groups: list[RunGroup], ignoring: set[str] = REPEATS) -> None:
    """Name each group by the fewest options that tell it from all the others, the most important first.

    A group whose options are those of another one gets the name of its first run in addition.
    """
    firsts = [group.rows[0] for group in groups]
    names = [describe(row, options) for row, options in zip(firsts, _distinctive(firsts, ignoring), strict=True)]
    for group, name in zip(groups, names, strict=True):
        group.name = name
    _tell_apart(groups)


def _tell_apart(groups: list[RunGroup]) -> list[RunGroup]:
    """Add the name of its first run to each name that is empty or that several groups have."""
    repeated = Counter(group.name for group in groups)
    for group in groups:
        if not group.name or repeated[group.name] > 1:
            group.name = " · ".join(part for part in (group.name, group.rows[0].name) if part)
    return groups


def _distinctive(rows: list[Row], ignoring: set[str] = REPEATS) -> Iterator[list[str]]:
    """Yield for each row the options that tell it from all the others: at each step the most telling one is added.

    They are in the order of importance; the model is one of them wherever it differs.
    """
    names = [name for name in differing(rows) if name not in ignoring]
    used, values = np.zeros((len(names), len(rows)), bool), np.zeros((len(names), len(rows)), int)
    for option, name in enumerate(names):
        texts = np.array([row.options.get(name, MISSING) for row in rows])
        used[option] = texts != MISSING
        # The number of each value, because comparing texts would take seconds for 1,000 runs.
        values[option] = np.unique(texts, return_inverse=True)[1]
    for place in range(len(rows)):
        # An option that one of two rows does not use or record tells nothing.
        differs = (values != values[:, [place]]) & used & used[:, [place]]
        alike = np.ones(len(rows), bool)
        chosen = {"model"} & set(names)  # without it, a name says little
        while (telling := differs[:, alike].sum(axis=1)).any():
            best = int(telling.argmax())  # of equally telling options the most important one, which comes first
            chosen.add(names[best])
            alike &= ~differs[best]
        yield sorted(chosen, key=names.index)


@dataclass
class Family:
    """Runs that differ only in one option and the seed, grouped by its value; ``name`` describes what they share."""

    name: str
    groups: list[RunGroup]


def families(rows: list[Row], option: str) -> list[Family]:
    """Return the runs that show the effect of one option, everything else being equal; the most values first."""
    candidates: dict[Identity, list[Row]] = {}
    for row in rows:
        if row.options.get(option, MISSING) != MISSING and row.metric("val_end2end") is not None:
            candidates.setdefault(row.without(option), []).append(row)
    varied = [(len({row.options[option] for row in members}), members) for members in candidates.values()]
    varied.sort(key=lambda pair: (-pair[0], pair[1][0].from_scratch))
    named = [RunGroup("", members) for count, members in varied if count > 1]
    if len(named) > 1:
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
    """Return the best configuration for each dataset by validation accuracy; test accuracy plays no part.

    Configurations of which a seed diverged come last: the mean of their other seeds flatters them.
    """
    finished = [row for row in rows if row.status == "completed" and row.metric("val_end2end") is not None]
    best = []
    names = dataset_names(finished)
    for images, dataset in sorted(names.items(), key=lambda item: dataset_order(item[1])):
        groups = _configurations([row for row in finished if row.images == images])
        pairs = zip(_diverged(groups, rows), groups, strict=True)
        ranked = sorted(pairs, key=lambda pair: (pair[0] > 0, -pair[1].mean("val_end2end")))
        groups = [group for _, group in ranked]
        named = {*ALWAYS_NAMED, *next(_distinctive([group.rows[0] for group in groups]))}
        options = describe(groups[0].rows[0], sorted(named, key=lambda name: ORDER.get(name, len(ORDER))))
        best.append(Best(dataset, groups[0], options or groups[0].name, _reason(ranked)))
    return best


def dataset_names(rows: Iterable[Row]) -> dict[str, str]:
    """Return a name for the images of runs, by ``Row.images``: that of their dataset, with more where it is shared."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.images, row)
    names = {images: row.dataset for images, row in first.items()}
    for more in (
        lambda row: as_text(row.record.dataset.get("description") or "", 60),
        lambda row: counted(row.record.images.get("test", 0), "test image"),
        lambda row: row.name,
    ):
        for name in set(names.values()):
            parts = {images: more(first[images]) for images, own in names.items() if own == name}
            if len(set(parts.values())) > 1:
                names |= {images: " · ".join(filter(None, (name, part))) for images, part in parts.items()}
    return names


def dataset_order(dataset: str) -> tuple[bool, str]:
    """Return a key that sorts datasets by name, with runs of an unknown dataset last."""
    return dataset == MISSING, dataset


def _diverged(groups: list[RunGroup], rows: list[Row]) -> list[int]:
    """Return for each group of completed runs the number of seeds of its configuration that were never completed."""
    diverged: dict[Identity, list[Row]] = {}
    for row in rows:
        if row.status == "diverged":
            diverged.setdefault(row.without(), []).append(row)
    return [diverged_seeds(group.rows + diverged.get(group.rows[0].without(), [])) for group in groups]


def diverged_seeds(rows: Iterable[Row]) -> int:
    """Return how many runs, but for repeats with the same seed, diverged and were never completed."""
    ended = {status: {row.repeated for row in rows if row.status == status} for status in ("diverged", "completed")}
    return len(ended["diverged"] - ended["completed"])


def _reason(ranked: list[tuple[int, RunGroup]]) -> str:
    """Say why the first of the configurations, each after the number of its diverged seeds, is the best."""
    lost, best = ranked[0]
    equals = [group for diverged, group in ranked if bool(diverged) == bool(lost)]
    others = [diverged for diverged, _ in ranked[len(equals) :]]
    note = f" {counted(lost, 'more seed')} diverged." if lost else ""
    if others:
        note = f" Passed over: {counted(len(others), 'configuration')} with {counted(sum(others), 'diverged seed')}."
    if len(equals) == 1:
        only = "configuration without a diverged seed" if others else "completed configuration"
        return f"The only {only}, {best.size}.{note}"
    mean = "mean of " if len(best.values("val_end2end")) > 1 else ""
    lead = 100 * (best.mean("val_end2end") - equals[1].mean("val_end2end"))
    return (
        f"Highest validation accuracy of {len(equals)} configurations ({mean}{best.size}), "
        f"{lead:.1f} points ahead of the next. Test accuracy was not considered.{note}"
    )
