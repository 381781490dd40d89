"""What a network still knows of the task it was pretrained on: forgetting, measured (McCloskey and Cohen 1989)."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np

from transfer_utils.config.options import RunConfig
from transfer_utils.data.photo_letters import render_letters
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.models.engine import Engine
from transfer_utils.models.networks import build_feature_extractor
from transfer_utils.training.linear_head import solve_head

TRAIN, TEST = 3_000, 2_000  # letters: with more of them, the accuracy before and after rises by about as much
SEED = 1  # of the letters; those of the pretraining have seed 0


def probe_source_task(base: keras.Model, config: RunConfig) -> Estimate:
    """Return the share of photo-letters that a linear probe of ``base`` classifies correctly, with its 95 % interval.

    The probe is a softmax regression on pooled features, solved on 3,000 letters and tested on 2,000 others. None of
    them was seen in the pretraining. Fine-tuning replaces the head, so that only a new one can read what the backbone
    knows: a probe that is as good as before means that nothing was lost, wherever the features lie now.

    Args:
        base: the backbone, as it is now.

    Returns:
        The accuracy, in [0, 1].
    """
    images, labels = _letters()
    features = Engine(build_feature_extractor(config, base), config.engine)(images)
    targets = np.eye(labels.max() + 1, dtype="float32")[labels]
    parts = [(features[:TRAIN], targets[:TRAIN]), (features[TRAIN:], targets[TRAIN:])]
    accuracy = solve_head(*parts, select=False).val_accuracy
    return Estimate.on_images(accuracy, TEST)


@cache
def _letters() -> tuple[np.ndarray, np.ndarray]:
    images, labels, _ = render_letters(TRAIN + TEST, SEED)
    return images, labels
