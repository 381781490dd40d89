"""The report of ``transfer-utils doctor``."""

from transfer_utils.cli.doctor import examine
from transfer_utils.config.options import preset
from transfer_utils.config.presets import PRESETS
from transfer_utils.data.cifar10 import archive_path
from transfer_utils.models.weights import imagenet_path
from transfer_utils.utils.files import keras_home


def test_the_report_has_versions_machine_downloads_and_presets(tmp_path):
    (tmp_path / "cache" / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (tmp_path / "cache" / name).write_bytes(bytes(1000))
    report = examine(str(tmp_path / "cache"))
    for title in ("Versions", "This machine", "Downloads", "Presets on this machine"):
        assert title in report
    words = ("python", "keras", "tensorflow", "cores", "memory", "B free at", "GPU")
    for word in (*words, *PRESETS):
        assert word in report
    assert "MobileNetV2 0.35" in report and "MobileNetV2 1" in report
    assert "2.0 kB; it can be deleted" in report, "the size of the cache is the sum of its files"
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
