"""From the workers' threads back to the event loop: who waits for what, and who is told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from pairscore.engine.records import BatchReport, Observer
from pairscore.engine.scheduler import Entry, Ticket
from pairscore.errors import DeadlineError
from pairscore.values import FloatArray

__all__ = ["Delivery"]


class Delivery:
    """Gives each waiting request its end; keeps `engine.workers.Events`.

    Args:
        loop: where the requests wait.
        observer: is told what the workers do, on their threads.
        scored: is given entries and their logits, on the loop, once a request is complete.
        unsettled: is called on the loop after a worker was replaced.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        observer: Observer,
        scored: Callable[[Sequence[Entry], FloatArray], None],
        unsettled: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._observer = observer
        self._scored = scored
        self._unsettled = unsettled
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._scored_entries: deque[tuple[Sequence[Entry], FloatArray]] = deque()

    def expect(self, ticket: Ticket) -> asyncio.Future[None]:
        """A future that ends when the request does; on the loop only."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting[ticket] = future
        return future

    def forget(self, ticket: Ticket) -> None:
        """Nobody waits for this request any more; on the loop only."""
        self._waiting.pop(ticket, None)

    def fail_all(self, error: Exception) -> None:
        """End whoever still waits; on the loop only."""
        self._fail(tuple(self._waiting), error)

    def finished(
        self, entries: Sequence[Entry], logits: FloatArray, complete: Sequence[Ticket]
    ) -> None:
        """Entries have their logits, which completed these requests."""
        self._scored_entries.append((entries, logits))
        # Waking the loop costs it more than the work there: it is left asleep while nobody can be answered.
        if complete:
            self._post(self._deliver, complete)

    def failed(self, tickets: Sequence[Ticket], error: Exception) -> None:
        """These requests ended with an error."""
        if tickets:
            self._post(self._fail, tickets, error)

    def late(self, tickets: Sequence[Ticket]) -> None:
        """These requests could no longer be finished in time."""
        error = DeadlineError(
            "the deadline would pass before this request could be scored, so it was not started; "
            "give it more time, send fewer pairs, or come back when less waits"
        )
        self._post(self._fail, tickets, error)

    def ran(self, report: BatchReport) -> None:
        """The model ran a micro-batch."""
        self._observer.ran(report)

    def split(self) -> None:
        """A micro-batch ran out of memory and was halved."""
        self._observer.split()

    def replaced(self, reason: Literal["died", "hung"]) -> None:
        """A worker was given up and another one took its place."""
        self._observer.replaced_worker(reason)
        self._post(self._unsettled)

    def _post(self, callback: Callable[..., None], *arguments: Any) -> None:
        # The loop is closed when the process is ending under us; then nobody waits any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _deliver(self, complete: Sequence[Ticket]) -> None:
        # First, so that who asks again as soon as it has its answer finds it in the cache.
        while self._scored_entries:
            self._scored(*self._scored_entries.popleft())
        for ticket in complete:
            future = self._waiting.pop(ticket, None)
            if future is not None and not future.done():
                future.set_result(None)

    def _fail(self, tickets: Sequence[Ticket], error: Exception) -> None:
        for ticket in tickets:
            future = self._waiting.pop(ticket, None)
            if future is not None and not future.done():
                future.set_exception(error)
