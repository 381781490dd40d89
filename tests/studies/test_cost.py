from typing import get_args

import pytest

from tests.studies.samples import write_record
from transfer_utils.config.options import Backbone, preset
from transfer_utils.studies import cost
from transfer_utils.studies.cost import Forecast, disk, estimate
from transfer_utils.utils.machine import available_cores


def test_a_forecast_uses_similar_runs_and_otherwise_corrects_the_estimate():
    machine = {"cores": available_cores()}
    similar, other = preset("offline", learning_rate_stage2=0.5), preset("offline", n_unfreeze=60)
    runs = [write_record(similar, n, timing_sec={"total": t}, machine=machine) for n, t in ((1, 40.0), (2, 60.0))]
    runs += [write_record(similar, 3, timing_sec={"total": 9e9}, machine={"cores": 10**6})]
    runs += [write_record(similar, 4, timing_sec={"total": 9e9}, machine={**machine, "gpus": ["cuda:0"]})]
    learned, blank = Forecast(runs), Forecast([])
    assert learned.seconds(preset("offline", seed=5)) == 50.0
    correction = learned.seconds(preset("offline")) / blank.seconds(preset("offline"))
    assert learned.seconds(other) == pytest.approx(correction * blank.seconds(other))
    assert learned.seconds(preset("cifar10")) == blank.seconds(preset("cifar10"))
    wide, wider = (preset("offline", weights="random", backbone="ResNet50", alpha=alpha) for alpha in (0.35, 1.0))
    assert learned.seconds(wide) == blank.seconds(wide) == learned.seconds(wider), "it has no alpha"
    compact = preset("offline", n_unfreeze=60, baseline="compact")
    assert learned.seconds(compact) == learned.seconds(other), "the kind of baseline has no effect on transfer"


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"epochs_stage2": 20}, {"epochs_stage2": 5}),
        ({"image_size": 224}, {"image_size": 96}),
        ({"views": 0}, {"views": 0, "image_size_start": 64}),
        ({"alpha": 1.0}, {"alpha": 0.35}),
        ({"backbone": "EfficientNetV2B0"}, {"backbone": "EfficientNetB0"}),
        ({"backbone": "ResNet50"}, {"backbone": "MobileNetV2"}),
        ({"model": "baseline", "stored_size": 64}, {"model": "baseline"}),
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


def test_every_backbone_has_a_cost():
    assert cost.OTHER_BACKBONES.keys() == {*get_args(Backbone)} - {"MobileNetV2"}


def test_the_test_split_is_charged_once_and_not_for_every_epoch_of_stage_2():
    def seconds(test: int, epochs: int) -> float:
        return estimate(preset("photos", epochs_stage2=epochs), {"train": 300, "validation": 60, "test": test})[0]

    assert seconds(9_000, 20) > seconds(60, 20)
    assert seconds(9_000, 20) - seconds(9_000, 10) == pytest.approx(seconds(60, 20) - seconds(60, 10))


def test_images_are_validated_at_the_last_side_of_a_growing_run():
    grown, whole = (preset("cifar10", views=0, labels_per_class=20, image_size_start=start) for start in (64, 0))
    trained = estimate(whole)[0] - estimate(grown)[0]
    assert 0 < trained < 0.1 * estimate(whole)[0], "200 images to train on, 10,000 to validate on"


def test_the_disk_of_a_run_does_not_depend_on_the_images_it_is_tested_on():
    few, many = ({"train": 3000, "validation": 60, "test": test} for test in (60, 9_000))
    pixels = [sum(images.values()) * 3 * preset("photos").stored_size ** 2 for images in (few, many)]
    kept = [estimate(preset("photos"), images)[1] - each for images, each in zip((few, many), pixels, strict=True)]
    assert kept[0] == pytest.approx(kept[1])


def test_the_estimate_shrinks_with_more_cores(monkeypatch):
    def seconds(cores: int) -> float:
        monkeypatch.setattr(cost, "available_cores", lambda: cores)
        return estimate(preset("cifar10"))[0]

    assert seconds(1) > seconds(2) > seconds(16) > 30


def test_an_estimate_counts_the_steps_of_each_kind_of_baseline():
    tutorial, compact = (preset("cifar10", model="baseline", baseline=kind) for kind in ("tutorial", "compact"))
    assert estimate(compact)[0] > estimate(tutorial)[0] > 30
    few = preset("cifar10-small", model="baseline", labels_per_class=5)
    assert estimate(preset("cifar10-small", model="baseline", labels_per_class=5, min_steps=10_000)) > estimate(few)


def test_the_time_of_runs_on_another_image_folder_is_not_that_of_a_run():
    machine = {"cores": available_cores()}
    pets, plants = (preset("photos", data_dir=name) for name in ("pets", "plants"))
    images = {"train": 60, "validation": 20, "test": 20}  # how many the plants are is not known before they are read
    learned = Forecast([write_record(pets, timing_sec={"total": 60.0}, machine=machine, dataset={"images": images})])
    assert learned.seconds(plants) > learned.seconds(pets) == 60.0
    # Neither the place of CIFAR-10 nor whether it is the JPEG copy changes its size.
    learned = Forecast([write_record(preset("cifar10"), timing_sec={"total": 77.0}, machine=machine)])
    assert learned.seconds(preset("cifar10", data_dir="elsewhere")) == 77.0


def test_data_that_several_runs_cache_together_counts_once():
    config = preset("cifar10")
    same = [config, *(config.model_copy(update=changes) for changes in ({"dropout": 0.5}, {"output_dir": "x"}))]
    assert disk(same) == disk([config]) > 0
    assert disk([*same, preset("cifar10", seed=1)]) > disk(same)
    assert disk([*same, preset("cifar10", input_range="zero-one")]) > disk(same)
    assert disk([preset("cifar10", model="baseline")]) < disk([config])


def test_an_estimate_for_an_image_folder_counts_its_images_and_corrects_by_runs_on_other_folders():
    config, machine = preset("photos"), {"cores": available_cores()}
    small, large = ({"train": n, "validation": n // 4, "test": n // 4} for n in (300, 3000))
    assert estimate(config, small)[0] < estimate(config, large)[0] < estimate(config, large, n_bytes=10**10)[0]
    assert estimate(config, small)[1] < estimate(config, large)[1] < estimate(config)[1]
    run = write_record(preset("photos", data_dir="pets"), 1, timing_sec={"total": 1000.0}, machine=machine)
    run.record.dataset = {"images": large}
    corrected = Forecast([run]).seconds(config, large)
    assert corrected == pytest.approx(1000)
    assert Forecast([run]).seconds(preset("photos", data_dir="pets"), small) < corrected
    for damaged in ({"images": {"train": "x"}}, {"images": 3}, {}):
        run.record.dataset = damaged
        assert Forecast([run]).seconds(config, large) > 0


def test_a_forecast_for_other_options_counts_the_images_of_the_folder_on_record():
    pets, machine = preset("photos", data_dir="pets"), {"cores": available_cores()}
    few, all_labels = ({"train": n, "validation": 60, "test": 60} for n in (50, 240))
    runs = [
        write_record(pets, 1, timing_sec={"total": 60.0}, machine=machine, dataset={"images": all_labels}),
        write_record(preset("photos", data_dir="pets", labels_per_class=5), 2, machine=machine),
    ]
    runs[1].record.timing_sec, runs[1].record.dataset = {"total": 60.0}, {"images": few}
    cnn = preset("photos", data_dir="pets", model="baseline")
    assert Forecast(runs).seconds(cnn) == estimate(cnn, all_labels)[0] < estimate(cnn)[0] / 2
