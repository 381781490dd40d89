"""Label efficiency: the measurement, its summary and its verdict."""

import numpy as np
import pytest

from tests import tiny
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError
from transfer_utils.experiment.run import run_experiment
from transfer_utils.interpret import label_efficiency
from transfer_utils.interpret.label_efficiency import measure_label_efficiency
from transfer_utils.models.saving import load_model
from transfer_utils.results.by_labels import LabelEfficiencyPoint, summarise, verdict


def points(transfer, baseline):
    """Return a point for each accuracy; the arguments give the accuracies of the draws by level."""
    return [
        LabelEfficiencyPoint(model, level, draw, accuracy)
        for model, by_level in (("transfer", transfer), ("baseline", baseline))
        for level, accuracies in by_level.items()
        for draw, accuracy in enumerate(accuracies)
    ]


def test_the_summary_has_the_mean_minimum_and_maximum_of_the_draws_by_level():
    summary = summarise(points({20: [0.8], 5: [0.5, 0.7]}, {5: [0.1]}))
    assert list(summary["transfer"]) == [5, 20]
    assert summary["transfer"][5] == pytest.approx((0.6, 0.5, 0.7))
    assert summary["baseline"] == {5: (0.1, 0.1, 0.1)}


def test_the_verdict_when_the_baseline_overtakes_transfer():
    text = verdict(points({5: [0.7, 0.8], 20: [0.8, 0.9], 100: [0.85]}, {5: [0.1, 0.2], 20: [0.7, 0.8], 100: [0.9]}))
    assert "60.0 points ahead of" in text
    assert "5.0 points behind" in text
    assert "accuracy with 5, the CNN from scratch needs 20 labels per class" in text
    # With 20 labels the draws touch: the worst of transfer and the best of the baseline are 0.8.
    assert "Up to 5 labels per class, the worst draw" in text


def test_the_verdict_when_transfer_is_ahead_at_all_levels():
    text = verdict(points({5: [0.7], 20: [0.8]}, {5: [0.1], 20: [0.3]}))
    assert "With none of these numbers of labels" in text
    assert "At every number of labels, the worst draw" in text


def test_the_verdict_when_the_draws_overlap():
    # Draws vary most at 5 labels: they may overlap there but not at 20.
    gap = verdict(points({5: [0.2, 0.7], 20: [0.8], 100: [0.85]}, {5: [0.1, 0.3], 20: [0.7], 100: [0.9]}))
    assert "With 20 labels per class, the worst draw" in gap
    last = verdict(points({5: [0.2, 0.7], 20: [0.8]}, {5: [0.1, 0.3], 20: [0.7]}))
    assert "With 20 labels per class, the worst draw" in last
    assert "There is no number of labels at which" in verdict(points({5: [0.2, 0.3]}, {5: [0.1, 0.4]}))


@pytest.mark.parametrize(("levels", "draws", "name"), [((), 1, "levels"), ((0, 5), 1, "levels"), ((5,), 0, "draws")])
def test_wrong_arguments_are_rejected_before_data_are_loaded(levels, draws, name):
    with pytest.raises(UserError, match=name):
        measure_label_efficiency(tiny.config(data_dir="nowhere"), levels, draws)


@pytest.mark.slow
def test_a_completed_run_on_all_labels_is_reused_and_steps_grow_with_the_labels(small_backbone, monkeypatch):
    config = tiny.config(epochs_stage1=1, epochs_stage2=0)
    run = run_experiment(config.model_copy(update={"model": "baseline"}), log=lambda line: None)
    trained = []

    def noted(model, train, validation, config):
        trained.append((len(train), config.min_steps, config.selection))

    monkeypatch.setattr(label_efficiency, "train_baseline", noted)
    with_run = measure_label_efficiency(config, (1, 4), 1, on_all=run)
    assert trained == [(2, 225, "none"), (8, 450, "none")]
    dataset = load_dataset(config)
    model = load_model(run.folder / run.record.files["model"])
    correct = np.asarray(model(dataset.validation.take())).argmax(1) == dataset.validation.labels
    assert with_run[-1] == LabelEfficiencyPoint("baseline", 20, 0, pytest.approx(correct.mean()))


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbone")
def test_levels_of_at_most_half_the_labels_and_all_labels_are_measured_and_no_validation_label_is_used(monkeypatch):
    """Exchanging the validation labels must change nothing but the accuracy, a, to 1 - a."""
    monkeypatch.setattr(label_efficiency, "STEPS", 1)
    config = tiny.config(epochs_stage1=1, epochs_stage2=0)
    original = measure_label_efficiency(config, levels=(10, 11), draws=2)
    expected = [(model, *each) for each in ((10, 0), (10, 1), (20, 0)) for model in ("transfer", "baseline")]
    assert [point[:3] for point in original] == expected, "20 stands for all"

    def swapped(config):
        dataset = load_dataset(config)
        dataset.validation.labels[:] = 1 - dataset.validation.labels
        return dataset

    monkeypatch.setattr(label_efficiency, "load_dataset", swapped)
    opposite = measure_label_efficiency(config, levels=(10,), draws=1)
    expected = [1 - point.accuracy for point in original if point.draw == 0]
    assert [point.accuracy for point in opposite] == pytest.approx(expected)
