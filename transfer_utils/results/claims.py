"""The published claims about this recipe and the verdict of the recorded runs on each.

A verdict depends on the whole 95 % interval, not on the mean: ``confirms`` and ``contradicts`` need all of it on one
side of what the claim states; everything else is ``cannot tell``.
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
LEVEL = 1.0  # points; a measured accuracy matches a published one within this distance
LITTLE = 2.0  # points; smaller than every effect that the recipe relies on
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
    """One claim, the result of our runs as text, and the verdict by the rule of that name."""

    name: str
    claim: str
    ours: str
    verdict: str
    rule: str


def evaluate_claims(results: Results) -> list[EvaluatedClaim]:
    """Evaluate each published claim; the verdict is ``cannot tell`` if the study lacks the runs for it."""
    return [
        _evaluate(results, *claim)
        for claim in (
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


def within(interval: Estimate, low: float, high: float) -> str:
    """Return the verdict on the claim that a value lies in [low, high]."""
    if low <= interval.low and interval.high <= high:
        return CONFIRMS
    return CONTRADICTS if interval.high < low or interval.low > high else CANNOT_TELL


def level(accuracy: Estimate, claimed: float) -> str:
    """Return the verdict on a claimed accuracy in percent; ``accuracy`` is in [0, 1]."""
    percentage = Estimate(*(100 * value for value in accuracy[:3]), accuracy.n)
    return within(percentage, claimed - LEVEL, claimed + LEVEL)


def all_small(differences: Sequence[Estimate]) -> str:
    """Return the verdict on the claim that all differences, in points, are small."""
    verdicts = {within(difference, -LITTLE, LITTLE) for difference in differences}
    return CONTRADICTS if CONTRADICTS in verdicts else CANNOT_TELL if CANNOT_TELL in verdicts else CONFIRMS


def loss(change: Estimate) -> str:
    """Return the verdict on the claim that a change, in points, is negative."""
    return CONFIRMS if change.high < 0 else CONTRADICTS if change.low >= 0 else CANNOT_TELL


def rise(change: Estimate) -> str:
    """Return the verdict on the claim that a change, in points, is positive."""
    return CONFIRMS if change.low > 0 else CONTRADICTS if change.high <= 0 else CANNOT_TELL


def small_bonus(gain: Estimate) -> str:
    """Return the verdict on the claim that a gain, in points, is positive and small."""
    if gain.low > 0 and gain.high <= LITTLE:
        return CONFIRMS
    return CONTRADICTS if gain.high <= 0 or gain.low > LITTLE else CANNOT_TELL


def saving(epochs_saved: float, change: Estimate) -> str:
    """Return the verdict on the claim that epochs are saved without losing accuracy; the change is in points."""
    if epochs_saved <= 0 or change.high < -LITTLE:
        return CONTRADICTS
    return CONFIRMS if change.low > -LITTLE else CANNOT_TELL


def gain_over_baseline(results: Results) -> Estimate:
    """Return the gain in test accuracy over the baseline with all labels, in points."""
    pair = (results.configuration(HEADLINE, model=model).measured("test_end2end") for model in ("transfer", "baseline"))
    return difference(*pair)


def forgetting(results: Results, configuration: Configuration) -> Estimate:
    """Return the validation accuracy after the last epoch of fine-tuning minus that of frozen features, in points.

    The final model would hide a loss, because it has the weights of the best epoch.
    """
    return difference(configuration.last("stage2"), frozen_features(results, configuration))


def frozen_features(results: Results, configuration: Configuration) -> dict[int, MeasuredAccuracy]:
    """Return the validation accuracies with which ``forgetting`` compares a configuration, by seed.

    They are those of the group ``depth`` with nothing unfrozen and a solved head. If no seed has such a run, they are
    those of the configuration itself before fine-tuning.
    """
    frozen = results.configuration("depth", n_unfreeze=0)
    accuracies = frozen.measured("val_end2end") if frozen else {}
    common = {seed: accuracy for seed, accuracy in accuracies.items() if seed in configuration.runs}
    return common or configuration.last("stage1")


def averaged_views(results: Results) -> tuple[Configuration, Estimate]:
    """Return the configuration that measures the gain of test-time augmentation, and the gain on test in points.

    It is that of the group ``depth`` with the last 30 layers unfrozen, which has several seeds, or the headline.
    """
    configuration = results.configuration("depth", n_unfreeze=30) or results.configuration(HEADLINE, model="transfer")
    return configuration, difference(configuration.measured("test_tta"), configuration.measured("test_end2end"))


def pairs(
    configurations: Sequence[Configuration], metric: str = "val_end2end"
) -> list[tuple[Configuration, Configuration, Estimate]]:
    """Return every pair, the better one first, with the difference in points; the largest difference comes first."""
    compared = []
    for a, b in combinations(configurations, 2):
        gap = difference(a.measured(metric), b.measured(metric))
        compared.append((a, b, gap) if gap.mean >= 0 else (b, a, Estimate(-gap.mean, -gap.high, -gap.low, gap.n)))
    return sorted(compared, key=lambda pair: -pair[2].mean)


Verdict = tuple[str, str] | None  # the result as text, and the verdict; None if the study lacks the runs


def _evaluate(
    results: Results, name: str, claim: str, rule: str, evaluate: Callable[[Results], Verdict]
) -> EvaluatedClaim:
    ours, verdict = evaluate(results) or ("the study does not ask", CANNOT_TELL)
    return EvaluatedClaim(name, claim, ours, verdict, rule)


def _gain(results: Results) -> Verdict:
    gain, alpha = gain_over_baseline(results), results.configuration(HEADLINE, model="transfer").config.alpha
    narrow = alpha < CLAIMED_ALPHA and gain.high < GAIN[0]
    verdict = CANNOT_TELL if narrow else within(gain, *GAIN)
    return f"{points(gain)} on test with width {alpha:g}", verdict


def _frozen(results: Results) -> Verdict:
    configuration = results.configuration("frozen")
    return _level(results, configuration, "val_end2end", 87.0, "stage1") if configuration else None


def _validation(results: Results) -> Verdict:
    return _level(results, results.configuration(HEADLINE, model="transfer"), "val_end2end", 92.3)


def _test(results: Results) -> Verdict:
    return _level(results, results.configuration(HEADLINE, model="transfer"), "test_end2end", 91.6)


def _level(results: Results, configuration: Configuration, metric: str, claimed: float, stage: str = "") -> Verdict:
    """Compare an accuracy with a published one, which only a run of the published width can confirm."""
    if results.full:
        full = Configuration({}, configuration.config, {0: results.full})
        accuracy = estimate({0: _best_accuracy(results.full, stage)}) if stage else full.accuracy(metric)
        return f"{percent(accuracy)} with width {CLAIMED_ALPHA:g}", level(accuracy, claimed)
    accuracy = configuration.accuracy(metric)
    if configuration.config.alpha == CLAIMED_ALPHA:
        return percent(accuracy), level(accuracy, claimed)
    return f"{percent(accuracy)} with width {configuration.config.alpha:g}; {NOT_REPRODUCED}", CANNOT_TELL


def _best_accuracy(run: Run, stage: str) -> MeasuredAccuracy:
    """Return the best validation accuracy of all epochs of a stage."""
    values = [value for value in run.record.curves[stage]["val_accuracy"] if value is not None]
    n = run.record.dataset["images"]["validation"]
    return MeasuredAccuracy(max(values), *wilson_interval(round(max(values) * n), n))


def _optimizers(results: Results) -> Verdict:
    if "optimizers" not in results:
        return None
    compared = pairs(results.configurations["optimizers"])
    better, worse, gap = compared[0]
    names = [configuration.config.optimizer_stage1 for configuration in (better, worse)]
    return f"{names[0]} and {names[1]} are furthest apart: {points(gap)}", all_small([gap for _, _, gap in compared])


def _forgetting(results: Results) -> Verdict:
    configuration = results.configuration("aggressive", learning_rate_stage2=STANDARD_RATE)
    if not configuration:
        return None
    change = forgetting(results, configuration)
    return f"{points(change)} on validation in its last epoch, against the frozen features", loss(change)


def _cure(results: Results) -> Verdict:
    low, standard = (
        results.configuration("aggressive", learning_rate_stage2=rate) for rate in (LOW_RATE, STANDARD_RATE)
    )
    if not low or not standard:
        return None
    change = difference(low.last("stage2"), standard.last("stage2"))
    return f"{points(change)} on validation in the last epoch, against the standard rate", rise(change)


def _averaged_views(results: Results) -> Verdict:
    _, bonus = averaged_views(results)
    return f"{points(bonus)} on test", small_bonus(bonus)


def _early_stopping(results: Results) -> Verdict:
    configurations = results.configurations.get("early_stopping", [])
    if len(configurations) < 2 or any(configuration.diverged for configuration in configurations):
        return None
    never, stopping = sorted(configurations, key=lambda configuration: configuration.config.patience)[:2]
    saved = never.epochs("stage2") - stopping.epochs("stage2")
    change = difference(stopping.measured("val_end2end"), never.measured("val_end2end"))
    share = 100 * saved / never.epochs("stage2")
    return f"{share:.0f} % of the epochs saved; {points(change)} on validation", saving(saved, change)
