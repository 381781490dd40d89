"""The solved head against scikit-learn's, which minimises the same loss by another route."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info

from tests import tiny
from transfer_utils.models.networks import build_top_classifier
from transfer_utils.training import linear_head
from transfer_utils.training.linear_head import out_of_fold, solve_head, start_head

CLASSES = 4


def features(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, d) of unlike means and scales, and labels (n,) that depend on them, with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).astype("float32")
    labels = (x[:, :CLASSES] + rng.normal(size=(n, CLASSES))).argmax(axis=1)
    return x * rng.uniform(0.1, 5, d).astype("float32") + 3, labels


@pytest.mark.parametrize(
    ("n", "d", "smoothing", "large"),
    [
        (400, 30, 0.0, 8_000),
        (100, 150, 0.0, 8_000),
        (60, 200, 0.2, 8_000),
        (400, 30, 0.2, 400),
        (400, 300, 0.0, 400),
        (2 * linear_head.BLOCK + 100, 30, 0.2, 8_000),
    ],
    ids=["many", "about as many", "few", "first on a quarter", "a quarter is too few", "several blocks"],
)
def test_the_head_is_scikit_learns(monkeypatch, n, d, smoothing, large):
    monkeypatch.setattr(linear_head, "LARGE", large)
    x, labels = features(n + 100, d)
    one_hot = np.eye(CLASSES)[labels]
    head = solve_head((x[:n], one_hot[:n]), (x[n:], one_hot[n:]), smoothing)
    scores = (x[n:] - head.mean) / head.deviation @ head.kernel + head.bias
    # To scikit-learn, a smoothed label is every class, each with its share as a weight.
    shares, standardised = (1 - smoothing) * one_hot + smoothing / CLASSES, (x - head.mean) / head.deviation
    reference = LogisticRegression(C=1 / (n * head.l2), max_iter=1000).fit(
        np.repeat(standardised[:n], CLASSES, axis=0), np.tile(np.arange(CLASSES), n), shares[:n].ravel()
    )
    expected = reference.predict_log_proba(standardised[n:])
    found = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert np.abs(found - expected).max() < 0.03
    assert head.val_loss == pytest.approx(-(shares[n:] * expected).sum(axis=1).mean(), abs=5e-3)


@pytest.mark.parametrize("large", [8_000, 200], ids=["at once", "first on a quarter"])
def test_without_selection_l2_is_fixed_and_the_validation_labels_only_measure(monkeypatch, large):
    monkeypatch.setattr(linear_head, "LARGE", large)
    x, labels = features(300, 10)
    one_hot = np.eye(CLASSES)[labels]
    train = x[:200], one_hot[:200]
    right, wrong = (solve_head(train, (x[200:], y), select=False) for y in (one_hot[200:], one_hot[:100]))
    assert right.l2 == wrong.l2 == 50 / 200 and np.array_equal(right.kernel, wrong.kernel)
    assert right.val_accuracy > wrong.val_accuracy
    assert solve_head(train, (x[200:], one_hot[:100])).l2 != 50 / 200


def test_the_keras_head_starts_from_the_solution_also_where_a_feature_hardly_moves():
    x, labels = features(300, 10)
    x[:, 0] *= 0.005 / x[:, 0].std()  # less than the BatchNorm's epsilon can tell from nothing
    one_hot = np.eye(CLASSES)[labels]
    solved = solve_head((x[:200], one_hot[:200]), (x[200:], one_hot[200:]))
    head = build_top_classifier(10, CLASSES, tiny.config())
    start_head(head, solved)
    scores = (x - solved.mean) / solved.deviation @ solved.kernel + solved.bias
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert head.predict_on_batch(x) == pytest.approx(expected, abs=1e-4)


def test_each_image_is_judged_by_heads_that_have_not_seen_it():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 300)).astype("float32"), np.eye(2)[np.arange(60) % 2]
    assert solve_head((x, y), (x, y), select=False).val_accuracy == 1.0, "the head can learn them by heart"
    labels, parts = y.argmax(axis=1), np.arange(60).reshape(5, 12)
    folds = [(np.delete(np.arange(60), part), part) for part in parts]
    assert (out_of_fold(x, y, folds).argmax(axis=1) == labels).mean() == pytest.approx(0.5, abs=0.15)
    x[:, :20] += 2 * y[:, :1]  # features that tell the classes apart
    probabilities = out_of_fold(x, y, folds)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.85
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5), "each image is judged"
    two = [(np.array([0]), np.array([1])), (np.array([1]), np.array([0]))]
    assert out_of_fold(x[:2], y[:2], two).shape == (2, 2), "two images, two folds"


def test_scipys_own_blas_has_one_thread_while_numpys_keeps_all(monkeypatch):
    def threads():
        return {library["filepath"]: library["num_threads"] for library in threadpool_info()}

    before, during, minimize = threads(), [], linear_head.minimize
    monkeypatch.setattr(linear_head, "minimize", lambda *a, **k: during.append(threads()) or minimize(*a, **k))
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.eye(2)[np.arange(20) % 2]
    solve_head((x, y), (x, y), select=False)
    own = [path for path in before if Path(path).parent.name in ("scipy.libs", ".dylibs")]
    assert during == [before | dict.fromkeys(own, 1)] and threads() == before
    monkeypatch.setattr(linear_head, "ThreadpoolController", lambda: pytest.fail("the libraries were looked for again"))
    solve_head((x, y), (x, y), select=False)
    assert during[1] == during[0]
