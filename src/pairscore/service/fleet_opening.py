"""How a model of a fleet gets into memory: its road on a thread, its engine, its first scores, its weight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pairscore.cache.base import CachedScore, CacheStats, ScoreCache
from pairscore.engine.core import Engine
from pairscore.engine.records import EngineConfig, Observer
from pairscore.road.road import Road
from pairscore.service import fleet_memory
from pairscore.service.fleet_member import Facts, Loaded
from pairscore.service.fleet_specs import ModelSpec

__all__ = ["Opener", "Opening"]

Load: TypeAlias = Callable[[ModelSpec], Road]
Weigh: TypeAlias = Callable[[ModelSpec], int]
Tune: TypeAlias = Callable[[Road], Road]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """How the models of one service are opened.

    Attributes:
        load: a road from what was declared; slow, so on a thread.
        weigh: bytes of its weights, before it is loaded; on a thread too.
        tune: the same road in the layout that is quickest here.
        config: of each engine.
        given: a road that was opened by somebody else, and is never closed here; None for none.
    """

    load: Load
    weigh: Weigh
    tune: Tune
    config: EngineConfig
    given: Road | None = None


class Opener:
    """Opens models, one at a time: what memory grows by is then what one of them weighs.

    Args:
        opening: how.
        cache: of all models; each engine borrows it.
        observer: who is told what the engine of a model does.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        cache: ScoreCache | None,
        observer: Callable[[str], Observer],
    ) -> None:
        self._opening = opening
        self._cache = None if cache is None else _Borrowed(cache)
        self._observer = observer

    async def weigh(self, spec: ModelSpec) -> int:
        """Bytes of the weights on disk.

        Raises:
            ModelError: there are none.
        """
        return await asyncio.to_thread(self._opening.weigh, spec)

    async def open(self, spec: ModelSpec, *, is_given: bool, num_bytes: int) -> Loaded:
        """Load it, start its engine, score a first pair.

        Args:
            spec: what was declared.
            is_given: whether the road that was given is this one's.
            num_bytes: what it weighs at least: memory that was freed before and is used again is no growth.

        Raises:
            PairscoreError: it cannot be used.
        """
        before = fleet_memory.resident_bytes()
        given = self._opening.given if is_given else None
        road = given or await self._road(spec)
        try:
            road = await asyncio.to_thread(self._opening.tune, road)
            # A large file without a manifest is hashed here, not in somebody's request.
            await asyncio.to_thread(lambda: road.fingerprint)
            engine = Engine(
                road,
                config=self._opening.config,
                cache=self._cache,
                observer=self._observer(spec.name),
            )
            await engine.start()
        except BaseException:
            if given is None:
                road.close()
            raise
        after = fleet_memory.resident_bytes()
        grown = 0 if before is None or after is None else after - before
        return Loaded(
            road,
            engine,
            facts=_facts(road),
            num_bytes=max(num_bytes, grown),
            is_ours=given is None,
        )

    async def _road(self, spec: ModelSpec) -> Road:
        loading = asyncio.ensure_future(asyncio.to_thread(self._opening.load, spec))
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            # A thread cannot be stopped; what it brings is not wanted any more.
            loading.add_done_callback(_close)
            raise


class _Borrowed(ScoreCache):
    """A cache that outlives the engine that uses it."""

    def __init__(self, cache: ScoreCache) -> None:
        self._cache = cache

    async def get_many(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        return await self._cache.get_many(keys)

    async def put_many(self, entries: Sequence[tuple[bytes, CachedScore]]) -> None:
        await self._cache.put_many(entries)

    async def close(self) -> None:
        """Nothing: others use it too."""

    def stats(self) -> CacheStats:
        return self._cache.stats()


def _close(loading: asyncio.Future[Road]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()


def _facts(road: Road) -> Facts:
    return Facts(
        revision=road.card.revision,
        sha256=road.model_sha256,
        backend=road.backend_name,
        scale=road.card.scale,
        max_length=road.max_length,
        budget=road.config.budget,
        num_workers=road.config.workers,
        labels=tuple(road.card.labels),
        calibration=None if road.card.calibration is None else road.card.calibration.method,
    )
