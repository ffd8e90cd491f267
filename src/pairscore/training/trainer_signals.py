"""Ctrl-C and SIGTERM while training: the step is finished and a checkpoint written, then it ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["StopRequest", "StoppedBySignal"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StoppedBySignal(KeyboardInterrupt):
    """A signal ended the training; a checkpoint was written before.

    Attributes:
        number: the signal's number.
    """

    def __init__(self, message: str, *, number: int) -> None:
        super().__init__(message)
        self.number = number


class StopRequest:
    """While it is entered, a first signal is written down; a second one interrupts at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        """Whether a signal came."""
        return self.number is not None

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

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.number is not None:
            raise StoppedBySignal("stopped at once; the last checkpoint is whole", number=number)
        self.number = number
