"""The shared score cache and a Redis that is well: what is shared, what lies there, what is none of ours, who leaves."""

from __future__ import annotations

import asyncio
import random
import struct
import time
import zlib

import pytest
from tests.e2e.shared_cache.redis_cache import (
    KEY,
    KEYS,
    OTHER,
    OTHER_SCORE,
    PASSWORD,
    SCORE,
    opened,
    run,
)
from tests.redis_server import RedisServer

from pairscore.cache import open_cache
from pairscore.cache.base import CachedScore

# Together


def test_two_caches_share_what_they_know(server: RedisServer) -> None:
    """What one process scored, the other one need not; another prefix is another cache."""

    async def scenario() -> None:
        async with (
            opened(server.url) as one,
            opened(server.url) as two,
            opened(server.url, prefix="other") as stranger,
        ):
            await one.put_many([(KEY, SCORE)])
            await two.put_many([(OTHER, OTHER_SCORE)])

            for cache in (one, two):
                assert await cache.get_many([OTHER, KEY]) == [OTHER_SCORE, SCORE]
            assert await stranger.get_many([KEY]) == [None]

    run(scenario())


def test_a_restarted_process_finds_its_scores(server: RedisServer) -> None:
    """Memory is empty after a restart; the shared tier fills it again."""

    async def scenario() -> None:
        for known in (None, SCORE):
            cache = open_cache(max_bytes=1_000_000, ttl_s=60, redis_url=server.url)
            assert cache is not None
            assert await cache.get_many([KEY]) == [known]
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]
            assert cache.stats().num_shared_hits == (known is not None)
            await cache.close()

    run(scenario())


def test_what_lies_in_redis_is_small_and_leaves(server: RedisServer) -> None:
    """28 bytes of key, 14 of value, none of them the texts'; gone after the time to live."""

    async def scenario() -> None:
        async with opened(server.url, ttl_s=90.5) as cache:
            await cache.put_many([(KEY, SCORE)])

    run(scenario())
    name = b"pairscore:1:" + KEY

    assert server.ask("KEYS", "*") == [name]
    assert len(name) == 28
    assert server.ask("STRLEN", name) == 14
    assert 60_000 < server.ask("PTTL", name) <= 90_500


def test_a_very_long_time_to_live(server: RedisServer) -> None:
    """More than Redis can count is ten years."""

    async def scenario() -> None:
        async with opened(server.url, ttl_s=1e300) as cache:
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]

    run(scenario())


def test_a_password_in_the_url(server: RedisServer, lines) -> None:
    """It is used and not logged."""
    server.ask("ACL", "SETUSER", "cache", "on", f">{PASSWORD}", "~*", "+@all")

    async def scenario() -> None:
        url = f"redis://cache:{PASSWORD}@127.0.0.1:{server.port}/3"
        async with opened(url) as cache:
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]

    run(scenario())
    assert lines() == []


def test_options_of_the_url_that_would_change_the_values(server: RedisServer) -> None:
    """Answers stay bytes, and no option brings a longer wait."""

    async def scenario() -> None:
        url = f"{server.url}?decode_responses=true&socket_timeout=100&protocol=3&max_connections=1"
        async with opened(url) as cache:
            await cache.put_many([(KEY, SCORE)])
            answers = await asyncio.gather(*(cache.get_many([KEY]) for _ in range(20)))
            assert answers == [[SCORE]] * 20

    run(scenario())


# Values


def _value(version: int, logit: float, num_tokens: int, *, key: bytes) -> bytes:
    body = struct.pack("<BfIB", version, logit, num_tokens, 0)
    return body + struct.pack("<I", zlib.crc32(body, zlib.crc32(key)))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"9.25",
        b"\xff" * 14,
        b'{"logit": 9.25}',
        _value(1, 9.25, 27, key=OTHER),
        _value(2, 9.25, 27, key=KEY),
        _value(1, float("nan"), 27, key=KEY),
        _value(1, float("-inf"), 27, key=KEY),
        _value(1, 9.25, 27, key=KEY) + b"\0",
        _value(1, 9.25, 27, key=KEY)[:-1],
    ],
)
def test_a_value_that_is_none_of_ours(server: RedisServer, value: bytes) -> None:
    """It is a miss, no error, and the right value takes its place."""
    name = b"pairscore:1:" + KEY
    server.ask("SET", name, _value(1, 9.25, 27, key=KEY))

    async def scenario() -> None:
        async with opened(server.url) as cache:
            assert await cache.get_many([KEY]) == [SCORE]
            server.ask("SET", name, value)
            assert await cache.get_many([KEY]) == [None]
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]
            assert cache.stats().shared_errors == 0

    run(scenario())


def test_a_key_that_holds_something_else(server: RedisServer) -> None:
    """A list where a value should be is a miss, and is overwritten."""
    server.ask("RPUSH", b"pairscore:1:" + KEY, "1", "2")

    async def scenario() -> None:
        async with opened(server.url) as cache:
            assert await cache.get_many([KEY]) == [None]
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]

    run(scenario())


# Cancelled and closed


def test_callers_that_go_away(server: RedisServer) -> None:
    """However many calls are cancelled, wherever they are, nobody ever gets another pair's score."""

    async def scenario() -> None:
        rng = random.Random(7)
        keys = KEYS.keys([("q", str(i)) for i in range(64)])
        known = {key: CachedScore(float(i), i, truncated=False) for i, key in enumerate(keys)}

        async with opened(server.url) as cache:
            await cache.put_many(list(known.items()))

            async def ask(chosen: list[bytes]) -> None:
                assert await cache.get_many(chosen) == [known[key] for key in chosen]
                await cache.put_many([(key, known[key]) for key in chosen])

            for _ in range(60):
                tasks = [asyncio.create_task(ask(rng.sample(keys, 5))) for _ in range(20)]
                await asyncio.sleep(rng.random() * 0.004)
                for task in rng.sample(tasks, 10):
                    task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    assert result is None or isinstance(result, asyncio.CancelledError)
            assert cache.stats().shared_errors == 0

    run(scenario())


def test_closing_while_calls_run(server: RedisServer) -> None:
    """They end well, and Redis sees every connection go."""

    async def scenario() -> None:
        keys = KEYS.keys([("q", str(i)) for i in range(1000)])
        async with opened(server.url) as cache:
            calls = [asyncio.create_task(cache.get_many(keys)) for _ in range(40)]
            await asyncio.sleep(0.01)
            await cache.close()
            assert all(found == [None] * 1000 for found in await asyncio.gather(*calls))
            assert cache.stats().shared_errors == 0

    run(scenario())
    deadline = time.monotonic() + 10
    while _num_clients(server) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _num_clients(server) == 1


def _num_clients(server: RedisServer) -> int:
    """Connections that Redis has; the one that asks is one of them."""
    return len(server.ask("CLIENT", "LIST").splitlines())
