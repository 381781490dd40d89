"""Progress: a bar for who looks and waits, lines for a log, nothing for who asked for nothing."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from transfer_utils.utils import progress
from transfer_utils.utils.progress import reporting


def test_quiet_means_nothing_at_all(capsys):
    with reporting(quiet=True) as (tick, log):
        assert tick is None
        log("a line")
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_are_lines_and_no_bars(capsys):
    with reporting(quiet=False) as (tick, log):
        assert tick is None
        log("[bold]50 % of 3 | 4[/bold] " + "x" * 200)
    assert capsys.readouterr() == ("[bold]50 % of 3 | 4[/bold] " + "x" * 200 + "\n", "")


@pytest.fixture
def terminal(monkeypatch):
    """Return what a terminal shows, and a clock that stands still until it is moved."""
    screen = SimpleNamespace(shown=io.StringIO(), now=0.0)
    console = lambda **options: Console(file=screen.shown, force_terminal=True, width=100, **options)  # noqa: E731
    monkeypatch.setattr(progress, "Console", console)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: screen.now))
    return screen


def test_a_step_that_takes_long_gets_a_bar(terminal):
    with reporting(quiet=False) as (tick, _):
        tick("decoding", 1, 100)
        terminal.now = 1.0  # a tenth in a second: ten in all
        tick("decoding", 10, 100)
    assert "decoding" in terminal.shown.getvalue() and "10/100" in terminal.shown.getvalue()


def test_a_step_that_is_over_in_a_moment_gets_none(terminal):
    with reporting(quiet=False) as (tick, _):
        for done in range(1, 101):
            tick("decoding", done, 100)
            terminal.now += 0.01
        terminal.now = 50.0
        tick("decoding", 100, 100)
    assert "decoding" not in terminal.shown.getvalue()


def test_there_is_one_bar_at_a_time(terminal):
    with reporting(quiet=False) as (tick, _):
        for title in ("decoding", "training"):
            tick(title, 1, 100)
            terminal.now += 5
            tick(title, 2, 100)
    frames = [frame for frame in terminal.shown.getvalue().split("\r") if "training" in frame]
    assert frames and not any("decoding" in frame for frame in frames)


def test_lines_are_shown_as_they_are(terminal):
    with reporting(quiet=False) as (_, log):
        log("[red]not red[/red]")
    assert "[red]not red[/red]" in terminal.shown.getvalue()
