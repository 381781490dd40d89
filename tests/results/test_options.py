import pytest

from tests.samples import OLD_LOG
from transfer_utils.results.options import normalised, option_text, sort_key, value_text


def test_old_logs_get_current_names_and_values():
    assert normalised(OLD_LOG["config"]) == {
        "backbone": "MobileNetV2",
        "n_unfreeze": 30,
        "augment": True,
        "use_mixup": False,
        "batch_size": 64,
        "epochs_stage2": 100,
    }
    assert normalised({"selection": "none", "data_dir": "2024"}) == {"selection": "none", "data_dir": "2024"}, "text"
    assert normalised({"lr": "1e-5", "n": "30", "none": "None", "word": "nan"}) == {
        "lr": 1e-5, "n": 30, "none": None, "word": "nan",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("model", "baseline", "CNN from scratch"),
        ("baseline", "compact", "compact"),
        ("weights", "random", "random weights"),
        ("n_unfreeze", 0, "backbone frozen"),
        ("n_unfreeze", 30, "last 30 layers unfrozen"),
        ("n_unfreeze", -1, "all layers unfrozen"),
        ("augment", False, "not augmented"),
        ("image_size_start", 96, "from 96 px on"),
        ("image_size_start", 0, "one side throughout"),
        ("labels_per_class", 0, "all labels"),
        ("labels_per_class", 20, "20 labels per class"),
        ("learning_rate_stage2", 1e-5, "learning rate 1e-05"),
        ("dropout", 0.3, "dropout 0.3"),
        ("n_unfreeze", ["a", {}], 'n_unfreeze ["a", {}]'),
        ("model", {"a": 1}, 'model {"a": 1}'),
        ("image_size", ["a"], 'image_size ["a"]'),
    ],
)
def test_options_are_described(name, value, text):
    assert option_text(name, value) == text


def test_values_sort_by_size_with_all_last():
    depths = [-1, 10, 0, 60, "ten", None]
    assert sorted(depths, key=lambda value: sort_key("n_unfreeze", value)) == [0, 10, 60, -1, "ten", None]
    assert value_text("n_unfreeze", -1) == value_text("labels_per_class", 0) == "all"
    assert value_text("augment", False) == "no"
    assert len({value_text("weights", "/pictures" * 10 + name) for name in ("a.npz", "b.npz")}) == 2
