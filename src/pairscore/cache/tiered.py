"""Two caches as one: this process's memory first, the shared one for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pairscore.cache.base import CachedScore, CacheStats, ScoreCache

__all__ = ["TieredCache"]


class TieredCache:
    """A `ScoreCache` that asks memory, then the shared cache, and remembers what that one knew.

    What comes out of the shared cache begins a new life in memory, so a pair may be known for twice its time
    to live. That is harmless: a key names the model and both texts, so what it leads to never grows wrong.
    """

    def __init__(self, memory: ScoreCache, shared: ScoreCache) -> None:
        self._memory = memory
        self._shared = shared

    async def get_many(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        """What either knows, in the order of the keys."""
        found = await self._memory.get_many(keys)
        missing = [index for index, score in enumerate(found) if score is None]
        if not missing:
            return found
        fresh = []
        answers = await self._shared.get_many([keys[index] for index in missing])
        for index, score in zip(missing, answers, strict=True):
            if score is not None:
                found[index] = score
                fresh.append((keys[index], score))
        await self._memory.put_many(fresh)
        return found

    async def put_many(self, entries: Sequence[tuple[bytes, CachedScore]]) -> None:
        """Keep scores in both."""
        await self._memory.put_many(entries)
        await self._shared.put_many(entries)

    async def close(self) -> None:
        """Close both."""
        await self._memory.close()
        await self._shared.close()

    def stats(self) -> CacheStats:
        """What happened in both: a hit is a hit in either, a miss is a miss in both."""
        memory, shared = self._memory.stats(), self._shared.stats()
        return replace(
            memory,
            num_hits=memory.num_hits + shared.num_hits,
            num_misses=shared.num_misses,
            num_shared_hits=shared.num_shared_hits,
            shared_errors=shared.shared_errors,
        )
