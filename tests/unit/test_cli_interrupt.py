"""Stopping cleanly: what a signal raises, wherever in the interpreter it came."""

from __future__ import annotations

import signal

import pytest

from pairscore.cli.interrupt import Stopped, Stopping


def test_a_signal_that_python_wraps_comes_out_as_itself() -> None:
    """Raised while C code holds its result, it becomes the cause of a SystemError; whoever catches `Stopped` gets it."""
    with pytest.raises(Stopped) as caught, Stopping():
        _wrapped()

    assert caught.value.number == signal.SIGTERM


def test_a_system_error_of_its_own_stays_one() -> None:
    """Nobody asked to stop."""
    with pytest.raises(SystemError), Stopping():
        raise SystemError("something else")


def _wrapped() -> None:
    """What CPython does with an exception beside a result."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except Stopped as stop:
        raise SystemError("<function str> returned a result with an exception set") from stop
