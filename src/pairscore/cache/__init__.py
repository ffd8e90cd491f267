"""The score cache: exact pairs that were scored before are not scored again.

`open_cache` makes one; what it does stands in `cache.base`.
"""

from __future__ import annotations

from pairscore.cache.base import ScoreCache
from pairscore.cache.memory import MemoryCache
from pairscore.cache.tiered import TieredCache
from pairscore.errors import SettingError

__all__ = ["open_cache"]


def open_cache(*, max_bytes: int, ttl_s: float, redis_url: str | None) -> ScoreCache | None:
    """Make the cache that the settings describe; None for no cache at all.

    Args:
        max_bytes: what it may take in this process's memory; 0 switches caching off, the shared one too.
        ttl_s: seconds that a score is kept.
        redis_url: a Redis that other processes use too; None for none.

    Raises:
        MissingExtraError: `redis_url` is given, and redis-py is not installed.
        SettingError: a number or the URL makes no sense.
    """
    if max_bytes < 0:
        raise SettingError(f"the cache's max_bytes is {max_bytes}; it must not be below 0")
    if max_bytes == 0:
        return None
    memory = MemoryCache(max_bytes=max_bytes, ttl_s=ttl_s)
    if redis_url is None:
        return memory
    # Here, because only who asks for Redis needs its client.
    from pairscore.cache.shared import RedisCache

    return TieredCache(memory, RedisCache(url=redis_url, ttl_s=ttl_s))
