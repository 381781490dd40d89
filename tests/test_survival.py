"""Every fault of the list is played by a test, its counts are what the tests told, and the page shows the counts."""

import json

import pytest

from tests.conftest import ROOT
from tests.survival import FAULTS, LEFT_OUT, PAGE, Survival, table, with_fresh_table

pytest_plugins = "pytester"

PLAYED = """
import pytest
from hypothesis import given, settings, strategies as st

@pytest.mark.fault(1)
@pytest.mark.parametrize("times", [3, 4])
def test_a_told_one(record_property, times):
    record_property("tried", times)
    record_property("lost", times - 3)

@pytest.mark.fault(1, 2)
def test_a_plain_one():
    pass

@given(st.integers())
@settings(max_examples=7, database=None)
@pytest.mark.fault(3)
def test_a_property(number):
    assert isinstance(number, int)

@pytest.mark.fault(4)
def test_a_failing_one():
    assert False

@pytest.mark.fault(5)
def test_a_skipped_one():
    pytest.skip()
"""


def test_every_fault_is_played_by_a_test_of_make_test(request):
    if request.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        pytest.skip("only a part of the tests was collected")
    tests = request.config.pluginmanager.get_plugin("survival").tests
    assert set(tests) == set(FAULTS) == set(range(1, 32))
    for number, items in tests.items():
        assert any(not LEFT_OUT & {mark.name for mark in item.iter_markers()} for item in items), number


def test_what_the_tests_tell_is_written_down_fault_by_fault(pytester, tmp_path):
    pytester.makepyfile(PLAYED)
    pytester.makeini("[pytest]\nmarkers = fault(n)")
    pytester.inline_run("-p", "no:cacheprovider", plugins=[Survival(tmp_path / "counts.json")])
    assert json.loads((tmp_path / "counts.json").read_text())["faults"] == {
        "1": {"a told one": {"tried": 7, "lost": 1}, "a plain one": {"tried": 1, "lost": 0}},
        "2": {"a plain one": {"tried": 1, "lost": 0}},
        "3": {"a property": {"tried": 7, "lost": 0}},
        "4": {"a failing one": {"tried": 1, "lost": 1}},
    }


def test_the_table_sums_the_counts_of_each_fault():
    counts = {
        "1": {"a": {"tried": 1000, "lost": 0}, "b": {"tried": 300, "lost": 0}},
        "2": {"c": {"tried": 1, "lost": 1}},
    }
    lines = table(counts).splitlines()
    assert lines[0] == "1 of 31 faults survived; tried 1,301 times; lost 1 times."
    assert lines[4].startswith("| 1 |") and lines[4].endswith("| 2 | 1,300 | 0 |")
    assert lines[5].endswith("| 1 | 1 | 1 |") and lines[6].endswith("| – | – | – |")


def test_the_page_of_faults_is_fresh():
    page = (ROOT / "docs" / PAGE).read_text("utf-8")
    assert with_fresh_table(ROOT / "docs") == page, f"docs/{PAGE} is stale: run `make tables`"
