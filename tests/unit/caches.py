"""Keys, scores and a memory of so many entries, for the tests of the score cache."""

from __future__ import annotations

import asyncio

from tests.clock import Clock

from pairscore.cache.base import CachedScore, PairKeys
from pairscore.cache.memory import ENTRY_BYTES, MemoryCache
from pairscore.cache.tiered import TieredCache


def score(number: int) -> CachedScore:
    """A score that can be told from others."""
    return CachedScore(float(number), number, truncated=bool(number % 2))


def keys_of(**changes) -> PairKeys:
    """Keys of one model, but for the changes."""
    options = {"model_sha256": "f" * 64, "max_length": 512, "truncation": "right"}
    return PairKeys(**{**options, **changes})


def memory(num_entries: int, *, ttl_s: float = 60.0, clock: Clock | None = None) -> MemoryCache:
    """A cache with room for so many."""
    return MemoryCache(max_bytes=num_entries * ENTRY_BYTES, ttl_s=ttl_s, clock=clock or Clock())


def get(cache: MemoryCache | TieredCache, *keys: bytes) -> list[CachedScore | None]:
    """What the cache knows."""
    return asyncio.run(cache.get_many(keys))


def put(cache: MemoryCache | TieredCache, *keys: bytes, number: int = 1) -> None:
    """Put the same score under some keys."""
    asyncio.run(cache.put_many([(key, score(number)) for key in keys]))
