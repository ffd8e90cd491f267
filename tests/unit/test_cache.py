"""The score cache's parts: keys, memory, tiers, the breaker, and what is refused when one is opened."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence

import pytest

from pairscore.cache import open_cache
from pairscore.cache.base import CachedScore, CacheStats, PairKeys
from pairscore.cache.breaker import Breaker
from pairscore.cache.memory import ENTRY_BYTES, MemoryCache
from pairscore.cache.shared import RedisCache
from pairscore.cache.tiered import TieredCache
from pairscore.errors import MissingExtraError, SettingError

SECRET = "hunter2-password"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def score(number: int) -> CachedScore:
    """A score that can be told from others."""
    return CachedScore(float(number), number, truncated=bool(number % 2))


def keys_of(**changes) -> PairKeys:
    """Keys of one model, but for the changes."""
    options = {"model_sha256": "f" * 64, "max_length": 512, "truncation_side": "right"}
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


# Keys


def test_a_key_is_the_same_in_every_process() -> None:
    """A shared cache would be of no use otherwise; a change here needs another `_PERSON`."""
    assert keys_of().key("a query", "a document").hex() == "2e6d68b3ae7b85abbacbfb726e4c4b4a"


def test_keys_of_many_pairs_are_the_keys_of_each() -> None:
    """Sharing the query's hash changes nothing, whatever follows whatever."""
    pairs = [
        ("q", "1"),
        ("q", "2"),
        ("", "2"),
        ("q", "2"),
        ("", ""),
        ("", ""),
        ("r", ""),
        ("q", "1"),
    ]
    keys = keys_of()

    assert keys.keys(pairs) == [keys.key(a, b) for a, b in pairs]
    assert len(set(keys.keys(pairs))) == 5
    assert keys.keys([]) == []


def test_an_equal_query_in_another_object() -> None:
    """Requests do not share strings."""
    one, two = (bytes.decode(b"query") for _ in range(2))
    assert one is not two

    assert keys_of().keys([(one, "d"), (two, "d")])[1] == keys_of().key("query", "d")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("", "ab"), ("ab", "")),
        (("a", "b"), ("b", "a")),
        (("a", ""), ("a", "\0")),
        (("\ud800\udc00", ""), ("\U00010000", "")),
        (("\ud800", "\udc00"), ("\ud800\udc00", "")),
        (("\ud800", "?"), ("\udfff", "?")),
        (("?", "\ud800"), ("?", "?")),
        (("é", ""), ("e\u0301", "")),
        (("a", "b"), ("a", "b ")),
    ],
)
def test_pairs_that_look_alike_have_keys_of_their_own(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    """Moved borders, empty texts, lone surrogates and unlike normal forms are different pairs."""
    assert keys_of().key(*one) != keys_of().key(*other)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_sha256": "e" * 64},
        {"max_length": 256},
        {"truncation_side": "left"},
    ],
)
def test_another_model_or_truncation_has_keys_of_its_own(changes: dict[str, object]) -> None:
    """The same pair reads differently there."""
    assert keys_of(**changes).key("a", "b") != keys_of().key("a", "b")


# Memory


def test_the_least_recently_used_leaves_first() -> None:
    """A read keeps a pair, a write keeps it too."""
    cache = memory(3)
    put(cache, b"a", b"b", b"c")
    get(cache, b"a")
    put(cache, b"b")
    put(cache, b"d")

    assert get(cache, b"c") == [None]
    assert None not in get(cache, b"a", b"b", b"d")
    assert cache.stats().num_evicted == 1


def test_reading_does_not_make_younger() -> None:
    """The time to live begins when a pair is put, and begins again only when it is put again."""
    clock = Clock()
    cache = memory(3, ttl_s=10, clock=clock)
    put(cache, b"a", b"b")
    clock.now += 6
    get(cache, b"a", b"b")
    put(cache, b"b")
    clock.now += 4

    assert get(cache, b"a", b"b") == [None, score(1)]
    assert cache.stats().num_expired == 1


def test_what_expired_gives_its_room_before_what_lives() -> None:
    """An expired pair that was used long ago is dropped, not counted as evicted."""
    clock = Clock()
    cache = memory(3, ttl_s=10, clock=clock)
    put(cache, b"a", b"b")
    clock.now += 10
    put(cache, b"c")

    stats = cache.stats()
    assert (stats.num_entries, stats.num_expired, stats.num_evicted) == (1, 2, 0)


def test_more_than_fits_in_one_call() -> None:
    """The last ones stay."""
    cache = memory(3)
    put(cache, *(bytes([i]) for i in range(10)))

    assert [found is not None for found in get(cache, *(bytes([i]) for i in range(10)))] == [
        *[False] * 7,
        *[True] * 3,
    ]
    assert cache.stats().num_bytes == 3 * ENTRY_BYTES


@pytest.mark.parametrize("num_entries", [100_000, 43_750])
def test_the_bound_holds_in_real_memory(num_entries: int) -> None:
    """Filled three times over, the cache takes what it may, within 10 %, and does not grow any more.

    The second size is where an entry costs most: just above a step of the dictionary's table.
    """
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        cache = MemoryCache(max_bytes=num_entries * ENTRY_BYTES, ttl_s=60)
        seen = []
        for _ in range(3):
            _fill(cache, num_entries)
            gc.collect()
            seen.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()

    stats = cache.stats()
    assert stats.num_entries == num_entries
    assert stats.num_bytes == num_entries * ENTRY_BYTES
    assert 0.90 * stats.num_bytes < seen[-1] < 1.10 * stats.num_bytes
    assert seen[-1] < 1.02 * seen[-2]


def _fill(cache: MemoryCache, num_entries: int) -> None:
    async def whole() -> None:
        for start in range(0, num_entries, 1000):
            num = min(1000, num_entries - start)
            await cache.put_many([(os.urandom(16), score(300 + i)) for i in range(num)])

    asyncio.run(whole())


def test_nothing_in_memory_is_walked_by_the_garbage_collector() -> None:
    """A million entries must not make every collection pause."""
    cache = memory(1000)
    gc.collect()
    before = len(gc.get_objects())
    put(cache, *(os.urandom(16) for _ in range(1000)))
    gc.collect()

    assert cache.stats().num_entries == 1000
    assert len(gc.get_objects()) - before < 100


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
