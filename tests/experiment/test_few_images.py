"""When the head is cross-validated, and on which images."""

from types import SimpleNamespace

import numpy as np
import pytest

from transfer_utils.config.options import preset
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
    labels = [np.eye(2)[np.arange(n) % 2] for n in (90, 11)]
    features = [rng.normal(size=(len(y), 4)).astype("float16") for y in labels]
    features[1][:, 0] = 9
    used, cross_validate = [], few_images.cross_validate_head
    monkeypatch.setattr(
        few_images, "cross_validate_head", lambda x, *rest, **dealt: used.append(x) or cross_validate(x, *rest, **dealt)
    )
    session = SimpleNamespace(config=preset("none"), record=RunRecord())
    record_cross_validation(features, labels, session)
    found = session.record.cross_validation
    assert len(used[0]) == 40 and (used[0][:, 0] == 9).sum() == 4, "as many as the share of the second part"
    assert (found["images"], found["folds"], found["repeats"]) == (40, 5, 3)
    assert found["low"] <= found["accuracy"] <= found["high"]


def test_the_log_says_how_wide_both_intervals_are():
    record = RunRecord(
        dataset={"images": {"train": 900, "validation": 300, "test": 1}},
        metrics={"val_low": 0.8, "val_high": 0.9, "test_low": 0.2, "test_high": 1.0},
        cross_validation={"images": 1200, "folds": 5, "repeats": 3, "accuracy": 0.5, "low": 0.47, "high": 0.53},
    )
    assert certainty(record) == (
        "Few images leave an accuracy uncertain: its 95 % interval is 80 points wide on 1 test image and 10 points "
        "wide on 300 validation images. Cross-validated on 1,200 images in 5 stratified folds, 3 times, the head on "
        "frozen features alone classifies 50.0 % correctly (95 % interval 47.0 to 53.0)."
    )
