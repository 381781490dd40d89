"""The published best configuration: its command runs from end to end, on a slice and with weights drawn at random."""

import numpy as np
import pytest
from PIL import Image

from transfer_utils.cli.main import main
from transfer_utils.config import preset
from transfer_utils.data.sources import CIFAR10_CLASSES
from transfer_utils.records import read_record


@pytest.mark.slow
def test_the_command_of_the_published_configuration_runs(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("test", 2)):
        for name in CIFAR10_CLASSES:
            (tmp_path / "slice" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "slice" / split / name / f"{number}.png")
    slice_of = {"weights": "random", "data_dir": "slice", "epochs_stage1": 1, "epochs_stage2": 1}
    given = [word for name, value in slice_of.items() for word in (f"--{name}", str(value))]

    assert main(["train", "--preset", "cifar10-full", "--quiet", *given]) == 0

    (path,) = tmp_path.glob("runs/*/run.json")
    record, asked = read_record(path), preset("cifar10-full", **slice_of)
    assert record.status == "completed"
    assert {name: record.config[name] for name in asked.model_dump()} == asked.model_dump()
    assert (asked.alpha, asked.n_unfreeze, asked.epochs_stage2) == (1.0, 30, 1)
    assert record.network["parameters"] > 2_200_000, "MobileNetV2 of width 1 has 2,257,984 weights without its head"
    assert record.network["trainable_stage2"] > record.network["trainable_stage1"]
    assert [len(record.curves[stage]["val_accuracy"]) for stage in ("stage1", "stage2")] == [1, 1]
    assert record.dataset["images"] == {"train": 40, "validation": 10, "test": 20}
    assert None not in [record.metrics[name] for name in ("val_end2end", "test_end2end", "test_tta")]
