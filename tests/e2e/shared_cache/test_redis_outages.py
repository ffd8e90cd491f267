"""The shared score cache and a Redis that is killed, restarted, stopped, full or forbidden."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from tests.clock import Clock
from tests.e2e.shared_cache.redis_cache import (
    KEY,
    KEYS,
    OTHER,
    OTHER_SCORE,
    PASSWORD,
    PAUSE_S,
    PLENTY_S,
    SCORE,
    opened,
    run,
)
from tests.redis_server import RedisServer

from pairscore.cache.base import CachedScore

# Outages


def test_killed_in_the_middle_and_back_again(server: RedisServer, lines) -> None:
    """Killed with -9: misses at once, one line in the log; back on the same port: hits, and one more line."""
    clock = Clock()

    async def scenario() -> None:
        async with opened(server.url, clock=clock) as cache:
            await cache.put_many([(KEY, SCORE)])
            server.kill()

            begin = time.monotonic()
            for _ in range(20):
                assert await cache.get_many([KEY, OTHER]) == [None, None]
                await cache.put_many([(KEY, SCORE)])
            assert time.monotonic() - begin < PLENTY_S
            assert cache.stats().shared_errors == 1

            server.start()
            assert await cache.get_many([KEY]) == [None]  # not asked before its pause is over
            clock.now += PAUSE_S
            assert await cache.get_many([KEY]) == [None]  # Redis kept nothing
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]

    run(scenario())
    place = f"the shared score cache at 127.0.0.1:{server.port}"
    assert lines() == [
        f"{place} does not answer (ConnectionError); scoring goes on without",
        f"{place} answers again",
    ]


def test_killed_while_many_calls_run(server: RedisServer, lines) -> None:
    """Each of them ends with misses or with the truth, and together they are one outage."""

    async def scenario() -> None:
        keys = KEYS.keys([("q", str(i)) for i in range(400)])
        known = {key: CachedScore(float(i), i, truncated=False) for i, key in enumerate(keys)}
        async with opened(server.url) as cache:
            await cache.put_many(list(known.items()))

            async def ask() -> None:
                for _ in range(30):
                    for key, found in zip(keys, await cache.get_many(keys), strict=True):
                        assert found in (None, known[key])

            tasks = [asyncio.create_task(ask()) for _ in range(10)]
            await asyncio.sleep(0.05)
            server.kill()
            await asyncio.gather(*tasks)

    run(scenario())
    assert len(lines()) == 1


def test_a_restart_that_nobody_saw(server: RedisServer) -> None:
    """The connections that lie ready are dead, and the first call notices before it uses one."""

    async def scenario() -> None:
        async with opened(server.url) as cache:
            await cache.put_many([(KEY, SCORE)])
            server.kill()
            server.start()
            await asyncio.sleep(0.1)

            assert await cache.get_many([KEY]) == [None]
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]
            assert cache.stats().shared_errors == 0

    run(scenario())


def test_stopped_and_continued(server: RedisServer, lines) -> None:
    """A Redis that hangs with its connections open costs one timeout, and is used again when it goes on."""
    clock = Clock()

    async def scenario() -> None:
        async with opened(server.url, clock=clock, timeout_s=0.5) as cache:
            await cache.put_many([(KEY, SCORE)])
            server.send(signal.SIGSTOP)
            try:
                begin = time.monotonic()
                for _ in range(5):
                    assert await cache.get_many([KEY]) == [None]
                    await cache.put_many([(OTHER, OTHER_SCORE)])
                assert time.monotonic() - begin < 20 * 0.5
                assert cache.stats().shared_errors == 1
            finally:
                server.send(signal.SIGCONT)
            clock.now += PAUSE_S

            assert await cache.get_many([KEY, OTHER]) == [SCORE, None]

    run(scenario())
    assert [line.split(":")[1].split(" ", 1)[1] for line in lines()] == [
        "does not answer (TimeoutError); scoring goes on without",
        "answers again",
    ]


def test_a_connection_that_was_closed_on_the_way(lines) -> None:
    """A proxy may drop what lay idle: the call is made once more, and that is no outage."""
    num_connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_connections
        num_connections += 1
        drops = num_connections == 1
        while data := await reader.read(4096):
            writer.write(b"+OK\r\n" * data.count(b"SETINFO"))
            if b"MGET" in data and drops:
                break
            writer.write(b"*1\r\n$-1\r\n" * data.count(b"MGET"))
        writer.close()

    async def scenario() -> None:
        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with listener:
            url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            async with opened(url) as cache:
                assert await cache.get_many([KEY]) == [None]
                assert cache.stats().shared_errors == 0
            await asyncio.sleep(0.05)

    run(scenario())
    assert num_connections == 2
    assert lines() == []


# Refusals


def test_redis_is_full(server: RedisServer, lines) -> None:
    """It takes nothing more; what it knows is still read, and writing goes on when there is room."""
    clock = Clock()

    async def scenario() -> None:
        async with opened(server.url, clock=clock) as cache:
            await cache.put_many([(KEY, SCORE)])
            server.ask("CONFIG", "SET", "maxmemory", "1")
            for _ in range(3):
                await cache.put_many([(OTHER, OTHER_SCORE)])
                assert await cache.get_many([KEY, OTHER]) == [SCORE, None]
            assert cache.stats().shared_errors == 1

            server.ask("CONFIG", "SET", "maxmemory", "0")
            clock.now += PAUSE_S
            await cache.put_many([(OTHER, OTHER_SCORE)])
            assert await cache.get_many([OTHER]) == [OTHER_SCORE]

    run(scenario())
    place = f"the shared score cache at 127.0.0.1:{server.port}"
    assert lines() == [
        f"{place} cannot be written (OutOfMemoryError); scoring goes on without",
        f"{place} is written again",
    ]


def test_full_and_then_killed(server: RedisServer) -> None:
    """Two outages of unlike kinds, one in the other: both end, whichever is tried first."""
    clock = Clock()

    async def scenario() -> None:
        async with opened(server.url, clock=clock) as cache:
            server.ask("CONFIG", "SET", "maxmemory", "1")
            await cache.put_many([(KEY, SCORE)])  # refused: nothing is written for a second
            server.kill()
            clock.now += 0.5
            await cache.get_many([KEY])  # no answer: nothing is asked for a second
            clock.now += 0.75
            await cache.put_many([(KEY, SCORE)])  # might be written, must not be asked
            clock.now += 0.5
            await cache.put_many([(KEY, SCORE)])  # might be both, and gets no answer
            assert cache.stats().shared_errors == 3

            server.start()
            clock.now += PAUSE_S
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]

    run(scenario())


@pytest.mark.parametrize(("allowed", "verb"), [("+mget", "written"), ("+set", "read")])
def test_a_user_who_may_not_do_both(server: RedisServer, lines, allowed: str, verb: str) -> None:
    """What is permitted is done; the rest is an outage of its own."""
    server.ask("ACL", "SETUSER", "half", "on", f">{PASSWORD}", "~*", "+auth", allowed)
    url = f"redis://half:{PASSWORD}@127.0.0.1:{server.port}"

    async def scenario() -> None:
        async with opened(server.url) as admin, opened(url, clock=Clock()) as cache:
            await admin.put_many([(KEY, SCORE)])
            for _ in range(3):
                await cache.put_many([(OTHER, OTHER_SCORE)])
                await cache.get_many([KEY])

            reads = allowed == "+mget"
            assert await cache.get_many([KEY]) == [SCORE if reads else None]
            assert await admin.get_many([OTHER]) == [None if reads else OTHER_SCORE]
            assert cache.stats().shared_errors == 1

    run(scenario())
    assert len(lines()) == 1
    assert f"cannot be {verb} (NoPermissionError)" in lines()[0]


def test_a_wrong_password(server: RedisServer, lines) -> None:
    """An outage like any other; not a word of the password."""
    server.ask("CONFIG", "SET", "requirepass", "right")

    async def scenario() -> None:
        url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}"
        for each in (url, server.url):
            async with opened(each, clock=Clock()) as cache:
                await cache.put_many([(KEY, SCORE)])
                assert await cache.get_many([KEY]) == [None]
                assert cache.stats().shared_errors == 1

    run(scenario())
    assert all("does not answer (AuthenticationError)" in line for line in lines())
    assert len(lines()) == 2
