"""What is compared where runs have other seeds; tests/report/test_article.py has the sides of the committed runs."""

from tests.results.test_summary import STUDY, configuration, run
from transfer_utils.report.sides import by_labels, other_rates, saves_time
from transfer_utils.results.summary import collect

FEW = {"labels_per_class": 5}


def test_sides_and_settings_without_a_seed_in_common_are_not_compared():
    transfer, other_rate = run(0, 0.6, **FEW), run(1, 0.5, **FEW, learning_rate_stage2=1e-5)
    cnn = {**FEW, "model": "baseline", "baseline": "compact"}
    apart = collect(STUDY, [transfer, other_rate, run(1, 0.4, **cnn)])
    assert by_labels(apart) == {}
    assert other_rates(apart, {5: {"transfer": apart.best("transfer", 5)}}) == {}
    together = collect(STUDY, [transfer, run(0, 0.5, **FEW, learning_rate_stage2=1e-5), run(0, 0.4, **cnn)])
    few = by_labels(together)
    assert list(few[5]) == ["transfer", "compact"] and list(other_rates(together, few)) == ["transfer"]


def test_times_on_other_numbers_of_cores_are_not_compared():
    fast, slow = configuration(0.7), configuration(0.7)
    for each, seconds in ((fast, 20.0), (slow, 300.0)):
        each.first.timing_sec, each.first.machine = {"total": seconds}, {"cores": 2}
    assert saves_time(fast, slow) and not saves_time(slow, fast)
    fast.first.machine = {"cores": 16}
    assert not saves_time(fast, slow)
