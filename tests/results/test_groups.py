import pytest

from tests.results.samples import made, on_images
from transfer_utils.records.folder import load_runs
from transfer_utils.results.groups import best_configurations, dataset_names, families, group_by, group_by_configuration
from transfer_utils.results.table import make_rows
from transfer_utils.utils.text import MISSING


def test_seeds_of_a_configuration_are_one_group_named_by_its_distinctive_options(view):
    rows = [row for row in view.rows if row.name.startswith(("depth-10", "depth-30-0", "depth-30-1"))]
    groups = group_by_configuration(rows)
    assert {group.name: group.size for group in groups} == {
        "last 10 layers unfrozen": "2 seeds",
        "last 30 layers unfrozen": "2 seeds",
    }
    group = groups[0]
    values = [row.metric("val_end2end") for row in group.rows]
    assert group.mean("val_end2end") == pytest.approx(sum(values) / 2)
    assert group.deviation("val_end2end") == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert group_by_configuration(rows[:1])[0].deviation("val_end2end") is None


def test_groups_are_in_the_order_of_the_option_values(view):
    groups = group_by([row for row in view.rows if row.config.get("model") == "transfer"], "n_unfreeze")
    layers = [f"last {n} layers unfrozen" for n in (10, 30, 60)]
    assert [group.name for group in groups] == ["backbone frozen", *layers, "all layers unfrozen"]
    [group] = group_by(view.named(["depth-30-0", "labels-20-0"]), "n_unfreeze")
    assert group.size == "2 runs", "they differ in more than the seed"


def test_the_best_configuration_is_chosen_on_validation_alone():
    rows = [made("a", val=0.8, n_unfreeze=1), made("b", val=0.85, n_unfreeze=2)]
    for row, accuracy in zip(rows, (0.9, 0.7), strict=True):
        row.record.metrics["test_end2end"] = accuracy
    [best] = best_configurations([*rows, made("c", val=0.99, status="running", n_unfreeze=3)])
    assert best.group.rows == [rows[1]]
    assert "5.0 points ahead" in best.why and "Test accuracy was not considered" in best.why


def test_a_configuration_of_which_a_seed_diverged_is_passed_over():
    lucky = [made("a0", val=0.9, n_unfreeze=1), made("a1", val=None, status="diverged", n_unfreeze=1, seed=1)]
    steady = [made("b0", val=0.8, n_unfreeze=2), made("b1", val=None, status="diverged", n_unfreeze=2)]
    [best] = best_configurations([*lucky, *steady])
    assert best.group.rows == steady[:1], "its diverged run was made again and completed"
    only = "The only configuration without a diverged seed, 1 seed. Passed over: 1 configuration with 1 diverged seed."
    assert best.why == only
    [best] = best_configurations(lucky)
    assert best.why == "The only completed configuration, 1 seed. 1 more seed diverged."
    [best] = best_configurations([*lucky, *steady, made("c", val=0.75, n_unfreeze=3)])
    assert "5.0 points ahead of the next." in best.why and best.why.endswith("1 configuration with 1 diverged seed.")


def test_a_baseline_is_called_not_augmented_once():
    [best] = best_configurations([made("run", model="baseline")])
    assert best.options == "CNN from scratch · not augmented"


def test_each_dataset_has_its_own_best_configuration(view):
    best = best_configurations(view.rows)
    assert [configuration.dataset for configuration in best] == ["cifar10", "–"]
    assert best[0].options.startswith("transfer learning · last 30 layers unfrozen · augmented")
    assert best_configurations([]) == []


def test_a_family_varies_one_option_and_nothing_else(study):
    rows = make_rows(load_runs(study), study)
    [depths] = families(rows, "n_unfreeze")
    assert len(depths.groups) == 5 and {group.size for group in depths.groups} == {"3 seeds"}
    assert [family.name for family in families(rows, "labels_per_class")] == ["transfer learning", "CNN from scratch"]
    assert families(rows, "dropout") == []


def test_many_groups_are_named_by_their_unusual_options():
    base = {"n_unfreeze": 30, "augment": True, "image_size": 160}
    others = ({"n_unfreeze": 10}, {"augment": False}, {"image_size": 224}, {"n_unfreeze": 60, "augment": False})
    rows = [made(f"run{index}", **{**base, **options}) for index, options in enumerate(({}, *others))]
    assert [group.name for group in group_by_configuration(rows)] == [
        "last 30 layers unfrozen · augmented · 160 px",
        "last 10 layers unfrozen",
        "last 30 layers unfrozen · not augmented",
        "224 px",
        "last 60 layers unfrozen",
    ]


def test_the_model_is_part_of_a_name_and_an_option_that_a_record_lacks_tells_nothing():
    sizes = [made("a", batch_size=16), made("b", batch_size=32), made("c", batch_size=64, model="baseline")]
    assert group_by_configuration(sizes)[0].name == "transfer learning · batch_size 16"
    common = {"n_unfreeze": 30, "augment": False, "image_size": 160}
    changes = ({}, {"augment": True}, {"image_size": 224, "batch_size": 9})
    rows = [made("run", **common | each) for each in changes]
    del rows[0].record.config["batch_size"]
    assert group_by_configuration(rows)[0].name == "not augmented · 160 px"


def test_groups_that_no_option_tells_apart_are_named_by_their_first_run():
    # Without augmented views, the shift of their images has no effect.
    rows = [made(f"run{shift}", tta=False, tta_shift=shift) for shift in (0, 1)]
    names = [group.name for group in group_by_configuration([*rows, made("other", n_unfreeze=30)])]
    assert names == ["backbone frozen · run0", "backbone frozen · run1", "last 30 layers unfrozen"]
    assert [group.name for group in group_by_configuration(rows)] == ["run0", "run1"]
    assert group_by_configuration([]) == []
    frozen = [made("never", n_unfreeze=0), made("no_epochs", n_unfreeze=30, epochs_stage2=0), made("b", n_unfreeze=30)]
    names = sorted(group.name for group in group_by(frozen, "n_unfreeze"))
    assert names == ["backbone frozen · never", "backbone frozen · no_epochs", "last 30 layers unfrozen"]


def test_a_group_holds_one_dataset_and_one_model():
    kinds = [
        {}, {"weights": "random"}, {"model": "baseline"}, {"model": "baseline", "baseline": "compact"},
        {"n_unfreeze": 0}, {"dataset": "birds"},
    ]  # fmt: skip
    rows = [made(f"run{index}", **{"n_unfreeze": 30, **options}) for index, options in enumerate(kinds)]
    assert {group.name: [row.name for row in group.rows] for group in group_by(rows, "n_unfreeze")} == {
        "backbone frozen · transfer learning · cifar10": ["run4"],
        "last 30 layers unfrozen · transfer learning · cifar10": ["run0"],
        "last 30 layers unfrozen · same network from random weights · cifar10": ["run1"],
        "tutorial CNN · cifar10": ["run2"],
        "compact CNN · cifar10": ["run3"],
        "last 30 layers unfrozen · transfer learning · birds": ["run5"],
    }
    assert [len(group.rows) for group in group_by(rows, "no such option")] == [1] * 6


def test_a_run_without_an_accuracy_does_not_lead():
    rows = [made("none", val=None, n_unfreeze=10), made("some", n_unfreeze=11)]
    [best] = best_configurations(rows)
    assert best.group.rows == [rows[1]] and rows[0].accuracy("val") == MISSING


def test_runs_on_other_images_are_no_seeds_of_one_configuration():
    copy, original = "CIFAR-10, JPEG copy", "CIFAR-10"
    rows = [on_images(made("a", val=0.8), copy), on_images(made("b", val=0.9, seed=1), original)]
    assert [group.rows for group in group_by_configuration(rows)] == [rows[:1], rows[1:]]
    best = best_configurations(rows)
    assert [each.dataset for each in best] == ["cifar10 · CIFAR-10", "cifar10 · CIFAR-10, JPEG copy"]
    assert families([*rows, on_images(made("c", batch_size=7), "a third")], "batch_size") == []
    assert {group.name: group.rows for group in group_by(rows, "n_unfreeze")} == {
        f"backbone frozen · cifar10 · {name}": [row] for name, row in zip((copy, original), rows, strict=True)
    }
    grown = [on_images(made(name, dataset="pets"), "pets", n) for name, n in (("d", 10), ("e", 12))]
    assert list(dataset_names([*grown, *rows]).values())[:2] == ["pets · 10 test images", "pets · 12 test images"]


def test_of_runs_that_repeat_each_other_the_newest_counts():
    rows = [made("old", val=0.5), made("new", val=0.7), made("other", val=0.9, seed=1), made("gone", val=None)]
    [group] = group_by_configuration(rows)
    assert group.values("val_end2end") == [0.7, 0.9] and group.mean("val_end2end") == pytest.approx(0.8)
    assert group.part("val_end2end") == "", "each seed has an accuracy"
    for number, row in enumerate(rows[:2]):
        row.record.run_id = f"{number:04d}"
    [group] = group_by_configuration(rows[1::-1])
    assert group.values("val_end2end") == [0.7], "in whatever order a table lists them"
    [best] = best_configurations([*rows[:2], made("worse", val=0.4, n_unfreeze=1)])
    assert "(2 runs), 30.0 points ahead" in best.why, "one accuracy has no mean"
