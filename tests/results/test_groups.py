import pytest

from tests.samples import write_run
from transfer_utils.dashboard import store
from transfer_utils.records import read_record
from transfer_utils.results.groups import best_configurations, families, group_by, group_by_configuration
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


def test_the_best_configuration_is_chosen_on_validation_alone(tmp_path):
    for name, val, test in (("a", 0.8, 0.9), ("b", 0.85, 0.7), ("c", 0.99, 0.99)):
        path = write_run(tmp_path / name, {"n_unfreeze": len(name) + ord(name)}, "completed", 0)
        record = read_record(path)
        record.metrics |= {"val_end2end": val, "test_end2end": test}
        record.status = "running" if name == "c" else "completed"
        record.save(path)
    [best] = best_configurations(store.read(tmp_path, store.stamp(tmp_path)).rows)
    assert [row.name for row in best.group.rows] == ["b"]
    assert "5.0 points ahead" in best.why and "Test accuracy was not considered" in best.why


def test_each_dataset_has_its_own_best_configuration(view):
    best = best_configurations(view.rows)
    assert [configuration.dataset for configuration in best] == ["cifar10", "–"]
    assert best[0].options.startswith("transfer learning · last 30 layers unfrozen · augmented")
    assert best_configurations([]) == []


def test_a_family_varies_one_option_and_nothing_else(study):
    rows = store.read(study, store.stamp(study)).rows
    [depths] = families(rows, "n_unfreeze")
    assert len(depths.groups) == 5 and {group.size for group in depths.groups} == {"3 seeds"}
    assert [family.name for family in families(rows, "labels_per_class")] == ["transfer learning", "CNN from scratch"]
    assert families(rows, "dropout") == []


def test_many_groups_are_named_by_their_unusual_options(tmp_path):
    base = {"n_unfreeze": 30, "augment": True, "image_size": 160}
    others = ({"n_unfreeze": 10}, {"augment": False}, {"image_size": 224}, {"n_unfreeze": 60, "augment": False})
    for index, options in enumerate(({}, *others)):
        write_run(tmp_path / f"run{index}", {**base, **options}, "completed", index)
    rows = store.read(tmp_path, store.stamp(tmp_path)).rows
    assert [group.name for group in group_by_configuration(rows)] == [
        "last 30 layers unfrozen · augmented · 160 px",
        "last 10 layers unfrozen",
        "last 30 layers unfrozen · not augmented",
        "224 px",
        "last 60 layers unfrozen",
    ]


def test_groups_that_no_option_tells_apart_are_named_by_their_first_run(tmp_path):
    for index, shift in enumerate((0, 1)):  # without augmented views, the shift of their images has no effect
        write_run(tmp_path / f"run{index}", {"tta": False, "tta_shift": shift}, "completed", index)
    write_run(tmp_path / "other", {"n_unfreeze": 30}, "completed", 2)
    rows = store.read(tmp_path, store.stamp(tmp_path)).rows
    names = {group.name for group in group_by_configuration(rows)}
    assert names == {"backbone frozen · run0", "backbone frozen · run1", "last 30 layers unfrozen"}


def test_a_group_holds_one_dataset_and_one_model(tmp_path):
    kinds = [
        {"n_unfreeze": 30}, {"n_unfreeze": 30, "weights": "random"}, {"n_unfreeze": 30, "model": "baseline"},
        {"n_unfreeze": 30, "model": "baseline", "baseline": "compact"}, {"n_unfreeze": 0}, {"n_unfreeze": 30},
    ]  # fmt: skip
    for index, options in enumerate(kinds):
        path = write_run(tmp_path / f"run{index}", options, "completed", index)
    record = read_record(path)
    record.dataset["name"] = "birds"
    record.save(path)
    rows = store.read(tmp_path, store.stamp(tmp_path)).rows
    groups = group_by(rows, "n_unfreeze")
    assert {group.name: [row.name for row in group.rows] for group in groups} == {
        "backbone frozen · transfer learning · cifar10": ["run4"],
        "last 30 layers unfrozen · transfer learning · cifar10": ["run0"],
        "last 30 layers unfrozen · same network from random weights · cifar10": ["run1"],
        "tutorial CNN · cifar10": ["run2"],
        "compact CNN · cifar10": ["run3"],
        "last 30 layers unfrozen · transfer learning · birds": ["run5"],
    }
    assert [len(group.rows) for group in group_by(rows, "no such option")] == [1] * 6


def test_an_accuracy_in_percent_does_not_lead(tmp_path):
    for index, accuracy in enumerate((92.28, 0.8)):
        path = write_run(tmp_path / f"run{index}", {"n_unfreeze": 10 + index}, "completed", index)
        record = read_record(path)
        record.metrics["val_end2end"] = accuracy
        record.save(path)
    rows = store.read(tmp_path, store.stamp(tmp_path)).rows
    [best] = best_configurations(rows)
    assert [row.name for row in best.group.rows] == ["run1"]
    assert rows[0].accuracy("val") == MISSING, "an accuracy of more than 1 is none"
