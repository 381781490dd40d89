"""The format of tables, durations and p-values in the terminal, the README and the article."""

from transfer_utils.results.formatting import duration, markdown_table, p_value


def test_durations():
    assert [duration(s) for s in (8.26, 45, 185, 3599.4, 3599.5, 3659, 7622, None, -1)] == [
        "8.3 s", "45 s", "3 min 05 s", "59 min 59 s", "1 h 00 min", "1 h 01 min", "2 h 07 min", "–", "–",
    ]  # fmt: skip


def test_p_values():
    assert [p_value(p) for p in (0.03126, 1e-5)] == ["= 0.031", "< 0.0001"]


def test_a_markdown_table_has_a_rule_below_its_header():
    assert markdown_table(["a", "b"], [["1", ""]]) == "| a | b |\n|---|---|\n| 1 |  |"
