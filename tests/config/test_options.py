import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.conftest import ROOT
from tests.utils.test_text import JSON
from transfer_utils.config.options import PATH_OPTIONS, RunConfig, preset
from transfer_utils.config.presets import PRESETS
from transfer_utils.config.recorded import identity, recorded_config
from transfer_utils.errors import UserError
from transfer_utils.experiment.run import run_experiment
from transfer_utils.records.record import read_record

NAMES = sorted(RunConfig.model_fields)

FOLLOWS_THE_LOSS = "selection 'none' needs epochs_stage1 0 and, if stage 2 is trained, schedule 'cosine'"
NOTHING_TO_PROBE = "source_probe needs a stage 2, before and after which it probes: model 'transfer', and n_unfreeze"
GROWING = "image_size_start must be 0, or below image_size, both of them multiples of 32"
GROWS = {"views": 0, "schedule": "cosine"}  # which image_size_start needs
LETTERS = {"weights": "letters", "n_unfreeze": 3}  # which source_probe needs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 16}, "image_size must be at least 32, got 16."),
        ({"image_size": 513}, "image_size must be at most 512, got 513."),
        ({"seed": 3_000_000_000}, "seed must be at most 2147483647, got 3000000000."),
        ({"zoom": 1.0}, "zoom must be less than 1, got 1.0."),
        ({"mixup_alpha": 0}, "mixup_alpha must be greater than 0, got 0."),
        ({"n_unfreeze": -2}, "n_unfreeze must be at least -1, got -2."),
        ({"batch_size": 1.5}, "batch_size must be a whole number, got 1.5."),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1."),
        ({"batch_size": "many"}, "batch_size must be a whole number, got 'many'."),
        ({"rotation": "far"}, "rotation must be a number, got 'far'."),
        ({"rotation": float("nan")}, "rotation must be a finite number, got nan."),
        ({"augment": "maybe"}, "augment must be true or false, got 'maybe'."),
        ({"weights": 3}, "weights must be text, got 3."),
        ({"seed": None}, "seed must be a whole number, got None."),
        ({"dataset": "cifar"}, "dataset must be one of 'cifar10', 'photo-digits' or 'folder', got 'cifar'."),
        ({"backbone": "InceptionV3", "image_size": 64}, "image_size must be at least 75 for InceptionV3, got 64."),
        (
            {"backbone": "InceptionV3", "image_size_start": 64, **GROWS},
            "image_size_start must be at least 75 for InceptionV3, got 64.",
        ),
        ({"image_size_start": 160}, f"{GROWING}, got image_size_start 160 and image_size 160."),
        ({"image_size_start": 16}, f"{GROWING}, got image_size_start 16 and image_size 160."),
        ({"image_size_start": 100}, f"{GROWING}, got image_size_start 100 and image_size 160."),
        ({"image_size_start": 96, "image_size": 150}, f"{GROWING}, got image_size_start 96 and image_size 150."),
        ({"image_size_start": 96, **GROWS, "views": 8}, "image_size_start needs views 0, since cached views have one"),
        (
            {"image_size_start": 96, **GROWS, "schedule": "plateau"},
            "image_size_start needs views 0, since cached views",
        ),
        (
            {"image_size_start": 96, **GROWS, "n_unfreeze": 1, "epochs_stage2": 2},
            "epochs_stage2 must be at least 3, one for each side from image_size_start 96 on, got 2.",
        ),
        ({"alpha": 0.6}, "alpha must be one of 0.35, 0.5, 0.75, 1, 1.3, 1.4 for weights 'imagenet', got 0.6"),
        ({"weights": "letters", "alpha": 1.0}, "weights 'letters' fit MobileNetV2 with alpha 0.35"),
        ({"dataset": "folder"}, "data_dir must name an image folder when dataset is 'folder'"),
        ({"dataset": "photo-digits", "data_dir": "x"}, "data_dir must be empty for photo-digits"),
        ({"selection": "none", "n_unfreeze": 1, "epochs_stage1": 0}, FOLLOWS_THE_LOSS),
        ({"selection": "none", "schedule": "cosine"}, FOLLOWS_THE_LOSS),
        ({"source_probe": True}, "source_probe needs weights 'letters' and stored_size 32"),
        ({"source_probe": True, "weights": "letters", "stored_size": 64}, "source_probe needs weights 'letters' and"),
        ({"source_probe": True, **LETTERS, "n_unfreeze": 0}, NOTHING_TO_PROBE),
        ({"source_probe": True, **LETTERS, "epochs_stage2": 0}, NOTHING_TO_PROBE),
        ({"source_probe": True, **LETTERS, "model": "baseline"}, NOTHING_TO_PROBE),
    ],
)
@pytest.mark.fault(29)
def test_an_error_names_the_option_the_expected_value_and_the_received_one(options, message):
    with pytest.raises(UserError) as caught:
        preset("none", **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "options", "hint"),
    [
        ("none", {"batchsize": 64}, "'batch_size'"),
        ("none", {"n_unfreze": 3}, "'n_unfreeze'"),
        ("none", {"json_output": "x"}, "'json_output_path'"),
        ("none", {"backbone": "MobilNetV2"}, "'MobileNetV2'"),
        ("none", {"optimizer_stage2": "adamw"}, "'AdamW'"),
        ("ofline", {}, "'offline'"),
        ("cifar10_small", {}, "'cifar10-small'"),
    ],
)
@pytest.mark.fault(29)
def test_a_mistyped_name_is_an_error_that_suggests_the_nearest_one(name, options, hint):
    with pytest.raises(UserError, match=f"Did you mean {hint}\\?"):
        preset(name, **options)


def test_all_wrong_values_are_named_at_once_and_long_ones_are_shortened():
    with pytest.raises(UserError) as caught:
        preset("none", batch_size="9" * 100_000 + "x", zoom=2)
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["batch_size", "zoom"]
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", ["preset", "seed", "weights", "augment"])
def test_a_number_too_long_for_python_to_print_is_an_ordinary_error(name):
    with pytest.raises(UserError, match="bits"):
        preset(10**5000) if name == "preset" else preset("none", **{name: 10**5000})


@given(st.sampled_from(NAMES), JSON)
def test_any_value_of_any_option_or_of_the_preset_gives_a_config_or_a_user_error(name, value):
    try:
        config = preset(value) if name == "preset" else preset("none", **{name: value})
    except UserError as error:
        assert str(error) and ("preset must be one of" in str(error) or name != "preset")
    else:
        json.dumps(config.model_dump(), allow_nan=False)
        assert len(config.fingerprint) == 12


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_fair_to_the_baseline_and_overridden_by_any_option(name):
    config = preset(name)
    assert config.preset == name
    assert config.baseline_epochs >= config.epochs_stage1 + config.epochs_stage2, "the comparison would be unfair"
    assert preset(name, batch_size=7).batch_size == 7
    with pytest.raises(ValidationError):
        config.seed = 1


def test_the_small_preset_differs_from_the_large_one_only_in_labels_epochs_and_augmentation():
    small, large = preset("cifar10-small"), preset("cifar10")
    differing = {name for name, value in small if value != getattr(large, name)}
    assert differing == {"preset", "labels_per_class", "epochs_stage2", "augment", "augment_baseline", "views"}


@pytest.mark.parametrize(
    "options",
    [
        {"model": "baseline", "epochs_stage1": 0, "epochs_stage2": 0},
        {"epochs_stage1": 0, "n_unfreeze": 0, "hidden_units": 256},
        {"epochs_stage1": 0, "epochs_stage2": 0, "head_start": "random"},
    ],
)
def test_a_run_that_would_train_nothing_is_refused(options, tmp_path):
    with pytest.raises(UserError, match="must be at least 1"):
        run_experiment(preset("none", dataset="photo-digits", weights="random", output_dir=str(tmp_path), **options))
    assert list(tmp_path.iterdir()) == []
    preset("none", epochs_stage1=0, n_unfreeze=0, hidden_units=0).check_trains()


def test_only_a_transfer_model_needs_validation_for_the_plateaus_of_its_stages():
    assert preset("none", model="baseline", selection="none").selection == "none"


def test_the_fingerprint_ignores_only_the_preset_and_the_path_options():
    usual = preset("none", epochs_stage1=0)  # nearly any value of any other option is valid with it
    recorded = read_record(ROOT / "runs" / "0350-offline-transfer" / "run.json")
    assert preset("offline", seed=recorded.config["seed"]).fingerprint == recorded.fingerprint
    for name, field in RunConfig.model_fields.items():
        if name == "preset":
            continue
        choices = [choice for choice in getattr(field.annotation, "__args__", ()) if choice != field.default]
        other = {bool: not field.default, str: "elsewhere"}.get(field.annotation) if not choices else choices[0]
        value = field.default + {int: 1, float: 0.15}[field.annotation] if other is None else other
        value = 64 if name == "image_size_start" else value
        options = {"epochs_stage1": 0, **{"source_probe": LETTERS, "image_size_start": GROWS}.get(name, {})}
        same = preset("none", **options | {name: value}).fingerprint == preset("none", **options).fingerprint
        assert same == (name in PATH_OPTIONS), name
    assert RunConfig(preset="cifar10", epochs_stage1=0).fingerprint == usual.fingerprint


def test_runs_have_the_same_identity_if_only_the_storage_or_an_unused_option_differs():
    config = preset("cifar10")
    same = {"preset": "none", "output_dir": "x", "data_dir": "x", "epochs_baseline": 5}
    assert identity(config.model_copy(update=same)) == identity(config)
    assert identity(config.model_copy(update={"seed": 1})) != identity(config)
    assert identity(config.model_copy(update={"seed": 1}), ignoring=["seed"]) == identity(config, ignoring=["seed"])
    baseline, folder = preset("cifar10", model="baseline"), preset("none", dataset="folder", data_dir="mine")
    assert identity(baseline.model_copy(update={"epochs_baseline": 5})) != identity(baseline)
    assert identity(folder.model_copy(update={"data_dir": "other"})) != identity(folder)
    others = {"n_unfreeze": 60, "learning_rate_stage2": 0.5, "head": "plain", "alpha": 1.0, "epochs_stage2": 9}
    assert identity(baseline.model_copy(update=others)) == identity(baseline)
    assert identity(preset("none", model="baseline", epochs_stage1=3)) != identity(preset("none", model="baseline"))


def test_the_compact_baseline_sets_its_own_training_which_options_override_and_the_command_repeats():
    config = preset("cifar10-best", model="baseline", baseline="compact", warm_up_baseline=0.3)
    own = (config.learning_rate_baseline, config.weight_decay_baseline, config.epochs_baseline, config.warm_up_baseline)
    assert own == (2e-2, 0.02, 20, 0.3)
    assert config.command().split()[4:] == ["--model", "baseline", "--baseline", "compact", "--warm_up_baseline", "0.3"]
    longer = preset("offline", model="baseline", baseline="compact", epochs_baseline=200)  # as many as the preset has
    assert "--epochs_baseline 200" in longer.command()
    tutorial = preset("cifar10", model="baseline")
    assert identity(preset("cifar10", model="baseline", baseline="compact")) != identity(tutorial)
    assert identity(preset("cifar10", baseline="compact")) == identity(preset("cifar10")), "no matter to transfer"


def test_a_record_has_the_identity_of_its_config_even_if_it_is_older_or_damaged():
    config = preset("cifar10", backbone="VGG16")
    older = {**config.model_dump(exclude={"tta_shift", "backbone"}), "base_model": "VGG16"}
    assert identity(older) == identity(config) and recorded_config(older).backbone == "VGG16"
    assert identity({**older, "seed": [1, {}]}) != identity({**older, "unknown": 1}) != identity(config)


def test_the_dataset_of_an_image_folder_is_named_after_the_folder(tmp_path):
    assert preset("none", dataset="folder", data_dir=str(tmp_path / "flowers")).dataset_name == "flowers"
    assert preset("none", data_dir=str(tmp_path)).dataset_name == "cifar10"


def test_the_home_folder_takes_the_place_of_a_tilde_and_an_unknown_one_is_a_user_error(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert preset("cifar10", output_dir="~/runs", model_path="none").output_dir == "/home/me/runs"
    with pytest.raises(UserError, match=r"weights must be .* or an existing file, got '~nobody-here/w\.h5'"):
        preset("cifar10", weights="~nobody-here/w.h5").weights_file()


@pytest.mark.parametrize(
    ("start", "epochs", "sides"),
    [(0, 2, [160, 160]), (96, 6, [96, 96, 128, 128, 160, 160]), (96, 4, [96, 128, 160, 160])],
)
def test_the_side_grows_in_equal_shares_of_the_epochs(start, epochs, sides):
    config = RunConfig(image_size_start=start, image_size=160, epochs_stage2=epochs, **GROWS)
    assert config.side_by_epoch == sides
