"""The shared score cache and something that is no Redis: it never answers, or with nonsense."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.clock import Clock
from tests.e2e.shared_cache.redis_cache import KEY, OTHER, PAUSE_S, SCORE, SHORT_S, opened, run

pytestmark = pytest.mark.slow


@asynccontextmanager
async def impostor(
    answer: bytes | None, *, greeting: bytes = b"+OK\r\n"
) -> AsyncIterator[tuple[str, list[int]]]:
    """Something that accepts connections and answers always the same, or never.

    Gives its URL, and a list with one entry for each connection it got.
    """
    seen: list[int] = []
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(len(seen))
        if answer is None:
            await done.wait()
        while answer is not None and (data := await reader.read(4096)):
            writer.write(greeting * data.count(b"SETINFO"))
            writer.write(answer * (data.count(b"MGET") + data.count(b"\nSET\r")))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}", seen
    finally:
        done.set()
        await asyncio.sleep(0.05)
        listener.close()
        await listener.wait_closed()


def test_something_that_never_answers(lines) -> None:
    """It costs about one timeout; then it is left alone until its pause is over, and one probe is sent."""
    clock = Clock()

    async def scenario() -> None:
        async with (
            impostor(None) as (url, seen),
            opened(url, clock=clock, timeout_s=SHORT_S) as cache,
        ):
            begin = time.monotonic()
            assert await cache.get_many([KEY, OTHER]) == [None, None]
            assert time.monotonic() - begin < 20 * SHORT_S
            assert len(seen) == 1

            for _ in range(50):
                assert await cache.get_many([KEY]) == [None]
                await cache.put_many([(KEY, SCORE)])
            assert len(seen) == 1

            clock.now += PAUSE_S
            answers = await asyncio.gather(*(cache.get_many([KEY]) for _ in range(20)))
            assert answers == [[None]] * 20
            assert len(seen) == 2
            assert cache.stats().shared_errors == 2

    run(scenario())
    assert len(lines()) == 1
    assert "does not answer (TimeoutError)" in lines()[0]


def test_many_callers_of_something_that_never_answers() -> None:
    """More than there are connections: nobody waits for others' timeouts on top of the own one."""

    async def scenario() -> None:
        async with impostor(None) as (url, _), opened(url, timeout_s=0.2) as cache:
            begin = time.monotonic()
            await asyncio.gather(*(cache.get_many([KEY]) for _ in range(200)))
            assert time.monotonic() - begin < 20 * 0.2

    run(scenario())


def test_a_caller_that_goes_away_during_the_probe(lines) -> None:
    """Says nothing about Redis, leaves nothing behind, and lets the next one probe."""
    clock = Clock()

    async def scenario() -> None:
        async with (
            impostor(None) as (url, seen),
            opened(url, clock=clock, timeout_s=SHORT_S) as cache,
        ):
            await cache.get_many([KEY])
            clock.now += PAUSE_S
            for number in (2, 3):
                call = asyncio.create_task(cache.get_many([KEY]))
                while len(seen) < number and not call.done():
                    await asyncio.sleep(0.001)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                assert len(seen) == number
            assert cache.stats().shared_errors == 1

    run(scenario())
    assert len(lines()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK\r\n",
        b":5\r\n",
        b"*1\r\n$-1\r\n",
        b"*3\r\n$-1\r\n$-1\r\n$-1\r\n",
        b"*x\r\n",
        b"$abc\r\n",
        b"-ASK\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"\r\n",
        b"\xff\xfe\r\n",
    ],
)
@pytest.mark.parametrize("is_polite", [True, False], ids=["when asked", "at once"])
def test_something_that_answers_nonsense(lines, answer: bytes, *, is_polite: bool) -> None:
    """Whatever it says, and whether it greets like a Redis first, a call ends with misses."""
    greeting = b"+OK\r\n" if is_polite else answer

    async def scenario() -> None:
        async with (
            impostor(answer, greeting=greeting) as (url, _),
            opened(url, timeout_s=0.05) as cache,
        ):
            assert await cache.get_many([KEY, OTHER]) == [None, None]
            await cache.put_many([(KEY, SCORE)])
            assert cache.stats().num_hits == 0

    run(scenario())
    assert lines()
