"""The published claims about this recipe, and what recorded runs say to each: one rule for each kind of claim.

A verdict is for the interval, never for the number in its middle: ``confirms`` and ``contradicts`` need all of it on
one side of what the claim says, and everything else is ``cannot tell``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from transfer_utils.evaluation import Estimate, wilson_interval
from transfer_utils.records import Run
from transfer_utils.results.formatting import percent, points
from transfer_utils.results.summary import HEADLINE, Configuration, MeasuredAccuracy, Results, difference, estimate

CONFIRMS, CONTRADICTS, CANNOT_TELL = "confirms", "contradicts", "cannot tell"
NOT_REPRODUCED = "reported, not reproduced here"

GAIN = (15.0, 25.0)  # points over the baseline, as claimed
LEVEL = 1.0  # points: an accuracy that was published and one that was measured are the same if no further apart
LITTLE = 2.0  # points: less than any of the effects that the recipe is built on
STANDARD_RATE, LOW_RATE = 1e-3, 1e-5
CLAIMED_ALPHA = 1.0

RULES = {
    "gain": f"The 95 % interval of the gain lies between {GAIN[0]:g} and {GAIN[1]:g} points (confirms), or wholly "
    f"outside (contradicts). A network narrower than the published one, whose width is {CLAIMED_ALPHA:g}, does not "
    "contradict by gaining less: then we cannot tell.",
    "level": f"The 95 % interval lies within {LEVEL:g} point of the published accuracy (confirms), or wholly outside "
    f"(contradicts). An accuracy that was published for MobileNetV2 of width {CLAIMED_ALPHA:g} is judged by runs of "
    f"that width alone; without one it is *{NOT_REPRODUCED}*, and the verdict is that we cannot tell.",
    "little": f"The 95 % interval of every difference between two of the settings lies within {LITTLE:g} points either "
    "way (confirms), or that of one of them lies wholly outside (contradicts).",
    "loss": "The 95 % interval of the change lies below zero (confirms), or wholly at or above it (contradicts). It is "
    "taken from what the frozen features give with a solved head to the last epoch of the fine-tuning: a network that "
    "ends below what it began with has forgotten.",
    "rise": "The 95 % interval of the change lies above zero (confirms), or wholly at or below it (contradicts).",
    "small bonus": f"The 95 % interval of the gain lies above zero and up to {LITTLE:g} points (confirms), or wholly "
    "outside (contradicts).",
    "saving": "Fewer epochs are trained, and the 95 % interval of the change in accuracy lies above a loss of "
    f"{LITTLE:g} points (confirms); or no epoch is saved, or that interval lies wholly below (contradicts).",
}


@dataclass(frozen=True)
class EvaluatedClaim:
    """One claim, what our runs say to it in words, and the verdict by the rule of that name."""

    name: str
    claim: str
    ours: str
    verdict: str
    rule: str


def evaluate_claims(results: Results) -> list[EvaluatedClaim]:
    """Return a finding for each published claim; ``cannot tell`` where the study does not ask."""
    return [
        _answer(results, *one)
        for one in (
            ("gain", "Transfer gains 15–25 points over a CNN from scratch", "gain", _gain),
            ("frozen", "About 87 % validation accuracy with a frozen backbone", "level", _frozen),
            ("fine-tuned, validation", "92.3 % on validation with the last 30 layers, augmented", "level", _validation),
            ("fine-tuned, test", "91.6 % on test with the last 30 layers, augmented", "level", _test),
            ("optimizers", "Optimizers differ little without fine-tuning", "little", _optimizers),
            ("forgetting", "Fine-tuning at a standard learning rate forgets", "loss", _forgetting),
            ("cure", "A very low learning rate cures it", "rise", _cure),
            ("averaged views", "Test-time augmentation is a small bonus", "small bonus", _averaged_views),
            ("early stopping", "Early stopping saves time", "saving", _early_stopping),
        )
    ]


def within(found: Estimate, low: float, high: float) -> str:
    """Say whether an interval lies between two numbers, both included."""
    if low <= found.low and found.high <= high:
        return CONFIRMS
    return CONTRADICTS if found.high < low or found.low > high else CANNOT_TELL


def level(found: Estimate, claimed: float) -> str:
    """Say whether an accuracy in [0, 1] is the claimed one, in percent."""
    return within(Estimate(*(100 * value for value in found[:3]), found.n), claimed - LEVEL, claimed + LEVEL)


def little(found: Sequence[Estimate]) -> str:
    """Say whether all of several differences, in points, are small."""
    said = {within(one, -LITTLE, LITTLE) for one in found}
    return CONTRADICTS if CONTRADICTS in said else CANNOT_TELL if CANNOT_TELL in said else CONFIRMS


def loss(found: Estimate) -> str:
    """Say whether a change, in points, is one for the worse."""
    return CONFIRMS if found.high < 0 else CONTRADICTS if found.low >= 0 else CANNOT_TELL


def rise(found: Estimate) -> str:
    """Say whether a change, in points, is one for the better."""
    return CONFIRMS if found.low > 0 else CONTRADICTS if found.high <= 0 else CANNOT_TELL


def small_bonus(found: Estimate) -> str:
    """Say whether a gain, in points, is there and small."""
    if found.low > 0 and found.high <= LITTLE:
        return CONFIRMS
    return CONTRADICTS if found.high <= 0 or found.low > LITTLE else CANNOT_TELL


def saving(epochs_saved: float, change: Estimate) -> str:
    """Say whether epochs were saved, and accuracy (a change in points) was not lost for it."""
    if epochs_saved <= 0 or change.high < -LITTLE:
        return CONTRADICTS
    return CONFIRMS if change.low > -LITTLE else CANNOT_TELL


def gain_over_baseline(results: Results) -> Estimate:
    """Return the gain on test over the CNN from scratch with all labels, in points."""
    pair = (results.configuration(HEADLINE, model=model).measured("test_end2end") for model in ("transfer", "baseline"))
    return difference(*pair)


def forgetting(results: Results, configuration: Configuration) -> Estimate:
    """Return by how many points fine-tuning ends above what the frozen features give, on validation.

    Its last epoch counts and not its final model: training keeps the weights of the best epoch, and so hides what the
    later ones lost. The frozen features are those of the group ``depth`` with nothing unfrozen and a solved head; where
    the study has none, the head of the same run before it was fine-tuned.
    """
    return difference(configuration.last("stage2"), frozen_features(results, configuration))


def frozen_features(results: Results, configuration: Configuration) -> dict[int, MeasuredAccuracy]:
    """Return the validation accuracies that ``forgetting`` sets the runs of ``cell`` beside, of the same seeds."""
    frozen = results.configuration("depth", n_unfreeze=0)
    known = frozen.measured("val_end2end") if frozen else {}
    return {seed: measured for seed, measured in known.items() if seed in configuration.runs} or configuration.last(
        "stage1"
    )


def averaged_views(results: Results) -> tuple[Configuration, Estimate]:
    """Return the runs that the bonus of averaged views is read off, and the bonus on test in points.

    They are those with the last 30 layers unfrozen in the group ``depth``, which have several seeds, or the headline's.
    """
    configuration = results.configuration("depth", n_unfreeze=30) or results.configuration(HEADLINE, model="transfer")
    return configuration, difference(configuration.measured("test_tta"), configuration.measured("test_end2end"))


def pairs(
    configurations: Sequence[Configuration], metric: str = "val_end2end"
) -> list[tuple[Configuration, Configuration, Estimate]]:
    """Return every two cells, the better one first, with their difference in points; the widest apart first."""
    found = []
    for a, b in combinations(configurations, 2):
        gap = difference(a.measured(metric), b.measured(metric))
        found.append((a, b, gap) if gap.mean >= 0 else (b, a, Estimate(-gap.mean, -gap.high, -gap.low, gap.n)))
    return sorted(found, key=lambda pair: -pair[2].mean)


Says = tuple[str, str] | None


def _answer(results: Results, name: str, claim: str, rule: str, ask: Callable[[Results], Says]) -> EvaluatedClaim:
    ours, verdict = ask(results) or ("the study does not ask", CANNOT_TELL)
    return EvaluatedClaim(name, claim, ours, verdict, rule)


def _gain(results: Results) -> Says:
    gain, alpha = gain_over_baseline(results), results.configuration(HEADLINE, model="transfer").config.alpha
    narrow = alpha < CLAIMED_ALPHA and gain.high < GAIN[0]
    verdict = CANNOT_TELL if narrow else within(gain, *GAIN)
    return f"{points(gain)} on test with width {alpha:g}", verdict


def _frozen(results: Results) -> Says:
    configuration = results.configuration("frozen")
    return _level(results, configuration, "val_end2end", 87.0, "stage1") if configuration else None


def _validation(results: Results) -> Says:
    return _level(results, results.configuration(HEADLINE, model="transfer"), "val_end2end", 92.3)


def _test(results: Results) -> Says:
    return _level(results, results.configuration(HEADLINE, model="transfer"), "test_end2end", 91.6)


def _level(results: Results, configuration: Configuration, metric: str, claimed: float, stage: str = "") -> Says:
    """Set an accuracy beside a published one: that of a run of the published width if there is one, else only ours."""
    if results.full:
        whole = Configuration({}, configuration.config, {0: results.full})
        found = estimate({0: _best_of(results.full, stage)}) if stage else whole.accuracy(metric)
        return f"{percent(found)} with width {CLAIMED_ALPHA:g}", level(found, claimed)
    found = configuration.accuracy(metric)
    if configuration.config.alpha == CLAIMED_ALPHA:
        return percent(found), level(found, claimed)
    return f"{percent(found)} with width {configuration.config.alpha:g}; {NOT_REPRODUCED}", CANNOT_TELL


def _best_of(run: Run, stage: str) -> MeasuredAccuracy:
    """Return the best validation accuracy of a stage's epochs."""
    values = [value for value in run.record.curves[stage]["val_accuracy"] if value is not None]
    n = run.record.dataset["images"]["validation"]
    return MeasuredAccuracy(max(values), *wilson_interval(round(max(values) * n), n))


def _optimizers(results: Results) -> Says:
    if "optimizers" not in results:
        return None
    found = pairs(results.configurations["optimizers"])
    better, worse, gap = found[0]
    names = [configuration.config.optimizer_stage1 for configuration in (better, worse)]
    return f"{names[0]} and {names[1]} are furthest apart: {points(gap)}", little([gap for _, _, gap in found])


def _forgetting(results: Results) -> Says:
    configuration = results.configuration("aggressive", learning_rate_stage2=STANDARD_RATE)
    if not configuration:
        return None
    change = forgetting(results, configuration)
    return f"{points(change)} on validation in its last epoch, against the frozen features", loss(change)


def _cure(results: Results) -> Says:
    low, standard = (
        results.configuration("aggressive", learning_rate_stage2=rate) for rate in (LOW_RATE, STANDARD_RATE)
    )
    if not low or not standard:
        return None
    change = difference(low.last("stage2"), standard.last("stage2"))
    return f"{points(change)} on validation in the last epoch, against the standard rate", rise(change)


def _averaged_views(results: Results) -> Says:
    _, bonus = averaged_views(results)
    return f"{points(bonus)} on test", small_bonus(bonus)


def _early_stopping(results: Results) -> Says:
    configurations = results.configurations.get("early_stopping", [])
    if len(configurations) < 2 or any(configuration.diverged for configuration in configurations):
        return None
    never, stopping = sorted(configurations, key=lambda configuration: configuration.config.patience)[:2]
    saved = never.epochs("stage2") - stopping.epochs("stage2")
    change = difference(stopping.measured("val_end2end"), never.measured("val_end2end"))
    share = 100 * saved / never.epochs("stage2")
    return f"{share:.0f} % of the epochs saved; {points(change)} on validation", saving(saved, change)
