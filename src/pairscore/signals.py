"""Ctrl-C and SIGTERM, handed to somebody for as long as a block lasts."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["SignalWatch"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class SignalWatch:
    """While it is entered, both signals go to `on_signal`; afterwards to whoever had them before."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread alone, and lets no other set handlers.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # What the caller (nohup, say) chose to ignore stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_signal(self, number: int) -> None:
        """What is done when one comes, between two instructions of the main thread."""
        raise NotImplementedError

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.on_signal(number)
