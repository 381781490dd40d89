import pytest

from transfer_utils.errors import UserError, nearest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("batchsize", " Did you mean 'batch_size'?"),
        ("epoch_stage1", " Did you mean 'epochs_stage1'?"),
        ("BATCH_SIZE", " Did you mean 'batch_size'?"),
        ("qqq", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_suggested_if_it_is_close(name, expected):
    assert nearest(name, ["batch_size", "epochs_stage1", "seed"]) == expected


def test_a_user_error_can_be_caught_as_a_value_error():
    assert issubclass(UserError, ValueError)
