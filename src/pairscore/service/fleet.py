"""`Fleet`: several models in one process, each with its own engine and queue, loaded and freed while it runs.

The first model is the default: it is loaded at the start and stays. The others are loaded as far as the memory that is
allowed for models reaches, and otherwise by the first request that names them; the one that rested longest makes room.
A request holds the model that it uses, so that nothing is freed under it: who is unloaded, or replaced by a newer
one, first finishes what it has, while new requests go to what comes after.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pairscore
from pairscore.config import Chunking, Truncation
from pairscore.engine.core import Engine, outcome_of
from pairscore.engine.records import Answer
from pairscore.errors import ClosedError, OutOfMemoryError
from pairscore.service import fleet_memory
from pairscore.service.fleet_member import Loaded, Member
from pairscore.service.fleet_opening import Opener
from pairscore.service.fleet_refusals import late, no_room, refusal, refuse_failed
from pairscore.service.fleet_specs import ModelSpec
from pairscore.service.fleet_telemetry import Left
from pairscore.service.telemetry import Telemetry

__all__ = ["Fleet"]

_log = logging.getLogger("pairscore.service")


class Fleet:
    """The models of one service; its methods belong to one event loop.

    Args:
        specs: what was declared; the first is the default.
        opener: how one gets into memory.
        telemetry: is told of loads.
        max_bytes: what all loaded models may weigh together; None sets no limit.
        timeout_s: how long a request that brings no deadline waits for its model; None for ever.
        grace_s: how long a model that leaves waits for its requests.
    """

    def __init__(  # noqa: PLR0913 - what the settings say of a fleet
        self,
        specs: Sequence[ModelSpec],
        *,
        opener: Opener,
        telemetry: Telemetry,
        max_bytes: int | None,
        timeout_s: float | None,
        grace_s: float,
    ) -> None:
        self.members = tuple(Member(spec, pinned=spec is specs[0]) for spec in specs)
        self._by_name: dict[str, Member] = {}
        for member in self.members:
            for name in member.spec.names:
                # Of two that share a further name, the first one has it.
                self._by_name.setdefault(name, member)
        self._by_name |= {member.name: member for member in self.members}
        self._opener = opener
        self._telemetry = telemetry
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        # One at a time: memory is measured, and room is made for one.
        self._door = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def default(self) -> Member:
        """The one that is asked when a request names none."""
        return self.members[0]

    def find(self, name: str | None) -> Member | None:
        """The model of that name; the default for no name at all."""
        return self._by_name.get(name) if name else self.default

    async def open(self) -> None:
        """Load the default, and begin to load the others in their order.

        Raises:
            PairscoreError: the default cannot be loaded.
        """
        await self._bring_in(self.default)
        if len(self.members) > 1:
            for member in self.members[1:]:
                member.is_due = True
            self._spawn(self._fill(self.members[1:]))

    async def close(self) -> None:
        """Refuse what is new, finish what was admitted, free all; a second call does nothing."""
        await self.drain()
        leaving = [loaded for member in self.members if (loaded := member.take()) is not None]
        await asyncio.gather(*(loaded.close() for loaded in leaving))

    async def drain(self) -> None:
        """Refuse what is new, and finish what was admitted, within each engine's grace."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        engines = [member.loaded.engine for member in self.members if member.loaded is not None]
        await asyncio.gather(*(engine.close() for engine in engines), *self._retiring)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def score(  # noqa: PLR0913 - as `Engine.score`, and with which model
        self,
        member: Member,
        pairs: Iterable[Any],
        *,
        deadline_s: float | None,
        priority: int = 0,
        truncation: Truncation | None = None,
        chunking: Chunking | None = None,
        accept: Callable[[Member], None] = lambda _: None,
    ) -> Answer:
        """Score pairs with a model, which is loaded if need be, all within the deadline.

        The deadline counts from now, a load included. `accept` is shown the model once it is in memory, and
        raises if it will not do. The rest is as for `Engine.score`.

        Raises:
            Refusal: the model cannot be loaded now.
            PairscoreError: as `Engine.score` says.
        """
        begin = time.monotonic()
        timeout_s = self._timeout_s if deadline_s is None else deadline_s
        waited = member.loaded is None
        async with self.using(member, timeout_s=timeout_s) as engine:
            accept(member)
            if waited and timeout_s is not None:
                deadline_s = timeout_s - (time.monotonic() - begin)
                if deadline_s <= 0:
                    raise late(member, timeout_s)
            answer = await engine.score(
                pairs,
                deadline_s=deadline_s,
                priority=priority,
                truncation=truncation,
                chunking=chunking,
            )
        if answer.scores.model == member.name:
            return answer
        return replace(answer, scores=replace(answer.scores, model=member.name))

    @contextlib.asynccontextmanager
    async def using(self, member: Member, *, timeout_s: float | None) -> AsyncIterator[Engine]:
        """The model's engine, which is not closed while this lasts; a model that is not in memory is loaded.

        Raises:
            Refusal: it cannot be loaded now.
            DeadlineError: it was not loaded within so many seconds; None waits for ever.
            ClosedError: the service is shutting down.
        """
        loaded = await self._held(member, timeout_s)
        member.touch()
        try:
            yield loaded.engine
        finally:
            member.touch()
            loaded.release()

    async def ready(self, member: Member, *, timeout_s: float | None) -> None:
        """Wait until the model is in memory; all who wait, wait for one load. Raises as `using` does."""
        (await self._held(member, timeout_s)).release()

    async def _held(self, member: Member, timeout_s: float | None) -> Loaded:
        if member.loaded is not None:
            member.loaded.hold()
            return member.loaded
        try:
            return await self._wait(member, math.inf if timeout_s is None else timeout_s)
        except BaseException as error:
            # It never came to an engine, which would have counted it.
            self._telemetry.of(member.name).ended(outcome_of(error))
            raise

    async def load(self, member: Member) -> None:
        """Load a model now, also if it failed a moment ago; one that is loaded stays as it is.

        Raises:
            Refusal: it cannot be loaded.
        """
        if member.loaded is None:
            self._forgive(member)
            await self.ready(member, timeout_s=None)

    async def unload(self, member: Member) -> None:
        """Free a model when its requests are answered; the next request that names it loads it again."""
        await self._owned(self._leave(member))

    async def reload(self, member: Member) -> None:
        """Load a model anew beside the one that is there, then let new requests go to it.

        Raises:
            Refusal: it cannot be loaded; the one that was there stays.
        """
        if member.loaded is None:
            await self.load(member)
        else:
            await self._owned(self._replace(member))

    async def _wait(self, member: Member, timeout_s: float) -> Loaded:
        end = time.monotonic() + timeout_s
        while True:
            if self._closing:
                raise ClosedError(
                    "the service is shutting down; send the request again in a moment"
                )
            if member.loaded is not None:
                member.loaded.hold()
                return member.loaded
            if member.loading is None:
                refuse_failed(member)
                member.loading = self._spawn(self._load(member))
            try:
                # The load goes on for whoever asks next.
                loaded = await member.wait(timeout_s=max(0.0, end - time.monotonic()))
            except TimeoutError:
                raise late(member, timeout_s) from None
            if loaded is not None:
                return loaded

    async def _load(self, member: Member) -> None:
        """What a task does; it raises nothing."""
        try:
            await self._bring_in(member)
        # The load's door: whatever is wrong with this model, the others are served.
        except Exception as error:  # noqa: BLE001
            _log.error("the model %s could not be loaded", member.name, exc_info=error)
            member.failed(error)
        finally:
            member.loading = None
            member.settle(None)

    async def _fill(self, members: Sequence[Member]) -> None:
        """Load what there is room for, and leave the rest to the first request."""
        for member in members:
            await self._fill_in(member)
            member.is_due = False

    async def _fill_in(self, member: Member) -> None:
        if member.loaded is None and member.loading is None:
            try:
                size = await self._opener.weigh(member.spec)
            # The same door.
            except Exception as error:  # noqa: BLE001
                _log.error("the model %s could not be loaded", member.name, exc_info=error)
                member.failed(error)
                return
            if self._short_of(size) > 0:
                _log.info("the model %s is loaded when it is asked for", member.name)
            elif member.loading is None:
                member.loading = self._spawn(self._load(member))
        if member.loading is not None:
            await asyncio.wait({member.loading})

    async def _bring_in(self, member: Member) -> None:
        size = max(await self._opener.weigh(member.spec), member.known_bytes)
        async with self._door:
            if member.loaded is not None:
                return
            await self._make_room(size, member)
            member.put(await self._open(member, size))
            if self._short_of(0) > 0:
                await self._keep_within(member)

    async def _replace(self, member: Member) -> None:
        async with self._door:
            try:
                size = max(await self._opener.weigh(member.spec), member.known_bytes)
                await self._make_room(size, member)
                fresh = await self._open(member, size)
            # The load's door: the one that is there goes on.
            except Exception as error:  # noqa: BLE001
                _log.error(
                    "the model %s could not be loaded anew; the old one stays",
                    member.name,
                    exc_info=error,
                )
                raise refusal(member, error, "; the one that was loaded before goes on") from None
            old = member.take()
            member.put(fresh)
            if old is not None:
                await self._free(old)

    async def _leave(self, member: Member) -> None:
        async with self._door:
            await self._let_go(member, reason="asked")

    async def _open(self, member: Member, size: int) -> Loaded:
        begin = time.monotonic()
        name = member.name
        try:
            loaded = await self._opener.open(member.spec, is_given=member.pinned, num_bytes=size)
        except BaseException:
            self._telemetry.of(name).loaded(ok=False)
            raise
        self._telemetry.of(name).loaded(ok=True)
        self._telemetry.describe(
            version=pairscore.__version__,
            model=name,
            revision=loaded.facts.revision,
            sha256=loaded.facts.sha256,
            backend=loaded.facts.backend,
        )
        _log.info("the model %s was loaded in %.1f s", name, time.monotonic() - begin)
        return loaded

    def _short_of(self, size: int) -> int:
        """Bytes that are missing for so many more."""
        if self._max_bytes is None:
            return 0
        return sum(member.num_bytes for member in self.members) + size - self._max_bytes

    async def _make_room(self, size: int, member: Member) -> None:
        """Free others until so many bytes fit.

        Raises:
            OutOfMemoryError: they could not, even if all others left.
        """
        others = [one for one in self.members if one is not member and not one.pinned]
        if self._short_of(size) > sum(one.num_bytes for one in others):
            if member.pinned and member.loaded is None:
                _log.warning("%s", no_room(member, size, self._max_bytes))
                return
            raise OutOfMemoryError(no_room(member, size, self._max_bytes))
        while self._short_of(size) > 0:
            loaded = [one for one in others if one.loaded is not None]
            await self._let_go(min(loaded, key=lambda one: one.eviction_order), reason="evicted")

    async def _keep_within(self, member: Member) -> None:
        """It weighs more than its files said: others leave, or it does."""
        try:
            await self._make_room(0, member)
        except OutOfMemoryError:
            if not member.pinned:
                await self._let_go(member, reason="evicted")
                raise

    async def _let_go(self, member: Member, *, reason: Left) -> None:
        loaded = member.take()
        if loaded is None:
            return
        self._telemetry.of(member.name).unloaded(reason)
        await self._free(loaded)
        _log.info("the model %s was unloaded: %s", member.name, reason)

    async def _free(self, loaded: Loaded) -> None:
        # Whoever asked for it may be cancelled; what has begun to leave must leave whole.
        retiring = asyncio.ensure_future(loaded.retire(grace_s=self._grace_s))
        del loaded
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        await asyncio.shield(retiring)
        del retiring
        await asyncio.to_thread(fleet_memory.give_back)

    def _forgive(self, member: Member) -> None:
        if member.failure is not None:
            member.failure = replace(member.failure, retry_at_s=0.0)

    async def _owned(self, work: Any) -> None:
        """Do what must be finished even if nobody waits for it any more."""
        if self._closing:
            work.close()
            raise ClosedError("the service is shutting down")
        await asyncio.shield(self._spawn(work))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
