"""Run after run and picture after picture in one process: what was used is given back."""

import gc
from pathlib import Path

import numpy as np
import psutil
import pytest
import tiny
from PIL import Image

from transfer_utils.experiment import run_experiment
from transfer_utils.predict import predict_images


def held() -> float:
    """Return the megabytes that this process holds."""
    return psutil.Process().memory_info().rss / 1e6


def grown(step, warm_up: int, times: int) -> float:
    """Return by how many megabytes this process grows while ``step`` is done ``times`` times, after a warm-up.

    Garbage is collected after each step: how much of it waits at the end is chance, and not what is asked.
    """
    before = 0.0
    for number in range(warm_up + times):
        if number == warm_up:
            before = held()
        step(number)
        gc.collect()
    return held() - before


def one_run(number: int) -> None:
    options = tiny.config(
        seed=number, epochs_stage1=1, epochs_stage2=1, cache_dir=f"cache{number}", model_path="m.keras"
    )
    run_experiment(options, say=lambda line: None)


@pytest.mark.parametrize(
    ("warm_up", "times"), [pytest.param(3, 5, id="5"), pytest.param(10, 200, id="200", marks=pytest.mark.torture)]
)
@pytest.mark.slow
@pytest.mark.fault(22)
@pytest.mark.timeout(3000)
def test_runs_one_after_another_give_their_memory_back(monkeypatch, tally, warm_up, times):
    tiny.use_backbone(monkeypatch)
    growth = grown(one_run, warm_up, times)
    tally(times, growth >= 50)
    assert growth < min(50, 2 * times + 10), f"{growth:.0f} MB"


@pytest.mark.parametrize("times", [200, pytest.param(10_000, marks=pytest.mark.torture)])
@pytest.mark.slow
@pytest.mark.fault(22)
@pytest.mark.timeout(3000)
def test_predictions_one_after_another_give_their_memory_back(monkeypatch, tally, times):
    tiny.use_backbone(monkeypatch)
    one_run(0)
    for number in range(50):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(f"{number}.png")
    answers = predict_images(Path("m.keras"), (Path(f"{number % 50}.png") for number in range(times + 100)))
    growth = grown(lambda number: next(answers), 100, times)
    tally(times, growth >= 20)
    assert growth < 20, f"{growth:.0f} MB"
