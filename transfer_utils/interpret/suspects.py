"""Pictures to look at again before training: labels in doubt, and pictures unlike all others.

Both are judged on the features of a pretrained network. The first is confident learning in its simplest form
(Northcutt, Jiang and Chuang 2021, J. Artif. Intell. Res. 70). Its authors' package cleanlab is not used, because its
licence, the AGPL, does not fit the one of this project.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transfer_utils.config.options import preset
from transfer_utils.data.photo_settings import choose_photo_settings
from transfer_utils.data.sources import load_source
from transfer_utils.data.splits import whole_split
from transfer_utils.experiment.cross_validation import FOLDS, different_per_class, stratified_group_folds
from transfer_utils.features import extract_features
from transfer_utils.models.networks import build_feature_extractor
from transfer_utils.training.linear_head import out_of_fold
from transfer_utils.utils.progress import Progress
from transfer_utils.utils.spread import spread_evenly

# docs/inspection.md has what these numbers find.
MIN_MARGIN = 0.5  # between the probabilities of the class that a picture looks like and of its label
NEIGHBOURS = 20  # a picture is scored by its distance to the last of these, so up to twenty of a kind are found too
MAX_COMPARED = 10_000  # pictures with which each is compared, spread over all
OUTLYING = 3.5  # robust deviations above the median distance (Iglewicz and Hoaglin 1993, How to detect outliers)


class DoubtfulLabel(NamedTuple):
    """A label that the other pictures contradict."""

    at: int  # position of the picture
    suggested: int  # class that it looks like
    probability: float  # of this class, in [0, 1], from a head that was not trained on this picture
    margin: float  # by which it exceeds the probability of the label


def folder_features(
    folder: str, weights: str, cache_dir: str = "", progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the features (n, d), labels (n,) and paths of all readable pictures of an image folder, in all splits.

    The pictures are stored as a run with the preset ``photos`` stores them, which then need not decode them again.

    Args:
        weights: those of the network, as the option of a run: ``imagenet`` or ``letters``.

    Raises:
        UserError: the folder is not usable, or the weights are unavailable.
    """
    options = {"data_dir": folder, "weights": weights, "cache_dir": cache_dir}
    options |= {"image_size": 64} if weights == "letters" else {}  # what these weights are used at
    config = preset("photos", **options)
    config = preset("photos", **{**choose_photo_settings(config).options, **options})
    extractor, source = build_feature_extractor(config, progress=progress), load_source(config, progress)
    splits = [whole_split(part) for part in source.parts.values()]
    features = [extract_features(extractor, split, config, progress=progress) for split in splits]
    paths = [path for split in splits for path, _ in split.files]
    return np.concatenate(features).astype("float32"), np.concatenate([split.labels for split in splits]), paths


def doubtful_labels(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> list[DoubtfulLabel]:
    """Return the labels in doubt, the most doubtful first (confident learning).

    The method is that of Northcutt, Jiang and Chuang (2021, J. Artif. Intell. Res. 70:1373-1411). Each picture is
    classified by a softmax regression that was fitted without its fold (five-fold cross-validation). A class is a
    candidate if its probability is at least the mean that pictures labelled with it have. A label is in doubt if the
    most probable candidate is another class, more probable than the label by at least 0.5.

    Args:
        features: (n, d).
        labels: int (n,), 0 to classes - 1. Classes with fewer than five different pictures are not judged; with fewer
            than two others, the result is empty.
        groups: int (n,), equal for pictures that are copies of each other, which must not vouch for their labels.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    judged = np.flatnonzero(~np.isin(labels, not_judged(labels, groups)))
    classes, labels = np.unique(labels[judged], return_inverse=True)
    groups = groups[judged]
    if len(classes) < 2:
        return []
    one_hot = np.eye(len(classes), dtype="float32")[labels]
    # The strength of L2 is one number: chosen on the fold that is judged, it cannot learn the labels there.
    probabilities = out_of_fold(features[judged], one_hot, stratified_group_folds(labels, groups, seed=0), select=True)
    rows = np.arange(len(labels))
    thresholds = [probabilities[labels == place, place].mean() for place in range(len(classes))]
    counting = np.where(probabilities >= thresholds, probabilities, 0)
    suggested = counting.argmax(axis=1)
    margin = probabilities[rows, suggested] - probabilities[rows, labels]
    doubtful = np.flatnonzero((counting[rows, suggested] > 0) & (margin >= MIN_MARGIN))
    doubtful = doubtful[np.argsort(-margin[doubtful], kind="stable")]
    labels_in_doubt = []
    for row in doubtful:
        other = suggested[row]
        probability = float(probabilities[row, other])
        labels_in_doubt.append(DoubtfulLabel(int(judged[row]), int(classes[other]), probability, float(margin[row])))
    return labels_in_doubt


def not_judged(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the classes, int (m,), of fewer than five different pictures, whose labels are not judged.

    Args:
        labels, groups: as in ``doubtful_labels``.
    """
    return np.unique(labels)[different_per_class(labels, groups) < FOLDS]


def unlike_all_others(features: np.ndarray) -> list[tuple[int, float]]:
    """Return the pictures that are far from all others (outliers), the farthest first.

    The distance is that to the 20th nearest neighbour, with features scaled to length 1 (Sun et al. 2022,
    "Out-of-distribution detection with deep nearest neighbors", ICML), among at most 10,000 pictures.

    Args:
        features: (n, d); with n of 20 or less, the result is empty.

    Returns:
        The position and the modified z-score (Iglewicz and Hoaglin 1993) of each picture with a score above 3.5.
    """
    from sklearn.neighbors import NearestNeighbors  # importing scikit-learn takes a second

    n = len(features)
    if n <= NEIGHBOURS:
        return []
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    compared = spread_evenly(n, MAX_COMPARED)
    distances = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(unit[compared]).kneighbors(unit)[0]
    distance = distances[:, NEIGHBOURS - 1]
    distance[compared] = distances[compared, NEIGHBOURS]  # the nearest of these is the picture itself
    median = np.median(distance)
    spread = 1.4826 * np.median(np.abs(distance - median))  # of a normal distribution, its standard deviation
    score = (distance - median) / max(spread, 1e-3)  # distances of equal pictures are not exactly 0
    far = np.flatnonzero(score > OUTLYING)
    return [(int(at), float(score[at])) for at in far[np.argsort(-score[far], kind="stable")]]
