"""The published claims about this recipe, and what the recorded runs say about each.

One rule holds for all. A claim has conditions; the recorded configuration that meets most of them answers, of several
the one with most seeds. Where it differs in one, or has too few seeds, the verdict is *cannot tell*. Where all match,
its interval decides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from transfer_utils.config.recorded import augments, identity
from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.records.record import RunRecord
from transfer_utils.results.curves import accuracy_before_fine_tuning, overfitting, replay_patience
from transfer_utils.results.options import REPEATS
from transfer_utils.results.summary import MIN_SEEDS, Configuration, Results, common_seeds, difference, over_seeds
from transfer_utils.results.timing import comparable

CONFIRMS, CONTRADICTS, CANNOT_TELL = "confirms", "contradicts", "cannot tell"
LITTLE = 2.0  # points; our reading of the word
STEPS_AN_EPOCH = 625  # of the published runs: 40,000 images in batches of 64
PATIENCE = 10  # of the published runs

NAMES = {
    "data": "images",
    "alpha": "width",
    "image_size": "side",
    "image_size_start": "side at the start",
    "input_range": "input range",
    "labels_per_class": "labels per class",
    "epochs_stage2": "epochs of stage 2",
    "augmented": "augmentation",
    "learning_rate_stage2": "rate of stage 2",
    "weights_of_cnn": "weights of the CNN",
    "rates": "rates tried for each optimizer",
    "measured_on": "measured on",
}  # the conditions whose names in the article differ from those in the code

# Of a configuration, with its opponent if there is one, and all results: what was measured, and on which of them.
Measured = tuple[Estimate | None, list[Configuration]]
Measure = Callable[[list[Configuration], Results], Measured]


@dataclass(frozen=True)
class Claim:
    """A published claim: under its conditions a measured value lies in [low, high].

    Attributes:
        text: what is claimed, and where it was published.
        measure: returns the value in ``unit``, or None, and the configurations from whose runs it was computed.
        about: conditions without which a configuration has nothing to say about the claim.
        conditions: further conditions under which it was published; a pair of numbers is a range.
        against: the conditions of the opponent, if the claim compares two configurations.
    """

    name: str
    text: str
    low: float
    high: float
    unit: str
    measure: Measure
    about: Mapping[str, Any]
    conditions: Mapping[str, Any]
    against: Mapping[str, Any] = field(default_factory=dict)


class EvaluatedClaim(NamedTuple):
    """What the recorded runs say about a claim.

    Attributes:
        measured: None if there is no run.
        differing: each condition that the runs do not meet: its name, ours, the published one.
        configurations: those from whose runs ``measured`` was computed.
    """

    claim: Claim
    measured: Estimate | None
    differing: list[tuple[str, Any, Any]]
    verdict: str
    configurations: list[Configuration]


def evaluate_claims(results: Results) -> list[EvaluatedClaim]:
    """Return the measured value and the verdict for each published claim, by the rule at the top of this module."""
    return [evaluate_claim(claim, results) for claim in CLAIMS]


def evaluate_claim(claim: Claim, results: Results) -> EvaluatedClaim:
    """Return what the recorded configuration that meets most conditions of a claim says about it."""
    opponents = [each for each in results.pool if claim.against and not _differing(each, claim.against, results)]
    answers = []
    for configuration in results.pool:
        if _differing(configuration, claim.about, results) or (claim.against and not opponents):
            continue
        ranked = sorted(opponents, key=lambda other: _suits(configuration, other, results), reverse=True)
        for opponent in ranked or [None]:  # the best that can be measured: of one with a GPU, no time is compared
            measured, used = claim.measure([configuration, opponent] if opponent else [configuration], results)
            if measured:
                differing = _differing(configuration, claim.conditions, results)
                differing += _unmet(opponent, results) if opponent else []
                answers.append((measured, differing, used))
                break
    if not answers:
        return EvaluatedClaim(claim, None, [], CANNOT_TELL, [])
    measured, differing, used = min(reversed(answers), key=lambda answer: (len(answer[1]), -answer[0].n))
    differing += [("seeds", measured.n, (MIN_SEEDS, math.inf))] if measured.n < MIN_SEEDS else []
    verdict = CANNOT_TELL if differing else within(measured, claim.low, claim.high)
    return EvaluatedClaim(claim, measured, differing, verdict, used)


def within(interval: Estimate, low: float, high: float) -> str:
    """Return the verdict on the claim that a value lies in [low, high]: the whole interval must lie on one side."""
    if low <= interval.low and interval.high <= high:
        return CONFIRMS
    return CONTRADICTS if interval.high < low or interval.low > high else CANNOT_TELL


def optimizers(configuration: Configuration, results: Results, *, at_best_rate: bool) -> list[Configuration]:
    """Return one configuration for each optimizer of stage 1, the worst first: at one rate, or each at its best."""
    alike = results.alike(configuration.config, "optimizer_stage1", *(["learning_rate_stage1"] if at_best_rate else []))
    by_accuracy = sorted(alike, key=lambda other: other.accuracy().mean)
    best = {other.config.optimizer_stage1: other for other in by_accuracy}
    return sorted(best.values(), key=lambda other: other.accuracy().mean)


def _differing(
    configuration: Configuration, conditions: Mapping[str, Any], results: Results
) -> list[tuple[str, Any, Any]]:
    """Return the conditions that a configuration does not meet: name, what is on record, what is asked for."""
    differing = []
    for name, asked in conditions.items():
        fact = _fact(configuration, name, results)
        if not (asked[0] <= fact <= asked[1] if isinstance(asked, tuple) else fact == asked):
            differing.append((name, fact, asked))
    return differing


def _fact(configuration: Configuration, name: str, results: Results) -> Any:
    """Return what a configuration has for a condition: an option, or what follows from its records."""
    config, record = configuration.config, configuration.first
    match name:
        case "kind" | "steps":
            return getattr(configuration, name)
        case "data":
            return record.dataset["description"]
        case "augmented":
            return augments(dict(config))
        case "weights_of_cnn":
            return record.network.get("parameters")
        case "measured_on":
            return "the target task"  # the source task is measured on letters alone (studies/forgetting.yaml)
        case "rates":
            tried = results.alike(config, "optimizer_stage1", "learning_rate_stage1")
            return min(Counter(each.config.optimizer_stage1 for each in tried).values())
        case "fine_tunes":
            return config.fine_tunes and "stage2" in record.curves
    return getattr(config, name)


def _suits(a: Configuration, b: Configuration, results: Results) -> tuple[bool, int, int, int, float]:
    """Return how well b serves as the opponent of a.

    The first that differs counts: any seed in common, conditions met, seeds in common, options in common, accuracy.
    """
    seeds = len(common_seeds(a, b))
    shared = identity(a.config, ignoring=REPEATS) & identity(b.config, ignoring=REPEATS)
    return seeds > 0, -len(_unmet(b, results)), seeds, len(shared), b.accuracy().mean


def _unmet(opponent: Configuration, results: Results) -> list[tuple[str, Any, Any]]:
    """Return the published conditions that an opponent does not meet."""
    return _differing(opponent, _CNN, results) if opponent.kind == "tutorial" else []


def _accuracy(metric: str) -> Measure:
    def measure(sides: list[Configuration], _: Results) -> Measured:
        mean, low, high, n = sides[0].accuracy(metric)
        return Estimate(100 * mean, 100 * low, 100 * high, n), sides

    return measure


def _difference(metric: str, of_b: str = "") -> Measure:
    """Return a measure of a metric of the configuration, less that of its opponent, or less its own ``of_b``."""

    def measure(sides: list[Configuration], _: Results) -> Measured:
        a, b = sides[0], sides[-1]
        return (difference(a, b, metric, of_b) if common_seeds(a, b) else None), sides

    return measure


def _per_seed(value: Callable[..., float]) -> Measure:
    """Return a measure that takes one value from each seed's completed runs; of one seed it has no interval.

    A seed whose value is NaN is left out.
    """

    def measure(sides: list[Configuration], _: Results) -> Measured:
        values = []
        for seed in sides[0].runs:
            runs = [side.runs[seed] for side in sides if seed in side.runs]
            if [run.record.status for run in runs] != ["completed"] * len(sides):
                continue
            try:
                values.append(Estimate(value(*(run.record for run in runs)), -math.inf, math.inf, 1))
            except (LookupError, TypeError, ValueError, ArithmeticError) as error:
                names = " or ".join(str(run.path) for run in runs)
                text = f"A curve, metric or time of {names} is missing or damaged: train it again, or move it away."
                raise UserError(text) from error
        values = [each for each in values if not math.isnan(each.mean)]
        return (over_seeds(values) if values else None), sides

    return measure


def _spread(sides: list[Configuration], results: Results) -> Measured:
    """Measure how much two optimizers may differ, each at the best of its rates, in points.

    A pair that is shown to differ by more than a little decides. Otherwise it is the pair that may differ most, and the
    number of seeds is that of the pair with the fewest in common.
    """
    alike = optimizers(sides[0], results, at_best_rate=True)
    pairs = list(combinations(alike, 2))
    gaps = [difference(b, a) for a, b in pairs if common_seeds(a, b)]
    gap = max(gaps, key=lambda gap: (gap.n >= MIN_SEEDS and gap.low > LITTLE, gap.high), default=None)
    if gap and gap.low <= LITTLE:
        gap = gap._replace(n=min(len(common_seeds(a, b)) for a, b in pairs))
    return gap, alike


def _times_as_long(transfer: RunRecord, cnn: RunRecord) -> float:
    """Return the CNN's time over that of transfer learning; NaN if they cannot be compared."""
    return cnn.timing_sec["total"] / transfer.timing_sec["total"] if comparable(transfer, cnn) else math.nan


def _last(record: RunRecord) -> float:
    """Return the validation accuracy of the last epoch of stage 2 in percent."""
    return 100 * record.curves["stage2"]["val_accuracy"][-1]


def _saved(record: RunRecord) -> float:
    """Return the percentage of the epochs of stage 2 that the published patience would have saved."""
    return 100 * (1 - replay_patience(record, PATIENCE).epochs / len(record.curves["stage2"]["val_loss"]))


_INF = math.inf
_ALL = {"labels_per_class": 0}
_ORIGINAL = {"data": "CIFAR-10"}
_FROZEN, _TUNED = {"kind": "transfer", "n_unfreeze": 0}, {"kind": "transfer", "fine_tunes": True}
_LAST_30, _AT_1E3 = {**_TUNED, "n_unfreeze": 30}, {**_TUNED, "learning_rate_stage2": 1e-3}
_FULL = {"alpha": 1.0, "image_size": 160, "image_size_start": 0, **_ALL, "augmented": True, "epochs_stage2": 100}
_FULL |= {"learning_rate_stage2": 1e-5}
_LEVEL = {**_FULL, "patience": PATIENCE, **_ORIGINAL}
_AS_WRITTEN = {"alpha": 1.0, "image_size": 32, "input_range": "zero-one", "head": "plain", **_ALL}
_TUTORIAL_CNN = {"kind": "tutorial", "learning_rate_baseline": 1e-3, **_ALL}
_CNN = {"weights_of_cnn": 545_098, "augmented": False, **_ORIGINAL}
_SOURCE = {"alpha": 1.0, **_ALL, "measured_on": "the source task"}

CLAIMS = (
    Claim("as written", "Tutorial: its code as written reaches 85–90 % on validation", 85, 90, "%",
          _accuracy("val_end2end"), {**_FROZEN, "image_size": 32}, {**_AS_WRITTEN, **_ORIGINAL}),
    Claim("baseline", "Tutorial: a CNN from scratch reaches 60–70 % on test", 60, 70, "%",
          _accuracy("test_end2end"), _TUTORIAL_CNN, _CNN),
    Claim("gain", "Tutorial: transfer gains 15–25 points on test over that CNN", 15, 25, "points",
          _difference("test_end2end"), {**_FROZEN, **_ALL}, _AS_WRITTEN, _TUTORIAL_CNN),
    Claim("smaller gap", "Tutorial: transfer overfits less (gap of training to validation, minus the CNN's)", -_INF, 0,
          "points", _per_seed(lambda a, b: overfitting(a) - overfitting(b)), {**_FROZEN, **_ALL}, _AS_WRITTEN,
          _TUTORIAL_CNN),
    Claim("fast against slow", "Tutorial: transfer trains faster than the CNN (the CNN's time divided by its own)", 1,
          _INF, "×", _per_seed(_times_as_long), {**_FROZEN, **_ALL}, _AS_WRITTEN, _TUTORIAL_CNN),
    Claim("frozen", "Report: about 87 % on validation with a frozen backbone", 86, 88, "%",
          _accuracy("val_end2end"), {**_FROZEN, **_ALL}, {"alpha": 1.0, "image_size": 160, **_ORIGINAL}),
    Claim("fine-tuned, validation", "Report: 92.3 % on validation with the last 30 layers, augmented", 91.3, 93.3, "%",
          _accuracy("val_end2end"), _LAST_30, _LEVEL),
    Claim("fine-tuned, test", "Report: 91.6 % on test with the last 30 layers, augmented", 90.6, 92.6, "%",
          _accuracy("test_end2end"), _LAST_30, _LEVEL),
    Claim("optimizers", "Report: optimizers differ little without fine-tuning", -LITTLE, LITTLE, "points",
          _spread, {**_FROZEN, "head": "plain"}, {"alpha": 1.0, "image_size": 160, **_ALL, "rates": (3, _INF)}),
    Claim("forgetting", "Report: fine-tuning at a rate of 0.001 forgets (last epoch minus before)", -_INF, 0, "points",
          _per_seed(lambda a: _last(a) - 100 * accuracy_before_fine_tuning(a)),
          {**_AT_1E3, "epochs_stage1": (1, _INF)}, {**_SOURCE, "augmented": False}),
    Claim("cure", "Report: a rate of 1e-5 with augmentation cures it (last epoch minus that at 0.001)", 0, _INF,
          "points", _per_seed(lambda a, b: _last(a) - _last(b)), {**_TUNED, "learning_rate_stage2": 1e-5},
          {**_SOURCE, "augmented": True, "steps": (50 * STEPS_AN_EPOCH, _INF)}, _AT_1E3),
    Claim("averaged views", "Report: test-time augmentation is a small bonus on test", 0, LITTLE, "points",
          _difference("test_tta", of_b="test_end2end"), {**_LAST_30, "tta": True}, _FULL),
    Claim("early stopping", f"Report: early stopping with a patience of {PATIENCE} saves epochs (replayed)",
          1, 100, "%", _per_seed(_saved), {**_TUNED, "patience": 0, "schedule": "plateau"}, _FULL),
)  # fmt: skip
