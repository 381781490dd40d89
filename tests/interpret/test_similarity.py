"""Linear CKA compared with its Gram matrix form, t-SNE, and nearest neighbours."""

import numpy as np
import pytest

from tests.tiny import rng
from transfer_utils.errors import UserError
from transfer_utils.interpret.similarity import cka_matrix, linear_cka, neighbour_agreement


def test_linear_cka_equals_its_gram_matrix_form_and_is_invariant_to_rotation_scale_and_offset():
    a, b = rng().normal(size=(50, 7)) + 3, rng().normal(size=(50, 70))
    centre = np.eye(50) - 1 / 50
    grams = [centre @ x @ x.T @ centre for x in (a, b)]
    expected = np.sum(grams[0] * grams[1]) / np.linalg.norm(grams[0]) / np.linalg.norm(grams[1])
    assert linear_cka(a, b) == pytest.approx(expected) == pytest.approx(linear_cka(b, a))
    half = rng().normal(size=(2500, 6)).astype("float16")
    rotation = np.linalg.qr(rng().normal(size=(6, 6)))[0]
    assert linear_cka(half, 3 * half @ rotation + 1) == pytest.approx(1)
    assert linear_cka(half, np.random.default_rng(1).normal(size=(2500, 6))) < 0.05
    assert np.isnan(linear_cka(half, np.ones((2500, 2))))
    with pytest.raises(UserError, match=r"got \(2500, 6\) and \(3, 6\)"):
        linear_cka(half, half[:3])


def test_cka_matrix_compares_each_pair_of_layers():
    before = {"x": rng().normal(size=(30, 3)), "y": rng().normal(size=(30, 4))}
    after = {"y": before["y"] * 2, "x": before["x"], "z": rng().normal(size=(30, 2))}
    matrix = cka_matrix(before, after)
    assert matrix.shape == (2, 3)
    assert (matrix[0, 1], matrix[1, 0]) == (pytest.approx(1), pytest.approx(1))
    assert matrix[0, 0] == pytest.approx(linear_cka(before["x"], before["y"]))


@pytest.mark.slow
def test_neighbour_agreement_uses_the_nearest_other_image():
    features = np.array([[0.0], [1.0], [5.0], [6.2], [6.3]])
    assert neighbour_agreement(features, np.array([0, 0, 1, 0, 0])) == 0.8
    assert neighbour_agreement(np.zeros((2, 3)), np.array([0, 1])) == 0  # an image is not its own neighbour
    with pytest.raises(UserError, match="one per label, got 5 and 4"):
        neighbour_agreement(features, np.zeros(4))
    with pytest.raises(UserError, match="at least two rows"):
        neighbour_agreement(features[:1], np.zeros(1))
