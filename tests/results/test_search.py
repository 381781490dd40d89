import pytest

from tests.samples import write_run
from transfer_utils.dashboard import store
from transfer_utils.results.search import parse_search


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    cifar = {"preset": "cifar10", "n_unfreeze": 30, "augment": True, "seed": 0}
    write_run(folder / "thirty", cifar, "completed", 0)
    write_run(folder / "sixty", {**cifar, "n_unfreeze": 60, "seed": 1, "labels_per_class": 20}, "completed", 1)
    write_run(folder / "all", {**cifar, "n_unfreeze": -1, "augment": False}, "diverged", 2)
    write_run(folder / "scratch", {"model": "baseline", "seed": 10, "epochs_baseline": 60}, "completed", 3)
    return store.read(folder, store.stamp(folder)).rows


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "all scratch sixty thirty"),
        ("baseline", "scratch"),
        ("tutorial cnn", "scratch"),
        ("MobileNetV2", "all sixty thirty"),
        ("diverged", "all"),
        ("cifar10 completed scr", "scratch"),
        ("seed=1", "sixty"),
        ("seed = 1", "sixty"),
        ("seed!=0 ", "scratch sixty"),
        ("n_unfreeze=6", ""),
        ("n-unfreeze=60", "sixty"),
        ("N_UNFREEZE=60.0", "sixty"),
        ("n_unfreeze>=30", "all sixty thirty"),
        ("unfrozen<60", "thirty"),
        ("unfrozen=all", "all"),
        ("n_unfreeze=-1", "all"),
        ("labels_per_class=all", "all scratch thirty"),
        ("labels=20", "sixty"),
        ("augment=True", "sixty thirty"),
        ("augment=yes", "sixty thirty"),
        ("augmented=yes seed=0", "thirty"),
        ("status=completed", "scratch sixty thirty"),
        ("model=baseline", "scratch"),
        ('network="tutorial CNN"', "scratch"),
        ("val>0", "scratch sixty thirty"),
        ("val>0.1 n_unfreeze>=30 seed=0", "thirty"),
        ("val > 10% unfrozen ≥ 30 seed = 0", "thirty"),
        ("validation>100", ""),
        ("val>one", ""),
        ("epochs_baseline=60", "scratch"),
        ("nothing=1", ""),
    ],
)
def test_words_and_conditions_select_runs(rows, text, names):
    query = parse_search(text)
    assert sorted(row.name for row in rows if query.matches(row)) == names.split()


def test_an_option_without_effect_is_not_found(tmp_path):
    # The rate of fine-tuning has none on a run that fine-tunes nothing; the table shows a dash in its place.
    for name, n_unfreeze in ("frozen", 0), ("tuned", 30):
        write_run(tmp_path / name, {"n_unfreeze": n_unfreeze, "learning_rate_stage2": 1e-3}, "completed", n_unfreeze)
    query = parse_search("learning_rate_stage2=1e-3")
    rows = store.read(tmp_path, store.stamp(tmp_path)).rows
    assert [row.name for row in rows if query.matches(row)] == ["tuned"]


def test_an_accuracy_may_be_given_in_percent(rows):
    for row in rows:
        if accuracy := row.metric("val_end2end"):
            below, above = 100 * accuracy - 0.1, 100 * accuracy + 0.1
            for percent in ("", "%"):
                assert parse_search(f"val>{below}{percent} val<{above}{percent}").matches(row)
                assert not parse_search(f"val>{above}{percent}").matches(row)


def test_an_unknown_name_is_reported_with_the_nearest(rows):
    assert parse_search("seed=0 val>0").unknown(rows) == []
    [problem] = parse_search("n_unfreze=30").unknown(rows)
    assert problem == "There is no column or option 'n_unfreze'. Did you mean 'n_unfreeze'?"
