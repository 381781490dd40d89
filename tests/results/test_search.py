import pytest

from tests.results.samples import made
from transfer_utils.results.search import parse_search

CIFAR10 = {"preset": "cifar10", "n_unfreeze": 30, "augment": True, "seed": 0}
ROWS = [
    made("thirty", **CIFAR10),
    made("sixty", **{**CIFAR10, "n_unfreeze": 60, "seed": 1, "labels_per_class": 20}),
    made("all", **{**CIFAR10, "n_unfreeze": -1, "augment": False}, status="diverged", val=None),
    made("scratch", model="baseline", seed=10, epochs_baseline=60),
]


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
        ("val>79.9 val<80.1", "scratch sixty thirty"),
        ("val>79.9% val<80.1%", "scratch sixty thirty"),
        ("val>80.1", ""),
        ("val>80.1%", ""),
        ("validation>100", ""),
        ("val>one", ""),
        ("epochs_baseline=60", "scratch"),
        ("nothing=1", ""),
    ],
)
def test_words_and_conditions_select_runs(text, names):
    query = parse_search(text)
    assert sorted(row.name for row in ROWS if query.matches(row)) == names.split()


def test_a_run_with_mixup_is_augmented_too():
    mixed = made("mixed", **CIFAR10, use_mixup=True)
    asked = ("=yes", "=mixup", '="yes + mixup"', "!=yes", "=no")
    assert [text for text in asked if parse_search(f"augmented{text}").matches(mixed)] == [*asked[:3]]


def test_an_option_without_effect_is_not_found():
    # The rate of fine-tuning has none on a run that fine-tunes nothing; the table shows a dash in its place.
    frozen, tuned = (made("run", n_unfreeze=n, learning_rate_stage2=1e-3) for n in (0, 30))
    query = parse_search("learning_rate_stage2=1e-3")
    assert query.matches(tuned) and not query.matches(frozen)


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("date>=2026-03-01", "first second"),
        ("date>2026-03-01", "second"),
        ("date<=2026-03-01", "first"),
        ("date<2026-03", ""),
        ("date=2026-03-01", "first"),
        ("date=2026-03", "first second"),
        ("date!=2026-03-01", "second"),
        ("date>=2026-03 date<2026-04", "first second"),
        ('date>"2026-03-01 12:00"', "second"),
        ("date<tomorrow", ""),
    ],
)
def test_dates_are_compared_as_far_as_they_are_given(condition, names):
    rows = [made("first"), made("second"), made("undated")]
    for row, created in zip(rows, ("2026-03-01T12:00:00Z", "2026-03-02T00:10:00Z", ""), strict=True):
        row.record.created = created
    assert " ".join(row.name for row in rows if parse_search(condition).matches(row)) == names


def test_an_unknown_name_is_reported_with_the_nearest():
    assert parse_search("seed=0 val>0").unknown(ROWS) == []
    [problem] = parse_search("n_unfreze=30").unknown(ROWS)
    assert problem == "There is no column or option 'n_unfreze'. Did you mean 'n_unfreeze'?"
    [problem] = parse_search("val>0,8").unknown(ROWS)
    assert problem == "'0,8' is not a number: write, for example, 0.8 or 80%."
    assert parse_search("date>=2026-11 n_unfreeze>=all val>80%").unknown(ROWS) == []
