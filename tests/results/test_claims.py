"""The rules of the verdicts, applied to made-up numbers and to made-up records."""

import numpy as np
import pytest

from tests.report_samples import complete, diverge, set_accuracies, set_last, write_planned
from transfer_utils.config import preset
from transfer_utils.errors import UserError
from transfer_utils.evaluation import Estimate, difference_interval, wilson_interval
from transfer_utils.records import RunRecord, load_runs
from transfer_utils.results import claims
from transfer_utils.results.claims import (
    CANNOT_TELL,
    CONFIRMS,
    CONTRADICTS,
    NOT_REPRODUCED,
    RULES,
    all_small,
    evaluate_claims,
    level,
    loss,
    rise,
    saving,
    small_bonus,
    within,
)
from transfer_utils.results.summary import MeasuredAccuracy, collect, difference
from transfer_utils.studies.spec import load_study

STUDY = """
preset: cifar10-small
options: {image_size: 96, data_dir: data/cifar10}
seeds: [0, 1, 2]
groups:
  - {name: headline, question: How far, options: {labels_per_class: 0, image_size: 160},
     grid: {model: [transfer, baseline]}, seeds: [0]}
"""
GROUPS = {
    "frozen": "{name: frozen, question: Frozen, options: {labels_per_class: 0, n_unfreeze: 0, epochs_stage2: 0}}",
    "optimizers": "{name: optimizers, question: Which, options: {n_unfreeze: 0, epochs_stage2: 0}, "
    "grid: {optimizer_stage1: [SGD, Adam, AdamW]}}",
    "depth": "{name: depth, question: How deep, grid: {n_unfreeze: [0, 30]}}",
    "aggressive": "{name: aggressive, question: Too fast, options: {n_unfreeze: 60, epochs_stage1: 1}, "
    "grid: {learning_rate_stage2: [1.0e-3, 1.0e-5]}}",
    "early_stopping": "{name: early_stopping, question: Saved, options: {epochs_stage2: 30, schedule: plateau}, "
    "grid: {patience: [0, 5]}, seeds: [0]}",
}


@pytest.fixture
def evaluate(tmp_path):
    """Return a function that evaluates the claims for made-up runs of some groups, each altered by ``change``."""

    def evaluate(*groups, change=lambda config, record: None, more=()):
        path = tmp_path / "study.yaml"
        path.write_text(STUDY + "".join(f"  - {GROUPS[name]}\n" for name in groups), "utf-8")
        study = load_study(path)
        runs = tmp_path / f"runs{len(list(tmp_path.iterdir()))}"
        write_planned(runs, study, change)
        for name, record in more:
            record.save(runs / name / "run.json")
        return {claim.name: claim for claim in evaluate_claims(collect(study, load_runs(runs).runs))}

    return evaluate


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (15.0, 25.0, CONFIRMS),
        (16.0, 20.0, CONFIRMS),
        (14.9, 20.0, CANNOT_TELL),
        (20.0, 25.1, CANNOT_TELL),
        (10.0, 30.0, CANNOT_TELL),
        (10.0, 14.9, CONTRADICTS),
        (25.1, 30.0, CONTRADICTS),
    ],
)
def test_a_range_needs_the_whole_interval_inside_or_outside(low, high, verdict):
    assert within(Estimate((low + high) / 2, low, high, 3), 15, 25) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.860, 0.880, CONFIRMS), (0.855, 0.865, CANNOT_TELL), (0.750, 0.8599, CONTRADICTS), (0.8801, 0.9, CONTRADICTS)],
)
def test_a_measured_level_confirms_within_one_point(low, high, verdict):
    assert level(Estimate((low + high) / 2, low, high, 3), 87.0) == verdict


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (loss, -3, -0.1, CONFIRMS),
        (loss, -3, 0.0, CANNOT_TELL),
        (loss, 0.0, 3, CONTRADICTS),
        (rise, 0.1, 3, CONFIRMS),
        (rise, 0.0, 3, CANNOT_TELL),
        (rise, -3, 0.0, CONTRADICTS),
        (small_bonus, 0.1, 2.0, CONFIRMS),
        (small_bonus, 0.0, 2.0, CANNOT_TELL),
        (small_bonus, 0.5, 2.1, CANNOT_TELL),
        (small_bonus, 2.1, 3, CONTRADICTS),
        (small_bonus, -1, 0.0, CONTRADICTS),
    ],
)
def test_the_verdict_on_a_change_depends_on_both_bounds_of_its_interval(rule, low, high, verdict):
    assert rule(Estimate((low + high) / 2, low, high, 3)) == verdict


def test_differences_are_small_if_each_one_is():
    small, unsure, large = (Estimate(0, *ends, 3) for ends in ((-2.0, 2.0), (-1, 2.1), (2.1, 4)))
    assert all_small([small, small]) == CONFIRMS
    assert all_small([small, unsure]) == CANNOT_TELL
    assert all_small([unsure, large, small]) == CONTRADICTS


def test_a_saving_needs_fewer_epochs_and_no_loss_of_accuracy():
    same, unsure, lost = (Estimate(0, *ends, 1) for ends in ((-1.9, 1), (-2.1, 1), (-4, -2.1)))
    assert [saving(10, change) for change in (same, unsure, lost)] == [CONFIRMS, CANNOT_TELL, CONTRADICTS]
    assert saving(0, same) == CONTRADICTS


@pytest.mark.parametrize(
    ("baseline", "verdict"),
    [(0.64, CONFIRMS), (0.50, CONTRADICTS), (0.69, CANNOT_TELL), (0.75, CANNOT_TELL)],  # the last: a narrow network
)
def test_the_gain_is_measured_on_the_same_test_images(evaluate, baseline, verdict):
    def change(config, record):
        set_accuracies(record, test=0.84 if config.model == "transfer" else baseline)

    claim = evaluate(change=change)["gain"]
    assert claim.verdict == verdict
    assert claim.ours.startswith(f"+{84 - 100 * baseline:.1f} points (") and claim.ours.endswith("with width 0.35")


def test_a_smaller_gain_at_the_published_width_contradicts(evaluate, monkeypatch):
    monkeypatch.setattr(claims, "CLAIMED_ALPHA", 0.35)

    def change(config, record):
        set_accuracies(record, test=0.84 if config.model == "transfer" else 0.75)

    assert evaluate(change=change)["gain"].verdict == CONTRADICTS


def test_accuracies_published_for_another_width_are_not_reproduced(evaluate):
    verdicts = evaluate("frozen")
    for name in ("frozen", "fine-tuned, validation", "fine-tuned, test"):
        assert verdicts[name].verdict == CANNOT_TELL
        assert verdicts[name].ours.endswith(f"with width 0.35; {NOT_REPRODUCED}")


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.920, CONFIRMS), (0.90, CONTRADICTS), (0.912, CANNOT_TELL)])
def test_a_run_of_the_published_width_gives_a_verdict(evaluate, accuracy, verdict):
    config = preset("cifar10-full")
    record = RunRecord(config=config.model_dump(), network={}, machine={})
    record.curves = {"stage1": {"val_accuracy": [0.5, 0.87, 0.86]}, "stage2": {"val_accuracy": [0.9]}}
    record.metrics = {"val_end2end": accuracy, "test_end2end": accuracy, "train_end2end": 0.95, "test_tta": 0.93}
    record.curves["stage2"] |= {"val_loss": [0.1]}
    complete(record, config)
    verdicts = evaluate("frozen", more=[("9999-cifar10-full-transfer", record)])
    assert verdicts["fine-tuned, validation"].verdict == verdict
    assert verdicts["frozen"].verdict == CONFIRMS and "87.0 %" in verdicts["frozen"].ours
    assert "with width 1" in verdicts["fine-tuned, test"].ours


@pytest.mark.parametrize(("sgd", "verdict"), [(0.695, CONFIRMS), (0.65, CONTRADICTS), (0.68, CANNOT_TELL)])
def test_the_verdict_on_optimizers_is_that_of_the_largest_difference(evaluate, sgd, verdict):
    def change(config, record):
        level = sgd if config.optimizer_stage1 == "SGD" else 0.70
        set_accuracies(record, val=level + 0.003 * config.seed * (config.optimizer_stage1 != "SGD"))

    claim = evaluate("optimizers", change=change)["optimizers"]
    assert claim.verdict == verdict
    assert "SGD are furthest apart" in claim.ours


@pytest.mark.parametrize(("ends", "verdict"), [(0.60, CONFIRMS), (0.75, CONTRADICTS), (0.70, CANNOT_TELL)])
def test_fine_tuning_forgets_if_it_ends_below_the_frozen_features(evaluate, ends, verdict):
    def change(config, record):
        set_accuracies(record, val=0.70 + 0.004 * config.seed)
        set_last(record, stage2=ends + 0.002 * config.seed)

    claim = evaluate("depth", "aggressive", change=change)["forgetting"]
    assert claim.verdict == verdict
    # Without frozen runs, the comparison is with the head before fine-tuning.
    best = evaluate("aggressive", change=lambda config, record: set_last(record, stage1=0.3, stage2=ends))
    assert best["forgetting"].verdict == CONTRADICTS


def test_a_diverged_run_has_forgotten(evaluate):
    def change(config, record):
        if config.learning_rate_stage2 == 1e-3 and config.n_unfreeze == 60:
            diverge(record)

    verdicts = evaluate("depth", "aggressive", change=change)
    assert verdicts["forgetting"].verdict == CONFIRMS
    assert verdicts["cure"].verdict == CONFIRMS


@pytest.mark.parametrize(("low_rate", "verdict"), [(0.75, CONFIRMS), (0.65, CONTRADICTS), (0.70, CANNOT_TELL)])
def test_the_low_rate_cures_if_it_ends_higher(evaluate, low_rate, verdict):
    def change(config, record):
        sign = 1 if config.learning_rate_stage2 == 1e-5 else -1
        last = low_rate if sign > 0 else 0.70
        set_last(record, stage2=last + sign * 0.003 * (config.seed - 1))

    assert evaluate("aggressive", change=change)["cure"].verdict == verdict


@pytest.mark.parametrize(
    ("bonus", "verdict"), [(0.01, CONFIRMS), (0.03, CONTRADICTS), (-0.01, CONTRADICTS), (0.001, CANNOT_TELL)]
)
def test_the_bonus_of_averaged_views_is_measured_over_the_seeds(evaluate, bonus, verdict):
    def change(config, record):
        set_accuracies(record, test=0.70, test_tta=0.70 + bonus + 0.001 * (config.seed - 1))

    assert evaluate("depth", change=change)["averaged views"].verdict == verdict


@pytest.mark.parametrize(
    ("epochs", "accuracy", "verdict"),
    [(12, 0.70, CONFIRMS), (30, 0.70, CONTRADICTS), (12, 0.60, CONTRADICTS), (12, 0.685, CANNOT_TELL)],
)
def test_early_stopping_saves_if_it_stops_and_loses_little(evaluate, epochs, accuracy, verdict):
    def change(config, record):
        stops = config.patience == 5 and config.schedule == "plateau"
        set_accuracies(record, val=accuracy if stops else 0.70)
        for values in record.curves.get("stage2", {}).values():
            values[:] = [0.5] * (epochs if stops else 30)

    assert evaluate("early_stopping", change=change)["early stopping"].verdict == verdict


def test_a_claim_without_runs_has_no_verdict(evaluate):
    verdicts = evaluate()
    for name in ("frozen", "optimizers", "forgetting", "cure", "early stopping"):
        assert (verdicts[name].verdict, verdicts[name].ours) == (CANNOT_TELL, "the study does not ask")
    assert {claim.rule for claim in verdicts.values()} == set(RULES)


def test_differences_are_paired_by_seed():
    a = {
        0: MeasuredAccuracy(0.70, 0.69, 0.71),
        1: MeasuredAccuracy(0.80, 0.79, 0.81),
        2: MeasuredAccuracy(0.9, 0.89, 0.91),
    }
    b = {
        0: MeasuredAccuracy(0.65, 0.64, 0.66),
        1: MeasuredAccuracy(0.75, 0.74, 0.76),
        7: MeasuredAccuracy(0.1, 0.09, 0.11),
    }
    assert difference(a, b) == pytest.approx((5, 5, 5, 2))
    single = difference({0: a[0]}, {0: b[0]})
    assert single == pytest.approx((5, 5 - 2**0.5, 5 + 2**0.5, 1))  # Newcombe: the root of the sum of squares
    with pytest.raises(UserError, match=r"\[0\] and \[7\]"):
        difference({0: a[0]}, {7: b[7]})


def test_paired_images_give_a_narrower_interval():
    hits = np.arange(1000) < 700, np.arange(1000) < 650
    paired = [{0: MeasuredAccuracy(h.mean(), *wilson_interval(int(h.sum()), 1000), h)} for h in hits]
    gap = difference(*paired)
    assert tuple(gap[:3]) == tuple(difference_interval(*hits).values())
    unpaired = difference(*({0: accuracies[0]._replace(hits=None)} for accuracies in paired))
    assert unpaired.low < gap.low and gap.high < unpaired.high
