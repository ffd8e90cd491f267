"""How many threads a micro-batch gets that has the machine to itself: what was quicker lately.

All cores are quicker on an idle machine. Where another process takes a core, or a sleeping core is slow to wake, threads
wait for each other at every product, and one alone is quicker. Nobody can tell which it is but by trying.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Width"]

# How much one run moves the running mean of its kind.
_WEIGHT: Final = 0.25
# One of so many runs tries what seems to be the slower way: conditions change.
_TRY_EACH: Final = 16
# The way that is not taken must be quicker by so much, or noise would switch to and fro.
_MARGIN: Final = 0.95
# What every micro-batch costs, in tokens; without it short pairs would seem slow.
_FIXED_TOKENS: Final = 20
# Shorter runs say nothing: most of their time is not the model's.
_MIN_S: Final = 0.002


class Width:
    """Remembers how quick lone micro-batches were, on one thread and on all.

    Args:
        num_threads: all of them.
    """

    def __init__(self, num_threads: int) -> None:
        self._all = num_threads
        self._seconds_per_token: dict[int, float] = {}
        self._num_told = 0
        self._best = num_threads

    def choose(self) -> int:
        """Threads for the next lone micro-batch."""
        if self._all not in self._seconds_per_token:
            return self._all
        other = self._other(self._best)
        if other not in self._seconds_per_token or self._num_told % _TRY_EACH == 0:
            return other
        return self._best

    def told(self, *, num_threads: int, num_tokens: int, seconds: float) -> None:
        """A lone micro-batch of so many padded tokens took so long."""
        if seconds < _MIN_S:
            return
        self._num_told += 1
        new = seconds / (num_tokens + _FIXED_TOKENS)
        mean = self._seconds_per_token.get(num_threads, new)
        self._seconds_per_token[num_threads] = mean + _WEIGHT * (new - mean)
        # One thread may be told first: where another engine shares the machine, it is all that is given.
        known, other = self._seconds_per_token, self._other(self._best)
        if {other, self._best} <= known.keys() and known[other] < _MARGIN * known[self._best]:
            self._best = other

    def _other(self, num_threads: int) -> int:
        return 1 if num_threads == self._all else self._all
