"""Stopping cleanly: Ctrl-C and SIGTERM end the work between two writes, never inside one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

from pairscore.errors import PairscoreError
from pairscore.signals import SignalWatch

__all__ = ["Stopped", "Stopping"]


class Stopped(KeyboardInterrupt):
    """A signal asked to stop.

    Attributes:
        number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Stopping(SignalWatch):
    """While it is entered, a signal raises `Stopped`; inside `held` it waits for the end of the block."""

    def __init__(self) -> None:
        super().__init__()
        self._held = False
        self._waiting: int | None = None
        self._raised: int | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the signals; a stop that was wrapped, or lost and replaced, comes out as what it is.

        Raised in a handler that ran inside of C code which had its result already, it arrives in a SystemError; raised
        while an extension module is imported, an ImportError takes its place.
        """
        super().__exit__(kind, error, traceback)
        if self._raised is not None and isinstance(error, Exception) and _hides_a_stop(error):
            stop = Stopped(self._raised)
            for note in getattr(error, "__notes__", ()):
                stop.add_note(note)
            raise stop from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block that no signal cuts in two; one that came meanwhile is raised behind it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting is not None:
            self._stop(self._waiting)

    def hold(self) -> None:
        """From here on, signals wait for good: what follows is short and has to be finished."""
        self._held = True

    def on_signal(self, number: int) -> None:
        """Raise, or wait for the end of the block."""
        if self._held:
            self._waiting = number
            return
        self._stop(number)

    def _stop(self, number: int) -> NoReturn:
        self._raised = number
        raise Stopped(number)


def _hides_a_stop(error: Exception) -> bool:
    """Whether it came of a stop: one of ours says so; another one, after a stop was asked for, has no better reason."""
    if not isinstance(error, PairscoreError):
        return True
    cause = error.__cause__
    while cause is not None and not isinstance(cause, Stopped):
        cause = cause.__cause__
    return cause is not None
