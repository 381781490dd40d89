"""The report of ``transfer-utils doctor``, and the estimates in it."""

from pathlib import Path

import pytest

from transfer_utils.cli import doctor
from transfer_utils.cli.doctor import examine
from transfer_utils.config import preset
from transfer_utils.models.weights import imagenet_path
from transfer_utils.presets import PRESETS
from transfer_utils.studies import cost
from transfer_utils.studies.cost import estimate
from transfer_utils.utils.files import keras_home


def test_the_report_has_versions_machine_downloads_and_presets(tmp_path):
    report = examine(str(tmp_path / "cache"))
    for title in ("Versions", "This machine", "Downloads", "Presets on this machine"):
        assert title in report
    words = ("python", "keras", "tensorflow", "cores", "memory", "B free at", "GPU")
    for word in (*words, *PRESETS):
        assert word in report
    assert "MobileNetV2 0.35" in report and "MobileNetV2 1" in report
    assert "".join(str(tmp_path / "cache").split()) in "".join(report.split()), "a long path is wrapped, not cut"


def test_downloads_are_cached_or_the_target_folder_is_named():
    path = imagenet_path(preset("cifar10"))
    assert f"not cached: {path.name} belongs in" in " ".join(examine().split())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        assert f"cached in {keras_home() / 'models'}" in " ".join(examine().split())
    finally:
        path.unlink()


def test_the_size_of_the_cache_is_the_sum_of_its_files(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a", "deep/b"):
        Path(tmp_path, name).write_bytes(bytes(1000))
    assert doctor._size(tmp_path) == 2000


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"epochs_stage2": 20}, {"epochs_stage2": 5}),
        ({"image_size": 224}, {"image_size": 96}),
        ({"alpha": 1.0}, {"alpha": 0.35}),
        ({"labels_per_class": 0}, {"labels_per_class": 100}),
        ({"n_unfreeze": 30}, {"n_unfreeze": 0}),
        ({"n_unfreeze": 120}, {"n_unfreeze": 91}),
        ({"tta_shift": 2}, {"tta_shift": 0}),
        ({"validation_share": 0.1}, {"validation_share": 0.3}),
    ],
)
def test_the_estimate_grows_with_the_work(more, less):
    long, short = (estimate(preset("cifar10", **options)) for options in (more, less))
    assert long[0] > short[0] and long[1] >= short[1] and long[2] >= short[2]


def test_the_estimate_shrinks_with_more_cores(monkeypatch):
    def seconds(cores: int) -> float:
        monkeypatch.setattr(cost, "available_cores", lambda: cores)
        return estimate(preset("cifar10"))[0]

    assert seconds(1) > seconds(2) > seconds(16) > 30
