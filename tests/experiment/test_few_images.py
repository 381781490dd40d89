"""When the head is cross-validated, and on which images."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests import tiny
from transfer_utils.config.options import preset
from transfer_utils.data.dataset import Split
from transfer_utils.evaluation.intervals import wilson_interval
from transfer_utils.experiment import few_images
from transfer_utils.experiment.few_images import certainty, few_held_out, record_cross_validation
from transfer_utils.records.record import RunRecord


@pytest.mark.parametrize(
    ("validation", "test", "expected"), [(199, 5_000, True), (5_000, 199, True), (200, 200, False)]
)
def test_images_are_few_if_either_held_out_split_is_small(validation, test, expected):
    assert few_held_out(SimpleNamespace(validation=range(validation), test=range(test))) is expected


def test_of_many_images_some_from_all_parts_are_used(monkeypatch):
    monkeypatch.setattr(few_images, "MAX_IMAGES", 40)
    rng = np.random.default_rng(0)
    splits = [tiny.split(seed, n) for seed, n in enumerate((90, 11))]
    labels = [split.one_hot(2) for split in splits]
    features = [rng.normal(size=(len(y), 4)).astype("float16") for y in labels]
    features[1][:, 0] = 9
    used, judge = [], few_images.out_of_fold
    monkeypatch.setattr(few_images, "out_of_fold", lambda x, *rest: used.append(x) or judge(x, *rest))
    session = SimpleNamespace(config=preset("none"), record=RunRecord())
    record_cross_validation(features, labels, splits, session)
    found = session.record.cross_validation
    assert len(used[0]) == 40 and (used[0][:, 0] == 9).sum() == 4, "as many as the share of the second part"
    assert (found["images"], found["folds"], found["repeats"]) == (40, 5, len(used)) == (40, 5, 3)
    assert "different" not in found
    assert (found["low"], found["high"]) == wilson_interval(round(40 * found["accuracy"]), 40)


def test_images_that_look_alike_neither_vouch_for_each_other_nor_narrow_the_interval():
    labels = np.random.default_rng(1).integers(0, 2, 40).repeat(2)
    twins = Split(tiny.split(n=40).store, labels, np.arange(40).repeat(2))
    splits = [twins.part(np.arange(60)), twins.part(np.arange(60, 80))]
    # So many features can tell any images apart, if they have been learned.
    features = np.random.default_rng(0).normal(size=(40, 400)).astype("float32")[twins.index]
    session = SimpleNamespace(config=preset("none"), record=RunRecord())
    record_cross_validation([features[:60], features[60:]], [split.one_hot(2) for split in splits], splits, session)
    found = session.record.cross_validation
    assert (found["images"], found["different"], found["folds"], found["repeats"]) == (80, 40, 5, 3)
    assert found["accuracy"] < 0.65, "noise, but each image has a twin"
    assert (found["low"], found["high"]) == wilson_interval(round(40 * found["accuracy"]), 40)


def test_a_note_says_that_images_that_look_alike_could_not_be_kept_together():
    labels = np.repeat([0, 1], [32, 8])  # four images of the second class, each twice
    twins = Split(tiny.split(n=20).store, labels, np.arange(20).repeat(2))
    features = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    log = []
    session = SimpleNamespace(config=preset("none"), record=RunRecord(), log=log.append)
    record_cross_validation([features], [twins.one_hot(2)], [twins], session)
    assert session.record.notes == log and "different" not in session.record.cross_validation
    assert log[0].startswith("40 of 40 images look like another one, and a class has fewer than 5 that differ: ")


def test_the_log_says_how_wide_both_intervals_are():
    record = RunRecord(
        dataset={"images": {"train": 900, "validation": 300, "test": 1}},
        metrics={"val_low": 0.8, "val_high": 0.9, "test_low": 0.2, "test_high": 1.0},
        cross_validation={"images": 1200, "folds": 5, "repeats": 3, "accuracy": 0.5, "low": 0.47, "high": 0.53},
    )
    assert certainty(record) == (
        "Few images leave an accuracy uncertain: its 95 % interval is 80 points wide on 1 test image and 10 points "
        "wide on 300 validation images. Cross-validated on 1,200 images in 5 stratified folds, 3 times, a linear "
        "head on the frozen features classifies 50.0 % correctly (95 % interval 47.0 to 53.0)."
    )
    record.cross_validation["different"] = 900
    assert "in 5 stratified folds, similar ones in the same, 3 times, a linear head" in certainty(record)
