"""Values for the article that combine several runs, and the rows of its tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from transfer_utils.config import identity, preset
from transfer_utils.errors import UserError
from transfer_utils.evaluation import Estimate
from transfer_utils.records import RunRecord
from transfer_utils.results.claims import NAMES, EvaluatedClaim
from transfer_utils.results.curves import Moment, collapsed, fell_back, replay_patience, timeline
from transfer_utils.results.formatting import duration, labels, layers, percent, points, rate, seeds
from transfer_utils.results.options import REPEATS, option_text, value_text
from transfer_utils.results.summary import OPPONENTS, Configuration, Results, difference
from transfer_utils.studies.spec import StudyGroup
from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import MISSING

FewLabels = dict[int, dict[str, Configuration]]  # the sides by labels per class, below all
HEADLINE = "cifar10"  # the preset whose runs the article begins with
ENOUGH_STEPS = 500  # of a CNN with few labels, so that it is not judged while it is still learning
PATIENCES = (3, 4, 5, 10, math.inf)
SETTING_COLUMNS = ("question", "validation accuracy by setting", "runs of each")
CLAIM_COLUMNS = ("published claim", "asks for", "our runs", "where they differ from its conditions", "verdict")
FORGETTING_COLUMNS = ("learning rate", "augmentation", "letters before", "letters after", "change", "digits after")
TIME_COLUMNS = ("model", "recipe", "time", "validation", "test", "runs")


def sides(results: Results, labels: int = 0) -> dict[str, Configuration]:
    """Return transfer learning and each opponent on record, with its best configuration on validation.

    Args:
        labels: labelled images per class; with all labels (0), transfer learning is the preset ``HEADLINE``.

    Raises:
        UserError: with all labels, transfer learning or every CNN is missing; the message holds the command.
    """
    best = {kind: results.best(kind, labels)[0] for kind in ("transfer", *OPPONENTS)}
    if not labels:
        target = identity(preset(HEADLINE), ignoring=REPEATS)
        best["transfer"] = next((x for x in results.pool if identity(x.config, ignoring=REPEATS) == target), None)
        if not best["transfer"] or not (best["tutorial"] or best["compact"]):
            command = f"transfer-utils compare --preset {HEADLINE}"
            raise UserError(f"The article needs a run of preset {HEADLINE} and of its baseline. Run `{command}` first.")
    return {kind: configuration for kind, configuration in best.items() if configuration}


def best_cnn(results: Results) -> Configuration:
    """Return the best CNN on record with all labels."""
    return max((side for side in sides(results).values() if side.config.model == "baseline"), key=_validation)


def strongest(compared: Mapping[str, Configuration]) -> Configuration:
    """Return the opponent with the highest validation accuracy."""
    return max((side for kind, side in compared.items() if kind != "transfer"), key=_validation)


def gain(compared: Mapping[str, Configuration]) -> Estimate:
    """Return the gain on test over the strongest opponent, in points."""
    return difference(compared["transfer"], strongest(compared), "test_end2end")


def headline(results: Results) -> list[str]:
    """Return the main results as sentences: accuracy and time, and the gain over the best opponent on record.

    Of the gains with few labels, it is the one with most of them.
    """
    compared = sides(results)
    transfer, opponent, gained = compared["transfer"], strongest(compared), gain(compared)
    test, time = percent(transfer.accuracy("test_end2end")), duration(transfer.seconds)
    sentences = [
        f"**{test}** of the test images of {transfer.first.dataset['description']}, after {time} on "
        f"{transfer.first.machine['cores']} CPU cores ({seeds(len(transfer.runs))}).",
        f"**{points(gained)}** over the best opponent on record, the {MODEL_NAMES[opponent.kind]}, which trains from "
        f"scratch for {duration(opponent.seconds)} ({seeds(gained.n)}).",
    ]
    for level, compared in list(by_labels(results).items())[-1:]:
        few, name = gain(compared), MODEL_NAMES[strongest(compared).kind]
        sentences.append(f"**{points(few)}** with {labels(level)} labels per class, over the {name} ({seeds(few.n)}).")
    return sentences


def by_labels(results: Results) -> FewLabels:
    """Return the ``sides`` at each number of labels per class of the study, below all, with an opponent on record."""
    levels = sorted({each.config.labels_per_class for each in results.groups.get("label_efficiency", [])} - {0})
    compared = {n: sides(results, n) for n in levels}
    return {n: sides for n, sides in compared.items() if len(sides) > 1 and "transfer" in sides}


def hurried(few: FewLabels) -> list[Configuration]:
    """Return the opponents with few labels that had fewer than ``ENOUGH_STEPS`` training steps."""
    return [side for side in _opponents(few) if side.steps < ENOUGH_STEPS]


def opponent_steps(few: FewLabels) -> tuple[int, int]:
    """Return the fewest and the most training steps of an opponent with few labels."""
    steps = [side.steps for side in _opponents(few)]
    return min(steps), max(steps)


def choosing(few: FewLabels, chose: bool = True) -> list[str]:
    """Return the names of the models with few labels that chose their epoch on labelled validation images, or not."""
    return _names(few, lambda side: (side.config.selection == "validation") == chose)


def on_gpu(few: FewLabels) -> list[str]:
    """Return the names of the models with few labels that were trained on a GPU."""
    return _names(few, lambda side: any(record.on_gpu for record in side.records))


def _names(few: FewLabels, holds: Callable[[Configuration], bool]) -> list[str]:
    """Return the names of the models of which ``holds`` is true at any number of labels."""
    kinds = [kind for sides in few.values() for kind, side in sides.items() if holds(side)]
    return [MODEL_NAMES[kind] for kind in dict.fromkeys(kinds)]


def _opponents(few: FewLabels) -> list[Configuration]:
    return [side for sides in few.values() for kind, side in sides.items() if kind != "transfer"]


def label_table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the columns and a row for each number of labels: test accuracies and the gain over the best opponent."""
    levels = by_labels(results) | {0: sides(results)}
    kinds = [kind for kind in ("transfer", *OPPONENTS) if any(kind in compared for compared in levels.values())]
    rows = []
    for n, compared in levels.items():
        cells = [percent(compared[kind].accuracy("test_end2end")) if kind in compared else MISSING for kind in kinds]
        gained = gain(compared)
        over = f"{points(gained)} over the {MODEL_NAMES[strongest(compared).kind]}, {seeds(gained.n)}"
        rows.append([labels(n), *cells, over])
    return ["labels per class", *(MODEL_NAMES[kind] for kind in kinds), "gain over the best opponent"], rows


def depths(results: Results) -> dict[str, Configuration]:
    """Return the configurations by number of unfrozen layers, from none to all."""
    every = [*results.groups.get("depth", []), *results.groups.get("depth_all", [])]
    by_depth = {each.config.n_unfreeze: each for each in every}
    return {layers(n): by_depth[n] for n in sorted(by_depth, key=lambda n: n if n >= 0 else math.inf)}


def fastest(results: Results) -> list[Configuration]:
    """Return the configurations with all labels that no faster one of their kind reaches on validation, by kind."""
    front = []
    for kind in ("transfer", *OPPONENTS):
        every = [each for each in results.pool if (each.kind, each.config.labels_per_class) == (kind, 0)]
        every = [each for each in every if math.isfinite(each.seconds)]  # runs on a GPU have no time to compare
        highest = 0.0
        for each in sorted(every, key=lambda each: each.seconds):
            if _validation(each) > highest:
                highest = _validation(each)
                front.append(each)
    return front


def time_rows(results: Results) -> list[list[str]]:
    """Return a row for each of the ``fastest`` configurations."""
    rows = []
    for each in fastest(results):
        recipe = f"{each.config.preset}, {len(next(reversed(each.first.curves.values()))['val_loss'])} epochs"
        accuracies = (percent(each.accuracy(metric)) for metric in ("val_end2end", "test_end2end"))
        rows.append([MODEL_NAMES[each.kind], recipe, duration(each.seconds), *accuracies, seeds(len(each.runs))])
    return rows


def setting_groups(results: Results) -> list[StudyGroup]:
    """Return the groups of the study on record that vary options of transfer learning."""
    # Patience is judged by replaying a curve: as an option it shortens stage 1 as well.
    recorded = [group for group in results.study.groups if len(results.groups.get(group.name, [])) > 1]
    return [
        group
        for group in recorded
        if "patience" not in group.grid and {each.kind for each in results.groups[group.name]} == {"transfer"}
    ]


def setting_rows(results: Results) -> list[list[str]]:
    """Return a row for each of the ``setting_groups``: question, accuracy by setting, runs."""
    rows = []
    for group in setting_groups(results):
        cells = []
        for each in results.groups[group.name]:
            text = " · ".join(option_text(name, getattr(each.config, name)).replace("_", " ") for name in group.grid)
            cells.append(f"{text}: {percent(each.trained)}{_note(each)}")
        repeats = min(len(each.runs) for each in results.groups[group.name])
        rows.append([group.question, "; ".join(cells), seeds(repeats)])
    return rows


def forgetting_rows(results: Results) -> list[list[str]]:
    """Return a row for each configuration that was probed on its source task, by augmentation and learning rate."""
    rows = []
    for each in (*probed(results, augment=False), *probed(results, augment=True)):
        probes = [percent(each.accuracy(f"source_{when}")) for when in ("before", "after")]
        rate_text, augmented = rate(each.config.learning_rate_stage2), _value("augmented", each.config.augment)
        rows.append([rate_text, augmented, *probes, points(forgotten(each)), percent(each.accuracy())])
    return rows


def probed(results: Results, augment: bool) -> list[Configuration]:
    """Return the configurations that were probed on their source task, augmented or not, by learning rate."""
    chosen = [each for each in results.probed if each.config.augment == augment]
    return sorted(chosen, key=lambda each: each.config.learning_rate_stage2)


def forgotten(configuration: Configuration) -> Estimate:
    """Return what fine-tuning changed in the accuracy of a probe on the source task, in points."""
    return difference(configuration, configuration, "source_after", of_b="source_before")


def patience_rows(record: RunRecord) -> list[list[str]]:
    """Return a row for each patience, replayed on the curve of a run that never stopped."""
    stops = [replay_patience(record, patience) for patience in PATIENCES]
    return [
        [f"{patience:g}".replace("inf", "none"), str(epochs), str(best_epoch or "before"), percent(accuracy)]
        for patience, epochs, best_epoch, accuracy in stops
    ]


def claim_rows(evaluated: list[EvaluatedClaim]) -> list[list[str]]:
    """Return a row for each claim: text, published range, what was measured, what differs, and the verdict."""
    rows = []
    for claim, measured, differing, verdict, _ in evaluated:
        texts = [
            f"{NAMES.get(name, name)} {_value(name, own)}, not {_asked(name, asked)}" for name, own, asked in differing
        ]
        published = f"{_asked('', (claim.low, claim.high))} {claim.unit}"
        own = _measured(measured, claim.unit)
        rows.append([claim.text, published, own, "; ".join(texts) or MISSING, f"**{verdict}**"])
    return rows


def errors(record: RunRecord) -> dict[str, Any]:
    """Return the classes of highest and lowest recall, and the most frequent confusion in both directions."""
    rows = sorted((row for row in record.per_class if row["recall"] is not None), key=lambda row: row["recall"])
    counts = np.array(record.confusion_matrix)
    np.fill_diagonal(counts, 0)
    true, predicted = np.unravel_index(counts.argmax(), counts.shape)
    names = record.dataset["class_names"]
    texts = {"worst": rows[0], "best": rows[-1], "true": names[true], "predicted": names[predicted]}
    return texts | {"count": int(counts[true, predicted]), "back": int(counts[predicted, true])}


def highest(record: RunRecord) -> Moment:
    """Return the first epoch with the highest validation accuracy of a run."""
    return max(timeline(record), key=lambda moment: moment.val_accuracy)


def every_step_gains(configurations: list[Configuration]) -> bool:
    """Return whether each configuration is better on validation than the one before it, by the whole interval."""
    return all(difference(later, earlier).low > 0 for earlier, later in pairwise(configurations))


def holds(condition: Any, caller: Callable[[], str]) -> str:
    """Return a sentence of the template that is true only under a condition on the numbers.

    Raises:
        UserError: the condition is false, so that the sentence must be written anew.
    """
    sentence = caller()
    if not condition:
        raise UserError(f"The records no longer bear out this sentence of the article's template: {sentence!r}")
    return sentence


def _note(configuration: Configuration) -> str:
    """Name what became of a setting whose accuracy is not that of the kept weights."""
    fates = {"diverged": _diverged, "collapsed": collapsed, "never better than its head": fell_back}
    return next((f" ({fate})" for fate, met in fates.items() if any(map(met, configuration.records))), "")


def _diverged(record: RunRecord) -> bool:
    return record.status == "diverged"


def _validation(configuration: Configuration) -> float:
    return configuration.accuracy().mean


def _measured(measured: Estimate | None, unit: str) -> str:
    if measured is None:
        return "no run on record"
    mean, low, high, n = measured
    if not math.isfinite(low):
        return f"{mean:.1f} {unit}, {seeds(n)}".replace("-", "−")
    fractions = Estimate(mean / 100, low / 100, high / 100, n)
    return f"{points(measured) if unit == 'points' else percent(fractions)}, {seeds(n)}"


def _asked(name: str, asked: Any) -> str:
    if not isinstance(asked, tuple):
        return _value(name, asked)
    low, high = (f"{end:,g}".replace("-", "−") for end in asked)
    return (
        f"below {high}" if asked[0] == -math.inf else f"at least {low}" if asked[1] == math.inf else f"{low} to {high}"
    )


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if name in ("weights_of_cnn", "steps") else value_text(name, value)
