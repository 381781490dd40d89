"""Memory is released after each run and prediction, and does not grow with the number of images."""

import gc
import itertools
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import psutil
import pytest
from PIL import Image

from tests import tiny
from transfer_utils.config.options import RunConfig
from transfer_utils.experiment.run import run_experiment
from transfer_utils.features import extract_features
from transfer_utils.models.networks import build_feature_extractor
from transfer_utils.models.saving import name_classes, save_model
from transfer_utils.predict import predict_images
from transfer_utils.records.record import RunRecord


def resident_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


def growth_mb(step, warm_up: int, times: int) -> float:
    """Return by how many megabytes this process grows while ``step`` is repeated ``times`` times after a warm-up.

    The peak of the repetitions is compared with the peak of the warm-up, because the memory of a process varies.
    """
    sizes = []
    for number in range(warm_up + times):
        step(number)
        gc.collect()
        sizes.append(resident_mb())
    return max(sizes[warm_up:]) - max(sizes[:warm_up])


def one_run(number: int) -> None:
    options = tiny.config(
        seed=number, epochs_stage1=1, epochs_stage2=1, cache_dir=f"cache{number}", model_path="m.keras"
    )
    run_experiment(options, log=lambda line: None)


@pytest.mark.parametrize(
    ("warm_up", "times", "limit"),  # a graph that is not released takes 4.6 MB per run
    [pytest.param(2, 3, 9, id="3"), pytest.param(10, 200, 50, id="200", marks=pytest.mark.torture)],
)
@pytest.mark.slow
@pytest.mark.fault(22)
@pytest.mark.timeout(3000)
def test_a_run_releases_its_memory(small_backbone, tally, warm_up, times, limit):
    growth = growth_mb(one_run, warm_up, times)
    tally(times, growth >= limit)
    assert growth < limit, f"{growth:.0f} MB"


@pytest.mark.parametrize("times", [200, pytest.param(10_000, marks=pytest.mark.torture)])
@pytest.mark.slow
@pytest.mark.fault(22)
@pytest.mark.timeout(3000)
def test_a_prediction_releases_its_memory(tally, times):
    save_model(tiny.model(tiny.config()), "m.keras")
    name_classes(Path("m.keras"), RunRecord(dataset={"class_names": tiny.CLASSES}))
    for number in range(50):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(f"{number}.png")
    answers = predict_images(Path("m.keras"), (Path(f"{number % 50}.png") for number in range(times + 100)))
    growth = growth_mb(lambda number: list(itertools.islice(answers, 100)), 1, times // 100)
    assert next(answers, None) is None
    tally(times, growth >= 20)
    assert growth < 20, f"{growth:.0f} MB"


def peak(step: Callable[[], object]) -> float:
    """Return the peak memory of this process in megabytes during ``step``, sampled every 2 ms.

    The peak that the system records would include that of the parent process.
    """
    sizes, done = [resident_mb()], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            sizes.append(resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        step()
    finally:
        done.set()
        watcher.join()
    return max(sizes)


def extract(n: int, config: RunConfig, base: keras.Model) -> None:
    extract_features(build_feature_extractor(config, base), tiny.split(n, n, config.stored_size), config)


def extract_naively(n: int, config: RunConfig, base: keras.Model) -> None:
    """Resize all images first, as floats."""
    images = np.zeros((n, config.stored_size, config.stored_size, 3), "float32")
    base.predict(keras.ops.image.resize(images, (config.image_size, config.image_size)), verbose=0)


def peaks_of_both(folder: str) -> dict[str, list[float]]:
    """Return the peaks for few and for many images: 2,000 and 6,000, and 500 and 2,000 where nothing is released."""
    config = RunConfig(image_size=96, cache_dir=folder)
    base = tiny.backbone((96, 96, 3))
    return {
        run.__name__: [peak(lambda n=n, run=run: run(n, config, base)) for n in numbers]
        for run, numbers in ((extract, (2000, 6000)), (extract_naively, (500, 2000)))
    }


@pytest.mark.slow
@pytest.mark.fault(22)
def test_extracting_features_of_three_times_as_many_images_needs_no_more_memory(tmp_path, without_main):
    with multiprocessing.get_context("spawn").Pool(1) as process:
        peaks = process.apply(peaks_of_both, [str(tmp_path / "cache")])
    fewer, more = peaks["extract"]
    assert more - fewer < 150, peaks
    fewer, more = peaks["extract_naively"]
    assert more - fewer > 150, "the test does not detect growth"
