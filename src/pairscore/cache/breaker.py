"""When to stop asking something that fails, and when to ask it again.

Pure: it knows neither what is asked nor why it failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Breaker"]


class Breaker:
    """Lets calls through until one fails; then one probe at a time, after pauses that double.

    A call takes a ticket with `enter` and hands it back to exactly one of `succeed`, `fail` and `abandon`.
    Tickets from before the last change of state count for nothing, so that a hundred calls that fail together
    are one failure, and a late success does not hide one.
    """

    def __init__(
        self,
        *,
        first_pause_s: float = 1.0,
        longest_pause_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin closed: everything is let through.

        Args:
            first_pause_s: seconds in which nothing is asked after a failure.
            longest_pause_s: what the pauses grow to, each twice the one before.
            clock: seconds that never go back.
        """
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._clock = clock
        self._pause_s = 0.0
        self._retry_at: float | None = None  # None while everything is let through
        self._probing = False
        self._generation = 0

    def enter(self) -> int | None:
        """A ticket for one call; None where it must not be made."""
        if self._retry_at is not None:
            if self._probing or self._clock() < self._retry_at:
                return None
            self._probing = True
        return self._generation

    def succeed(self, ticket: int) -> bool:
        """The call did well; whether this was the probe that ended an outage."""
        if ticket != self._generation or self._retry_at is None:
            return False
        self._change(retry_at=None)
        return True

    def fail(self, ticket: int) -> bool:
        """The call failed; whether this began an outage."""
        if ticket != self._generation:
            return False
        begins = self._retry_at is None
        self._pause_s = (
            self._first_pause_s if begins else min(2 * self._pause_s, self._longest_pause_s)
        )
        self._change(retry_at=self._clock() + self._pause_s)
        return begins

    def abandon(self, ticket: int) -> None:
        """The call was given up and says nothing; another one may probe."""
        if ticket == self._generation:
            self._probing = False

    def _change(self, *, retry_at: float | None) -> None:
        self._retry_at = retry_at
        self._probing = False
        self._generation += 1
