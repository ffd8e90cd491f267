"""Candidates in slices for the engine, the best first: large enough to keep the workers busy, small enough for the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from pairscore.engine.preparing import guess_tokens
from pairscore.road.tokenization import Pair
from pairscore.service.fleet_member import Member

__all__ = ["Slices"]

# A slice has at most so many micro-batches for each worker.
_BATCHES_A_WORKER: Final = 2
# Of the time that is left the first slice is planned to take so much: it shows how quick the model is just now.
_SHARE_OF_FIRST: Final = 0.25
# Every later one; and one that follows another under way, both together, because the engine mixes them.
_SHARE: Final = 0.5
_SHARE_OF_BOTH: Final = 0.75
# The last one, when it is little, may take nearly all.
_LAST_SHARE: Final = 0.9
# What waits and all candidates together, if they take less than this part of the server's own time, need no slices.
_SURE: Final = 0.25
# Pairs of the first slice of a model whose pace nobody knows, and the tokens that one may have.
_FIRST: Final = 4
_MAX_LENGTH: Final = 512


class Slices:
    """Pairs in their order, a slice at a time.

    Args:
        pairs: the best candidates first.
        member: the model.
        late: when time is up, on the clock of `time.perf_counter`; None for never.
        is_timed: whether the request itself set that time; the server's own is far away, and needs slices only under load.
    """

    def __init__(
        self, pairs: Sequence[Pair], member: Member, *, late: float | None, is_timed: bool
    ) -> None:
        self._pairs = pairs
        self._member = member
        self._late = late
        max_length = _MAX_LENGTH if member.facts is None else member.facts.max_length
        self._costs = [guess_tokens([pair], max_length=max_length) for pair in pairs]
        self._next = 0
        self._done = 0
        self._begin = time.perf_counter()
        self._whole = late is None or (not is_timed and self._is_sure(late))

    def take(self) -> list[Pair]:
        """The next slice; empty if none is left, none fits into the time, or the first one is still under way."""
        start = self._next
        self._next += self._fitting()
        return list(self._pairs[start : self._next])

    def scored(self, num_pairs: int) -> None:
        """The first slice that was under way is done."""
        self._done += num_pairs

    def _fitting(self) -> int:
        left = len(self._pairs) - self._next
        if self._whole or not left or self._late is None:
            return left
        now = time.perf_counter()
        room = (self._late - now) * self._tokens_per_s(now)
        under_way = sum(self._costs[self._done : self._next])
        if under_way and not self._done:
            return 0
        if room <= 0:
            # Time is up, or nobody knows the pace.
            return 0 if now >= self._late or under_way else min(_FIRST, left)
        ends = np.cumsum(self._costs[self._next :])
        if under_way:
            return _count(ends, min(self._most, room * _SHARE_OF_BOTH - under_way))
        share = _SHARE if self._done else _SHARE_OF_FIRST
        return _count(ends, min(self._most, room * share)) or min(
            1, _count(ends, room * _LAST_SHARE)
        )

    def _tokens_per_s(self, now: float) -> float:
        """What the engine runs; what it ran of ours, if that is less."""
        loaded = self._member.loaded
        known = 0.0 if loaded is None else loaded.engine.state().tokens_per_s
        if not self._done:
            return known
        seen = sum(self._costs[: self._done]) / max(now - self._begin, 1e-6)
        return min(known, seen) if known else seen

    @property
    def _most(self) -> float:
        facts = self._member.facts
        longest = max(self._costs)
        budget = 0 if facts is None else _BATCHES_A_WORKER * facts.num_workers * facts.budget
        # A pair that is larger than all that is a slice by itself.
        return max(budget, longest)

    def _is_sure(self, late: float) -> bool:
        """Whether all pairs will be scored in time, as far as anybody can tell."""
        if self._member.loaded is None:
            return False
        state = self._member.loaded.engine.state()
        room = _SURE * (late - time.perf_counter()) * state.tokens_per_s
        return state.queue_tokens + sum(self._costs) < room


def _count(ends: np.ndarray[tuple[int], np.dtype[np.int64]], room: float) -> int:
    return int(np.searchsorted(ends, room, side="right"))
