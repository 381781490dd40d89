"""The sides of the comparison: transfer learning and its opponents, each with its best configuration on record."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from transfer_utils.config.options import preset
from transfer_utils.config.recorded import Identity, identity
from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.results.options import REPEATS
from transfer_utils.results.summary import OPPONENTS, Configuration, Results, common_seeds, difference
from transfer_utils.results.timing import comparable
from transfer_utils.studies.spec import Study, load_study
from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import command_line

FewLabels = dict[int, dict[str, Configuration]]  # the sides by labels per class, below all
HEADLINE = "cifar10"  # the preset whose runs the article begins with
AUGMENTATION_STUDY = "augmentation"
OPPONENTS_STUDY, TUNED = "opponents", "transfer_tuned"  # where transfer learning is tuned as its opponents are
ENOUGH_STEPS = 500  # of a CNN with few labels, so that it is not judged while it is still learning


def short(results: Results) -> Configuration:
    """Return the short recipe, which is the preset ``HEADLINE``.

    Raises:
        UserError: it is not on record; the message holds the command.
    """
    on_record = results.alike(preset(HEADLINE))
    if not on_record:
        raise _missing(results)
    return on_record[0]


def sides(results: Results, labels: int = 0) -> dict[str, Configuration]:
    """Return transfer learning and each opponent on record, with its best configuration on validation.

    Args:
        labels: labelled images per class. With all labels (0), transfer learning is its best setting in the study of
            opponents, where every side has as many tries; if that is not on record, it is the ``short`` recipe.

    Raises:
        UserError: with all labels, transfer learning or every CNN is missing; the message holds the command.
    """
    best = {kind: results.best(kind, labels) for kind in ("transfer", *OPPONENTS)}
    if not labels:
        tuned = results.alike(_study(OPPONENTS_STUDY).of_group(TUNED)[0])
        best["transfer"] = tuned[0] if tuned else short(results)
        if not (best["tutorial"] or best["compact"]):
            raise _missing(results)
    return {kind: configuration for kind, configuration in best.items() if configuration}


def timed(results: Results) -> dict[str, Configuration]:
    """Return the ``sides`` with all labels; where all runs of one had a GPU, its best configuration that has a time."""
    compared = {}
    for kind, side in sides(results).items():
        clocked = [each for each in results.of_kind(kind) if math.isfinite(each.seconds)]
        if math.isfinite(side.seconds):
            compared[kind] = side
        elif clocked:
            compared[kind] = max(clocked, key=validation)
    return compared


def tries(results: Results, side: Configuration) -> int:
    """Return how many settings of learning rate and epochs the grid of a side has on record, all else being equal."""
    return len(_grid(results, side))


def edges(results: Results, side: Configuration) -> list[str]:
    """Return in words at which ends of its grid a side has its best setting: it may be better still beyond them."""
    stage, ends = "baseline" if side.config.model == "baseline" else "stage2", []
    grid = _grid(results, side)
    for option, lowest, highest in (
        ("learning_rate", "the lowest rate", "the highest rate"),
        ("epochs", "the shortest training", "the longest training"),
    ):
        values = [getattr(each.config, f"{option}_{stage}") for each in grid]
        mine = getattr(side.config, f"{option}_{stage}")
        if min(values) < max(values):
            ends += [lowest] * (mine == min(values)) + [highest] * (mine == max(values))
    return ends


def saves_time(side: Configuration, other: Configuration) -> bool:
    """Return whether a side takes less than half the time of another, on as many cores."""
    return on_as_many_cores(side, other) and side.seconds < other.seconds / 2


def on_as_many_cores(side: Configuration, other: Configuration) -> bool:
    """Return whether both have a time on record, taken on equally many cores: other times cannot be compared."""
    timed_runs = [each.typical for each in (side, other)]
    return all(timed_runs) and comparable(*(run.record for run in timed_runs))


def longer(results: Results) -> Configuration | None:
    """Return the best configuration of transfer learning on validation if it took longer than that of the ``sides``.

    None also if the two have no seed in common, or no times that can be compared.
    """
    best, side = results.best("transfer"), sides(results)["transfer"]
    slower = on_as_many_cores(best, side) and best.seconds > side.seconds
    return best if slower and common_seeds(best, side) else None


def best_cnn(results: Results) -> Configuration:
    """Return the best CNN on record with all labels."""
    return max((side for side in sides(results).values() if side.config.model == "baseline"), key=validation)


def strongest(compared: Mapping[str, Configuration]) -> Configuration:
    """Return the opponent with the highest validation accuracy."""
    return max((side for kind, side in compared.items() if kind != "transfer"), key=validation)


def gain(compared: Mapping[str, Configuration]) -> Estimate:
    """Return the gain on test over the strongest opponent, in points."""
    return difference(compared["transfer"], strongest(compared), "test_end2end")


def augmentation(results: Results) -> list[tuple[Configuration, Configuration]]:
    """Return the pairs of the study of augmentation on record, plain and augmented, with the seeds that both have."""
    study, pairs = _study(AUGMENTATION_STUDY), []
    for config in (each.config for each in study.chosen(seeds=study.seeds[:1]).planned() if not each.config.augment):
        found = [results.alike(config.model_copy(update={"augment": augment})) for augment in (False, True)]
        if all(found):
            plain, augmented = (alike[0] for alike in found)
            if shared := common_seeds(plain, augmented):
                pair = (replace(side, runs={seed: side.runs[seed] for seed in shared}) for side in (plain, augmented))
                pairs.append(tuple(pair))
    return pairs


def augmented_gain(results: Results) -> tuple[Configuration, Estimate] | None:
    """Return the best side of ``augmentation`` with all labels, and its gain on test over the strongest opponent.

    None if transfer learning in the grid is augmented as well or gains by itself, and if this side is not shown to gain
    or has no time to compare.
    """
    compared = sides(results)
    opponent, augmented = strongest(compared), [side for _, side in augmentation(results)]
    with_all = [side for side in augmented if not side.config.labels_per_class and common_seeds(side, opponent)]
    if not with_all or compared["transfer"].config.augment or gain(compared).low > 0:
        return None
    best = max(with_all, key=validation)
    gained = difference(best, opponent, "test_end2end")
    return (best, gained) if gained.low > 0 and on_as_many_cores(best, opponent) else None


def by_labels(results: Results) -> FewLabels:
    """Return the ``sides`` at each number of labels per class, below all, with an opponent on record.

    Levels without a ``gain`` are left out: there, transfer learning and the strongest opponent have no seed in common.
    """
    levels = sorted({each.config.labels_per_class for each in results.pool} - {0})
    compared = {n: sides(results, n) for n in levels}
    compared = {n: few for n, few in compared.items() if len(few) > 1 and "transfer" in few}
    return {n: few for n, few in compared.items() if common_seeds(few["transfer"], strongest(few))}


def other_rates(results: Results, few: FewLabels) -> dict[str, dict[int, tuple[Configuration, Estimate]]]:
    """Return the best other setting in the grid of each side with few labels, by side and labels, with its gain.

    The gain is on validation. A side that was tried at one setting alone is left out, and so is a setting without a
    seed in common.
    """
    best_other: dict[str, dict[int, tuple[Configuration, Estimate]]] = {}
    for n, compared in few.items():
        for kind, side in compared.items():
            others = (each for each in _grid(results, side) if each is not side and common_seeds(each, side))
            gains = [(each, difference(each, side)) for each in others]
            if gains:
                best_other.setdefault(kind, {})[n] = max(gains, key=lambda gained: gained[1].mean)
    return best_other


def larger_gains(others: dict[str, dict[int, tuple[Configuration, Estimate]]]) -> list[int]:
    """Return the labels per class at which another rate is shown to help transfer learning, and none the compact CNN.

    Args:
        others: as ``other_rates`` returns them.
    """
    compact = others.get("compact", {})
    return [
        n
        for n, (_, gained) in others.get("transfer", {}).items()
        if gained.low > 0 and n in compact and compact[n][1].mean <= 0
    ]


def hurried(few: FewLabels) -> list[Configuration]:
    """Return the opponents with few labels that had fewer than ``ENOUGH_STEPS`` training steps."""
    opponents = (side for compared in few.values() for kind, side in compared.items() if kind != "transfer")
    return [side for side in opponents if side.steps < ENOUGH_STEPS]


def training_steps(few: FewLabels) -> tuple[int, int]:
    """Return the fewest and the most training steps of a model with few labels."""
    steps = [side.steps for compared in few.values() for side in compared.values()]
    return min(steps), max(steps)


def choosing(few: FewLabels, chose: bool = True) -> list[str]:
    """Return the names of the models with few labels that chose their epoch on labelled validation images, or not."""
    return _names(few, lambda side: (side.config.selection == "validation") == chose)


def on_gpu(few: FewLabels) -> list[str]:
    """Return the names of the models with few labels that were trained on a GPU."""
    return _names(few, lambda side: any(record.on_gpu for record in side.records))


def command(results: Results, *words: str) -> str:
    """Return a command that makes runs on the copy of CIFAR-10 which counts: those on another one are left out."""
    folder = data_dir(results)
    return command_line(["transfer-utils", *words, *(["--data_dir", folder] if folder else [])])


def data_dir(results: Results) -> str:
    """Return the folder of the copy of CIFAR-10 which counts; empty for the original images."""
    return str(next((each.first.config.get("data_dir") for each in results.pool), "") or "")


def validation(configuration: Configuration) -> float:
    """Return the mean validation accuracy of a configuration, by which it is chosen."""
    return configuration.accuracy().mean


def _grid(results: Results, side: Configuration) -> list[Configuration]:
    """Return every configuration on record that differs from a side in nothing but learning rate and epochs.

    Of a side of the study of opponents, only those of that study: runs for other questions are not tries of this side.
    """
    turned = (f"{what}_{stage}" for what in ("learning_rate", "epochs") for stage in ("stage2", "baseline"))
    alike = results.alike(side.config, *turned)
    studied = [each for each in alike if identity(each.config, ignoring=REPEATS) in _tries()]
    return studied if side in studied else alike


@functools.cache
def _tries() -> frozenset[Identity]:
    """Return what tells the settings of the study of opponents from all others."""
    return frozenset(identity(each.config, ignoring=REPEATS) for each in _study(OPPONENTS_STUDY).planned())


@functools.cache
def _study(name: str) -> Study:
    """Return a study of the course, read once: an article asks for it dozens of times."""
    return load_study(name)


def _names(few: FewLabels, holds: Callable[[Configuration], bool]) -> list[str]:
    """Return the names of the models of which ``holds`` is true at any number of labels."""
    kinds = [kind for compared in few.values() for kind, side in compared.items() if holds(side)]
    return [MODEL_NAMES[kind] for kind in dict.fromkeys(kinds)]


def _missing(results: Results) -> UserError:
    again = command(results, "compare", "--preset", HEADLINE)
    return UserError(f"The article needs a run of preset {HEADLINE} and of its baseline. Run `{again}` first.")
