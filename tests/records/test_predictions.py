"""The file of predictions: small and read back exactly; and, like that of thumbnails, atomic and never trusted."""

import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_utils.records import predictions, thumbnails
from transfer_utils.records.predictions import PREDICTIONS_NAME, Predictions, load_predictions, save_predictions
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.records.thumbnails import THUMBNAILS_NAME, load_thumbnails, save_thumbnails


def sample(n: int = 50, classes: int = 3, names: bool = True) -> Predictions:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), n).astype("float32")
    paths = [f"class {i % classes}/Bild ä{i}.jpg" for i in range(n)] if names else []
    labels = rng.integers(0, classes, n)
    return Predictions(probabilities, labels, rng.permutation(n), probabilities.argmax(axis=1), paths)


@pytest.mark.parametrize("names", [True, False])
def test_predictions_are_read_as_they_were_saved(tmp_path, names):
    kept = {"val": sample(20, names=names), "test": sample(names=names)}
    save_predictions(tmp_path / PREDICTIONS_NAME, kept)
    read = load_predictions(tmp_path)
    assert list(read) == ["val", "test"]
    for split, one in read.items():
        assert one.probabilities.dtype == np.float16 and one.names == kept[split].names
        np.testing.assert_allclose(one.probabilities, kept[split].probabilities, atol=5e-4)
        for name in ("labels", "index", "predicted"):
            np.testing.assert_array_equal(getattr(one, name), getattr(kept[split], name))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows any bytes in file names")
def test_names_that_are_not_utf_8_are_kept(tmp_path):
    one = sample(1)
    strange = Predictions(one.probabilities, one.labels, one.index, one.predicted, [os.fsdecode(b"a\xff/\xfe.png")])
    save_predictions(tmp_path / PREDICTIONS_NAME, {"test": strange})
    assert load_predictions(tmp_path)["test"].names == strange.names


def test_the_file_is_small(tmp_path):
    save_predictions(tmp_path / PREDICTIONS_NAME, {"val": sample(10_000, 10), "test": sample(10_000, 10)})
    assert (tmp_path / PREDICTIONS_NAME).stat().st_size < 2 * 10_000 * (2 * 10 + 12)


def test_the_predicted_class_does_not_depend_on_the_rounding_and_the_surest_mistake_is_first(tmp_path):
    probabilities = np.array([[0.49999, 0.50001], [0.1, 0.9], [0.3, 0.7], [0.6, 0.4]])
    kept = Predictions(probabilities, np.array([0, 0, 0, 0]), np.arange(4), probabilities.argmax(axis=1))
    save_predictions(tmp_path / PREDICTIONS_NAME, {"test": kept})
    read = load_predictions(tmp_path)["test"]
    assert read.probabilities[0, 0] == read.probabilities[0, 1] and read.predicted.tolist() == [1, 1, 1, 0]
    assert read.mistakes().tolist() == [1, 2, 0]


def test_a_run_without_the_file_has_no_predictions(tmp_path):
    assert load_predictions(tmp_path) == {}


def changed(tmp_path, **arrays):
    """Return the folder of a file of predictions in which these arrays are others."""
    path = tmp_path / PREDICTIONS_NAME
    save_predictions(path, {"test": sample()})
    with np.load(path) as saved:
        whole = dict(saved)
    np.savez(path, **{**whole, **arrays})
    return tmp_path


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"test_labels": np.zeros(3, int)}, "differ in length"),
        ({"test_labels": np.full(50, 3)}, "labels of test must be from 0 to 2"),
        ({"test_predicted": np.full(50, -1)}, "predicted of test must be from 0 to 2"),
        ({"test_names": np.frombuffer(b"a\0b", np.uint8)}, "differ in length"),
        ({"test_probabilities": np.zeros(50)}, "no predictions that can be read"),
        ({"test_labels": np.array([{}] * 50)}, "allow_pickle=False"),
        ({"test_labels": np.array(["x"] * 50)}, "no predictions that can be read"),
    ],
)
@pytest.mark.fault(23)
def test_predictions_that_do_not_fit_together_are_refused(tmp_path, arrays, problem):
    with pytest.raises(UnreadableRecord, match=problem):
        load_predictions(changed(tmp_path, **arrays))


def save(path, n=5):
    """Write a file of predictions or of thumbnails, as its name says."""
    if path.name == PREDICTIONS_NAME:
        save_predictions(path, {"test": sample(n)})
    else:
        save_thumbnails(path, range(n), lambda rows: np.zeros((len(rows), 8, 8, 3), np.uint8))


def load(path):
    return load_predictions(path.parent) if path.name == PREDICTIONS_NAME else load_thumbnails(path)


@pytest.mark.parametrize("name", [PREDICTIONS_NAME, THUMBNAILS_NAME])
def test_an_interrupted_writer_leaves_the_old_file(tmp_path, monkeypatch, name):
    path = tmp_path / name
    save(path)
    before = path.read_bytes()

    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(path, 3)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(("module", "name"), [(predictions, PREDICTIONS_NAME), (thumbnails, THUMBNAILS_NAME)])
@pytest.mark.fault(23)
def test_a_file_that_declares_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch, module, name):
    save(tmp_path / name)
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 100)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(UnreadableRecord, match="there may be at most 100"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", [PREDICTIONS_NAME, THUMBNAILS_NAME])
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
@pytest.mark.fault(23)
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path_factory, name, at, byte, cut):
    path = tmp_path_factory.mktemp("damaged") / name
    save(path)
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at] = byte
    path.write_bytes(bytes(content[:at] if cut else content))
    try:
        assert all(isinstance(one, bytes) or len(one) == 5 for one in load(path).values())
    except UnreadableRecord as error:
        assert name in str(error)
