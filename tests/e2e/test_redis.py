"""The shared score cache and a real Redis: shared, killed, restarted, stopped, full, forbidden, spoilt, hanging."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from pairscore.cache import open_cache
from pairscore.cache.base import CachedScore, PairKeys
from pairscore.cache.shared import RedisCache

PASSWORD = "hunter2-password"
KEYS = PairKeys(model_sha256="0" * 64, max_length=512, truncation_side="right")
KEY, OTHER = KEYS.keys([("query", "one"), ("query", "other")])
SCORE, OTHER_SCORE = CachedScore(9.25, 27, truncated=False), CachedScore(-4.5, 512, truncated=True)
PLENTY_S = 5.0  # a loaded machine must not look like an outage
SHORT_S = 0.25  # for what never answers
PAUSE_S = 31.0  # longer than any pause


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """A redis-server on a loopback port of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self.command += ["--save", "", "--dir", str(folder)]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        pytest.fail(f"redis-server did not start: {(self.folder / 'log.txt').read_text()}")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, *command: bytes | str) -> Any:
        with redis.Redis(port=self.port, socket_timeout=10) as client:
            return client.execute_command(*command)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A fresh Redis for each test; most of them break it."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed, and CI must run these tests")
        pytest.skip("redis-server is not installed: Debian has it as redis-server")
    made = Server(program, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What the cache has logged so far; nothing logged anywhere ever holds a key or a password."""
    caplog.set_level(logging.DEBUG)

    def read() -> list[str]:
        records = caplog.records
        return [record.getMessage() for record in records if record.name == "pairscore.cache"]

    yield read
    for secret in (PASSWORD, KEY.hex(), repr(KEY), "pairscore:1:"):
        assert secret not in caplog.text


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


# Together


def test_two_caches_share_what_they_know(server: Server) -> None:
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


def test_a_restarted_process_finds_its_scores(server: Server) -> None:
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


def test_what_lies_in_redis_is_small_and_leaves(server: Server) -> None:
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


def test_a_very_long_time_to_live(server: Server) -> None:
    """More than Redis can count is ten years."""

    async def scenario() -> None:
        async with opened(server.url, ttl_s=1e300) as cache:
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]

    run(scenario())


def test_a_password_in_the_url(server: Server, lines) -> None:
    """It is used and not logged."""
    server.ask("ACL", "SETUSER", "cache", "on", f">{PASSWORD}", "~*", "+@all")

    async def scenario() -> None:
        url = f"redis://cache:{PASSWORD}@127.0.0.1:{server.port}/3"
        async with opened(url) as cache:
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]

    run(scenario())
    assert lines() == []


def test_options_of_the_url_that_would_change_the_values(server: Server) -> None:
    """Answers stay bytes, and no option brings a longer wait."""

    async def scenario() -> None:
        url = f"{server.url}?decode_responses=true&socket_timeout=100&protocol=3&max_connections=1"
        async with opened(url) as cache:
            await cache.put_many([(KEY, SCORE)])
            answers = await asyncio.gather(*(cache.get_many([KEY]) for _ in range(20)))
            assert answers == [[SCORE]] * 20

    run(scenario())


# Outages


def test_killed_in_the_middle_and_back_again(server: Server, lines) -> None:
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


def test_killed_while_many_calls_run(server: Server, lines) -> None:
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


def test_a_restart_that_nobody_saw(server: Server) -> None:
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


def test_stopped_and_continued(server: Server, lines) -> None:
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


def test_redis_is_full(server: Server, lines) -> None:
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


def test_full_and_then_killed(server: Server) -> None:
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
def test_a_user_who_may_not_do_both(server: Server, lines, allowed: str, verb: str) -> None:
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


def test_a_wrong_password(server: Server, lines) -> None:
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
def test_a_value_that_is_none_of_ours(server: Server, value: bytes) -> None:
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


def test_a_key_that_holds_something_else(server: Server) -> None:
    """A list where a value should be is a miss, and is overwritten."""
    server.ask("RPUSH", b"pairscore:1:" + KEY, "1", "2")

    async def scenario() -> None:
        async with opened(server.url) as cache:
            assert await cache.get_many([KEY]) == [None]
            await cache.put_many([(KEY, SCORE)])
            assert await cache.get_many([KEY]) == [SCORE]

    run(scenario())


# Cancelled and closed


def test_callers_that_go_away(server: Server) -> None:
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


def test_closing_while_calls_run(server: Server) -> None:
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


def _num_clients(server: Server) -> int:
    """Connections that Redis has; the one that asks is one of them."""
    return len(server.ask("CLIENT", "LIST").splitlines())


# Something that is no Redis


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
