"""What the options of a record mean for its run."""

from tests.samples import OLD_LOG
from transfer_utils.config.options import preset
from transfer_utils.config.recorded import ignored


def test_options_without_effect_are_known():
    scratch = ignored(preset("cifar10", model="baseline").model_dump())
    assert {"n_unfreeze", "backbone", "learning_rate_stage2", "epochs_stage1", "weight_decay", "data_dir"} <= scratch
    assert not {"batch_size", "optimizer_stage1", "learning_rate_baseline", "use_mixup", "zoom"} & scratch
    tuned = ignored(preset("cifar10", augment=True).model_dump())
    assert {"baseline", "epochs_baseline", "mixup_alpha", "learning_rate_stage1"} <= tuned
    assert not {"n_unfreeze", "learning_rate_stage2", "zoom", "hidden_units", "alpha", "weight_decay"} & tuned
    frozen = ignored(preset("cifar10", n_unfreeze=0, epochs_stage1=5).model_dump())
    assert {"learning_rate_stage2", "epochs_stage2", "augment", "zoom", "views"} <= frozen
    assert not {"n_unfreeze", "learning_rate_stage1", "horizontal_flip"} & frozen, "its test views are mirrored"
    unplanned = ignored(preset("cifar10", epochs_stage2=0, epochs_stage1=5).model_dump())
    assert {"n_unfreeze", "learning_rate_stage2"} <= unplanned, "no epoch trains the unfrozen layers"
    assert ignored(OLD_LOG["config"]) == ignored({}) == set(), "what a record lacks is unknown"
    assert "learning_rate_stage1" not in ignored({"model": "baseline"}), "an older baseline was trained with it"


def test_patience_and_weight_decay_have_no_effect_where_nothing_reads_them():
    assert "patience" in ignored(dict(preset("cifar10"))), "a cosine never stops early"
    assert "patience" not in ignored(dict(preset("cifar10", epochs_stage1=2)))
    assert "patience" not in ignored(dict(preset("cifar10", schedule="plateau")))
    assert "patience" not in ignored({"schedule": "cosine"}), "whether there was a stage 1 is not known"
    assert "weight_decay" in ignored(dict(preset("cifar10", optimizer_stage2="SGD"))), "only AdamW reads it"
    assert "weight_decay" not in ignored(dict(preset("cifar10", optimizer_stage2="SGD", epochs_stage1=2)))
    assert "weight_decay" not in ignored({"epochs_stage1": 0}), "the optimizer is not known"
    scratch = preset("cifar10", model="baseline", optimizer_stage1="SGD")
    assert "weight_decay_baseline" in ignored(dict(scratch)), "only AdamW reads it"


def test_dropout_has_no_effect_on_a_head_that_is_only_solved():
    assert "dropout" in ignored(dict(preset("cifar10", n_unfreeze=0)))
    for trained in ({}, {"n_unfreeze": 0, "epochs_stage1": 2}):
        assert "dropout" not in ignored(dict(preset("cifar10", **trained))), trained
    assert "dropout" not in ignored({"epochs_stage1": 0}), "whether there was a stage 2 is not known"
