"""The engine around a model without weights, on a loop that notices when it is blocked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from pairscore.config import RoadConfig
from pairscore.engine.core import Engine
from pairscore.engine.records import Answer, BatchReport, EngineConfig, Observer
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road

# A callback that holds the loop for so long holds up everybody else; far above what a loaded machine does.
BLOCKED_S = 0.5
PATIENCE_S = 30.0


class Witness(Observer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.answers: list[Answer] = []
        self.reports: list[BatchReport] = []
        self.replacements: list[str] = []
        self.num_splits = 0

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


@pytest.fixture
def run(caplog: pytest.LogCaptureFixture) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine on a loop of its own; fails if anything held the loop up, or left a task behind."""

    def run_it(main: Coroutine[Any, Any, Any]) -> Any:
        async def watched() -> Any:
            asyncio.get_running_loop().slow_callback_duration = BLOCKED_S
            result = await asyncio.wait_for(main, PATIENCE_S)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"left behind: {left}"
            return result

        with caplog.at_level(logging.WARNING, logger="asyncio"), asyncio.Runner(debug=True) as loop:
            result = loop.run(watched())
        slow = [entry.getMessage() for entry in caplog.records if entry.name == "asyncio"]
        assert not slow, f"the loop was blocked: {slow}"
        return result

    return run_it


@pytest.fixture
def witness() -> Witness:
    """An observer that remembers."""
    return Witness()


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
