"""Values for the article that combine several runs, and the rows of its tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.evaluation.percent import percent, points
from transfer_utils.records.record import RunRecord
from transfer_utils.report.sides import (
    augmented_gain,
    by_labels,
    gain,
    on_as_many_cores,
    short,
    sides,
    strongest,
    validation,
)
from transfer_utils.results.claims import NAMES, EvaluatedClaim
from transfer_utils.results.curves import Moment, collapsed, fell_back, replay_patience, timeline
from transfer_utils.results.formatting import duration, labels, layers, rate, seeds
from transfer_utils.results.options import option_text, repeating_preset, value_text
from transfer_utils.results.summary import OPPONENTS, Configuration, Results, difference
from transfer_utils.studies.spec import StudyGroup
from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import MISSING

PATIENCES = (3, 5, 8, 10, math.inf)
BACKENDS = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}  # of Keras
SETTING_COLUMNS = ("question", "validation accuracy by setting", "runs of each")
CLAIM_COLUMNS = ("published claim", "asks for", "our runs", "where they differ from its conditions", "verdict")
AUGMENTATION_COLUMNS = ("training images", "steps", "rate", "plain", "augmented", "gain", "times", "runs of each")
FORGETTING_COLUMNS = ("learning rate", "augmentation", "letters before", "letters after", "change", "digits after")
TIME_COLUMNS = ("model", "recipe", "time", "validation", "test", "runs")


def backends_on_gpu(results: Results) -> list[str]:
    """Return the names of Keras's backends with which runs on record had a GPU."""
    records = [record for each in results.pool for record in each.records if record.on_gpu]
    names = (record.network.get("backend", "tensorflow") for record in records)
    return [BACKENDS.get(name, name) for name in dict.fromkeys(names)]


def optimizers_at_best(evaluated: list[EvaluatedClaim]) -> list[Configuration]:
    """Return each optimizer of the head at the best of its rates, the worst first; none if one lacks rates or seeds."""
    [answer] = [each for each in evaluated if each.claim.name == "optimizers"]
    return [] if {"rates", "seeds"} & {name for name, _, _ in answer.differing} else answer.configurations


def headline(results: Results) -> list[str]:
    """Return the main results as sentences: accuracy and time, and the gains over the best opponent on record.

    With few labels, only the gain at the largest number of labels is stated.
    """
    first, compared, longest = short(results), sides(results), results.best("transfer")
    transfer, opponent, gained = compared["transfer"], strongest(compared), gain(compared)
    name, times = MODEL_NAMES[opponent.kind], [side.seconds for side in (transfer, opponent)]
    runs = min(len(side.clocked) for side in (transfer, opponent))
    each = "" if runs == gained.n else f", {seeds(runs)} each"
    clock = f"; {' against '.join(map(duration, times))}{each}" if on_as_many_cores(transfer, opponent) else ""
    after = f", after {duration(first.seconds)} on {first.timed.machine['cores']} CPU cores"
    sentences = [
        f"**{_on_test(first)}** of the test images of {first.first.dataset['description']}"
        f"{after if math.isfinite(first.seconds) else ''} ({seeds(len(first.runs))})."
    ]
    if longest is not first:
        after = f" after {duration(longest.seconds)}" if math.isfinite(longest.seconds) else ""
        kind = "a longer recipe" if longest.seconds > first.seconds else "another recipe"
        images, usual = (side.first.dataset["images"]["train"] for side in (longest, first))
        more = f", on {images:,} training images instead of {usual:,}" if images > usual else ""
        sentences.append(
            f"**{_on_test(longest)}**{after} by {kind}, {recipe(longest)}{more} ({seeds(len(longest.runs))})."
        )
    tuned = "Each side has the best setting of its grid of learning rates and lengths"
    if transfer is first:
        tuned = "Transfer learning has its short recipe, the opponent its best setting on record"
    differs = gained.low > 0 or gained.high < 0
    shown = f"**{points(gained)}**" if differs else f"**no gain in accuracy is shown**: {points(gained)}"
    sentences.append(
        f"With all labels, {shown} over the best opponent on record, the {name}, which is trained from "
        f"scratch. {tuned}: {_on_test(transfer)} against {_on_test(opponent)} "
        f"({seeds(gained.n)}{clock}).{_outside_the_grid(results)}"
    )
    for level, compared in list(by_labels(results).items())[-1:]:
        few, name = gain(compared), MODEL_NAMES[strongest(compared).kind]
        sentences.append(f"With {labels(level)} labels per class, **{points(few)}** over the {name} ({seeds(few.n)}).")
    return sentences


def _outside_the_grid(results: Results) -> str:
    outside = augmented_gain(results)
    if not outside:
        return ""
    side, gained = outside
    return (
        f" Outside that grid, whose images are plain, {side.epochs} epochs on augmented images gain "
        f"**{points(gained)}** after {duration(side.seconds)} ({seeds(gained.n)})."
    )


def _on_test(side: Configuration) -> str:
    return percent(side.accuracy("test_end2end"))


def _in_labels(side: Configuration) -> str:
    """Return the accuracy on test; that of one run says so, because its interval leaves out what a seed changes."""
    return _on_test(side) + (f", {seeds(1)}" if len(side.runs) == 1 else "")


def label_table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the columns and a row for each number of labels: test accuracies and the gain over the best opponent."""
    levels = by_labels(results) | {0: sides(results)}
    kinds = [kind for kind in ("transfer", *OPPONENTS) if any(kind in compared for compared in levels.values())]
    rows = []
    for n, compared in levels.items():
        cells = [_in_labels(compared[kind]) if kind in compared else MISSING for kind in kinds]
        gained = gain(compared)
        over = f"{points(gained)} over the {MODEL_NAMES[strongest(compared).kind]}, {seeds(gained.n)}"
        rows.append([labels(n), *cells, over])
    return ["labels per class", *(MODEL_NAMES[kind] for kind in kinds), "gain over the best opponent"], rows


def depths(results: Results) -> dict[str, Configuration]:
    """Return the configurations by number of unfrozen layers, from none to all."""
    by_depth = {each.config.n_unfreeze: each for each in results.groups.get("depth", [])}
    return {layers(n): by_depth[n] for n in sorted(by_depth, key=lambda n: n if n >= 0 else math.inf)}


def fastest(results: Results) -> list[Configuration]:
    """Return the configurations with all labels that no faster one of their kind reaches on validation, by kind."""
    front = []
    for kind in ("transfer", *OPPONENTS):
        # Runs on a GPU have no time to compare.
        every = [each for each in results.of_kind(kind) if math.isfinite(each.seconds)]
        highest = 0.0
        for each in sorted(every, key=lambda each: each.seconds):
            if validation(each) > highest:
                highest = validation(each)
                front.append(each)
    return front


def time_rows(results: Results) -> list[list[str]]:
    """Return a row for each of the ``fastest`` configurations."""
    rows, first = [], short(results)
    usual = first.first.dataset["images"]["train"]
    for each in fastest(results):
        images = each.first.dataset["images"]["train"]
        trained = recipe(each) + (f", {images:,} training images" if images != usual else "")
        accuracies = (percent(each.accuracy(metric)) for metric in ("val_end2end", "test_end2end"))
        elsewhere = first.clocked and not on_as_many_cores(each, first)
        time = duration(each.seconds) + (f" on {each.timed.machine['cores']} cores" if elsewhere else "")
        rows.append([MODEL_NAMES[each.kind], trained, time, *accuracies, seeds(len(each.runs))])
    return rows


def recipe(each: Configuration) -> str:
    """Return the epochs, learning rate, size and depth of a configuration, after the preset that repeats it, if any."""
    config, transfer = each.config, each.config.model == "transfer"
    parts = [f"{each.epochs} epochs at {rate(each.rate)}" if each.epochs else "solved head"]
    if transfer:
        depth = f"{layers(config.n_unfreeze)} layers" if config.fine_tunes else "backbone frozen"
        grows = f"{config.image_size_start} to " if config.image_size_start and config.fine_tunes else ""
        parts += [f"{grows}{config.image_size} px", depth]
        parts += ["augmented images"] * (config.augment and config.fine_tunes)
    named = repeating_preset(config)
    return (f"`{named.preset}`: " if named else "") + ", ".join(parts)


def setting_groups(results: Results) -> list[StudyGroup]:
    """Return the groups of the study on record that vary options of transfer learning."""
    recorded = [group for group in results.study.groups if len(results.groups.get(group.name, [])) > 1]
    # Patience is judged by replaying a curve: as an option it shortens stage 1 as well.
    recorded = [group for group in recorded if "patience" not in group.grid]
    return [group for group in recorded if {each.kind for each in results.groups[group.name]} == {"transfer"}]


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


def augmentation_rows(pairs: list[tuple[Configuration, Configuration]]) -> list[list[str]]:
    """Return a row for each of the ``sides.augmentation``: validation accuracies, their difference, both times."""
    rows = []
    for pair in pairs:
        plain, augmented = pair
        gain, images = difference(augmented, plain), f"{plain.first.dataset['images']['train']:,}"
        times = ", ".join(duration(side.seconds) for side in pair) if on_as_many_cores(*pair) else MISSING
        accuracies = [percent(side.accuracy()) for side in pair]
        rows.append([images, f"{plain.steps:,}", rate(plain.rate), *accuracies, points(gain), times, seeds(gain.n)])
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


def patience_rows(records: list[RunRecord]) -> list[list[str]]:
    """Return a row for each patience, replayed on the curves of runs that never stopped; a cell lists them in order."""
    rows = []
    for patience in PATIENCES:
        stops = [replay_patience(record, patience) for record in records]
        epochs = ", ".join(str(stop.epochs) for stop in stops)
        best = ", ".join(str(stop.best_epoch or "before") for stop in stops)
        accuracies = ", ".join(percent(stop.val_accuracy) for stop in stops)
        rows.append([f"{patience:g}".replace("inf", "none"), epochs, best, accuracies])
    return rows


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


def holds(condition: Any, caller: Callable[[], str], unsupported: Callable[[str], None] | None = None) -> str:
    """Return a sentence of the template that is true only under a condition on the numbers.

    Args:
        unsupported: called with the sentence if the condition is false; it is then left out.

    Raises:
        UserError: the condition is false and there is no ``unsupported``, so that the sentence must be written anew.
    """
    sentence = caller()
    if condition:
        return sentence
    if unsupported:
        unsupported(sentence.strip())
        return ""
    raise UserError(
        f"The records no longer bear out this sentence of the article: {sentence.strip()!r}. "
        "Change it in report/templates/blog_post.md.j2 of the package."
    )


def _note(configuration: Configuration) -> str:
    """Name what became of a setting whose accuracy is not that of the kept weights."""
    fates = {
        "diverged": lambda record: record.status == "diverged",
        "collapsed": collapsed,
        "never better than its head": fell_back,
    }
    of = len(configuration.records)
    for fate, met in fates.items():
        if n := sum(map(met, configuration.records)):
            return f" ({fate})" if n == of else f" ({fate}: {n} of {seeds(of)})"
    return ""


def _measured(measured: Estimate | None, unit: str) -> str:
    if measured is None:
        return "no run on record"
    mean, low, high, n = measured
    if not math.isfinite(low):
        return f"{mean:.1f} {unit}, {seeds(n)}".replace("-", "−")
    to = " to " if low < 0 else "–"
    text = points(measured) if unit == "points" else f"{mean:.1f} {unit} ({low:.1f}{to}{high:.1f})".replace("-", "−")
    return f"{text}, {seeds(n)}"


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
    if value is not None and name in ("weights_of_cnn", "steps"):
        return f"{value:,}"
    return value_text(name, value)
