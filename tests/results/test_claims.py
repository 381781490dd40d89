"""One rule for all claims: the conditions first, then the interval."""

import dataclasses
import math

import pytest

from tests.results.test_summary import STUDY, configuration
from transfer_utils.config.options import preset
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.results import claims
from transfer_utils.results.claims import CANNOT_TELL, CLAIMS, CONFIRMS, CONTRADICTS, evaluate_claim, within
from transfer_utils.results.summary import Configuration, Results

CLAIM = {claim.name: claim for claim in CLAIMS}
FROZEN = {"n_unfreeze": 0, "image_size": 32, "head": "plain", "input_range": "zero-one"}  # as the code was published


def made(*accuracies: float, parameters: int = 0, data: str = "CIFAR-10", **options) -> Configuration:
    """Return runs of the published configuration on the original images, altered by ``options``."""
    result = configuration(*accuracies)
    config = preset("cifar10-full", **options)
    for run in result.runs.values():
        run.record.config |= config.model_dump() | {"seed": run.record.config["seed"]}
        run.record.dataset["description"] = data
        run.record.network = {"parameters": parameters}
    return dataclasses.replace(result, config=config)


def evaluate(name: str, *pool: Configuration):
    return evaluate_claim(CLAIM[name], Results(STUDY, {}, [], list(pool), [], 0, 0))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (15.0, 25.0, CONFIRMS),
        (14.9, 20.0, CANNOT_TELL),
        (20.0, 25.1, CANNOT_TELL),
        (10.0, 30.0, CANNOT_TELL),
        (10.0, 14.9, CONTRADICTS),
        (25.1, 30.0, CONTRADICTS),
        (-math.inf, math.inf, CANNOT_TELL),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low, high, verdict):
    assert within(Estimate(20, low, high, 3), 15, 25) == verdict


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [((0.922, 0.923, 0.924), CONFIRMS), ((0.80, 0.80, 0.81), CONTRADICTS), ((0.90, 0.92, 0.94), CANNOT_TELL)],
)
def test_where_all_conditions_match_the_interval_decides(accuracies, verdict):
    answer = evaluate("fine-tuned, validation", made(*accuracies))
    assert answer.differing == [] and answer.verdict == verdict
    assert answer.measured.mean == pytest.approx(100 * sum(accuracies) / 3)


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        ({"alpha": 0.35}, ("alpha", 0.35, 1.0)),
        ({"labels_per_class": 500}, ("labels_per_class", 500, 0)),
        ({"augment": False}, ("augmented", False, True)),
        ({"learning_rate_stage2": 1e-3}, ("learning_rate_stage2", 1e-3, 1e-5)),
        ({"data": "CIFAR-10, JPEG copy"}, ("data", "CIFAR-10, JPEG copy", "CIFAR-10")),
    ],
)
def test_one_differing_condition_is_enough_not_to_tell(options, differing):
    answer = evaluate("fine-tuned, test", made(0.6, 0.6, 0.6, **options))
    assert answer.verdict == CANNOT_TELL and answer.differing == [differing]
    assert answer.measured.mean == pytest.approx(60), "what was measured stands beside the verdict"


def test_fewer_than_three_seeds_cannot_tell():
    answer = evaluate("fine-tuned, test", made(0.6, 0.6))
    assert answer.verdict == CANNOT_TELL and answer.differing == [("seeds", 2, (3, math.inf))]


def test_the_configuration_that_meets_most_conditions_answers_whatever_its_number_of_seeds():
    near, far = made(0.8, alpha=0.35), made(0.7, 0.7, 0.7, alpha=0.35, image_size=96)
    answer = evaluate("fine-tuned, test", far, near, far)
    assert answer.measured.mean == pytest.approx(80)
    assert answer.differing == [("alpha", 0.35, 1.0), ("seeds", 1, (3, math.inf))]


@pytest.mark.parametrize("name", CLAIM)
def test_a_claim_without_runs_says_so(name):
    assert evaluate(name)[1:] == (None, [], CANNOT_TELL, [])


@pytest.mark.parametrize(("cnn", "verdict"), [(0.60, CONFIRMS), (0.75, CONTRADICTS), (0.65, CANNOT_TELL)])
def test_the_gain_needs_the_conditions_of_both_sides(cnn, verdict):
    transfer = made(0.8, 0.8, 0.8, **FROZEN)
    opponent = made(cnn, cnn, cnn, model="baseline", augment=False, parameters=545_098)
    answer = evaluate("gain", transfer, opponent)
    assert (answer.differing, answer.verdict) == ([], verdict)
    assert answer.configurations == [transfer, opponent]
    other_seed = dataclasses.replace(opponent, runs={9: opponent.runs[0]})
    assert evaluate("gain", transfer).measured is evaluate("gain", transfer, other_seed).measured is None
    padded = evaluate("gain", transfer, made(cnn, cnn, cnn, model="baseline", augment=False, parameters=315_722))
    assert padded.differing == [("weights_of_cnn", 315_722, 545_098)] and padded.verdict == CANNOT_TELL


def test_overfitting_and_time_are_compared_seed_by_seed():
    transfer = made(0.8, 0.8, 0.8, n_unfreeze=0)
    cnn = made(0.6, 0.6, 0.6, model="baseline")
    for side, gap, seconds in ((transfer, 0.1, 50.0), (cnn, 0.3, 100.0)):
        for seed, record in enumerate(side.records):
            record.metrics["train_end2end"] = record.metrics["val_end2end"] + gap + 0.01 * seed
            record.timing_sec = {"total": seconds}
    assert evaluate("smaller gap", transfer, cnn).measured == pytest.approx((-20, -20, -20, 3))
    assert evaluate("fast against slow", transfer, cnn).measured == pytest.approx((2, 2, 2, 3))
    transfer.records[2].status = transfer.records[1].status = "diverged"
    one = evaluate("fast against slow", transfer, cnn).measured
    assert one == (2, -math.inf, math.inf, 1), "one seed has no interval"


def test_times_on_other_numbers_of_cores_are_not_compared():
    transfer, cnn = made(0.8, 0.8, n_unfreeze=0), made(0.6, 0.6, model="baseline")
    for record in (*transfer.records, *cnn.records):
        record.timing_sec, record.machine = {"total": 50.0}, {"cores": 2}
    cnn.records[1].machine = {"cores": 16}
    assert evaluate("fast against slow", transfer, cnn).measured == (1, -math.inf, math.inf, 1)


def test_times_of_runs_with_a_gpu_are_not_compared():
    transfer, cnn = made(0.8, 0.8, n_unfreeze=0), made(0.6, 0.6, model="baseline")
    for record in (*transfer.records, *cnn.records):
        record.timing_sec = {"total": 50.0}
    transfer.records[1].machine = {"gpus": ["cuda:0"]}
    assert evaluate("fast against slow", transfer, cnn).measured == (1, -math.inf, math.inf, 1)
    cnn.records[0].machine = {"gpus": ["cuda:0"]}
    assert evaluate("fast against slow", transfer, cnn).measured is None


def heads(*rates_and_accuracies):
    options = {"n_unfreeze": 0, "head": "plain"}
    return [
        made(*accuracies, optimizer_stage1=name, learning_rate_stage1=rate, **options)
        for name, rates, accuracies in rates_and_accuracies
        for rate in rates
    ]


RATES = (1e-4, 1e-3, 1e-2)


def test_optimizers_are_compared_each_at_its_best_of_three_rates():
    means = {"SGD": (0.6, 0.71, 0.5), "Adam": (0.7, 0.7, 0.7)}
    each = [(name, rate, mean) for name in means for rate, mean in zip(RATES, means[name], strict=True)]
    tried = heads(*((name, [rate], [mean, mean + 0.001, mean + 0.002]) for name, rate, mean in each))
    answer = evaluate("optimizers", *tried)
    assert answer.differing == [] and answer.measured.mean == pytest.approx(1) and answer.verdict == CONFIRMS
    assert [side.config.optimizer_stage1 for side in answer.configurations] == ["Adam", "SGD"]
    sgd, adam = tried[0], tried[-1]
    other_seed = dataclasses.replace(sgd, runs={9: sgd.runs[0]})
    assert evaluate("optimizers", other_seed, adam).measured is None


def test_forgetting_is_not_judged_by_the_target_task():
    tuned = made(0.7, 0.7, 0.7, learning_rate_stage2=1e-3, augment=False)
    for record in tuned.records:
        record.curves["stage1"] = {"val_accuracy": [0.9], "val_loss": [0.5]}
    answer = evaluate("forgetting", tuned)
    assert answer.measured.mean == pytest.approx(-20)
    assert answer.differing == [("measured_on", "the target task", "the source task")] and answer.verdict == CANNOT_TELL


def test_the_cure_needs_its_own_number_of_steps():
    low, standard = made(0.6, 0.6, 0.6), made(0.7, 0.7, 0.7, learning_rate_stage2=1e-3)
    answer = evaluate("cure", low, standard)
    assert answer.measured.mean == pytest.approx(-10)
    assert ("steps", low.steps, (50 * claims.STEPS_AN_EPOCH, math.inf)) in answer.differing


def test_averaged_views_are_a_gain_over_one_view():
    views = made(0.7, 0.7, 0.7, patience=0)
    for record in views.records:
        record.metrics["test_tta"] += 0.01
        record.test_correct = ""
    assert evaluate("averaged views", views).measured.mean == pytest.approx(1)


def test_early_stopping_is_replayed_on_a_curve_that_was_trained_to_its_end():
    endless = made(0.7, 0.7, 0.7, patience=0)
    for record in endless.records:
        record.curves["stage2"] = {"val_loss": [1.0] + [2.0] * 39, "val_accuracy": [0.5] * 40, "loss": [1.0] * 40}
    answer = evaluate("early stopping", endless)
    assert answer.measured.mean == pytest.approx(100 * (1 - 11 / 40))
    assert (answer.differing, answer.verdict) == ([], CONFIRMS)


def test_each_optimizer_needs_its_rates():
    answer = evaluate("optimizers", *heads(("Adam", RATES, [0.7] * 3), ("SGD", [1e-3], [0.7] * 3)))
    assert answer.differing == [("rates", 1, (3, math.inf))] and answer.verdict == CANNOT_TELL


def test_all_pairs_of_optimizers_must_differ_little():
    sides = ("AdamW", RATES, [0.870] * 3), ("Adam", RATES, [0.8605] * 3), ("SGD", RATES, [0.830, 0.862, 0.893])
    answer = evaluate("optimizers", *heads(*sides))
    assert answer.differing == [] and answer.verdict == CANNOT_TELL


def test_optimizers_that_share_no_seed_are_not_said_to_differ_little():
    *sides, other = heads(("AdamW", RATES, [0.87] * 3), ("Adam", RATES, [0.87] * 3), ("SGD", [1e-2], [0.2] * 3))
    others = heads(("SGD", RATES[:2], [0.1] * 3))
    for each in (other, *others):
        for seed in range(3):
            each.runs[100 + seed] = each.runs.pop(seed)
    answer = evaluate("optimizers", *sides, other, *others)
    assert answer.differing == [("seeds", 0, (3, math.inf))] and answer.verdict == CANNOT_TELL


def test_an_opponent_that_cannot_be_measured_gives_way_to_one_that_can():
    cnn = {"model": "baseline", "epochs_baseline": 10, "learning_rate_baseline": 1e-3}
    transfer = made(*[0.8] * 3, **FROZEN)
    fits, other = made(*[0.6] * 3, augment=False, parameters=545_098, **cnn), made(*[0.6] * 3, augment=True, **cnn)
    for each, gpus in ((transfer, []), (fits, ["GPU:0"]), (other, [])):
        for run in each.runs.values():
            run.record.timing_sec, run.record.machine = {"total": 60.0}, {"gpus": gpus}
    answer = evaluate("fast against slow", transfer, fits, other)
    assert answer.measured.mean == pytest.approx(1.0) and answer.verdict == CANNOT_TELL
    assert evaluate("fast against slow", transfer, fits).measured is None


def test_of_opponents_that_meet_the_conditions_that_with_most_options_in_common_is_taken():
    transfer, cnn = made(*[0.8] * 3, **FROZEN), {"model": "baseline", "parameters": 545_098, "augment": False}
    alike, other = made(*[0.6] * 3, **cnn), made(*[0.7] * 3, batch_size=32, **cnn)
    for pool in ((transfer, alike, other), (transfer, other, alike)):
        assert evaluate("gain", *pool).measured.mean == pytest.approx(20)


def test_an_opponent_that_meets_the_conditions_is_not_passed_over():
    transfer, cnn = made(*[0.8] * 5, **FROZEN), {"model": "baseline", "parameters": 545_098}
    fits, other = made(*[0.6] * 3, augment=False, **cnn), made(*[0.7] * 5, augment=True, **cnn)
    answer = evaluate("gain", transfer, fits, other)
    assert answer.differing == [] and answer.verdict == CONFIRMS
