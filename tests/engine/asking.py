"""Requests to an engine, and a backend that hangs until it is let go."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from pairscore.road.backends.fake import FakeBackend

PATIENCE_S = 30.0
PAIRS = [("red fox", f"a fox number {i}") for i in range(6)]


class Gate:
    """A backend that hangs until it is opened; closed on purpose after the engine has started."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.event = threading.Event()

    def close(self) -> None:
        self.event.clear()
        self.backend.gate = self.event

    def open(self) -> None:
        self.event.set()

    async def entered(self) -> None:
        """Wait until a micro-batch is in the model."""
        before = self.backend.num_runs
        while self.backend.num_runs == before:
            await asyncio.sleep(0.002)


async def ends_of(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """How each of them ended, well or not."""
    return await asyncio.gather(*tasks, return_exceptions=True)


def ask_many(engine: Any, count: int = 5, **options: Any) -> list[asyncio.Task[Any]]:
    """Requests of their own pairs, and all of one pair that they share."""
    return [
        asyncio.create_task(engine.score([("shared", "pair"), (f"q{i}", f"d{i}")], **options))
        for i in range(count)
    ]
