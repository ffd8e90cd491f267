"""Stopping cleanly: Ctrl-C and SIGTERM end the work between two writes, never inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Stopped", "Stopping"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal asked to stop.

    Attributes:
        number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Stopping:
    """While it is entered, a signal raises `Stopped`; inside `held` it waits for the end of the block."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread alone, and lets no other set handlers.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # What the caller (nohup, say) chose to ignore stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

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

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._held:
            self._waiting = number
            return
        raise Stopped(number)
