"""Each rule of a verdict, from made-up numbers and from made-up records on both sides of it."""

import pytest

from tests.report_samples import diverge, set_accuracies, set_last, write_planned
from transfer_utils.errors import UserError
from transfer_utils.evaluation import Estimate
from transfer_utils.records import RunRecord, load_runs, pack_bits
from transfer_utils.results import claims
from transfer_utils.results.claims import (
    CANNOT_TELL,
    CONFIRMS,
    CONTRADICTS,
    NOT_REPRODUCED,
    RULES,
    evaluate_claims,
    level,
    little,
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
def judged(tmp_path):
    """Return a function that judges made-up runs of some groups, which ``change`` has altered, by name of the claim."""

    def judged(*groups, change=lambda config, record: None, more=()):
        path = tmp_path / "study.yaml"
        path.write_text(STUDY + "".join(f"  - {GROUPS[name]}\n" for name in groups), "utf-8")
        study = load_study(path)
        runs = tmp_path / f"runs{len(list(tmp_path.iterdir()))}"
        write_planned(runs, study, change)
        for name, record in more:
            record.save(runs / name / "run.json")
        return {claim.name: claim for claim in evaluate_claims(collect(study, load_runs(runs).runs))}

    return judged


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
def test_a_level_is_met_within_one_point(low, high, verdict):
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
def test_changes_are_judged_by_the_ends_of_their_interval(rule, low, high, verdict):
    assert rule(Estimate((low + high) / 2, low, high, 3)) == verdict


def test_differences_are_little_when_all_are():
    small, unsure, large = (Estimate(0, *ends, 3) for ends in ((-2.0, 2.0), (-1, 2.1), (2.1, 4)))
    assert little([small, small]) == CONFIRMS
    assert little([small, unsure]) == CANNOT_TELL
    assert little([unsure, large, small]) == CONTRADICTS


def test_a_saving_needs_epochs_saved_and_accuracy_kept():
    kept, unsure, lost = (Estimate(0, *ends, 1) for ends in ((-1.9, 1), (-2.1, 1), (-4, -2.1)))
    assert [saving(10, change) for change in (kept, unsure, lost)] == [CONFIRMS, CANNOT_TELL, CONTRADICTS]
    assert saving(0, kept) == CONTRADICTS


@pytest.mark.parametrize(
    ("baseline", "verdict"),
    [(0.64, CONFIRMS), (0.50, CONTRADICTS), (0.69, CANNOT_TELL), (0.75, CANNOT_TELL)],  # the last: a narrow network
)
def test_the_gain_is_that_on_the_same_test_images(judged, baseline, verdict):
    def change(config, record):
        set_accuracies(record, test=0.84 if config.model == "transfer" else baseline)

    found = judged(change=change)["gain"]
    assert found.verdict == verdict
    assert found.ours.startswith(f"+{84 - 100 * baseline:.1f} points (") and found.ours.endswith("with width 0.35")


def test_a_gain_below_the_claimed_one_contradicts_where_the_width_is_the_published_one(judged, monkeypatch):
    monkeypatch.setattr(claims, "CLAIMED_ALPHA", 0.35)

    def change(config, record):
        set_accuracies(record, test=0.84 if config.model == "transfer" else 0.75)

    assert judged(change=change)["gain"].verdict == CONTRADICTS


def test_what_was_published_for_another_width_is_not_reproduced_here(judged):
    found = judged("frozen")
    for name in ("frozen", "fine-tuned, validation", "fine-tuned, test"):
        assert found[name].verdict == CANNOT_TELL
        assert found[name].ours.endswith(f"with width 0.35; {NOT_REPRODUCED}")


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.920, CONFIRMS), (0.90, CONTRADICTS), (0.912, CANNOT_TELL)])
def test_a_run_of_the_published_width_is_judged(judged, accuracy, verdict):
    from tests.report_samples import complete
    from transfer_utils.config import preset

    config = preset("cifar10-full")
    record = RunRecord(config=config.model_dump(), network={}, machine={})
    record.curves = {"stage1": {"val_accuracy": [0.5, 0.87, 0.86]}, "stage2": {"val_accuracy": [0.9]}}
    record.metrics = {"val_end2end": accuracy, "test_end2end": accuracy, "train_end2end": 0.95, "test_tta": 0.93}
    record.curves["stage2"] |= {"val_loss": [0.1]}
    complete(record, config)
    found = judged("frozen", more=[("9999-cifar10-full-transfer", record)])
    assert found["fine-tuned, validation"].verdict == verdict
    assert found["frozen"].verdict == CONFIRMS and "87.0 %" in found["frozen"].ours
    assert "with width 1" in found["fine-tuned, test"].ours


@pytest.mark.parametrize(("sgd", "verdict"), [(0.695, CONFIRMS), (0.65, CONTRADICTS), (0.68, CANNOT_TELL)])
def test_optimizers_are_judged_by_the_pair_furthest_apart(judged, sgd, verdict):
    def change(config, record):
        level = sgd if config.optimizer_stage1 == "SGD" else 0.70
        set_accuracies(record, val=level + 0.003 * config.seed * (config.optimizer_stage1 != "SGD"))

    found = judged("optimizers", change=change)["optimizers"]
    assert found.verdict == verdict
    assert "SGD are furthest apart" in found.ours


@pytest.mark.parametrize(("ends", "verdict"), [(0.60, CONFIRMS), (0.75, CONTRADICTS), (0.70, CANNOT_TELL)])
def test_it_forgets_when_it_ends_below_the_frozen_features(judged, ends, verdict):
    def change(config, record):
        set_accuracies(record, val=0.70 + 0.004 * config.seed)
        set_last(record, stage2=ends + 0.002 * config.seed)

    found = judged("depth", "aggressive", change=change)["forgetting"]
    assert found.verdict == verdict
    # Without frozen runs, the head before fine-tuning is the yardstick.
    best = judged("aggressive", change=lambda config, record: set_last(record, stage1=0.3, stage2=ends))
    assert best["forgetting"].verdict == CONTRADICTS


def test_a_run_that_diverged_has_forgotten_all(judged):
    def change(config, record):
        if config.learning_rate_stage2 == 1e-3 and config.n_unfreeze == 60:
            diverge(record)

    found = judged("depth", "aggressive", change=change)
    assert found["forgetting"].verdict == CONFIRMS
    assert found["cure"].verdict == CONFIRMS


@pytest.mark.parametrize(("low_rate", "verdict"), [(0.75, CONFIRMS), (0.65, CONTRADICTS), (0.70, CANNOT_TELL)])
def test_the_low_rate_cures_when_it_ends_higher(judged, low_rate, verdict):
    def change(config, record):
        sign = 1 if config.learning_rate_stage2 == 1e-5 else -1
        last = low_rate if sign > 0 else 0.70
        set_last(record, stage2=last + sign * 0.003 * (config.seed - 1))

    assert judged("aggressive", change=change)["cure"].verdict == verdict


@pytest.mark.parametrize(
    ("bonus", "verdict"), [(0.01, CONFIRMS), (0.03, CONTRADICTS), (-0.01, CONTRADICTS), (0.001, CANNOT_TELL)]
)
def test_averaged_views_are_judged_over_the_seeds(judged, bonus, verdict):
    def change(config, record):
        set_accuracies(record, test=0.70, test_tta=0.70 + bonus + 0.001 * (config.seed - 1))

    assert judged("depth", change=change)["averaged views"].verdict == verdict


@pytest.mark.parametrize(
    ("epochs", "accuracy", "verdict"),
    [(12, 0.70, CONFIRMS), (30, 0.70, CONTRADICTS), (12, 0.60, CONTRADICTS), (12, 0.685, CANNOT_TELL)],
)
def test_early_stopping_saves_when_it_stops_and_loses_little(judged, epochs, accuracy, verdict):
    def change(config, record):
        stops = config.patience == 5 and config.schedule == "plateau"
        set_accuracies(record, val=accuracy if stops else 0.70)
        for values in record.curves.get("stage2", {}).values():
            values[:] = [0.5] * (epochs if stops else 30)

    assert judged("early_stopping", change=change)["early stopping"].verdict == verdict


def test_what_the_study_does_not_ask_cannot_be_told(judged):
    found = judged()
    for name in ("frozen", "optimizers", "forgetting", "cure", "early stopping"):
        assert (found[name].verdict, found[name].ours) == (CANNOT_TELL, "the study does not ask")
    assert {claim.rule for claim in found.values()} == set(RULES)


def test_differences_go_seed_by_seed_and_with_one_seed_image_by_image():
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
    one = difference({0: a[0]}, {0: b[0]})
    assert one == pytest.approx((5, 5 - 2**0.5, 5 + 2**0.5, 1))  # both ends one point away: the hypotenuse
    with pytest.raises(UserError, match=r"\[0\] and \[7\]"):
        difference({0: a[0]}, {7: b[7]})


def test_the_same_images_make_a_difference_surer():
    import numpy as np

    from transfer_utils.evaluation import difference_interval, wilson_interval

    hits = np.arange(1000) < 700, np.arange(1000) < 650
    assert pack_bits(hits[0]) != pack_bits(hits[1])
    paired = [{0: MeasuredAccuracy(h.mean(), *wilson_interval(int(h.sum()), 1000), h)} for h in hits]
    found = difference(*paired)
    assert tuple(found[:3]) == tuple(difference_interval(*hits).values())
    apart = difference(*({0: one[0]._replace(hits=None)} for one in paired))
    assert apart.low < found.low and found.high < apart.high
