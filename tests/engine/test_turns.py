"""Engines that share a machine: no more micro-batches at once than one of them would run, and each gets its share."""

from __future__ import annotations

import asyncio
import threading
import time

from pairscore.config import RoadConfig
from pairscore.engine.core import Engine
from pairscore.engine.records import EngineConfig
from pairscore.engine.turns import Turns
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.values import Batch, FloatArray


class Counting(FakeBackend):
    """Knows how many run at once, of all that share a counter."""

    running = 0
    most = 0
    lock = threading.Lock()

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """Count, run, count."""
        with Counting.lock:
            Counting.running += 1
            Counting.most = max(Counting.most, Counting.running)
        try:
            return super().run(batch, num_threads=num_threads)
        finally:
            with Counting.lock:
                Counting.running -= 1


def _engine(backend: FakeBackend, turns: Turns, *, run_timeout_s: float = 30.0) -> Engine:
    road = open_road(backend=backend, config=RoadConfig(num_workers=2, budget=64))
    return Engine(road, config=EngineConfig(turns=turns, run_timeout_s=run_timeout_s))


def test_together_they_run_no_more_than_there_are_turns() -> None:
    """And both are finished at about the same time, because they alternate."""
    asyncio.run(_together_they_run_no_more_than_there_are_turns())


async def _together_they_run_no_more_than_there_are_turns() -> None:
    Counting.most = 0
    turns = Turns(2)
    pairs = [(f"query {number}", "word " * 20) for number in range(60)]
    async with (
        _engine(Counting(delay_s=0.005), turns) as one,
        _engine(Counting(delay_s=0.005), turns) as other,
    ):

        async def asked(engine: Engine) -> float:
            await engine.score(pairs)
            return time.monotonic()

        begin = time.monotonic()
        ends = await asyncio.gather(asked(one), asked(other))

    assert Counting.most == 2
    first, last = (end - begin for end in sorted(ends))
    assert first > last / 2


def test_one_that_hangs_gives_its_turns_back() -> None:
    """When it is given up; until then others wait, and are not taken for hanging themselves."""
    asyncio.run(_one_that_hangs_gives_its_turns_back())


async def _one_that_hangs_gives_its_turns_back() -> None:
    turns = Turns(2)
    hanging = FakeBackend()
    async with (
        _engine(hanging, turns, run_timeout_s=0.4) as one,
        _engine(FakeBackend(), turns, run_timeout_s=0.4) as other,
    ):
        hanging.gate = threading.Event()
        pairs = [(f"query {number}", "word " * 40) for number in range(4)]
        lost = asyncio.gather(*(one.score([pair]) for pair in pairs), return_exceptions=True)
        await asyncio.sleep(0.05)

        answer = await other.score([("a", "b")], deadline_s=10)
        hanging.gate.set()
        await lost

    assert len(answer.scores) == 1


def test_turns_are_handed_on_in_order() -> None:
    """To whoever has waited longest; a turn that is given back twice is one turn."""
    turns = Turns(1)
    order: list[int] = []
    first = turns.enter()

    def wait(number: int) -> None:
        turn = turns.enter()
        order.append(number)
        turns.leave(turn)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        while len(turns._waiting) <= number:
            time.sleep(0.001)
    turns.leave(first)
    turns.leave(first)
    for thread in threads:
        thread.join()

    assert order == [0, 1, 2, 3, 4]
    assert not turns.busy
