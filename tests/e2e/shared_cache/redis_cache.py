"""A shared score cache that is closed again, and what the tests of it put there."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from pairscore.cache.base import CachedScore, PairKeys
from pairscore.cache.shared import RedisCache

PASSWORD = "hunter2-password"
KEYS = PairKeys(model_sha256="0" * 64, max_length=512, truncation="right")
KEY, OTHER = KEYS.keys([("query", "one"), ("query", "other")])
SCORE, OTHER_SCORE = CachedScore(9.25, 27, truncated=False), CachedScore(-4.5, 512, truncated=True)
PLENTY_S = 5.0  # a loaded machine must not look like an outage
SHORT_S = 0.25  # for what never answers
PAUSE_S = 31.0  # longer than any pause


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run it, and see that nothing is left behind: no task, and no connection that warns when it is collected."""

    async def whole() -> None:
        await scenario
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())
    gc.collect()


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[RedisCache]:
    """A cache that is closed again; patient, unless the test is about patience."""
    cache = RedisCache(url=url, **{"ttl_s": 60.0, "timeout_s": PLENTY_S, **options})
    try:
        yield cache
    finally:
        await cache.close()
