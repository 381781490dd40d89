"""The report of ``transfer-utils doctor``."""

from pathlib import Path

from transfer_utils.cli import doctor
from transfer_utils.cli.doctor import examine
from transfer_utils.config.options import preset
from transfer_utils.config.presets import PRESETS
from transfer_utils.data.cifar10 import archive_path
from transfer_utils.models.weights import imagenet_path
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


def test_a_folder_in_brackets_is_no_markup(tmp_path):
    assert "[old]" in "".join(examine(str(tmp_path / "[old]")).split())


def test_downloads_are_cached_or_the_target_folder_is_named():
    path = imagenet_path(preset("cifar10"))
    assert f"not cached: {path.name} belongs in" in " ".join(examine().split())
    for download, content, state in (
        (path, b"", f"damaged: remove {path}, and it is downloaded again"),
        (path, b"x", f"cached in {keras_home() / 'models'}"),
        (archive_path(), b"cut off", f"damaged: remove {archive_path()}, and it is downloaded again"),
    ):
        download.parent.mkdir(parents=True, exist_ok=True)
        download.write_bytes(content)
        try:
            assert "".join(state.split()) in "".join(examine().split()), "a long path is wrapped"
        finally:
            download.unlink()


def test_the_size_of_the_cache_is_the_sum_of_its_files(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a", "deep/b"):
        Path(tmp_path, name).write_bytes(bytes(1000))
    assert doctor._size(tmp_path) == 2000
