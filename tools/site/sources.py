"""The runs behind the abstract, each figure and each table of the article."""

from __future__ import annotations

from collections.abc import Iterable

from transfer_utils.records.folder import Run
from transfer_utils.report.facts import (
    AUGMENTATION_COLUMNS,
    CLAIM_COLUMNS,
    FORGETTING_COLUMNS,
    depths,
    fastest,
    setting_groups,
)
from transfer_utils.report.figures import figures_of
from transfer_utils.report.sides import augmentation, best_cnn, by_labels, short, sides, timed
from transfer_utils.results.claims import evaluate_claims
from transfer_utils.results.summary import Configuration, Results


def abstract_sources(results: Results) -> list[Run]:
    """Return the runs whose accuracies and times the abstract of the article states."""
    fewest = list(by_labels(results).values())[:1]
    longest = results.best("transfer")
    stated = [short(results), longest, *(side for compared in (sides(results), *fewest) for side in compared.values())]
    return _unique(_runs(stated))


def figure_sources(results: Results) -> dict[str, list[Run]]:
    """Return the runs that each figure of the article shows, by the name of the figure."""
    compared = sides(results)
    pair = [next(iter(side.runs.values())) for side in (compared["transfer"], best_cnn(results))]
    shown = {
        "label_efficiency": _with_few_labels(results),
        "accuracy_over_time": [side.typical for side in timed(results).values()],
        "model_comparison": pair,
        "accuracy_comparison": pair,
        "confusion_matrix": pair[:1],
        "unfreezing_depth": _runs(depths(results).values()),
        "learning_rate": _runs(results.groups.get("learning_rate", [])),
        "collapse": _runs(results.groups.get("learning_rate", [])),
        "image_size": _runs(results.groups.get("image_size", [])),
    }
    return {name: shown[name] for name in figures_of(results)}


def table_sources(results: Results) -> dict[str, list[Run]]:
    """Return the runs behind each table of the article, by the title of its first column."""
    claims = evaluate_claims(results)
    tables = {
        "labels per class": _unique([*_with_few_labels(results), *_runs(sides(results).values())]),
        "model": _runs(fastest(results)),
        "question": _unique(run for group in setting_groups(results) for run in _runs(results.groups[group.name])),
        "patience": _runs(each for each in results.groups.get("early_stopping", []) if not each.config.patience),
        CLAIM_COLUMNS[0]: _unique(run for claim in claims for run in _runs(claim.configurations)),
        AUGMENTATION_COLUMNS[0]: _runs(each for pair in augmentation(results) for each in pair),
        FORGETTING_COLUMNS[0]: _runs(results.probed),
    }
    return {title: runs for title, runs in tables.items() if runs}


def _with_few_labels(results: Results) -> list[Run]:
    return _runs(side for compared in by_labels(results).values() for side in compared.values())


def _runs(configurations: Iterable[Configuration]) -> list[Run]:
    return [run for configuration in configurations for run in configuration.runs.values()]


def _unique(runs: Iterable[Run]) -> list[Run]:
    return list({run.path: run for run in runs}.values())
