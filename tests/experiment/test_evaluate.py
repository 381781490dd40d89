"""The evaluation: what is predicted, and that each number is of its split."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests import tiny
from transfer_utils.data.augment import tta_views
from transfer_utils.data.dataset import Dataset
from transfer_utils.evaluation import metrics
from transfer_utils.experiment import evaluate
from transfer_utils.experiment.evaluate import evaluate_exports, evaluate_model, predict_probabilities
from transfer_utils.features import CHUNK
from transfer_utils.records.record import RunRecord


def colours(images: np.ndarray) -> np.ndarray:
    """Return probabilities, as an engine does, that differ for each image and view."""
    weights = np.linspace(0, 1, 8)[:, None] * np.ones((8, 8))
    sums = (images.transpose(0, 3, 1, 2) * (weights + weights.T**2)).sum(axis=(2, 3)).astype("float32")
    return sums / sums.sum(axis=1, keepdims=True)


def test_predictions_do_not_depend_on_the_chunks():
    n, steps = CHUNK + 3, []
    hooks = {"progress": lambda *step: steps.append(step), "title": "t"}
    probabilities = predict_probabilities(colours, tiny.split(n=n, side=8), tiny.config(), **hooks)
    assert np.array_equal(probabilities, colours(tiny.split(n=n, side=8).take()))
    assert steps == [("t", CHUNK, n), ("t", n, n)]


@pytest.mark.parametrize(("flip", "shift"), [(True, 0), (True, 2), (False, 0)])
def test_averaged_predictions_are_the_mean_over_the_views(flip, shift):
    config, images = tiny.config(horizontal_flip=flip, tta_shift=shift), tiny.split(n=5, side=8).take()
    averaged = predict_probabilities(colours, tiny.split(n=5, side=8), config, tta=True)
    views = tta_views(images, flip, shift)
    assert np.allclose(averaged, np.mean([colours(view) for view in views], axis=0))
    assert not np.allclose(averaged, colours(images), atol=1e-4), "all views have the same prediction"
    predicted = []

    def counted(view: np.ndarray) -> np.ndarray:
        predicted.append(view)
        return colours(view)

    again = predict_probabilities(counted, tiny.split(n=5, side=8), config, tta=True, plain=colours(images))
    assert np.array_equal(again, averaged) and len(predicted) == len(views) - 1


def shapes() -> Dataset:
    splits = (tiny.split(n, n, side=8) for n in (40, 27, 36))
    return Dataset("shapes", "shapes", ["red", "green", "blue"], *splits, fingerprint="")


def test_every_metric_is_of_its_split_and_the_calls_that_prepare_the_engine_are_not_counted(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "load_model", lambda path: None)
    sizes = []
    monkeypatch.setattr(evaluate, "Engine", lambda model, kind: lambda x: sizes.append(len(x)) or colours(x))
    monkeypatch.setattr(evaluate, "TRAIN_SAMPLE", 25)
    config, dataset = tiny.config(tta=True), shapes()
    names, splits = dataset.class_names, (dataset.train, dataset.validation, dataset.test)
    session = SimpleNamespace(config=config, record=RunRecord(), folder=tmp_path, progress=None)
    evaluate_model(dataset, session)
    record, expected = session.record, {}
    for key, split in zip(("train", "val", "test"), (splits[0].part(np.arange(25)), *splits[1:]), strict=True):
        plain = colours(split.take())
        found = metrics.evaluate(plain, split.labels, names)
        expected |= {f"{key}_{name}": found[name] for name in ("loss", "ece", "low", "high")}
        expected[f"{key}_end2end"] = found["accuracy"]
        if key != "train":
            averaged = predict_probabilities(colours, split, config, tta=True)
            over_views = metrics.evaluate(averaged, split.labels, names)
            assert over_views["accuracy"] != found["accuracy"], f"averaging changes nothing on {key}"
            expected |= {f"{key}_tta_{name}": over_views[name] for name in ("low", "high")}
            expected[f"{key}_tta"] = over_views["accuracy"]
    assert record.metrics == expected
    assert (record.confusion_matrix, record.per_class) == (found["confusion_matrix"], found["per_class"])
    assert record.calibration == metrics.calibration(plain, split.labels)
    assert record.inference["images"] == 25 + 2 * (27 + 36), "with the mirrored view"
    assert sizes[:2] == [40, 1] and sum(sizes[2:]) == record.inference["images"], "TensorFlow traces the second size"


def test_the_record_leaves_out_the_matrix_of_too_many_classes(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "load_model", lambda path: None)
    monkeypatch.setattr(evaluate, "Engine", lambda model, kind: colours)
    monkeypatch.setattr(evaluate, "MAX_MATRIX", 2)
    session = SimpleNamespace(config=tiny.config(), record=RunRecord(), folder=tmp_path, progress=None)
    evaluate_model(shapes(), session)
    assert session.record.confusion_matrix == [] and len(session.record.per_class) == 3
    assert not [name for name in session.record.metrics if "tta" in name]


def test_an_export_that_rounds_every_probability_to_0_counts_as_undecided(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "LiteRT", lambda content: lambda images: np.zeros((len(images), 3), "float32"))
    (tmp_path / "model-int8.tflite").write_bytes(b"")
    record = RunRecord(files={"int8": "model-int8.tflite"})
    session = SimpleNamespace(
        config=tiny.config(), record=record, folder=tmp_path, progress=None, log=lambda line: None
    )
    evaluate_exports(("int8",), shapes(), session)
    assert record.metrics["test_int8"] == np.mean(shapes().test.labels == 0)
