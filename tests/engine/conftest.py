"""The engine around a model without weights, on a loop that notices when it is blocked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.asking import PATIENCE_S, Gate

from pairscore.config import RoadConfig
from pairscore.engine.core import Engine
from pairscore.engine.records import Answer, BatchReport, EngineConfig, Observer
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road

# How much later than a thread of the same process the loop may turn: a blocked loop is later, and a machine
# that is busy with something else makes both of them late.
BLOCKED_S = 0.4
_BEAT_S = 0.02


class Pulse:
    """The longest time between two beats."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.longest_s = 0.0

    def beat(self) -> None:
        """Once more."""
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - self._last)
        self._last = now


class Witness(Observer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.answers: list[Answer] = []
        self.reports: list[BatchReport] = []
        self.replacements: list[str] = []
        self.num_splits = 0
        self.num_tokenized = 0

    def tokenized(self, *, num_pairs: int, seconds: float) -> None:
        assert seconds >= 0
        self.num_tokenized += num_pairs

    def ran(self, report: BatchReport) -> None:
        self.reports.append(report)

    def ended(self, outcome: str, *, answer: Answer | None = None) -> None:
        self.outcomes.append(outcome)
        if answer is not None:
            self.answers.append(answer)

    def replaced_worker(self, reason: str) -> None:
        self.replacements.append(reason)

    def split(self) -> None:
        self.num_splits += 1


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(_BEAT_S)


def _beat_thread(pulse: Pulse, ended: threading.Event) -> None:
    while not ended.wait(_BEAT_S):
        pulse.beat()


async def _watched(main: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that must not hold up the loop, nor leave a task behind."""
    loop_pulse, thread_pulse, ended = Pulse(), Pulse(), threading.Event()
    threading.Thread(target=_beat_thread, args=(thread_pulse, ended), daemon=True).start()
    beating = asyncio.create_task(_beat(loop_pulse))
    try:
        result = await asyncio.wait_for(main, PATIENCE_S)
    finally:
        loop_pulse.beat()
        ended.set()
        beating.cancel()
    blocked = loop_pulse.longest_s - thread_pulse.longest_s
    assert blocked < BLOCKED_S, f"the loop was blocked for {blocked:.2f} s"
    left = asyncio.all_tasks() - {asyncio.current_task(), beating}
    assert not left, f"left behind: {left}"
    return result


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine on a loop of its own that notices when it is blocked."""
    return lambda main: asyncio.run(_watched(main))


@pytest.fixture
def witness() -> Witness:
    """An observer that remembers."""
    return Witness()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open again at the end, so that no thread is left hanging."""
    made = Gate()
    yield made
    made.open()


@pytest.fixture
def engine_of() -> Callable[..., AbstractAsyncContextManager[Engine]]:
    """Start an engine with a backend and limits of one's own."""
    return _engine_of


@asynccontextmanager
async def _engine_of(
    backend: FakeBackend | None = None,
    *,
    observer: Observer | None = None,
    cache: Any = None,
    budget: int = 512,
    num_workers: int = 2,
    **limits: Any,
) -> AsyncIterator[Engine]:
    """An engine that has started; the canary sings only when it must, so that tests can count runs."""
    road = open_road(
        backend=backend or FakeBackend(), config=RoadConfig(budget=budget, num_workers=num_workers)
    )
    config = replace(EngineConfig(canary_interval_s=60.0, grace_s=5.0), **limits)
    async with Engine(road, config=config, observer=observer, cache=cache) as engine:
        yield engine
