"""The command of the published configuration runs from end to end, on a few images and with random weights."""

import pytest

from tests.data.folders import picture_folder
from transfer_utils.cli.main import main
from transfer_utils.config.options import preset
from transfer_utils.data.sources import CIFAR10_CLASSES
from transfer_utils.records.record import read_record


@pytest.mark.torture
def test_the_command_of_the_published_configuration_runs(tmp_path):
    for split, n in (("train", 5), ("test", 2)):
        picture_folder(tmp_path / "images" / split, n, CIFAR10_CLASSES, size=(32, 32), seed=n)
    changes = {"weights": "random", "data_dir": "images", "epochs_stage1": 1, "epochs_stage2": 1}
    flags = [word for name, value in changes.items() for word in (f"--{name}", str(value))]

    assert main(["train", "--preset", "cifar10-full", "--quiet", *flags]) == 0

    (path,) = tmp_path.glob("runs/*/run.json")
    record, config = read_record(path), preset("cifar10-full", **changes)
    assert record.status == "completed"
    assert {name: record.config[name] for name in config.model_dump()} == config.model_dump()
    assert (config.alpha, config.n_unfreeze, config.epochs_stage2) == (1.0, 30, 1)
    assert record.network["parameters"] > 2_200_000, "MobileNetV2 of width 1 has 2,257,984 weights without its head"
    assert record.network["trainable_stage2"] > record.network["trainable_stage1"]
    assert [len(record.curves[stage]["val_accuracy"]) for stage in ("stage1", "stage2")] == [1, 1]
    assert record.dataset["images"] == {"train": 40, "validation": 10, "test": 20}
    assert None not in [record.metrics[name] for name in ("val_end2end", "test_end2end", "test_tta")]
