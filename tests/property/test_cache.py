"""The laws of the score cache: a slow and simple cache says the same, and no two pairs share a key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pairscore.cache.base import CachedScore, PairKeys
from pairscore.cache.memory import ENTRY_BYTES, MemoryCache
from pairscore.cache.shared import _pack, _unpack

TTL_S = 10.0
FLOATS = st.floats(width=32)
SCORES = st.builds(
    CachedScore, logit=FLOATS, num_tokens=st.integers(0, 2**32 - 1), truncated=st.booleans()
)
# Few keys, so that they meet again.
SOME_KEYS = st.lists(
    st.binary(min_size=1, max_size=1).map(lambda b: bytes([b[0] % 8])), max_size=12
)
# Lone surrogates too: no text that JSON can carry may fail.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=6)
TEXTS = (
    st.sampled_from(
        ["", "a", "ab", "b", "?", "\0", "\ud800", "\udc00", "\ud800\udc00", "\U00010000"]
    )
    | ANY_TEXT
)
PAIRS = st.tuples(TEXTS, TEXTS)


class Simple:
    """What `MemoryCache` should do, said as plainly as possible."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self.scores: dict[bytes, tuple[float, CachedScore]] = {}
        self.order: list[bytes] = []  # the least recently used first
        self.num_hits = self.num_misses = self.num_evicted = self.num_expired = 0

    def get(self, key: bytes, now: float) -> CachedScore | None:
        if key in self.scores and self.scores[key][0] <= now:
            self.expire(key)
        if key not in self.scores:
            self.num_misses += 1
            return None
        self.num_hits += 1
        self.order.remove(key)
        self.order.append(key)
        return self.scores[key][1]

    def put(self, key: bytes, score: CachedScore, now: float) -> None:
        if not np.isfinite(score.logit):
            return
        if key in self.scores:
            self.order.remove(key)
        self.scores[key] = (now + TTL_S, score)
        self.order.append(key)
        if len(self.order) > self.max_entries:
            self.tidy(now)
        if len(self.order) > self.max_entries:
            del self.scores[self.order.pop(0)]
            self.num_evicted += 1

    def tidy(self, now: float) -> None:
        while self.order and self.scores[self.order[0]][0] <= now:
            self.expire(self.order[0])

    def expire(self, key: bytes) -> None:
        self.order.remove(key)
        del self.scores[key]
        self.num_expired += 1


class MemoryMachine(RuleBasedStateMachine):
    """Both get the same calls and must say the same."""

    @initialize(max_entries=st.integers(1, 6))
    def make(self, max_entries: int) -> None:
        self.now = 0.0
        self.simple = Simple(max_entries)
        self.cache = MemoryCache(
            max_bytes=max_entries * ENTRY_BYTES + ENTRY_BYTES - 1,
            ttl_s=TTL_S,
            clock=lambda: self.now,
        )

    @rule(seconds=st.sampled_from([0.5, 3.0, TTL_S, 25.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(keys=SOME_KEYS)
    def get(self, keys: list[bytes]) -> None:
        expected = [self.simple.get(key, self.now) for key in keys]
        assert asyncio.run(self.cache.get_many(keys)) == expected

    @rule(keys=SOME_KEYS, scores=st.lists(SCORES, min_size=12, max_size=12))
    def put(self, keys: list[bytes], scores: Sequence[CachedScore]) -> None:
        entries = list(zip(keys, scores, strict=False))
        for key, score in entries:
            self.simple.put(key, score, self.now)
        self.simple.tidy(self.now)
        asyncio.run(self.cache.put_many(entries))

    @invariant()
    def says_the_same(self) -> None:
        if not hasattr(self, "cache"):
            return
        stats = self.cache.stats()
        assert stats.num_entries == len(self.simple.order) <= self.simple.max_entries
        assert (stats.num_hits, stats.num_misses) == (self.simple.num_hits, self.simple.num_misses)
        assert stats.num_evicted == self.simple.num_evicted
        assert stats.num_expired == self.simple.num_expired


MemoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestMemory = MemoryMachine.TestCase


@given(pairs=st.lists(PAIRS, min_size=2, max_size=30))
def test_pairs_share_a_key_only_if_they_are_the_same(pairs: list[tuple[str, str]]) -> None:
    """Whatever the texts hold, and in whatever order they come."""
    keys = PairKeys(model_sha256="0" * 64, max_length=512, truncation="right")
    made = keys.keys(pairs)

    assert len(set(made)) == len(set(pairs))
    assert made == [keys.key(a, b) for a, b in pairs]
    assert {len(key) for key in made} == {16}


READINGS = st.tuples(
    st.sampled_from(["a" * 64, "b" * 64, "", "a", 'a", 1', "ü"]),
    st.integers(1, 2000),
    st.sampled_from(["left", "right"]),
)


@given(one=READINGS, other=READINGS, pair=PAIRS)
def test_readings_share_a_key_only_if_they_are_the_same(
    one: tuple[str, int, str], other: tuple[str, int, str], pair: tuple[str, str]
) -> None:
    """Model, length and side each make another key."""
    first, second = (
        PairKeys(model_sha256=model, max_length=length, truncation=side).key(*pair)
        for model, length, side in (one, other)
    )

    assert (first == second) == (one == other)


@given(key=st.binary(min_size=16, max_size=16), score=SCORES)
def test_a_shared_value_says_what_was_packed(key: bytes, score: CachedScore) -> None:
    """Bit for bit, and nothing that is not finite."""
    expected = score if np.isfinite(score.logit) else None

    assert repr(_unpack(key, _pack(key, score))) == repr(expected)


@given(key=st.binary(min_size=16, max_size=16), score=SCORES, data=st.data())
def test_a_spoilt_value_is_a_miss(key: bytes, score: CachedScore, data: st.DataObject) -> None:
    """Any other byte anywhere, a missing end, a longer one, and another pair's value."""
    value = _pack(key, score)
    place = data.draw(st.integers(0, len(value) - 1))
    flip = data.draw(st.integers(1, 255))
    spoilt = bytes([*value[:place], value[place] ^ flip, *value[place + 1 :]])
    other = bytes([key[0] ^ flip, *key[1:]])

    assert _unpack(key, spoilt) is None
    assert _unpack(key, value[:place]) is None
    assert _unpack(key, value + b"\0") is None
    assert _unpack(other, value) is None


@given(value=st.none() | st.binary(max_size=40) | st.text(max_size=14) | st.integers())
def test_whatever_lies_in_redis_is_a_miss(value: object) -> None:
    """Something else may have written it."""
    assert _unpack(b"k" * 16, value) is None
