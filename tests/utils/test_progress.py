"""Long steps get a bar on a terminal, lines are printed everywhere, and quiet mode shows nothing."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from transfer_utils.utils import progress
from transfer_utils.utils.progress import reporting


@pytest.mark.parametrize("quiet", [True, False])
def test_without_a_terminal_there_are_only_lines_and_none_if_quiet(capsys, quiet):
    line = "[bold]50 % of 3 | 4[/bold] " + "x" * 200
    with reporting(quiet) as (progress_bar, log):
        assert progress_bar is None
        log(line)
    assert capsys.readouterr() == ("" if quiet else line + "\n", "")


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
        progress_bar("decoding", 1, 100)
        terminal.now = 1.0  # a tenth of the work in one second
        progress_bar("decoding", 10, 100)
        log("[red]not red[/red]")
    for text in ("decoding", "10/100", "[red]not red[/red]"):
        assert text in terminal.shown.getvalue()


def test_a_short_step_gets_no_bar(terminal):
    with reporting(quiet=False) as (progress_bar, _):
        for done in range(1, 101):
            progress_bar("decoding", done, 100)
            terminal.now += 0.01
        terminal.now = 50.0
        progress_bar("decoding", 100, 100)
    assert "decoding" not in terminal.shown.getvalue()


def test_only_one_bar_is_shown_at_a_time(terminal):
    with reporting(quiet=False) as (progress_bar, _):
        for title in ("decoding", "training"):
            progress_bar(title, 1, 100)
            terminal.now += 5
            progress_bar(title, 2, 100)
    frames = [frame for frame in terminal.shown.getvalue().split("\r") if "training" in frame]
    assert frames and not any("decoding" in frame for frame in frames)
