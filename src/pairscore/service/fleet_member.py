"""One model of a fleet: what was declared, what is in memory of it, and what went wrong with it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pairscore.engine.core import Engine
from pairscore.errors import (
    MissingExtraError,
    ModelCheckError,
    ModelCorruptError,
    ModelNotFoundError,
    ModelOfflineError,
    ModelUnsupportedError,
)
from pairscore.road.road import Road
from pairscore.service.fleet_specs import ModelSpec
from pairscore.values import Scale

__all__ = ["Facts", "Failure", "Loaded", "Member", "State", "reason_of"]

_log = logging.getLogger("pairscore.service")

State: TypeAlias = Literal["loaded", "loading", "unloaded", "failed"]

_FIRST_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 60.0
# What a caller may know of a failure; its own text may hold paths.
_PUBLIC: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ModelNotFoundError, "nothing was found where it should be"),
    (ModelOfflineError, "it would have to be downloaded, and the hub cannot be reached"),
    (ModelCorruptError, "its files are damaged"),
    (ModelCheckError, "it did not pass the checks that are made when a model is loaded"),
    (ModelUnsupportedError, "its files are of a kind that cannot be used"),
    (MissingExtraError, "an optional package that it needs is not installed"),
    (MemoryError, "there is no room for it in memory"),
)
_OTHERWISE: Final = "its start failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a model once it was loaded, and still after it was unloaded.

    Attributes:
        revision: of its files, if they say one.
        sha256: of its weights.
        backend: what runs it.
        scale: what its scores mean.
        max_length: tokens of a pair that it can read.
        budget: padded tokens that one micro-batch may hold.
        num_workers: threads that each run one micro-batch.
        labels: the names of its labels; empty if it puts out one number.
        calibration: the method that makes its probabilities; None for none.
    """

    revision: str | None
    sha256: str
    backend: str
    scale: Scale
    max_length: int
    budget: int
    num_workers: int
    labels: tuple[str, ...]
    calibration: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a model could not be loaded.

    Attributes:
        error: what was raised.
        num_tries: how often in a row.
        retry_at_s: when the next request may try again, on the monotonic clock.
    """

    error: Exception
    num_tries: int
    retry_at_s: float


def reason_of(error: Exception) -> str:
    """Why a model could not be loaded, in words that hold no path."""
    return next((text for kind, text in _PUBLIC if isinstance(error, kind)), _OTHERWISE)


class Loaded:
    """A model in memory, with an engine of its own, and the number of requests that use it.

    Args:
        road: the model.
        engine: started.
        facts: what is told of it.
        num_bytes: what it weighs.
        is_ours: whether the road is closed at the end.
    """

    def __init__(
        self, road: Road, engine: Engine, *, facts: Facts, num_bytes: int, is_ours: bool
    ) -> None:
        self.road = road
        self.engine = engine
        self.facts = facts
        self.num_bytes = num_bytes
        self._is_ours = is_ours
        self._num_users = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def num_users(self) -> int:
        """Requests that use it now."""
        return self._num_users

    def hold(self) -> None:
        """`retire` waits until as often `release` was called."""
        self._num_users += 1
        self._idle.clear()

    def release(self) -> None:
        """One that held it needs it no more."""
        self._num_users -= 1
        if not self._num_users:
            self._idle.set()

    async def retire(self, *, grace_s: float) -> None:
        """Let every request finish that uses it, for so many seconds, then free it; nobody may find it any more."""
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            _log.warning(
                "a model is freed while %d requests still use it, after %g s",
                self._num_users,
                grace_s,
            )
        await self.close()

    async def close(self) -> None:
        """Refuse what is new, finish what was admitted within the engine's grace, free the model."""
        await self.engine.close()
        if self._is_ours:
            await asyncio.to_thread(self.road.close)


class Member:
    """One model of a fleet; it belongs to the event loop, and any thread may read it.

    Args:
        spec: as it was declared.
        pinned: whether it stays when memory is short.
    """

    def __init__(self, spec: ModelSpec, *, pinned: bool) -> None:
        self.spec = spec
        self.pinned = pinned
        self.loaded: Loaded | None = None
        self.loading: asyncio.Task[None] | None = None
        self.failure: Failure | None = None
        self.facts: Facts | None = None
        # Of the last time it was in memory; the best guess of the next time.
        self.known_bytes = 0
        # Whether it will be loaded, or left to the first request, as soon as it is its turn at the start.
        self.is_due = False
        self.last_used_s = 0.0
        self._used = 0.0
        self._waiters: list[asyncio.Future[Loaded | None]] = []

    @property
    def name(self) -> str:
        """What answers and metrics call it."""
        return self.spec.name

    @property
    def state(self) -> State:
        """As an operator asks."""
        if self.loaded is not None:
            return "loaded"
        if self.loading is not None:
            return "loading"
        if self.failure is not None:
            return "failed"
        return "loading" if self.is_due else "unloaded"

    @property
    def num_bytes(self) -> int:
        """What it takes in memory now."""
        return 0 if self.loaded is None else self.loaded.num_bytes

    @property
    def eviction_order(self) -> tuple[bool, float]:
        """Who comes first leaves first: without requests before with, then the one that rested longest."""
        return self.loaded is not None and self.loaded.num_users > 0, self._used

    def touch(self) -> None:
        """It was used now."""
        self._used = time.monotonic()
        self.last_used_s = time.time()

    async def wait(self, *, timeout_s: float) -> Loaded | None:
        """What the load that is under way brings, held for the caller; None if it brings nothing.

        Raises:
            TimeoutError: it takes longer.
        """
        waiter: asyncio.Future[Loaded | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(None if math.isinf(timeout_s) else timeout_s):
                return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and (loaded := waiter.result()) is not None:
                loaded.release()
            raise

    def settle(self, loaded: Loaded | None) -> None:
        """Tell those who wait; each one holds it from now on, or others could have it freed before they wake."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                if loaded is not None:
                    loaded.hold()
                waiter.set_result(loaded)

    def put(self, loaded: Loaded) -> None:
        """It is in memory."""
        self.loaded, self.failure = loaded, None
        self.facts, self.known_bytes = loaded.facts, loaded.num_bytes
        self._used = time.monotonic()
        self.settle(loaded)

    def take(self) -> Loaded | None:
        """It is found no more; what was in memory, if anything."""
        loaded, self.loaded = self.loaded, None
        return loaded

    def failed(self, error: Exception) -> None:
        """It could not be loaded; after a second, then two, four, up to a minute, it may be tried again."""
        num_tries = 1 if self.failure is None else self.failure.num_tries + 1
        wait_s = min(_LAST_RETRY_S, _FIRST_RETRY_S * 2 ** min(num_tries - 1, 10))
        self.failure = Failure(
            error=error, num_tries=num_tries, retry_at_s=time.monotonic() + wait_s
        )
