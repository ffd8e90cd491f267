"""What an engine says of itself and of the time it took, and that it closes what it was given."""

from __future__ import annotations

import asyncio

from tests.engine.asking import PAIRS

from pairscore.cache.memory import MemoryCache
from pairscore.road.backends.fake import FakeBackend


def test_stalled_is_who_waits_and_gets_no_turn(run, engine_of, gate) -> None:
    """It grows while pairs wait and no micro-batch begins or ends; without any there is no stall."""

    async def main() -> None:
        async with engine_of(gate.backend, num_workers=1, budget=8) as engine:
            await asyncio.sleep(0.03)
            assert engine.state().stalled_s == 0.0
            gate.close()
            task = asyncio.create_task(engine.score(PAIRS))
            await gate.entered()
            await asyncio.sleep(0.03)
            assert engine.state().waiting_pairs > 0
            assert engine.state().stalled_s >= 0.03
            gate.open()
            await task
            assert engine.state().stalled_s == 0.0

    run(main())


def test_waiting_is_told_from_running(run, engine_of, gate) -> None:
    """The queue's time ends where the first micro-batch begins, the model's where the last one ends."""

    async def main() -> None:
        async with engine_of(gate.backend, num_workers=1, budget=8) as engine:
            gate.close()
            first = asyncio.create_task(engine.score([("holds", "the worker")]))
            await gate.entered()
            second = asyncio.create_task(engine.score(PAIRS[:3]))
            while engine.state().waiting_pairs < 3:
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.05)
            gate.backend.delay_s = 0.03
            gate.open()
            await first
            timing = (await second).timing
            assert timing.queue_s >= 0.05
            # Three micro-batches, because the budget holds one pair.
            assert timing.inference_s >= 0.09
            assert timing.queue_s + timing.inference_s <= timing.total_s

    run(main())


def test_what_can_be_finished_in_time_is_started(run, engine_of) -> None:
    """A deadline of some times the work that is ahead is no reason to refuse."""

    async def main() -> None:
        async with engine_of(FakeBackend(delay_s=0.02), num_workers=1, budget=32) as engine:
            assert engine.state().tokens_per_s > 0
            pairs = [(f"q{i}", "word " * 24) for i in range(10)]
            assert len((await engine.score(pairs, deadline_s=1.5)).scores) == 10

    run(main())


def test_a_full_queue_does_not_look_like_a_dead_model(run, engine_of, gate) -> None:
    """The canary is let in whoever waits, and goes first."""

    async def main() -> None:
        async with engine_of(gate.backend, num_workers=1, budget=8, max_queue_tokens=10) as engine:
            gate.close()
            task = asyncio.create_task(engine.score(PAIRS))
            await gate.entered()
            before = engine.state().waiting_pairs
            song = asyncio.create_task(engine._sing())
            while engine.state().waiting_pairs == before and not song.done():
                await asyncio.sleep(0.002)
            gate.open()
            await song
            await task

    run(main())


def test_closing_closes_the_cache(run, engine_of) -> None:
    """Once, and after the last answer."""
    closed: list[int] = []

    class Watched(MemoryCache):
        async def close(self) -> None:
            closed.append(self.stats().num_misses)

    async def main() -> None:
        cache = Watched(max_bytes=1_000_000, ttl_s=60)
        async with engine_of(cache=cache) as engine:
            await engine.score(PAIRS)
            assert closed == []
            await engine.close()

    run(main())
    assert closed == [len(PAIRS)]
