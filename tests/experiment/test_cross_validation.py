import numpy as np
import pytest

from transfer_utils.config.options import RunConfig
from transfer_utils.evaluation.intervals import wilson_interval
from transfer_utils.experiment import cross_validation
from transfer_utils.experiment.cross_validation import FOLDS, predict_held_out, stratified_group_folds

CONFIG = RunConfig()


def features_of(labels: np.ndarray, distance: float) -> np.ndarray:
    """Return features (n, 8) of noise, with the classes apart by ``distance`` along the first axes."""
    noise = np.random.default_rng(0).normal(size=(len(labels), 8)).astype("float32")
    return noise + distance * np.eye(8, dtype="float32")[labels]


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    folds = stratified_group_folds(labels, None, 0)
    [probabilities] = predict_held_out(features, labels, folds, [len(labels)], labels.max() + 1, CONFIG)
    return float((probabilities.argmax(axis=2) == labels).mean())


def test_classes_that_are_far_apart_are_told_apart_and_noise_is_not():
    labels = np.repeat([0, 1, 2], 20)
    assert accuracy(features_of(labels, 8), labels) > 0.97
    assert abs(accuracy(features_of(labels, 0), labels) - 1 / 3) < 0.15


def test_no_head_learns_from_what_it_classifies_and_smaller_levels_are_part_of_larger_ones(monkeypatch):
    labels = np.repeat([0, 1], 20)
    features = np.hstack([np.arange(40, dtype="float32")[:, None], features_of(labels, 3)])
    learned, classified = [], []
    solve = cross_validation._solve

    def watching(chosen, chosen_labels, one_hot, config):
        learned.append(set(chosen[:, 0].astype(int)))
        head = solve(chosen, chosen_labels, one_hot, config)
        classified.append(head)
        return head

    monkeypatch.setattr(cross_validation, "_solve", watching)
    folds, levels = [*stratified_group_folds(labels, None, 0), *stratified_group_folds(labels, None, 1)], [2, 8, 40]
    results = predict_held_out(features, labels, folds, levels, 2, CONFIG)
    assert len(learned) == len(folds) * len(levels) == 30
    for number, (learn, held_out) in enumerate(folds):
        small, middle, whole = learned[3 * number : 3 * number + 3]
        assert small < middle < whole == set(learn) and not whole & set(held_out)
        assert [len(part) for part in (small, middle)] == [4, 16]
        expected = classified[3 * number + 2].probabilities(features[held_out])
        np.testing.assert_array_equal(results[2][number // FOLDS, held_out], expected)
    assert sorted(np.concatenate([held_out for _, held_out in folds[:FOLDS]])) == list(range(40))
    assert np.allclose(results[0].sum(axis=2), 1, atol=1e-5), "each picture is classified in each repeat"


@pytest.mark.parametrize(("counts", "folds"), [([23, 40, 9], 5), ([7, 1, 2], 5), ([3, 1, 2], 3), ([2, 2], 2)])
@pytest.mark.filterwarnings("error")
def test_folds_are_stratified_and_as_equal_as_can_be(counts, folds):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    first, again, other = (stratified_group_folds(labels, None, seed) for seed in (1, 1, 2))
    assert len(first) == folds and sorted(np.concatenate([out for _, out in first])) == list(range(len(labels)))
    assert all(set(learn) == set(range(len(labels))) - set(out) for learn, out in first)
    for of_class in (np.ones(len(labels), bool), *(labels == label for label in range(len(counts)))):
        assert np.ptp([of_class[out].sum() for _, out in first]) <= 1
    held_out = [[out.tolist() for _, out in dealt] for dealt in (first, again, other)]
    assert held_out[0] == held_out[1] and (len(labels) < 5 or held_out[0] != held_out[2])


def test_pictures_that_look_alike_are_in_the_same_fold():
    labels, groups = np.repeat(np.random.default_rng(1).integers(0, 2, 40), 2), np.repeat(np.arange(40), 2)
    for learn, held_out in stratified_group_folds(labels, groups, 0):
        assert not set(groups[learn]) & set(groups[held_out])


def test_pictures_are_grouped_only_if_each_class_keeps_a_group_for_every_fold():
    labels = np.repeat([0, 1], 6)
    groups = np.arange(12)
    assert not cross_validation.can_be_grouped(labels, groups), "there is nothing to group"
    groups[[0, 1]] = 0
    assert cross_validation.can_be_grouped(labels, groups)
    groups[[0, 1, 2]] = 0
    assert not cross_validation.can_be_grouped(labels, groups)


def test_the_levels_halve_and_the_last_takes_all():
    assert cross_validation._levels(np.repeat([0, 1], [50, 20])) == [5, 10, 20, 70]
    assert cross_validation._levels(np.repeat([0, 1], 5)) == [2, 10]


def test_the_curve_gives_the_gain_of_the_last_doubling_with_an_interval_over_the_pictures():
    half, whole = (np.zeros((2, 10), bool) for _ in range(2))
    half[:, :6] = whole[:, :8] = True
    whole[1, 8] = True
    curve = cross_validation._curve([half, whole], [4, 20], 10, np.arange(10))
    assert [(point.per_class, point.accuracy) for point in curve["curve"]] == [(4, 0.6), (8, 0.85)]
    assert [(point.low, point.high) for point in curve["curve"]] == [wilson_interval(6, 10), wilson_interval(8, 10)]
    differences = [0] * 6 + [1, 1, 0.5, 0]
    assert curve["gain"] == pytest.approx(np.mean(differences))
    reach = 2.262157 * np.std(differences, ddof=1) / np.sqrt(10)
    assert (curve["gain_low"], curve["gain_high"]) == pytest.approx((0.25 - reach, 0.25 + reach))


def test_one_burst_of_pictures_that_look_alike_proves_no_gain():
    half, groups = np.zeros((1, 120), bool), np.repeat(np.arange(12), 10)
    alone, curve = (
        cross_validation._curve([half, half | (groups == 0)], [4, 20], 120, of_picture)
        for of_picture in (np.arange(120), groups)
    )
    assert alone["gain"] == pytest.approx(curve["gain"]) == pytest.approx(1 / 12)
    assert alone["gain_low"] > 0 > curve["gain_low"]
    # Twelve equally large groups are as good as twelve pictures, of which one changes.
    assert [(point.low, point.high) for point in curve["curve"]] == [wilson_interval(0, 12), wilson_interval(1, 12)]
    changed = np.eye(12)[0]
    reach = 2.200985 * changed.std(ddof=1) / np.sqrt(12)
    assert (curve["gain_low"], curve["gain_high"]) == pytest.approx((1 / 12 - reach, 1 / 12 + reach))


def test_the_mistakes_are_those_of_the_mean_answer_the_most_confident_first():
    probabilities = np.array([[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]], "float32")
    labels, files = np.array([1, 0, 1]), ["plate/a", "cup/b", "plate/c"]
    found = cross_validation._mistakes(probabilities, labels, ["cup", "plate"], files)
    assert [(m.file, m.true, m.predicted, round(m.probability, 2)) for m in found] == [
        ("plate/a", "plate", "cup", 0.85),
        ("cup/b", "cup", "plate", 0.65),
    ]
