import pytest

from tests.samples import OLD_LOG
from transfer_utils.results.options import normalised, phrase, said, sort_key


def test_old_logs_speak_todays_language():
    assert normalised(OLD_LOG["config"]) == {
        "backbone": "MobileNetV2",
        "n_unfreeze": 30,
        "augment": True,
        "use_mixup": False,
        "batch_size": 64,
        "epochs_stage2": 100,
    }
    assert normalised({"lr": "1e-5", "n": "30", "none": "None", "word": "nan"}) == {
        "lr": 1e-5, "n": 30, "none": None, "word": "nan",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("model", "baseline", "CNN from scratch"),
        ("n_unfreeze", 0, "backbone frozen"),
        ("n_unfreeze", 30, "last 30 layers unfrozen"),
        ("n_unfreeze", -1, "all layers unfrozen"),
        ("augment", False, "not augmented"),
        ("labels_per_class", 0, "all labels"),
        ("labels_per_class", 20, "20 labels per class"),
        ("learning_rate_stage2", 1e-5, "learning rate 1e-05"),
        ("dropout", 0.3, "dropout 0.3"),
        ("n_unfreeze", ["a", {}], 'n_unfreeze ["a", {}]'),
        ("model", {"a": 1}, 'model {"a": 1}'),
    ],
)
def test_phrase(name, value, words):
    assert phrase(name, value) == words


def test_values_sort_by_size_with_all_of_them_last():
    depths = [-1, 10, 0, 60, "ten", None]
    assert sorted(depths, key=lambda value: sort_key("n_unfreeze", value)) == [0, 10, 60, -1, "ten", None]
    assert said("n_unfreeze", -1) == said("labels_per_class", 0) == "all"
    assert said("augment", False) == "no"
