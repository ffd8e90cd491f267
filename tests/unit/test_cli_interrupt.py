"""Stopping cleanly: what a signal raises, wherever in the interpreter it came."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest

from pairscore.cli.interrupt import Stopped, Stopping
from pairscore.errors import ModelCorruptError, OutputFileError


def test_a_signal_that_python_wraps_comes_out_as_itself() -> None:
    """Raised while C code holds its result, it becomes the cause of a SystemError; whoever catches `Stopped` gets it."""
    with pytest.raises(Stopped) as caught, Stopping():
        _wrapped()

    assert caught.value.number == signal.SIGTERM


def test_a_system_error_of_its_own_stays_one() -> None:
    """Nobody asked to stop."""
    with pytest.raises(SystemError), Stopping():
        raise SystemError("something else")


def test_a_signal_whose_error_is_replaced_comes_out_as_itself() -> None:
    """An extension module that is interrupted while it is imported says only that it failed; notes are kept."""

    def work() -> None:
        with suppress(Stopped):
            signal.raise_signal(signal.SIGINT)
        error = ImportError("numpy._core.multiarray failed to import")
        error.add_note("4 of 10 blocks are kept")
        raise error

    with pytest.raises(Stopped) as caught, Stopping():
        work()

    assert caught.value.number == signal.SIGINT
    assert caught.value.__notes__ == ["4 of 10 blocks are kept"]


def test_an_error_of_ours_that_came_of_a_signal_comes_out_as_the_signal() -> None:
    """Whoever loads a file takes every error for a broken file."""

    def work() -> None:
        try:
            _wrapped()
        except SystemError as error:
            raise ModelCorruptError("tokenizer.json is not a tokenizer file") from error

    with pytest.raises(Stopped), Stopping():
        work()


def test_an_error_of_ours_after_a_signal_stays_one() -> None:
    """What was done could not be kept, for one."""

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except Stopped:
            raise OutputFileError("'out.csv' cannot be written") from None

    with pytest.raises(OutputFileError), Stopping():
        work()


def _wrapped() -> None:
    """What CPython does with an exception beside a result."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except Stopped as stop:
        raise SystemError("<function str> returned a result with an exception set") from stop
