import pytest

from tests.samples import write_stopped_early
from transfer_utils.dashboard import store, study_charts
from transfer_utils.results.groups import RunGroup, families, group_by_configuration


@pytest.fixture
def rows(study):
    return store.read(study).rows


def test_an_option_is_drawn_in_the_order_of_its_values(rows):
    figure = study_charts.one_option(families(rows, "n_unfreeze"), "n_unfreeze", "val")
    assert figure.layout.xaxis.ticktext == ("0", "10", "30", "60", "all")
    assert list(figure.layout.xaxis.tickvals) == [0, 1, 2, 3, 4]
    low, high, mean, each = figure.data
    assert all(a <= b <= c for a, b, c in zip(low.y, mean.y, high.y, strict=True))
    assert len(each.x) == 15  # five depths, three seeds


def test_positive_numbers_over_decades_have_a_logarithmic_axis(rows):
    figure = study_charts.one_option(families(rows, "learning_rate_stage2"), "learning_rate_stage2", "test")
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.tickvals) == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert [trace.name for trace in figure.data if trace.name] == ["augmented", "not augmented"]


def test_the_gain_of_test_time_augmentation(rows):
    groups = group_by_configuration([row for row in rows if row.metric("test_tta") is not None])[:2]
    figure = study_charts.augmentation_gain(groups, "test")
    assert [trace.x[0] for trace in figure.data] == pytest.approx([0.9, 0.9])
    assert figure.layout.xaxis.title.text == "points gained on test"
    group = RunGroup("a run and its repeat", [groups[0].rows[0]] * 2)
    assert study_charts.augmentation_gain([group], "test").data[0].error_x.array is None, "one seed has no deviation"


def test_the_epochs_that_early_stopping_saved_follow_those_that_ran(tmp_path):
    write_stopped_early(tmp_path / "one")
    rows = store.read(tmp_path).rows
    ran, saved = study_charts.epochs_used(group_by_configuration(rows)).data
    assert (ran.name, ran.x, saved.name, saved.x) == ("epochs run", (12,), "epochs saved", (8,))
