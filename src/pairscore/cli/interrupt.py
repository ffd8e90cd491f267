"""Stopping cleanly: Ctrl-C and SIGTERM end the work between two writes, never inside one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the signals; what Python wrapped comes out as what it is."""
        super().__exit__(kind, error, traceback)
        # Raised in a handler that ran inside of C code which had its result already, it arrives in a SystemError.
        if isinstance(error, SystemError) and isinstance(error.__cause__, Stopped):
            raise error.__cause__

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block that no signal cuts in two; one that came meanwhile is raised behind it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting is not None:
            raise Stopped(self._waiting)

    def hold(self) -> None:
        """From here on, signals wait for good: what follows is short and has to be finished."""
        self._held = True

    def on_signal(self, number: int) -> None:
        """Raise, or wait for the end of the block."""
        if self._held:
            self._waiting = number
            return
        raise Stopped(number)
