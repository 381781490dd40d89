"""Long steps get a bar on a terminal, lines are printed everywhere, and quiet mode shows nothing."""

import io
import re
import subprocess
import sys
from subprocess import PIPE
from types import SimpleNamespace

import pytest
from rich.console import Console

from transfer_utils.utils import progress
from transfer_utils.utils.progress import notebook_progress, reporting


@pytest.mark.parametrize("quiet", [True, False])
def test_without_a_terminal_there_are_only_lines_and_none_if_quiet(capsys, quiet):
    line = "[bold]50 % of 3 | 4[/bold] " + "x" * 200
    with reporting(quiet) as (progress_bar, log):
        assert progress_bar is None
        log(line)
    assert capsys.readouterr() == ("" if quiet else line + "\n", "")


def test_a_reader_that_has_gone_does_not_end_the_work():
    script = (
        "import sys\nfrom transfer_utils.utils.progress import reporting\n"
        "with reporting(quiet=False) as (_, log):\n    log('first')\n    sys.stdin.readline()\n    log('second')\n"
        "    log('third')\nprint('done', file=sys.stderr)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
    assert child.stdout.readline() == "first\n"
    child.stdout.close()
    assert child.communicate("on\n", timeout=60)[1] == "done\n" and child.returncode == 0


def test_nor_does_it_on_windows_where_it_looks_like_an_invalid_argument():
    script = (
        "import io, sys\nfrom transfer_utils.utils.progress import reporting\n"
        "class Gone(io.StringIO):\n    def fileno(self):\n        return 1\n"
        "    def flush(self):\n        raise OSError(22, 'Invalid argument')\n"
        "sys.stdout = Gone()\nwith reporting(quiet=False) as (_, log):\n    log('first')\n"
        "sys.stdout = sys.__stdout__\nprint('done', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "done\n")


@pytest.fixture
def terminal(monkeypatch):
    """Return the output of a fake terminal and a clock that the test moves."""
    screen = SimpleNamespace(shown=io.StringIO(), now=0.0)
    console = lambda **options: Console(file=screen.shown, force_terminal=True, width=100, **options)  # noqa: E731
    monkeypatch.setattr(progress, "Console", console)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: screen.now))
    return screen


def test_a_long_step_gets_a_bar_and_lines_are_printed_without_markup(terminal):
    with reporting(quiet=False) as (progress_bar, log):
        progress_bar("[/decoding]", 1, 100)
        terminal.now = 1.0  # a tenth of the work in one second
        progress_bar("[/decoding]", 10, 100)
        log("[red]not red[/red] :cat:")
    for text in ("[/decoding]", "10/100", "[red]not red[/red] :cat:"):
        assert text in terminal.shown.getvalue()


def test_a_short_step_gets_no_bar(terminal):
    with reporting(quiet=False) as (progress_bar, _):
        for done in range(1, 101):
            progress_bar("decoding", done, 100)
            terminal.now += 0.01
        terminal.now = 50.0
        progress_bar("decoding", 100, 100)
    assert "decoding" not in terminal.shown.getvalue()


def test_a_download_shows_bytes_and_rate(terminal):
    with reporting(quiet=False) as (progress_bar, _):
        progress_bar("downloading", 0, 170_000_000, "bytes")
        for second in range(1, 10):
            terminal.now = float(second)
            progress_bar("downloading", second * 1_000_000, 170_000_000, "bytes")
    assert "9.0/170.0 MB" in terminal.shown.getvalue()
    assert re.search(r"\d [kMG]B/s", terminal.shown.getvalue()), "the rate is by the real clock"


def test_a_notebook_shows_a_download_in_one_line_that_ends_with_the_last_byte(monkeypatch):
    assert notebook_progress() is None, "there is no cell to write below"
    lines, clock = [], SimpleNamespace(now=0.0)
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    handle = SimpleNamespace(update=lambda text, raw: lines.append(text["text/plain"]))

    def display(text, raw, display_id):
        lines.append(text["text/plain"])
        return handle

    monkeypatch.setattr("IPython.display.display", display)
    show = notebook_progress()
    steps = [(0, "A", 0), (0.1, "A", 1), (10, "A", 10**6), (11, "B", 10**6), (12, "B", 3 * 10**6)]
    for clock.now, title, done in steps:
        show(title, done, 3_000_000, "bytes")
    assert lines == [
        "A: 0 bytes of 3.0 MB",
        "A: 1.0 MB of 3.0 MB, 100.0 kB/s, 0:20 left",
        "B: 1.0 MB of 3.0 MB",
        "B: 3.0 MB of 3.0 MB, 2.0 MB/s",
    ]


def test_only_one_bar_is_shown_at_a_time(terminal):
    with reporting(quiet=False) as (progress_bar, _):
        for title in ("decoding", "training"):
            progress_bar(title, 1, 100)
            terminal.now += 5
            progress_bar(title, 2, 100)
    frames = [frame for frame in terminal.shown.getvalue().split("\r") if "training" in frame]
    assert frames and not any("decoding" in frame for frame in frames)
