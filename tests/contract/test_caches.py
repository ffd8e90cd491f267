"""What every score cache must keep, wherever it keeps it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator

import numpy as np
import pytest
from tests.redis_server import running_redis

from pairscore.cache.base import CachedScore, PairKeys, ScoreCache
from pairscore.cache.memory import MemoryCache
from pairscore.cache.shared import RedisCache
from pairscore.cache.tiered import TieredCache

KINDS = ("memory", "redis", "tiered")
LONG_S = 5.0  # a loaded machine must not look like an outage
KEYS = PairKeys(model_sha256="0" * 64, max_length=512, truncation="right")

Scenario = Callable[[ScoreCache], Awaitable[None]]
Use = Callable[..., None]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis of our own, reached through a socket in a folder of our own."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.socket_url


@pytest.fixture(params=KINDS)
def use(request: pytest.FixtureRequest) -> Use:
    """Run a scenario with each kind of cache in turn; what it opens is closed."""
    url = request.getfixturevalue("redis_url") if request.param != "memory" else ""
    prefix = f"test-{os.urandom(8).hex()}"

    def make(ttl_s: float) -> ScoreCache:
        memory = MemoryCache(max_bytes=10_000_000, ttl_s=ttl_s)
        if request.param == "memory":
            return memory
        shared = RedisCache(url=url, ttl_s=ttl_s, prefix=prefix, timeout_s=LONG_S)
        return shared if request.param == "redis" else TieredCache(memory, shared)

    def run(scenario: Scenario, *, ttl_s: float = 60.0) -> None:
        async def whole() -> None:
            cache = make(ttl_s)
            try:
                await scenario(cache)
            finally:
                await cache.close()

        asyncio.run(whole())

    return run


def _entries(num: int) -> list[tuple[bytes, CachedScore]]:
    logits = np.random.default_rng(7).normal(0, 5, num).astype(np.float32)
    keys = KEYS.keys([("query", f"document {i}") for i in range(num)])
    return [
        (key, CachedScore(float(logit), 3 + i, i % 2 == 0))
        for i, (key, logit) in enumerate(zip(keys, logits, strict=True))
    ]


def test_what_was_put_comes_back(use: Use) -> None:
    """In the order of the keys that are asked for, with None for what is not known, and twice if asked twice."""

    async def scenario(cache: ScoreCache) -> None:
        (first, one), (second, two) = _entries(2)
        await cache.put_many([(first, one), (second, two)])

        unknown = KEYS.key("never", "scored")

        assert await cache.get_many([second, unknown, first, second]) == [two, None, one, two]

    use(scenario)


def test_nothing_known_nothing_asked(use: Use) -> None:
    """An empty cache knows nothing; no keys have no answers; putting nothing is fine."""

    async def scenario(cache: ScoreCache) -> None:
        await cache.put_many([])

        assert await cache.get_many([]) == []
        assert await cache.get_many([KEYS.key("a", "b")]) == [None]
        assert cache.stats().num_entries == 0

    use(scenario)


@pytest.mark.parametrize(
    "bits", [0x00000000, 0x80000000, 0x00000001, 0x7F7FFFFF, 0xFF7FFFFF, 0x3DCCCCCD]
)
def test_a_logit_comes_back_bit_for_bit(use: Use, bits: int) -> None:
    """Both zeros, the smallest and the largest float32, and one that float64 has to be rounded for."""
    logit = np.array([bits], dtype=np.uint32).view(np.float32)[0]

    async def scenario(cache: ScoreCache) -> None:
        key = KEYS.key("bits", str(bits))
        await cache.put_many([(key, CachedScore(float(logit), 512, truncated=True))])

        (found,) = await cache.get_many([key])
        assert found is not None
        assert np.float32(found.logit).tobytes() == logit.tobytes()
        assert isinstance(found.logit, float)
        assert (found.num_tokens, found.truncated) == (512, True)

    use(scenario)


@pytest.mark.parametrize("logit", [float("nan"), float("inf"), float("-inf"), 1e39])
def test_what_is_no_finite_float32_never_comes_out(use: Use, logit: float) -> None:
    """It is not kept, what was there before is, and its neighbours are."""

    async def scenario(cache: ScoreCache) -> None:
        (first, one), (second, two), (third, three) = _entries(3)
        await cache.put_many([(second, two)])
        await cache.put_many(
            [(first, one), (second, CachedScore(logit, 5, truncated=False)), (third, three)]
        )

        assert await cache.get_many([first, second, third]) == [one, two, three]

    use(scenario)


def test_the_last_one_put_counts(use: Use) -> None:
    """Also within one call."""

    async def scenario(cache: ScoreCache) -> None:
        key = KEYS.key("a", "b")
        old, new, newest = (CachedScore(float(i), i, truncated=False) for i in range(1, 4))
        await cache.put_many([(key, old), (key, new)])
        assert await cache.get_many([key]) == [new]

        await cache.put_many([(key, newest)])
        assert await cache.get_many([key]) == [newest]

    use(scenario)


def test_it_forgets_after_the_time_to_live(use: Use) -> None:
    """A short life ends; by the real clock, because Redis has no other."""

    async def scenario(cache: ScoreCache) -> None:
        key = KEYS.key("short", "life")
        await cache.put_many([(key, CachedScore(1.5, 4, truncated=False))])
        await asyncio.sleep(0.2)

        assert await cache.get_many([key]) == [None]

    use(scenario, ttl_s=0.05)


def test_many_at_once(use: Use) -> None:
    """More than one MGET holds, some of them unknown, from several tasks together."""

    async def scenario(cache: ScoreCache) -> None:
        entries = _entries(2600)
        known = dict(entries[::2])
        await asyncio.gather(
            *(cache.put_many(entries[start : start + 650][::2]) for start in range(0, 2600, 650))
        )
        keys = [key for key, _ in entries]

        answers = await asyncio.gather(*(cache.get_many(keys) for _ in range(4)))

        expected = [known.get(key) for key in keys]
        assert all(answer == expected for answer in answers)

    use(scenario)


def test_hits_and_misses_are_counted(use: Use) -> None:
    """A key that is found is one hit, a key that is not is one miss, and nothing failed."""

    async def scenario(cache: ScoreCache) -> None:
        entries = _entries(5)
        await cache.put_many(entries)
        await cache.get_many([key for key, _ in entries])
        await cache.get_many([entries[0][0], KEYS.key("x", "y"), KEYS.key("x", "z")])

        stats = cache.stats()
        assert (stats.num_hits, stats.num_misses) == (6, 2)
        assert (stats.num_evicted, stats.num_expired, stats.shared_errors) == (0, 0, 0)

    use(scenario)


def test_stats_from_another_thread(use: Use) -> None:
    """Metrics are collected off the loop, while it works."""

    async def scenario(cache: ScoreCache) -> None:
        done = threading.Event()
        seen: list[int] = []

        def watch() -> None:
            while not done.is_set():
                seen.append(cache.stats().num_misses)

        thread = threading.Thread(target=watch)
        thread.start()
        entries = _entries(300)
        while len(seen) < 20:
            await cache.put_many(entries)
            await cache.get_many([key for key, _ in entries])
        done.set()
        await asyncio.to_thread(thread.join)

        assert seen == sorted(seen)

    use(scenario)


def test_a_closed_cache(use: Use) -> None:
    """It finds nothing, keeps nothing, can be closed again, and still says what happened."""

    async def scenario(cache: ScoreCache) -> None:
        entries = _entries(3)
        await cache.put_many(entries)
        await cache.get_many([entries[0][0]])
        await cache.close()
        await cache.close()

        await cache.put_many(entries)
        assert await cache.get_many([key for key, _ in entries]) == [None] * 3
        stats = cache.stats()
        assert (stats.num_hits, stats.num_entries, stats.shared_errors) == (1, 0, 0)

    use(scenario)
