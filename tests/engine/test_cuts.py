"""Requests that want their texts cut in different ways share neither scores nor cache entries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pairscore.cache.memory import MemoryCache
from pairscore.config import Truncation
from pairscore.errors import TooLongError
from pairscore.road.backends.fake import FakeBackend

LONG = "red " * 600 + "fox"
SHORT = Truncation(max_document_tokens=3)


def test_equal_texts_cut_differently_are_different_pairs(run, engine_of) -> None:
    """In flight together, each request gets its own tokens."""
    cuts = (Truncation(), SHORT, Truncation(max_document_tokens=5), SHORT)

    async def main() -> Any:
        async with engine_of(FakeBackend(delay_s=0.01)) as engine:
            calls = (engine.score([("red", LONG)], truncation=cut) for cut in cuts)
            return await asyncio.gather(*calls)

    answers = run(main())
    assert [int(answer.scores.num_tokens[0]) for answer in answers] == [512, 7, 9, 7]
    assert [answer.num_shared for answer in answers] == [0, 0, 0, 1]


def test_the_cache_tells_cuts_apart(run, engine_of) -> None:
    """A score that was kept for another cut is not given out."""

    async def main() -> Any:
        cache = MemoryCache(max_bytes=1 << 20, ttl_s=60.0)
        async with engine_of(cache=cache) as engine:
            pairs = [("red", LONG)]
            return [
                await engine.score(pairs, truncation=cut) for cut in (Truncation(), SHORT, SHORT)
            ]

    answers = run(main())
    assert [answer.num_cached for answer in answers] == [0, 0, 1]
    assert int(answers[-1].scores.num_tokens[0]) == 7


def test_a_kept_score_of_a_cut_pair_is_no_answer_to_the_strict(run, engine_of) -> None:
    """Whether it is known or not, what is too long is refused, with its place in the request."""
    pairs = [("red", "fox"), ("red", "fox"), ("red", LONG)]
    strict = Truncation(strict=True)

    async def main() -> Any:
        cache = MemoryCache(max_bytes=1 << 20, ttl_s=60.0)
        async with engine_of(cache=cache) as engine:
            await engine.score(pairs)
            with pytest.raises(TooLongError) as error:
                await engine.score(pairs, truncation=strict)
            return error.value, await engine.score(pairs[:2], truncation=strict)

    error, whole = run(main())
    assert error.position == 2
    assert whole.num_cached == 2
