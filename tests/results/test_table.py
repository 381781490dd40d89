from tests.samples import write_run
from transfer_utils.dashboard import store
from transfer_utils.records import read_record
from transfer_utils.results.table import differing


def test_a_row_describes_its_run(row):
    best = row("depth-30-0")
    assert (best.status, best.dataset, best.network) == ("completed", "cifar10", "MobileNetV2")
    assert (best.unfrozen, best.augmentation, best.labels) == ("30", "yes", "all")
    assert best.accuracy("val").startswith("84.") and best.accuracy("val").endswith(")")
    assert best.created == "2026-03-01 04:10"
    assert (best.epochs, best.planned) == (20, 20)
    assert row("depth-60-0").epochs == 16
    assert (row("baseline-0").network, row("baseline-0").unfrozen) == ("tutorial CNN", "–")


def test_an_old_log_shows_what_it_has(row):
    old = row("old-log")
    assert (old.network, old.unfrozen, old.augmentation) == ("MobileNetV2", "30", "yes")
    assert (old.accuracy("val"), old.accuracy("test"), old.seconds) == ("92.3 %", "91.6 %", 937.45)
    assert (old.dataset, old.created, old.labels, old.epochs) == ("–", "–", "–", 0)


def test_options_differ_if_two_runs_record_different_values(row):
    assert differing([row("depth-30-0"), row("depth-30-1")]) == ["seed"]
    assert differing([row("depth-30-0"), row("depth-10-0")]) == ["n_unfreeze", "augment"]
    # An option that the old log lacks may have been the same.
    assert differing([row("depth-30-0"), row("old-log")]) == ["epochs_stage2", "batch_size"]
    assert differing([row("depth-30-0")]) == differing([]) == []


def test_preset_and_path_options_make_no_difference(tmp_path):
    write_run(tmp_path / "a", {"output_dir": "here", "preset": "none"}, "completed", 0)
    write_run(tmp_path / "b", {"output_dir": "there", "preset": "cifar10"}, "completed", 0)
    assert differing(store.read(tmp_path, store.stamp(tmp_path)).rows) == []


def test_the_baseline_has_its_own_epochs_or_those_of_both_stages(tmp_path):
    options = {"model": "baseline", "epochs_stage1": 3, "epochs_stage2": 4}
    for name, epochs in (("own", 200), ("shared", 0)):
        write_run(tmp_path / name, {**options, "epochs_baseline": epochs}, "completed", 0)
    rows = store.read(tmp_path, store.stamp(tmp_path)).rows
    assert {row.name: row.planned for row in rows} == {"own": 200, "shared": 7}


def test_a_record_older_than_an_option_has_the_same_configuration(tmp_path):
    for seed, name in enumerate(("old", "new")):
        path = write_run(tmp_path / name, {"seed": seed}, "completed", seed)
        if name == "old":
            record = read_record(path)
            record.config = {key: value for key, value in record.config.items() if key not in ("strategy", "tta_shift")}
            record.save(path)
    new, old = store.read(tmp_path, store.stamp(tmp_path)).rows
    assert old.options != new.options and old.without() == new.without()
    assert new.options["strategy"] == "none", "a default that is recorded is shown"
    assert old.without("tta_shift") == new.without("tta_shift")
