"""Every fault has a test, and the page of faults shows the counts that the tests report."""

import json

import numpy  # noqa: F401  (pytester unloads modules that its inner run imports, and NumPy cannot be loaded twice)
import pytest

from tests.conftest import ROOT
from tests.survival import FAULTS, LEFT_OUT, PAGE, Survival, table, with_fresh_table

pytest_plugins = "pytester"

TESTS = """
import pytest
from hypothesis import given, settings, strategies as st

@pytest.mark.fault(1)
@pytest.mark.parametrize("times", [3, 4])
def test_with_counts(record_property, times):
    record_property("tried", times)
    record_property("lost", times - 3)

@pytest.mark.fault(1, 2)
def test_without_counts():
    pass

@given(st.integers())
@settings(max_examples=7, database=None)
@pytest.mark.fault(3)
def test_with_examples(number):
    assert isinstance(number, int)

@pytest.mark.fault(4)
def test_that_fails():
    assert False

@pytest.mark.fault(5)
def test_that_is_skipped():
    pytest.skip()
"""


def test_every_fault_has_a_test_in_make_test(request):
    if request.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        pytest.skip("only some of the tests were collected")
    tests = request.config.pluginmanager.get_plugin("survival").tests
    assert set(tests) == set(FAULTS) == set(range(1, 32))
    for number, items in tests.items():
        assert any(not LEFT_OUT & {mark.name for mark in item.iter_markers()} for item in items), number


def test_the_counts_of_each_fault_are_written_to_a_file(pytester, tmp_path):
    pytester.makepyfile(TESTS)
    pytester.makeini("[pytest]\nmarkers = fault(n)")
    pytester.inline_run("-p", "no:cacheprovider", plugins=[Survival(tmp_path / "counts.json")])
    assert json.loads((tmp_path / "counts.json").read_text())["faults"] == {
        "1": {"with counts": {"tried": 7, "lost": 1}, "without counts": {"tried": 1, "lost": 0}},
        "2": {"without counts": {"tried": 1, "lost": 0}},
        "3": {"with examples": {"tried": 7, "lost": 0}},
        "4": {"that fails": {"tried": 1, "lost": 1}},
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


def test_the_page_of_faults_is_up_to_date():
    page = (ROOT / "docs" / PAGE).read_text("utf-8")
    assert with_fresh_table(ROOT / "docs") == page, f"docs/{PAGE} is stale: run `make tables`"
