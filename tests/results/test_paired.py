import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from transfer_utils.evaluation.intervals import difference_interval
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord, pack_bits
from transfer_utils.results import summary
from transfer_utils.results.groups import RunGroup
from transfer_utils.results.paired import paired_difference, paired_verdict
from transfer_utils.results.table import Row

N = 2000


def answers(accuracy: float, seed: int = 0) -> np.ndarray:
    """Return answers of which this share is correct, most of them to the same images for all seeds."""
    order = np.random.default_rng(7).permutation(N)
    correct = np.arange(N) < round(accuracy * N)
    correct[:40] = np.random.default_rng(seed).random(40) < accuracy
    return correct[order]


def record(accuracy: float, seed: int = 0, **changes) -> RunRecord:
    dataset = {"name": "cifar10", "description": "CIFAR-10", "class_names": ["a", "b"], "images": {"test": N}}
    fields = {"dataset": dataset, "test_correct": pack_bits(answers(accuracy, seed)), "config": {"seed": seed}}
    return RunRecord(**{**fields, **changes})


def group(name: str, *records: RunRecord) -> RunGroup:
    return RunGroup(name, [Row(f"{name}{place}", Run(each, Path("run.json"))) for place, each in enumerate(records)])


def test_one_run_each_is_compared_image_by_image():
    a, b = record(0.8), record(0.7, 1)
    difference, basis = paired_difference([a], [b])
    assert difference == difference_interval(answers(0.8), answers(0.7, 1))
    assert basis.startswith("for one run each")


def test_seeds_are_compared_with_themselves():
    pairs = [(record(0.8 + step, seed), record(0.7 + step, seed)) for seed, step in enumerate((0.0, 0.05, 0.1))]
    a, b = zip(*pairs, strict=True)
    difference, basis = paired_difference(a, (*b, record(0.1, 9)))
    gaps = [
        100 * (answers(0.8 + s, seed).mean() - answers(0.7 + s, seed).mean()) for seed, s in enumerate((0, 0.05, 0.1))
    ]
    assert difference.mean == pytest.approx(np.mean(gaps)) and difference.n == 3
    assert basis == "over the 3 seeds that both have."
    assert difference.high - difference.low < 8, "the step that the seeds share does not widen the interval"


def test_of_runs_that_repeat_each_other_the_newest_is_compared():
    a = group("A", record(0.7, 0, run_id="0001"), record(0.8, 0, run_id="0003"), record(0.8, 1, run_id="0002"))
    verdict = paired_verdict(a, group("B", record(0.6, 0), record(0.6, 1)))
    assert verdict.basis.endswith("over the 2 seeds that both have.")
    assert verdict.text.startswith("A beats B by 20"), verdict.text


def test_an_interval_ends_at_what_is_possible():
    a, b = [record(accuracy, seed) for seed, accuracy in enumerate((0.9, 0.5))], [record(0.1, seed) for seed in (0, 1)]
    for pair in ((a, b), (a, b[:1]), (b, a)):
        difference, _ = paired_difference(*pair)
        assert difference.low >= -100 and difference.high <= 100

    assert paired_difference(a, b)[0].high == 100


def test_runs_without_common_seeds_have_the_interval_of_their_means_and_of_the_images():
    a, b = [record(0.8, 0), record(0.8, 1)], [record(0.6, 2), record(0.7, 3), record(0.8, 4)]
    difference, basis = paired_difference(a, b)
    means = [
        np.mean([answers(accuracy, seed) for accuracy, seed in side], axis=1)
        for side in (((0.8, 0), (0.8, 1)), ((0.6, 2), (0.7, 3), (0.8, 4)))
    ]
    assert difference.mean == pytest.approx(100 * (means[0].mean() - means[1].mean()))
    over_runs = 100 * math.sqrt(sum(side.var(ddof=1) / len(side) for side in means))
    assert difference.high - difference.mean > 4 * over_runs, "Student's t with about two degrees of freedom"
    assert basis == "over 2 and 3 runs."
    alone, basis = paired_difference(a[:1], b)
    assert "known of one side alone" in basis and alone.low < alone.mean < alone.high


def test_the_verdict_names_the_better_or_says_that_the_runs_cannot_tell():
    better, worse = group("A", record(0.85)), group("B", record(0.7, 1))
    for pair in ((better, worse), (worse, better)):
        found = paired_verdict(*pair)
        assert found.text.startswith("A beats B by 1") and " to " in found.text
        assert found.basis.startswith("95 % interval from 2,000 test images, for one run each")
    found = paired_verdict(group("A", record(0.8)), group("B", record(0.801, 1)))
    assert found.text.startswith("These runs cannot tell A from B: the difference is ")


def test_a_side_of_which_a_seed_diverged_is_not_the_better_one():
    lucky = group("A", record(0.85), record(0.1, 1, status="diverged", test_correct=""))
    for pair in ((lucky, group("B", record(0.7))), (group("B", record(0.7)), lucky)):
        found = paired_verdict(*pair)
        assert found.text.startswith("These runs cannot tell ")
        assert found.basis.endswith(" 1 seed of A diverged and has no answers.")
    again = group("A", record(0.85, status="completed"), record(0.1, status="diverged", test_correct=""))
    assert paired_verdict(again, group("B", record(0.7))).text.startswith("A beats B"), "of the same seed"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_correct": ""}, "B has no recorded answers to the test images."),
        ({"test_correct": "?"}, "B has no recorded answers to the test images."),
        ({"dataset": {"images": {"test": "many"}}}, "B has no recorded answers to the test images."),
        ({"dataset": {"name": "cifar10", "images": {"test": N}}}, "they may not have been tested on the same images."),
    ],
)
def test_runs_that_cannot_be_compared_say_why(changes, reason):
    found = paired_verdict(group("A", record(0.8)), group("B", record(0.5, **changes)))
    assert (found.text, found.basis) == (f"These runs cannot tell: {reason}", "")


def test_the_seed_chooses_the_test_images_of_a_folder():
    dataset = {**record(0.8).dataset, "name": "birds"}
    runs = [record(accuracy, seed, dataset=dataset) for accuracy, seed in ((0.8, 0), (0.5, 0), (0.5, 1))]
    assert "beats" in paired_verdict(group("A", runs[0]), group("B", runs[1])).text
    assert "same images" in paired_verdict(group("A", runs[0]), group("B", runs[2])).text
    other = record(0.5, 0, dataset={**dataset, "fingerprint": "of other pictures"})
    assert "same images" in paired_verdict(group("A", runs[0]), group("B", other)).text


@pytest.mark.parametrize("config", [{"dataset": "folder", "data_dir": "a/cifar10"}, {"data_dir": "without-test-split"}])
def test_the_seed_may_choose_the_test_images_of_a_folder_that_is_called_cifar10_or_of_another_size(config):
    dataset = {**record(0.8).dataset, "fingerprint": "f"}
    runs = [record(0.8 - 0.3 * seed, dataset=dataset, config={**config, "seed": seed}) for seed in (0, 1)]
    assert "same images" in paired_verdict(group("A", runs[0]), group("B", runs[1])).text
    runs[1].config["seed"] = 0
    assert "beats" in paired_verdict(group("A", runs[0]), group("B", runs[1])).text


LIGHT = """
import sys
from tests.results.test_paired import paired_difference, record
a, b = ([record(0.6 + 0.1 * seed, seed) for seed in seeds] for seeds in ((0, 1), (1, 2)))
for sides in ((a[:1], b[:1]), (a, a[::-1]), (a, b)):
    paired_difference(*sides)
assert "scipy.special" in sys.modules and "scipy.stats" not in sys.modules
"""


def test_the_intervals_do_without_scipy_stats_which_takes_50_mb_of_the_dashboards_memory():
    subprocess.run([sys.executable, "-c", LIGHT], check=True, cwd=ROOT)


def test_the_training_images_of_cifar10_alone_have_test_images_by_the_seed():
    def of(seed, validation):
        images = {"train": 40_000 - validation, "validation": validation, "test": 10_000}
        dataset = {**record(0.8).dataset, "images": images, "fingerprint": str(seed)}
        return record(0.8, seed, dataset=dataset, config={"data_dir": "train", "seed": seed, "validation_share": 0.2})

    assert summary.tested_on(of(0, 8_000)) != summary.tested_on(of(1, 8_000)), (
        "a fifth of 50,000 is as many as CIFAR-10 tests on"
    )
    odd = of(0, 10_000)
    odd.config["validation_share"] = 1e305
    assert summary.tested_on(odd) != summary.tested_on(of(0, 10_000)), "a damaged record"
    assert summary.tested_on(of(0, 10_000)) == summary.tested_on(of(1, 10_000))
