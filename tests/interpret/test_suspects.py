"""Injected label errors and outliers are found among features, and few others with them."""

import numpy as np
import pytest

from transfer_utils.interpret import suspects
from transfer_utils.interpret.suspects import doubtful_labels, unlike_all_others
from transfer_utils.utils.spread import spread_evenly

CLASSES, PER_CLASS, D = 5, 80, 32


def features() -> tuple[np.ndarray, np.ndarray]:
    """Return features (400, 32) in five clusters, which a head tells apart in about 95 %, and their labels."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), PER_CLASS)
    centres = random.normal(0, 1, (CLASSES, D)) + 2
    return (centres[labels] + random.normal(0, 1, (len(labels), D))).astype("float32"), labels


def with_errors(labels: np.ndarray, n: int) -> tuple[np.ndarray, set[int]]:
    """Return labels of which ``n`` are wrong, and their positions."""
    random = np.random.default_rng(1)
    wrong = random.choice(len(labels), n, replace=False)
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + random.integers(1, CLASSES, n)) % CLASSES
    return changed, set(wrong.tolist())


def test_wrong_labels_are_found_the_surest_first_with_the_right_class():
    x, true = features()
    labels, wrong = with_errors(true, 20)
    doubts = doubtful_labels(x, labels)
    found = {doubt.at for doubt in doubts}
    assert len(found & wrong) >= 13, "recall"
    assert len(found & wrong) >= 0.85 * len(found), "precision"
    right = [doubt for doubt in doubts if doubt.at in wrong]
    assert sum(doubt.suggested == true[doubt.at] for doubt in right) >= 0.9 * len(right)
    margins = [doubt.margin for doubt in doubts]
    assert margins == sorted(margins, reverse=True) and all(0 < doubt.margin <= doubt.probability for doubt in doubts)


def test_copies_with_the_same_wrong_label_do_not_vouch_for_each_other():
    x, labels = features()
    x[0] = x[labels == 0].mean(axis=0)  # a typical picture
    copies = np.zeros(40, int)
    x, labels = np.concatenate([x, x[copies]]), np.concatenate([labels, np.full(40, 3)])
    added = np.arange(len(labels) - 40, len(labels))
    groups = np.arange(len(labels))
    groups[added] = groups[copies]
    alone = {doubt.at for doubt in doubtful_labels(x, labels)}
    together = {doubt.at for doubt in doubtful_labels(x, labels, groups)}
    assert set(added) <= together and not set(added) & alone


def test_small_classes_and_a_single_class_are_not_judged():
    x, labels = features()
    few = np.concatenate([np.flatnonzero(labels == label)[:n] for label, n in ((0, 50), (1, 50), (4, 4))])
    x[0] = x[labels == 0].mean(axis=0)  # a typical picture
    wrong = labels[few].copy()
    wrong[0] = 1
    doubts = doubtful_labels(x[few], wrong)
    assert 0 in {doubt.at for doubt in doubts}
    assert all(wrong[doubt.at] < 4 and doubt.suggested < 4 for doubt in doubts)
    assert doubtful_labels(x[:50], labels[:50]) == []
    two = labels < 2
    groups = np.where(labels[two] == 0, np.arange(160), 160)  # of the second class, all pictures look alike
    assert doubtful_labels(x[two], labels[two], groups) == [], "no head could learn the second class without them"


@pytest.mark.parametrize("n", [1, 15])
def test_foreign_pictures_are_found_the_farthest_first(n):
    x, _ = features()
    foreign = np.random.default_rng(2).normal(0, 5, (n, D)).astype("float32")
    positions = np.arange(len(x), len(x) + n)
    found, scores = zip(*unlike_all_others(np.concatenate([x, foreign])), strict=True)
    assert set(positions) <= set(found) and len(found) <= n + 4 and found[0] in positions
    assert list(scores) == sorted(scores, reverse=True)


def test_of_many_pictures_some_are_compared_and_none_with_itself(monkeypatch):
    monkeypatch.setattr(suspects, "MAX_COMPARED", 100)
    monkeypatch.setattr(suspects, "OUTLYING", -np.inf)
    x, _ = features()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    expected = np.sort(distances[:, spread_evenly(len(x), 100)], axis=1)[:, 19]
    score = (expected - np.median(expected)) / (1.4826 * np.median(np.abs(expected - np.median(expected))))
    assert [value for _, value in sorted(unlike_all_others(x))] == pytest.approx(score.tolist(), abs=1e-3)


def test_few_or_equal_pictures_are_not_unlike_all_others():
    x, _ = features()
    assert unlike_all_others(x[:20]) == [], "each has nineteen neighbours"
    assert unlike_all_others(np.concatenate([x[:21], -x[:1]]))[0][0] == 21
    assert unlike_all_others(np.ones((50, D), "float32")) == []
    assert unlike_all_others(np.zeros((50, D), "float32")) == []
