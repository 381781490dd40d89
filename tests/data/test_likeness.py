"""Which pictures look alike."""

import numpy as np

from transfer_utils.data import likeness


def test_pictures_are_grouped_however_many_pairs_look_alike(monkeypatch):
    monkeypatch.setattr(likeness, "MAX_PAIRS", 4)  # one burst of 5 pictures has 10 pairs
    rng = np.random.default_rng(0)

    def burst(n: int) -> list[np.ndarray]:
        scene = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1)))
        return [np.clip(scene + rng.normal(0, 2, scene.shape), 0, 255).astype("uint8") for _ in range(n)]

    groups = likeness.groups_of_images([*burst(5), *burst(3), *burst(1)])
    assert groups.tolist() == [0] * 5 + [1] * 3 + [2]
    assert likeness.connected([(3, 2), (0, 1), (5, 4), (1, 0), (2, 0), (6, 4)], 8).tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert likeness.connected([], 3).tolist() == [0, 1, 2]
