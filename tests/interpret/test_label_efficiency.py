"""Tests of how many labels each way of learning needs."""

import numpy as np
import pytest

import transfer_utils.data
import transfer_utils.training
from tests import tiny
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError
from transfer_utils.experiment.run import run_experiment
from transfer_utils.interpret.label_efficiency import draw_labels, measure_label_efficiency
from transfer_utils.models.saving import load_model
from transfer_utils.results.curves import LabelEfficiencyPoint, summarise, verdict

LABELS = np.repeat([0, 1, 2], 30)


def measured(transfer, baseline):
    """Return results by model and level, one accuracy a draw."""
    return [
        LabelEfficiencyPoint(model, level, draw, accuracy)
        for model, by_level in (("transfer", transfer), ("baseline", baseline))
        for level, accuracies in by_level.items()
        for draw, accuracy in enumerate(accuracies)
    ]


def test_draws_hold_so_many_of_each_class_and_no_image_twice():
    positions = draw_labels(LABELS, 5, seed=0, draw=0)
    assert np.bincount(LABELS[positions]).tolist() == [5, 5, 5]
    assert len(set(positions.tolist())) == 15


def test_a_smaller_level_is_part_of_a_larger_one_and_draws_differ():
    few, more = (set(draw_labels(LABELS, level, 0, 0).tolist()) for level in (5, 20))
    assert few < more
    assert set(draw_labels(LABELS, 5, 0, 1).tolist()) != few
    assert set(draw_labels(LABELS, 5, 1, 0).tolist()) != few


def test_the_summary_has_mean_worst_and_best_of_the_draws_by_level():
    found = summarise(measured({20: [0.8], 5: [0.5, 0.7]}, {5: [0.1]}))
    assert list(found["transfer"]) == [5, 20]
    assert found["transfer"][5] == pytest.approx((0.6, 0.5, 0.7))
    assert found["baseline"] == {5: (0.1, 0.1, 0.1)}


def test_the_verdict_where_transfer_stops_paying():
    text = verdict(measured({5: [0.7, 0.8], 20: [0.8, 0.9], 100: [0.85]}, {5: [0.1, 0.2], 20: [0.7, 0.8], 100: [0.9]}))
    assert "60.0 points ahead" in text
    assert "5.0 points behind" in text
    assert "first reaches what they reach with 5 when it has 20 per class" in text
    # With 20 the draws touch: 0.8 and 0.8.
    assert "Up to 5 per class their worst draw beats its best" in text


def test_the_verdict_where_it_does_not():
    text = verdict(measured({5: [0.7], 20: [0.8]}, {5: [0.1], 20: [0.3]}))
    assert "does not reach" in text
    assert "do not stop paying" in text


def test_the_verdict_where_it_never_paid():
    # At 5 labels the draws vary most: they may overlap there, and no more at 20.
    gap = verdict(measured({5: [0.2, 0.7], 20: [0.8], 100: [0.85]}, {5: [0.1, 0.3], 20: [0.7], 100: [0.9]}))
    assert "With 20 per class their worst draw beats its best, with the other numbers it does not." in gap
    last = verdict(measured({5: [0.2, 0.7], 20: [0.8]}, {5: [0.1, 0.3], 20: [0.7]}))
    assert "With 20 per class" in last and "do not stop paying" not in last
    assert "At no number of labels" in verdict(measured({5: [0.2, 0.3]}, {5: [0.1, 0.4]}))


@pytest.mark.parametrize(("levels", "draws", "words"), [((), 1, "levels"), ((0, 5), 1, "levels"), ((5,), 0, "draws")])
def test_impossible_orders_are_refused_before_anything_is_loaded(levels, draws, words):
    with pytest.raises(UserError, match=words):
        measure_label_efficiency(tiny.config(data_dir="nowhere"), levels, draws)


@pytest.mark.slow
def test_both_models_are_measured_at_every_level_of_at_most_half_the_labels_and_on_all(monkeypatch):
    tiny.use_backbone(monkeypatch)
    found = measure_label_efficiency(tiny.config(epochs_stage1=1, epochs_stage2=0), levels=(2, 11), draws=2)
    expected = [(model, 2, draw) for draw in (0, 1) for model in ("transfer", "baseline")]
    expected += [("transfer", 20, 0), ("baseline", 20, 0)]
    assert [one[:3] for one in found] == expected
    assert all(0 <= one.accuracy <= 1 for one in found)


@pytest.mark.slow
def test_a_finished_run_on_all_labels_is_judged_instead_of_trained_again(monkeypatch):
    tiny.use_backbone(monkeypatch)
    config = tiny.config(epochs_stage1=1, epochs_stage2=0)
    run = run_experiment(config.model_copy(update={"model": "baseline"}), log=lambda line: None)
    trained = []
    fit = transfer_utils.training.stages.train_baseline

    def counted(model, train, *rest):
        trained.append(len(train))
        return fit(model, train, *rest)

    monkeypatch.setattr(transfer_utils.training.stages, "train_baseline", counted)
    monkeypatch.setattr(transfer_utils.interpret.label_efficiency, "MIN_STEPS", 3)
    with_run = measure_label_efficiency(config, (2,), 1, on_all=run)
    assert trained == [30], "three steps of ten images, drawn from four"
    dataset = load_dataset(config)
    model = load_model(run.folder / run.record.files["model"])
    right = np.asarray(model(dataset.validation.take()[1::2])).argmax(1) == dataset.validation.labels[1::2]
    assert with_run[-1] == LabelEfficiencyPoint("baseline", 20, 0, pytest.approx(right.mean()))


@pytest.mark.slow
def test_the_half_that_chooses_does_not_judge(monkeypatch):
    """With the judging half's labels turned round, nothing but the verdict may change: right becomes wrong."""
    tiny.use_backbone(monkeypatch)
    options = {"levels": (10,), "draws": 1}
    config = tiny.config(epochs_stage1=1, epochs_stage2=0)
    plain = measure_label_efficiency(config, **options)
    load = transfer_utils.data.splits.load_dataset

    def turned(config):
        dataset = load(config)
        dataset.validation.labels[1::2] = 1 - dataset.validation.labels[1::2]
        return dataset

    monkeypatch.setattr(transfer_utils.data.splits, "load_dataset", turned)
    other = measure_label_efficiency(config, **options)
    assert [one.accuracy for one in other] == pytest.approx([1 - one.accuracy for one in plain])
