"""The faults that this project survives, and how often the tests tried each of them.

A test names its faults with ``@pytest.mark.fault(n)``. It counts as one attempt, a Hypothesis test as one attempt per
example, and the fixture ``tally`` reports other numbers. ``make torture`` writes the counts, ``make tables`` the page:

    python -m tests.survival docs

With ``--tally``, some of the tests can be counted again; the counts of the others stay.
"""

import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

COUNTS, PAGE = "faults.json", "faults.md"
LEFT_OUT = {"torture"}  # markers that ``make test`` deselects


FAULTS = {  # what goes wrong, and what happens then
    1: ("killed while the run record is written", "the old record or the new one, always valid JSON"),
    2: ("killed while a model is saved (.keras, .h5)", "the previous file still loads"),
    3: ("killed while a cache is written", "the cache is built again, never half-read"),
    4: ("killed in a stage or between two", "the same command continues; the final weights are the same to the bit"),
    5: (
        "disk full: record, model, cache",
        "exit status 1, or 2 if it is noticed before writing; a clear message, the previous file intact",
    ),
    6: ("Ctrl-C, SIGTERM, SIGHUP", "the record says `interrupted`; exit status 130, 143, 129; no traceback"),
    7: ("two runs with the same output folder", "both are kept, under different names"),
    8: ("eight processes want the same cache", "one builds it, all read the same bytes"),
    9: ("the holder of a lock is killed", "the lock is free"),
    10: ("weights truncated, of another network, or not HDF5", "named, moved out of use, never trained on"),
    11: ("no network and nothing cached", "one paragraph: what is missing, where to put it, what needs neither"),
    12: ("archive with a wrong hash, links or paths that lead out", "refused; nothing is written outside"),
    13: ("hostile model file (Lambda, pickle, links)", "refused; none of its code runs"),
    14: ("a flipped byte in a cache", "a checksum catches it; it is built again"),
    15: ("a cache of other weights, size, split or version", "another key: not used"),
    16: ("the loss becomes NaN or infinite", "the run stops as `diverged`; the record holds null, not NaN"),
    17: ("labels out of range, or fewer than images", "an error before training, with the value"),
    18: ("a class missing from a split, an empty folder, one image", "a named error, or null for that class"),
    19: ("grey, RGBA, CMYK, 16-bit, palette, animated images", "converted to RGB"),
    20: ("odd shapes, 20 megapixels, image bombs, damaged files", "cut by rule; bad files are skipped and counted"),
    21: ("pixels scaled to [0, 1] or [-1, 1] already", "an error that explains the 0–255 rule"),
    22: (
        "many predictions, repeated runs, several times as many images",
        "memory is released, and hardly grows with the images",
    ),
    23: ("a record that is damaged, foreign, deep or huge", "listed with the reason; good runs are still shown"),
    24: ("markup or control characters in names", "shown as text"),
    25: ("links, `..` and pipes in the runs folder", "nothing outside is read; nothing hangs"),
    26: ("a record vanishes or changes while it is read", "read again, then left out"),
    27: ("the clock runs backwards", "durations are monotonic; order is by number"),
    28: ("a notebook fails, hangs, or its kernel dies", "named with its cell; the partial copy is kept"),
    29: ("a mistyped option, or any other words", "an error before anything runs; the nearest name is offered"),
    30: ("somebody else wants the dashboard", "it listens to this machine alone, and sends nothing anywhere"),
    31: ("the same seed, machine and thread count", "the same SHA-256 of the weights, three times"),
    32: (
        "a download trickles, hangs, breaks off or has a wrong byte",
        "the next address continues; a wrong file is named",
    ),
    33: ("a note in the cache is empty, cut or of another type", "a warning names it; it is made again"),
    34: ("SIGHUP, Ctrl-C at the first moment, a killed dashboard", "as with Ctrl-C; no traceback; nothing is left"),
    35: ("a record says running and its lock is free", "shown as stopped, with the command that resumes it"),
    36: ("±1e308, a null curve, NaN or a BOM in a record", "that part is left out, with a note; the rest stays"),
    37: ("a model file of kilobytes that declares gigabytes", "refused before memory is taken for it"),
    38: (
        "`.jfif`, HEIC, nested, empty and hidden files, copies across splits",
        "read or named; nothing is left out silently",
    ),
    39: (
        "uploads: bombs, links, `../`, 10,000 files, long names",
        "refused with a sentence; nothing is written outside",
    ),
    40: ("an output disk is full or read-only", "reported before training, with the path and the free space"),
}


class Survival:
    """A pytest plugin that counts the attempts and losses of each fault and writes them to ``path``, if given."""

    def __init__(self, path: Path | None):
        self.path = path
        self.tests: dict[int, list[pytest.Item]] = {}
        self.whole = False  # whether all tests were collected
        self.counts: dict[int, dict[str, dict[str, int]]] = {}

    @pytest.hookimpl(tryfirst=True)  # before any test is deselected
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self.whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
        for item in items:
            for number in faults_of(item):
                self.tests.setdefault(number, []).append(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Count the examples of a property test."""
        handle = getattr(item.obj, "hypothesis", None)
        if not handle:
            return (yield)
        test, examples = handle.inner_test, 0

        @functools.wraps(test)
        def counted(*args, **options):
            nonlocal examples
            examples += 1
            return test(*args, **options)

        handle.inner_test = counted
        try:
            return (yield)
        finally:
            handle.inner_test = test
            item.user_properties.append(("tried", examples))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report = yield
        if report.failed or (report.when == "call" and not report.skipped):
            numbers = [(name, n) for name, n in item.user_properties if name in ("tried", "lost")] or [("tried", 1)]
            if report.failed:
                numbers.append(("lost", 1))
            for number in faults_of(item):
                counts = self.counts.setdefault(number, {}).setdefault(title_of(item), {"tried": 0, "lost": 0})
                for name, n in numbers:
                    counts[name] += n
        return report

    def pytest_sessionfinish(self) -> None:
        if self.path:
            from transfer_utils.utils.files import write_json
            from transfer_utils.utils.machine import machine, versions

            write_json(self.path, {"versions": versions(), "machine": machine(), "faults": self.merged()})

    def merged(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the counts of this session, and of tests that did not run those in the file, if they still exist."""
        before = json.loads(self.path.read_text("utf-8"))["faults"] if self.path.exists() else {}
        merged = {}
        for number in map(str, FAULTS):
            titles = {title_of(item) for item in self.tests.get(int(number), [])}
            counted = before.get(number, {}).items()
            kept = {title: counts for title, counts in counted if title in titles or not self.whole}
            merged[number] = kept | self.counts.get(int(number), {})
        return merged


def faults_of(item: pytest.Item) -> list[int]:
    """Return the numbers of the faults of a test."""
    return sorted({number for mark in item.iter_markers("fault") for number in mark.args})


def title_of(item: pytest.Item) -> str:
    """Return the name of a test in words, without its parameters."""
    return item.obj.__name__.removeprefix("test_").replace("_", " ")


def table(counts: dict[str, dict[str, dict[str, int]]]) -> str:
    """Return the table of faults with the sums of ``counts`` and a summary sentence."""
    from transfer_utils.results.formatting import markdown_table

    rows, tried, lost, survived = [], 0, 0, 0
    for number, fault in FAULTS.items():
        tests = counts.get(str(number), {}).values()
        sums = [sum(count[name] for count in tests) for name in ("tried", "lost")]
        survived += bool(tests) and sums[1] == 0
        tried, lost = tried + sums[0], lost + sums[1]
        cells = [f"{n:,}" for n in (len(tests), *sums)] if tests else ["–"] * 3
        rows.append([str(number), *fault, *cells])
    summary = f"{survived} of {len(FAULTS)} faults survived; tried {tried:,} times; lost {lost:,} times."
    columns = ["", "what goes wrong", "what happens then", "tests", "tried", "lost"]
    return "\n".join([summary, "", markdown_table(columns, rows), ""])


def with_fresh_table(folder: Path) -> str:
    """Return the page of faults in ``folder`` with a table of the counts beside it."""
    from transfer_utils.report.readme import with_tables

    counts = json.loads((folder / COUNTS).read_text("utf-8"))["faults"]
    return with_tables((folder / PAGE).read_text("utf-8"), {"faults": table(counts)})


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / PAGE).write_text(with_fresh_table(place), "utf-8")
