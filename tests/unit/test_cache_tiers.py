"""The score cache's tiers, the breaker between them, and what is refused when a cache is opened."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Sequence

import pytest
from tests.clock import Clock
from tests.unit.caches import get, keys_of, memory, put, score

from pairscore.cache import open_cache
from pairscore.cache.base import CachedScore, CacheStats
from pairscore.cache.breaker import Breaker
from pairscore.cache.memory import ENTRY_BYTES, MemoryCache
from pairscore.cache.shared import RedisCache
from pairscore.cache.tiered import TieredCache
from pairscore.errors import MissingExtraError, SettingError

SECRET = "hunter2-password"


# Tiers


class Shelf:
    """A shared cache that is a dict, and says what it was asked."""

    def __init__(self, *known: bytes) -> None:
        self.scores = {key: score(7) for key in known}
        self.asked: list[bytes] = []
        self.was_closed = False

    async def get_many(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        self.asked += keys
        return [self.scores.get(key) for key in keys]

    async def put_many(self, entries: Sequence[tuple[bytes, CachedScore]]) -> None:
        self.scores.update(entries)

    async def close(self) -> None:
        self.was_closed = True

    def stats(self) -> CacheStats:
        hits = sum(key in self.scores for key in self.asked)
        return CacheStats(
            num_hits=hits,
            num_misses=len(self.asked) - hits,
            num_shared_hits=hits,
            shared_errors=3,
        )


def test_the_shared_tier_is_asked_for_the_rest_alone() -> None:
    """And what it knew is remembered, so that it is asked once."""
    near, far = memory(10), Shelf(b"far")
    cache = TieredCache(near, far)
    put(near, b"near")

    assert get(cache, b"far", b"near", b"none") == [score(7), score(1), None]
    assert get(cache, b"far", b"near") == [score(7), score(1)]
    assert far.asked == [b"far", b"none"]


def test_both_tiers_get_what_is_put() -> None:
    """Other processes want it too."""
    near, far = memory(10), Shelf()
    put(TieredCache(near, far), b"a", number=4)

    assert get(near, b"a") == [score(4)]
    assert far.scores == {b"a": score(4)}


def test_the_stats_of_both_tiers() -> None:
    """A miss is a miss in both; room is what memory takes."""
    near, far = memory(10), Shelf(b"far")
    cache = TieredCache(near, far)
    put(near, b"near")
    get(cache, b"far", b"near", b"none")

    assert cache.stats() == CacheStats(
        num_hits=2,
        num_misses=1,
        num_entries=2,
        num_bytes=2 * ENTRY_BYTES,
        num_shared_hits=1,
        shared_errors=3,
    )


def test_closing_closes_both() -> None:
    """No connection stays."""
    far = Shelf()
    asyncio.run(TieredCache(memory(1), far).close())

    assert far.was_closed


# The breaker


def breaker_of(clock: Clock) -> Breaker:
    """Pauses of 1, 2 and then 3 seconds."""
    return Breaker(first_pause_s=1, longest_pause_s=3, clock=clock)


def failed(breaker: Breaker) -> bool:
    """Whether the failure of one call began an outage."""
    ticket = breaker.enter()
    assert ticket is not None
    return breaker.fail(ticket)


def test_pauses_double_up_to_the_longest() -> None:
    """1, 2, 3, 3 seconds; only the first failure begins an outage."""
    clock = Clock()
    breaker = breaker_of(clock)
    began = []
    for pause in (1, 2, 3, 3):
        began.append(failed(breaker))
        clock.now += pause - 0.01
        assert breaker.enter() is None
        clock.now += 0.01

    assert began == [True, False, False, False]


def test_one_probe_at_a_time() -> None:
    """While it is out, nobody else goes; given up, the next one may."""
    clock = Clock()
    breaker = breaker_of(clock)
    failed(breaker)
    clock.now += 1

    probe = breaker.enter()
    assert probe is not None
    assert breaker.enter() is None
    breaker.abandon(probe)
    assert breaker.enter() is not None
    assert breaker.enter() is None


def test_a_probe_that_does_well_ends_the_outage() -> None:
    """It says so once, everybody may go again, and the next outage begins with the first pause."""
    clock = Clock()
    breaker = breaker_of(clock)
    failed(breaker)
    clock.now += 1
    failed(breaker)
    clock.now += 2
    probe = breaker.enter()
    assert probe is not None

    assert breaker.succeed(probe)
    tickets = [breaker.enter(), breaker.enter()]
    assert None not in tickets
    assert not breaker.succeed(tickets[0])
    failed(breaker)
    clock.now += 1
    assert breaker.enter() is not None


def test_calls_that_fail_together_are_one_failure() -> None:
    """The pause does not grow with the number of callers."""
    clock = Clock()
    breaker = breaker_of(clock)
    tickets = [breaker.enter() for _ in range(100)]

    assert [breaker.fail(ticket) for ticket in tickets] == [True, *[False] * 99]
    clock.now += 1
    assert breaker.enter() is not None


def test_a_late_answer_changes_nothing() -> None:
    """What began before the outage neither ends it nor ends the probe."""
    clock = Clock()
    breaker = breaker_of(clock)
    late, later, latest = breaker.enter(), breaker.enter(), breaker.enter()
    failed(breaker)

    assert not breaker.succeed(late)
    assert breaker.enter() is None
    clock.now += 1
    assert breaker.enter() is not None
    breaker.abandon(later)
    breaker.fail(latest)
    assert breaker.enter() is None


# Opening one


def test_no_room_is_no_cache() -> None:
    """0 switches it off, whatever else is set."""
    assert open_cache(max_bytes=0, ttl_s=60, redis_url=None) is None
    assert open_cache(max_bytes=0, ttl_s=60, redis_url="redis://127.0.0.1:1") is None


def test_with_and_without_a_shared_tier() -> None:
    """Nothing is connected yet, so a Redis that is not there is no error."""

    async def whole() -> list[type]:
        made = [
            open_cache(max_bytes=100_000, ttl_s=60, redis_url=url)
            for url in (None, "redis://127.0.0.1:1")
        ]
        for cache in made:
            assert cache is not None
            await cache.close()
        return [type(cache) for cache in made]

    assert asyncio.run(whole()) == [MemoryCache, TieredCache]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_bytes": -1}, "-1"),
        ({"max_bytes": ENTRY_BYTES - 1}, f"takes {ENTRY_BYTES}"),
        ({"ttl_s": 0}, "ttl_s is 0"),
        ({"ttl_s": float("inf")}, "ttl_s is inf"),
        ({"ttl_s": float("nan")}, "ttl_s is nan"),
        ({"redis_url": ""}, "redis://host"),
        ({"redis_url": f"http://user:{SECRET}@host"}, "redis://host"),
        ({"redis_url": f"redis://user:{SECRET}@host:port"}, "redis://host"),
        ({"redis_url": f"redis://user:{SECRET}@host?colour=red"}, "redis://host"),
        ({"redis_url": f"redis://user:{SECRET}@host?db=x"}, "redis://host"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, object], words: str) -> None:
    """Refused when the cache is opened, with what to do, and without the password."""
    settings = {"max_bytes": 1_000_000, "ttl_s": 60, "redis_url": None, **options}

    with pytest.raises(SettingError) as caught:
        open_cache(**settings)

    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_makes_no_sense(timeout_s: float) -> None:
    """No caller waits for ever."""
    with pytest.raises(SettingError, match="timeout_s"):
        RedisCache(url="redis://127.0.0.1:1", ttl_s=1, timeout_s=timeout_s)


def test_without_redis_py(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra."""
    for name in [name for name in sys.modules if name.split(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(MissingExtraError, match=r"pairscore\[redis\]") as caught:
        open_cache(max_bytes=1_000_000, ttl_s=60, redis_url="redis://127.0.0.1:1")

    assert caught.value.extra == "redis"


def test_memory_alone_does_not_load_the_client() -> None:
    """The shared tier's client costs time at the start, and its extra may not be there."""
    code = (
        "import sys; from pairscore.cache import open_cache; "
        "open_cache(max_bytes=1000, ttl_s=1, redis_url=None); "
        "print(*{name.split('.')[0] for name in sys.modules} & {'redis', 'numpy', 'asyncio'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


def test_no_redis_there_at_all(caplog: pytest.LogCaptureFixture) -> None:
    """A closed port is a miss, a line in the log without the password, and no line for the next call."""
    url = f"redis://user:{SECRET}@127.0.0.1:1/0"
    key = keys_of().key("a", "b")

    async def whole() -> CacheStats:
        cache = RedisCache(url=url, ttl_s=60, timeout_s=5, clock=Clock())
        for _ in range(3):
            assert await cache.get_many([key]) == [None]
            await cache.put_many([(key, score(1))])
        await cache.close()
        return cache.stats()

    with caplog.at_level(logging.DEBUG, logger="pairscore.cache"):
        stats = asyncio.run(whole())

    lines = [record.getMessage() for record in caplog.records if record.name == "pairscore.cache"]
    assert len(lines) == 1
    assert "127.0.0.1:1 does not answer (ConnectionError)" in lines[0]
    assert SECRET not in caplog.text
    assert (stats.num_misses, stats.shared_errors) == (3, 1)
