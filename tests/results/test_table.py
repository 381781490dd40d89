from tests.results.samples import made
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


def test_preset_and_path_options_make_no_difference():
    here, there = made("a", output_dir="here", preset="none"), made("b", output_dir="there", preset="cifar10")
    assert differing([here, there]) == []


def test_a_baseline_is_augmented_by_either_option_and_a_transfer_model_by_its_own():
    options = {"augment": False, "augment_baseline": True, "n_unfreeze": 30, "epochs_stage2": 1}
    assert [made("a", model=model, **options).augmentation for model in ("baseline", "transfer")] == ["yes", "no"]
    assert made("a", model="baseline", augment=False, augment_baseline=False).augmentation == "no"


def test_the_baseline_has_its_own_epochs_or_those_of_both_stages():
    options = {"model": "baseline", "epochs_stage1": 3, "epochs_stage2": 4}
    assert [made("a", epochs_baseline=epochs, **options).planned for epochs in (200, 0)] == [200, 7]


def test_a_record_older_than_an_option_has_the_same_configuration():
    old, new = made("old", seed=0), made("new", seed=1)
    del old.record.config["strategy"], old.record.config["tta_shift"]
    assert old.options != new.options and old.without() == new.without()
    assert new.options["strategy"] == "none", "a default that is recorded is shown"
    assert old.without("tta_shift") == new.without("tta_shift")
