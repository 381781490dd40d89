"""Every fault has a test, and the page of faults is up to date."""

import json

import pytest

from tests.conftest import ROOT
from tests.survival import COUNTS, FAULTS, LEFT_OUT, PAGE, title_of, with_fresh_table


def test_every_fault_has_a_test_in_make_test(request):
    if request.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        pytest.skip("only some of the tests were collected")
    tests = request.config.pluginmanager.get_plugin("survival").tests
    assert set(tests) == set(FAULTS)
    counts = json.loads((ROOT / "docs" / COUNTS).read_text("utf-8"))["faults"]
    for number, counted in counts.items():
        gone = set(counted) - {title_of(item) for item in tests[int(number)]}
        assert not gone, f"docs/{COUNTS} counts tests that do not exist; `make torture` leaves them out"
    for number, items in tests.items():
        assert any(not LEFT_OUT & {mark.name for mark in item.iter_markers()} for item in items), number


def test_the_page_of_faults_is_up_to_date():
    page = (ROOT / "docs" / PAGE).read_text("utf-8")
    assert with_fresh_table(ROOT / "docs") == page, f"docs/{PAGE} is stale: run `make tables`"
