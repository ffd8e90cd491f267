"""Scores in this process's memory: the least recently used leave first, and none outlives its time.

`cachetools.TTLCache` does the same in 1.9 times the memory, takes three times as long to put, and keeps two
objects an entry that the garbage collector must walk; `python benchmarks/cache.py` measures both.
"""

from __future__ import annotations

import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from pairscore.cache.base import CachedScore, CacheStats, check_ttl, is_keepable
from pairscore.errors import SettingError

__all__ = ["ENTRY_BYTES", "MemoryCache"]

ENTRY_BYTES = 300
"""Bytes that one entry costs in CPython, everything counted.

64 for the key (any of up to 31 bytes), 64 for the value, 32 for its link in the OrderedDict, and 84 to 168 for
its share of the table, whose size is a power of two: 244 to 328, and 307 at 100,000 entries. Measured with
tracemalloc after every entry was replaced three times, because a table that forgets and learns grows larger
than one that is only filled. tracemalloc counts what is asked for (278 at 100,000), the allocator rounds key
and value up to 64. `python benchmarks/cache.py` measures it again.
"""

# Expiry, logit, tokens, truncated: one bytes object, which the garbage collector need not look at.
_ENTRY = struct.Struct("<dfI?")
_EXPIRY = struct.Struct("<d")


class MemoryCache:
    """A `ScoreCache` bounded by bytes: the least recently used pairs leave, and each one after its time.

    Reading a pair makes it recently used and does not make it younger. No method waits for anything.
    """

    def __init__(
        self, *, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make an empty cache.

        Args:
            max_bytes: what the entries may take together, at `ENTRY_BYTES` each.
            ttl_s: seconds that a pair is kept.
            clock: seconds that never go back.

        Raises:
            SettingError: there is no room for one entry, or the time is none.
        """
        if max_bytes < ENTRY_BYTES:
            raise SettingError(
                f"the cache's max_bytes is {max_bytes:,}; one entry takes {ENTRY_BYTES}; "
                "give it more, or 0 for no cache"
            )
        check_ttl(ttl_s)
        self._max_entries = max_bytes // ENTRY_BYTES
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self._num_hits = self._num_misses = self._num_evicted = self._num_expired = 0
        self._closed = False

    async def get_many(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        """What is known and not expired, in the order of the keys."""
        now = self._clock()
        found = [self._get(key, now) for key in keys]
        num_hits = sum(score is not None for score in found)
        self._num_hits += num_hits
        self._num_misses += len(found) - num_hits
        return found

    async def put_many(self, entries: Sequence[tuple[bytes, CachedScore]]) -> None:
        """Keep scores; the time of a pair that is there already begins again."""
        if self._closed:
            return
        now = self._clock()
        expiry = now + self._ttl_s
        kept = self._entries
        for key, score in entries:
            if is_keepable(score):
                kept[key] = _ENTRY.pack(expiry, score.logit, score.num_tokens, score.truncated)
                kept.move_to_end(key)
                if len(kept) > self._max_entries:
                    self._make_room(now)
        self._drop_expired(now)

    async def close(self) -> None:
        """Forget everything."""
        self._closed = True
        self._entries.clear()

    def stats(self) -> CacheStats:
        """What happened so far."""
        num_entries = len(self._entries)
        return CacheStats(
            num_hits=self._num_hits,
            num_misses=self._num_misses,
            num_entries=num_entries,
            num_bytes=num_entries * ENTRY_BYTES,
            num_evicted=self._num_evicted,
            num_expired=self._num_expired,
        )

    def _get(self, key: bytes, now: float) -> CachedScore | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        expiry, logit, num_tokens, truncated = _ENTRY.unpack(entry)
        if expiry <= now:
            del self._entries[key]
            self._num_expired += 1
            return None
        self._entries.move_to_end(key)
        return CachedScore(logit, num_tokens, truncated)

    def _make_room(self, now: float) -> None:
        self._drop_expired(now)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
            self._num_evicted += 1

    def _drop_expired(self, now: float) -> None:
        """Drop what expired among the least recently used; a few looks, because the first live one ends it."""
        while self._entries:
            oldest = next(iter(self._entries))
            if _EXPIRY.unpack_from(self._entries[oldest])[0] > now:
                return
            del self._entries[oldest]
            self._num_expired += 1
