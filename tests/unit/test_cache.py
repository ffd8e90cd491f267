"""The score cache's keys, and its memory: what they tell apart, what leaves first, and how much there is."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc

import pytest
from tests.clock import Clock
from tests.unit.caches import get, keys_of, memory, put, score

from pairscore.cache.memory import ENTRY_BYTES, MemoryCache

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
        {"truncation": "left"},
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


@pytest.mark.slow
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
