"""Signals wait while TensorFlow runs, and end the process where it does not; a second key press does not wait."""

import signal
import subprocess
import sys

import pytest

# A function that counts as one of TensorFlow's, called by one that is interrupted.
CODE = """
import signal, sys, time
from transfer_utils.utils import interrupts

interrupts.handle_signals({{signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: lambda: SystemExit(143)}})
interrupts.PATIENCE_SECONDS = {patience}
library = {{"__name__": "{module}", "time": time}}
exec('''
def run(seconds, signals, then=lambda: None):
    for number in signals:
        import signal
        signal.raise_signal(number)
    then()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    print("finished", flush=True)
''', library)
try:
    {what}
except (KeyboardInterrupt, SystemExit) as end:
    print(repr(end))
"""


def output(what: str, patience: float = 60.0, module: str = "tensorflow.python.eager") -> list[str]:
    """Return the lines that this statement prints; ``library["run"](seconds, signals)`` stands for that module."""
    code = CODE.format(what=what, patience=patience, module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("number", "end"), [(signal.SIGINT, "KeyboardInterrupt()"), (signal.SIGTERM, "SystemExit(143)")]
)
def test_a_signal_waits_until_tensorflow_has_returned_or_a_step_has_ended(number, end):
    run = f"library['run'](0.2, [{int(number)}])"
    assert output(f"{run}; time.sleep(30)") == ["finished", end]
    assert output(f"{run}; interrupts.raise_pending(); print('not reached')") == ["finished", end]
    assert output(f"{run}; time.sleep(30)", module="keras.src.layers") == ["finished", end]


@pytest.mark.fault(6)
def test_elsewhere_a_signal_ends_the_process_at_once():
    assert output(f"signal.raise_signal({int(signal.SIGINT)}); print('not reached')") == ["KeyboardInterrupt()"]


@pytest.mark.fault(6)
def test_a_second_key_press_and_the_end_of_patience_end_even_tensorflow():
    pressed = [int(signal.SIGINT)]
    again = "time.sleep(0.7), signal.raise_signal(signal.SIGINT)"
    assert output(f"library['run'](30, {pressed}, lambda: ({again}))") == ["KeyboardInterrupt()"]
    assert output(f"library['run'](30, {pressed})", patience=0.1) == ["KeyboardInterrupt()"]


@pytest.mark.fault(6)
def test_signals_of_one_key_press_and_of_a_system_that_sends_several_are_one():
    several = [int(signal.SIGINT), int(signal.SIGINT), int(signal.SIGTERM)]
    assert output(f"library['run'](0.3, {several}); time.sleep(30)") == ["finished", "KeyboardInterrupt()"]


def test_a_signal_that_is_ignored_stays_ignored():
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN); interrupts.handle_signals({signal.SIGINT: SystemExit})"
    assert output(f"{ignored}; signal.raise_signal(signal.SIGINT); print('goes on')") == ["goes on"]
