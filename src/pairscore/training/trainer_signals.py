"""Ctrl-C and SIGTERM while training: the step is finished and a checkpoint written, then it ends."""

from __future__ import annotations

from pairscore.signals import SignalWatch

__all__ = ["StopRequest", "StoppedBySignal"]


class StoppedBySignal(KeyboardInterrupt):
    """A signal ended the training; a checkpoint was written before.

    Attributes:
        number: the signal's number.
    """

    def __init__(self, message: str, *, number: int) -> None:
        super().__init__(message)
        self.number = number


class StopRequest(SignalWatch):
    """While it is entered, a first signal is written down; a second one interrupts at once."""

    def __init__(self) -> None:
        super().__init__()
        self.number: int | None = None

    def __bool__(self) -> bool:
        """Whether a signal came."""
        return self.number is not None

    def on_signal(self, number: int) -> None:
        """Write it down, or interrupt."""
        if self.number is not None:
            raise StoppedBySignal("stopped at once; the last checkpoint is whole", number=number)
        self.number = number
