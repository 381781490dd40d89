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
def test_the_nearest_known_name_is_offered_only_where_one_is_near(name, expected):
    assert nearest(name, ["batch_size", "epochs_stage1", "seed"]) == expected


def test_a_user_error_is_a_value_error_so_that_callers_of_the_library_can_catch_it_by_the_usual_name():
    with pytest.raises(ValueError, match="image_size"):
        raise UserError("image_size must be at least 32, got 16.")
