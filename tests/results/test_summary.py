"""Accuracies and differences with their intervals, and the configurations of a study."""

import math
from pathlib import Path

import numpy as np
import pytest

from tests.samples import set_accuracy
from transfer_utils.config.options import preset
from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import difference_interval, wilson_interval
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord
from transfer_utils.results.summary import Configuration, collect, configurations, difference
from transfer_utils.studies.spec import Study, StudyGroup

N = 1000
STUDY = Study(preset="cifar10", groups=[StudyGroup(name="one", question="?")])


def run(seed: int, accuracy: float, name: str = "a", hits: bool = True, **options) -> Run:
    """Return a completed run in which the first images are those classified correctly."""
    config = preset("cifar10", seed=seed, **options)
    record = RunRecord(config=config.model_dump(), dataset={"name": "cifar10", "class_names": list("abcdefghij")})
    record.dataset["images"] = {"train": 2500, "validation": N, "test": N}
    record.metrics = {"test_tta": accuracy, "train_end2end": accuracy}
    set_accuracy(record, accuracy, N, "val", "test", "test_tta")
    if not hits:
        record.test_correct = ""
    record.curves = {"stage2": {"loss": [1.0, 0.9], "val_loss": [1.1, 1.0], "val_accuracy": [0.5, accuracy]}}
    return Run(record, Path(f"{name}-{seed}/run.json"))


def configuration(*accuracies: float, **options) -> Configuration:
    return Configuration(preset("cifar10"), {seed: run(seed, each, **options) for seed, each in enumerate(accuracies)})


def test_one_run_has_the_interval_over_its_images_and_several_the_spread_of_their_seeds():
    assert configuration(0.7).accuracy()[:3] == pytest.approx((0.7, *wilson_interval(700, N)))
    several = configuration(0.68, 0.70, 0.72).accuracy()
    t = 4.303 * 0.02 / math.sqrt(3)
    assert several == pytest.approx((0.70, 0.70 - t, 0.70 + t, 3), abs=1e-5)


def test_test_images_are_shared_by_all_seeds_so_that_their_sampling_counts_too():
    low, high = wilson_interval(700, N)
    assert configuration(0.7, 0.7, 0.7).accuracy() == pytest.approx((0.7, 0.7, 0.7, 3))
    half = (high - low) / 2
    assert configuration(0.7, 0.7, 0.7).accuracy("test_end2end") == pytest.approx((0.7, 0.7 - half, 0.7 + half, 3))


def test_no_interval_goes_beyond_what_is_possible():
    two = configuration(0.93, 0.98)
    assert two.accuracy().high == two.trained.high == 1.0 and two.accuracy().low < 0.93
    assert difference(two, configuration(0.1, 0.6)).high == 100.0


def test_a_diverged_run_counts_as_guessing():
    diverged = configuration(0.7)
    diverged.first.status, diverged.first.metrics = "diverged", {}
    assert diverged.accuracy("test_end2end").mean == diverged.trained.mean == 0.1


def test_a_diverged_first_seed_does_not_stand_for_the_others():
    """The article shows curves and mistakes of the first run, which a diverged one does not have."""
    several = configuration(0.7, 0.8)
    lost, kept = several.records
    lost.status = "diverged"
    assert several.first is kept
    kept.status = "diverged"
    assert several.first is lost


def test_differences_are_taken_seed_by_seed_and_image_by_image():
    gap = difference(configuration(0.70, 0.80, 0.90), configuration(0.65, 0.75))
    assert gap == pytest.approx((5, 5, 5, 2))
    single = difference(configuration(0.7, hits=False), configuration(0.65, hits=False), "test_end2end")
    paired = difference(configuration(0.7), configuration(0.65), "test_end2end")
    assert paired == difference_interval(np.arange(N) < 700, np.arange(N) < 650)
    assert single.low < paired.low and paired.high < single.high
    ends = np.array([wilson_interval(700, N), wilson_interval(650, N)])
    assert single.low == pytest.approx(5 - 100 * math.hypot(0.7 - ends[0, 0], ends[1, 1] - 0.65))


def test_without_a_seed_in_common_the_error_names_the_runs():
    one, two = configuration(0.7), Configuration(preset("cifar10"), {seed: run(seed, 0.7, "b") for seed in (7, 8)})
    names = r"^a-0/run\.json and b-7/run\.json, b-8/run\.json"
    with pytest.raises(UserError, match=names + r" must have a seed in common, got \[0\] and \[7, 8\]"):
        difference(one, two)


def test_images_are_paired_only_where_both_runs_were_tested_on_the_same():
    apart = difference(configuration(0.7, hits=False), configuration(0.65, hits=False), "test_end2end")
    other = configuration(0.65)
    other.first.dataset["description"] = "CIFAR-10, JPEG copy"
    assert difference(configuration(0.7), other, "test_end2end") == apart


def described(runs: list[Run], description: str) -> list[Run]:
    for each in runs:
        each.record.dataset["description"] = description
    return runs


def test_original_images_and_their_jpeg_copy_are_never_one_configuration():
    originals = described([run(0, 0.9), run(1, 0.9)], "CIFAR-10")
    copies = described([run(seed, 0.7, "b") for seed in range(3)], "CIFAR-10, JPEG copy")
    assert [list(each.runs) for each in configurations([*originals, *copies])] == [[0, 1], [0, 1, 2]]
    results = collect(STUDY, [*originals, *copies])
    assert [each.accuracy().mean for each in results.pool] == [pytest.approx(0.7)], "that of most runs"
    assert results.elsewhere == 2 and results.groups["one"][0].accuracy().mean == 0.7
    assert collect(STUDY, [*originals, *copies[:2]]).best("transfer").accuracy().mean == 0.9, "the first recorded"
    copies[1].record.status = copies[2].record.status = "diverged"
    assert collect(STUDY, [*copies, *originals]).best("transfer").accuracy().mean == 0.9, "completed runs count"


def test_the_time_of_an_image_is_that_of_the_runs_without_a_gpu():
    each = configuration(0.7, 0.7, 0.7)
    for seed, seconds in enumerate((1.0, 3.0, 80.0)):
        each.runs[seed].record.inference = {"images": 1000, "seconds": seconds}
        each.runs[seed].record.timing_sec = {"total": 60.0}
    each.runs[2].record.machine = {"gpus": ["cuda:0"]}
    assert each.milliseconds == 2.0
    for one in each.runs.values():
        one.record.machine = {"gpus": ["cuda:0"]}
    assert each.milliseconds == 3.0


def test_an_image_folder_that_is_called_cifar10_is_not_cifar10():
    named = run(0, 0.9)
    named.record.config |= {"dataset": "folder", "data_dir": "other/cifar10"}
    assert collect(STUDY, [named]).pool == []


def test_the_newest_run_of_a_seed_counts_and_an_incomplete_group_is_missing():
    groups = [
        StudyGroup(name=name, question="?", grid={"n_unfreeze": values})
        for name, values in (("a", [91]), ("b", [91, 5]))
    ]
    runs = [run(0, 0.5), run(1, 0.6), run(0, 0.7, "b"), run(0, 0.9, "c", batch_size=32)]
    runs[3].record.status = "interrupted"
    results = collect(Study(preset="cifar10", groups=groups), runs)
    assert results.missing == ["b"] and (results.planned, results.recorded) == (2, 1)
    assert results.groups["a"][0].accuracy().mean == 0.7, "the study plans seed 0 alone"
    [every] = results.pool
    assert every.accuracy().mean == pytest.approx(0.65)
    assert results.best("transfer") is every and results.best("tutorial") is None


def test_with_few_labels_those_that_chose_nothing_on_validation_come_first():
    few = {"labels_per_class": 5}
    chose, strict, weaker = run(0, 0.5, **few), run(0, 0.4, selection="none", **few), run(0, 0.3, **few, batch_size=50)
    assert collect(STUDY, [chose, weaker]).best("transfer", 5).accuracy().mean == 0.5
    assert collect(STUDY, [chose, strict, weaker]).best("transfer", 5).accuracy().mean == 0.4
    on_all = [run(0, 0.8), run(0, 0.7, selection="none")]
    assert collect(STUDY, on_all).best("transfer").accuracy().mean == 0.8, "all labels are many"


def test_a_single_run_that_was_lucky_does_not_come_before_three_seeds():
    lucky, seeds = run(0, 0.9, batch_size=50), [run(seed, 0.8) for seed in range(3)]
    assert collect(STUDY, [lucky, *seeds]).best("transfer").accuracy().mean == pytest.approx(0.8)
    best = collect(STUDY, [lucky, *seeds[:2]]).best("transfer")
    assert best.accuracy().mean == 0.9, "two seeds are no better than one"


def test_a_missing_number_is_an_error_that_names_the_file():
    incomplete = configuration(0.7)
    del incomplete.first.metrics["test_low"]
    with pytest.raises(UserError, match=r"a-0/run\.json must hold test_end2end and its interval: train it again"):
        incomplete.accuracy("test_end2end")


def test_steps_count_repeated_images():
    assert configuration(0.7).steps == 2 * 20  # two epochs of 2,500 images in batches of 125
    repeated = configuration(0.7)
    repeated = Configuration(repeated.config.model_copy(update={"min_steps": 500}), repeated.runs)
    assert repeated.steps == 2 * 125, "500 steps were planned for 4 epochs, of which 2 were trained"
    solved = run(0, 0.7)
    solved.record.curves = {}
    assert Configuration(preset("cifar10", n_unfreeze=0, min_steps=500), {0: solved}).steps == 0


def test_the_time_of_runs_with_a_gpu_does_not_count():
    with_gpu, without = configuration(0.7), configuration(0.7)
    with_gpu.first.timing_sec, with_gpu.first.machine = {"total": 20.0}, {"cores": 2, "gpus": ["cuda:0"]}
    without.first.timing_sec, without.first.machine = {"total": 300.0}, {"cores": 2, "gpus": []}
    both = Configuration(with_gpu.config, {0: with_gpu.runs[0], 1: without.runs[0]})
    assert math.isnan(with_gpu.seconds) and (without.seconds, both.seconds) == (300, 300)
    assert both.typical is without.runs[0] and with_gpu.typical is None
    unknown = configuration(0.7, 0.7)
    unknown.first.timing_sec = {"total": 300.0}
    assert unknown.seconds == 300, "the other has no time on record"


def test_a_diverged_run_has_no_time_that_counts():
    both = configuration(0.7, 0.7)
    for seed, seconds in ((0, 5.0), (1, 60.0)):
        both.runs[seed].record.timing_sec = {"total": seconds}
    both.runs[0].record.status = "diverged"
    both.runs[1].record.inference = {"images": 1000, "seconds": 2.0}
    assert (both.seconds, both.milliseconds) == (60.0, 2.0)
    both.runs[1].record.status = "diverged"
    assert math.isnan(both.seconds) and math.isnan(both.milliseconds)


def test_probes_of_the_source_task_are_collected_whatever_the_data():
    runs = [run(seed, 0.5, learning_rate_stage2=rate) for rate in (1e-3, 1e-5) for seed in (0, 1)]
    for number, each in enumerate(runs[:3]):
        each.record.dataset["name"] = "photo-digits"
        for when, accuracy in (("before", 0.8), ("after", 0.6 - 0.1 * number)):
            bounds = {f"source_{when}_low": accuracy - 0.01, f"source_{when}_high": accuracy + 0.01}
            each.record.metrics |= {f"source_{when}": accuracy} | bounds
    results = collect(STUDY, runs)
    assert [list(each.runs) for each in results.probed] == [[0, 1], [0]]
    assert len(results.pool) == 1, "the digits are not among the images of CIFAR-10"
    change = difference(results.probed[0], results.probed[0], "source_after", of_b="source_before")
    assert (change.mean, change.n) == (pytest.approx(-25), 2)


def test_a_subfolder_of_older_runs_does_not_replace_the_newer_ones():
    newer, older = run(0, 0.8, "0002"), run(0, 0.5, "superseded/0001")
    newer.record.created, older.record.created = "2026-05-01T00:00:00Z", "2026-01-01T00:00:00Z"
    assert collect(STUDY, [newer, older]).pool[0].accuracy().mean == pytest.approx(0.8)
