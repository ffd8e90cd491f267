"""What an engine answers when all is well."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.cache.base import CachedScore
from pairscore.cache.memory import MemoryCache
from pairscore.engine.core import Engine
from pairscore.engine.records import EngineConfig
from pairscore.errors import SettingError
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road

WORDS = ["red", "blue", "fox", "sky", "wine", "river", "stone", "cloud", "bird", "glass"]


def _pairs(count: int, *, seed: int = 7, longest: int = 60) -> list[tuple[str, str]]:
    dice = random.Random(seed)
    return [
        (
            " ".join(dice.choices(WORDS, k=dice.randint(1, 6))),
            " ".join(dice.choices(WORDS, k=dice.randint(0, longest))) + f" number {i}",
        )
        for i in range(count)
    ]


def test_the_same_scores_as_the_library(run, engine_of) -> None:
    """Logits, scores, probabilities, tokens, truncation and the scale are those of `CrossEncoder.score`."""
    pairs = [*_pairs(50), ("q", "word " * 2000), ("", "")]

    async def main() -> Any:
        async with engine_of() as engine:
            return (await engine.score(pairs)).scores

    scores = run(main())
    with CrossEncoder(backend="fake") as encoder:
        expected = encoder.score(pairs)
    for name in ("logits", "scores", "probabilities", "num_tokens", "truncated"):
        np.testing.assert_array_equal(getattr(scores, name), getattr(expected, name))
    assert (scores.scale, scores.model) == (expected.scale, expected.model)


@pytest.mark.slow
def test_fifty_requests_at_once_are_those_one_by_one() -> None:
    """On the bundled model, with lengths mixed: coalescing changes no score and swaps no query."""
    pairs = _pairs(200, longest=90)
    requests = [pairs[i : i + 1 + i % 7] for i in range(0, 200, 4)]

    async def main() -> tuple[list[Any], list[Any]]:
        async with Engine(open_road()) as engine:
            together = await asyncio.gather(*(engine.score(request) for request in requests))
            alone = [await engine.score(request) for request in requests]
            return together, alone

    together, alone = asyncio.run(main())
    assert len(requests) == 50
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.scores.logits, other.scores.logits)


def test_coalesced_requests_keep_their_queries(run, engine_of) -> None:
    """Two requests with the same documents and different queries, in one micro-batch."""
    documents = ["red fox", "blue sky", "glass river"]

    async def main() -> list[Any]:
        backend, gate = FakeBackend(), threading.Event()
        async with engine_of(backend, num_workers=1) as engine:
            backend.gate = gate
            runs = backend.num_runs
            first = asyncio.create_task(engine.score([("holds", "the worker")]))
            while backend.num_runs == runs:
                await asyncio.sleep(0.002)
            tasks = [
                asyncio.create_task(engine.score([(query, text) for text in documents]))
                for query in documents
            ]
            while engine.state().waiting_pairs < 9:
                await asyncio.sleep(0.002)
            gate.set()
            answers = await asyncio.gather(*tasks)
            await first
            assert max(rows for rows, _, _ in backend.batches) == 9
            return [answer.scores.logits.argmax() for answer in answers]

    assert run(main()) == [0, 1, 2]


def test_ten_thousand_candidates_are_one_ordered_answer(run, engine_of) -> None:
    """Any number of pairs, in the order in which they were given, while a small request passes."""
    pairs = [(f"fox {i % 97}", f"fox {i}") for i in range(10_000)]

    async def main() -> None:
        backend, gate = FakeBackend(), threading.Event()
        async with engine_of(backend, budget=64) as engine:
            backend.gate, order = gate, []

            async def ask(name: str, asked: list[tuple[str, str]]) -> Any:
                answer = await engine.score(asked)
                order.append(name)
                return answer

            large = asyncio.create_task(ask("large", pairs))
            while not engine.state().waiting_pairs:
                await asyncio.sleep(0.001)
            small = asyncio.create_task(ask("small", [("small", "request")]))
            while engine.state().num_requests < 2:
                await asyncio.sleep(0.001)
            gate.set()
            await small
            answer = await large
            # A loop that was slow to wake may hear of both at once, and still in this order.
            assert order == ["small", "large"]
            sample = range(0, 10_000, 501)
            for i in sample:
                single = await engine.score([pairs[i]])
                assert single.scores.logits[0] == answer.scores.logits[i]

    run(main())


def test_equal_pairs_in_flight_run_once(run, engine_of) -> None:
    """Within a request and between requests; everybody gets the score, and is told it was shared."""

    async def main() -> None:
        backend, gate = FakeBackend(), threading.Event()
        async with engine_of(backend, num_workers=1) as engine:
            backend.gate = gate
            rows = sum(batch[0] for batch in backend.batches)
            runs = backend.num_runs
            first = asyncio.create_task(engine.score([("holds", "the worker")]))
            while backend.num_runs == runs:
                await asyncio.sleep(0.002)
            tasks = [
                asyncio.create_task(engine.score([("a", "b"), ("c", "d"), ("a", "b")]))
                for _ in range(4)
            ]
            while len(engine._scheduler.tickets) < 5:
                await asyncio.sleep(0.002)
            gate.set()
            answers = await asyncio.gather(*tasks)
            await first
            assert sum(batch[0] for batch in backend.batches) - rows == 3
            assert sorted(answer.num_shared for answer in answers) == [1, 4, 4, 4]
            assert len({tuple(answer.scores.logits.tolist()) for answer in answers}) == 1

    run(main())


def test_one_small_request_gets_all_cores(run, engine_of, witness) -> None:
    """Alone on an idle engine a micro-batch has all threads; under load each has one."""

    async def main() -> None:
        async with engine_of(num_workers=3, observer=witness, budget=40) as engine:
            witness.reports.clear()
            tokenized = witness.num_tokenized
            await engine.score([("a", "b")])
            assert witness.num_tokenized == tokenized + 1
            assert [report.num_threads for report in witness.reports] == [3]
            witness.reports.clear()
            await engine.score(_pairs(60))
            assert {report.num_threads for report in witness.reports[:-3]} == {1}

    run(main())


def test_priority_goes_first(run, engine_of) -> None:
    """A request with a lower number passes those that wait."""

    async def main() -> list[str]:
        backend, gate, order = FakeBackend(), threading.Event(), []
        async with engine_of(backend, num_workers=1, budget=8) as engine:
            backend.gate = gate
            runs = backend.num_runs

            async def ask(name: str, priority: int) -> None:
                await engine.score([(name, name)], priority=priority)
                order.append(name)

            first = asyncio.create_task(ask("first", 0))
            while backend.num_runs == runs:
                await asyncio.sleep(0.002)
            others = [asyncio.create_task(ask(f"p{p}", p)) for p in (3, 0, -1)]
            while engine.state().waiting_pairs < 3:
                await asyncio.sleep(0.002)
            gate.set()
            await asyncio.gather(first, *others)
        return order

    assert run(main()) == ["first", "p-1", "p0", "p3"]


def test_what_is_in_the_cache_is_not_run(run, engine_of) -> None:
    """A second request for the same pairs runs nothing and says the same; hits pass a full queue."""
    pairs = [*_pairs(20), ("q", "word " * 2000)]

    async def main() -> None:
        backend = FakeBackend()
        cache = MemoryCache(max_bytes=1_000_000, ttl_s=60)
        async with engine_of(backend, cache=cache, max_queue_tokens=1) as engine:
            first = await engine.score(pairs)
            await asyncio.sleep(0)
            runs = backend.num_runs
            second = await engine.score(pairs[::-1])
            assert backend.num_runs == runs
            assert (first.num_cached, second.num_cached) == (0, 21)
            assert second.scores.logits.tolist() == first.scores.logits.tolist()[::-1]
            assert second.scores.truncated.tolist() == first.scores.truncated.tolist()[::-1]
            assert second.scores.num_tokens.tolist() == first.scores.num_tokens.tolist()[::-1]
            assert second.timing.inference_s == 0.0
            part = await engine.score([*pairs[:3], ("new", "pair")])
            assert part.num_cached == 3
            assert len(part.scores) == 4

    run(main())


def test_another_truncation_is_another_cache_key(run, engine_of) -> None:
    """What was cut elsewhere is not the same score."""
    pairs = [("q", "word " * 100)]
    kept: dict[bytes, CachedScore] = {}

    class Kept(MemoryCache):
        async def put_many(self, entries: Any) -> None:
            kept.update(entries)

    async def main(max_length: int) -> None:
        from pairscore.config import RoadConfig

        road = open_road(backend="fake", config=RoadConfig(max_length=max_length))
        async with Engine(road, cache=Kept(max_bytes=10_000, ttl_s=60)) as engine:
            await engine.score(pairs)
            await asyncio.sleep(0)

    run(main(32))
    run(main(64))
    assert {score.num_tokens for score in kept.values()} == {32, 64}


def test_another_model_is_another_cache_key() -> None:
    """Weights, tokenizer and backend name it: a cache that is shared never mixes them up."""
    fake, real = open_road(backend="fake"), open_road()

    assert fake.model_sha256 == real.model_sha256
    assert fake.fingerprint != real.fingerprint


def test_timing_adds_up(run, engine_of) -> None:
    """The parts are not negative and lie within the whole."""

    async def main() -> Any:
        async with engine_of(FakeBackend(delay_s=0.01)) as engine:
            return await asyncio.gather(*(engine.score(_pairs(20, seed=i)) for i in range(5)))

    for answer in run(main()):
        timing = answer.timing
        parts = (timing.tokenize_s, timing.queue_s, timing.inference_s)
        assert min(parts) >= 0
        assert sum(parts) <= timing.total_s + 1e-3
        assert timing.inference_s >= 0.01


def test_the_speed_is_that_of_full_micro_batches(run, engine_of) -> None:
    """It is known after the start, and a short pair, whose time is not its tokens', does not change it."""

    async def main() -> None:
        async with engine_of(FakeBackend(delay_s=0.005)) as engine:
            known = engine.state().tokens_per_s
            assert known > 0
            for i in range(20):
                await engine.score([(f"q{i}", "short")])
            assert engine.state().tokens_per_s == known

    run(main())


def test_the_detector_notices_a_blocked_loop(run) -> None:
    """What guards the tests of this folder works."""

    async def main() -> None:
        await asyncio.sleep(0.05)
        time.sleep(1.0)

    with pytest.raises(AssertionError, match="the loop was blocked"):
        run(main())


def test_two_engines_share_a_road(run) -> None:
    """The model changes nothing when it runs, so it may be driven twice."""

    async def main() -> None:
        road = open_road(backend="fake")
        async with Engine(road) as one, Engine(road) as other:
            first, second = await asyncio.gather(one.score(_pairs(9)), other.score(_pairs(9)))
            assert first.scores.logits.tolist() == second.scores.logits.tolist()

    run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_queue_tokens": 0},
        {"run_timeout_s": 0},
        {"grace_s": -1},
        {"timeout_s": 0},
        {"canary_interval_s": float("nan")},
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, Any]) -> None:
    """A SettingError names the limit and its value."""
    with pytest.raises(SettingError, match=next(iter(wrong))):
        EngineConfig(**wrong)
