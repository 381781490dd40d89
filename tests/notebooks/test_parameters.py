"""Cells that must hold for other parameters than those with which the notebooks are stored and tested."""

import numpy as np
import pytest

from tests.notebooks.conftest import ROOT, code
from transfer_utils.config import preset
from transfer_utils.data import load_dataset
from transfer_utils.interpret.activations import MAX_VALIDATION


@pytest.fixture(scope="module")
def names():
    """Return the names that the cells use, for a preset with another share of validation images than a fifth."""
    config = preset("offline", validation_share=0.1, labels_per_class=0)
    dataset = load_dataset(config)
    return {"config": config, "dataset": dataset, "labels": dataset.train.labels, "seed": config.seed, "np": np}


def test_chapter_1_splits_like_the_package_with_every_share(names, capsys):
    """The preset ``cifar10-best``, which the chapter names, holds out 4 %."""
    for cell in code(ROOT / "notebooks" / "01_data_preparation.ipynb"):
        if "train_test_split(" in cell.source:
            exec(cell.source, names)
    assert capsys.readouterr().out.endswith("same validation images: True\nin both splits: 0\n")


def test_chapter_3_judges_its_probe_with_the_images_that_judge_the_packages_however_few_it_learns_from(names):
    cells = code(ROOT / "notebooks" / "03_feature_maps.ipynb")
    source = next(cell.source for cell in cells if "plain = probe.score(" in cell.source)
    names = {"np": np, "dataset": names["dataset"], "probe_images": 30}
    exec(source.partition("x_train")[0], names)
    assert len(names["train"]) == 30
    assert len(names["validation"]) == min(MAX_VALIDATION, len(names["dataset"].validation))
