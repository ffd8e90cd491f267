"""The model, its cache and its engine, between the start of the service and its end; it knows no HTTP."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Final

import pairscore
from pairscore.cache import open_cache
from pairscore.cache.base import ScoreCache
from pairscore.config import DEFAULT_MAX_CHARS, RoadConfig
from pairscore.engine.core import Engine
from pairscore.engine.records import EngineConfig
from pairscore.errors import ModelError, PairscoreError
from pairscore.road.backends.base import BackendOptions
from pairscore.road.road import Road, open_road
from pairscore.service.autotune import tuned
from pairscore.service.settings import ServiceSettings
from pairscore.service.telemetry import Telemetry

__all__ = ["Readiness", "Runtime", "versions"]

_log = logging.getLogger("pairscore.service")

# So many canaries fit into the age that is allowed, so that one that is late is no alarm.
_CANARIES: Final = 3
_PACKAGES: Final = ("onnxruntime", "tokenizers", "numpy", "fastapi", "uvicorn")


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """Whether requests should be sent here, and what speaks against it.

    Attributes:
        checks: each check with an empty string, or with what is wrong.
    """

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against it."""
        return not any(self.checks.values())


class Runtime:
    """Opens what the settings describe, and closes it again.

    Args:
        settings: which model, and every limit.
        telemetry: is told what the engine does.
        road: used instead of the settings' model, and never closed here.
    """

    def __init__(
        self, settings: ServiceSettings, *, telemetry: Telemetry, road: Road | None = None
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._given = road
        self._road: Road | None = None
        self._engine: Engine | None = None
        self._cache: ScoreCache | None = None
        self._failure: PairscoreError | None = None
        self._draining = False

    @property
    def loaded(self) -> bool:
        """Whether the model is loaded."""
        return self._engine is not None

    @property
    def failure(self) -> PairscoreError | None:
        """Why it could not be opened, if so."""
        return self._failure

    @property
    def engine(self) -> Engine:
        """What scores.

        Raises:
            ModelError: it is not open.
        """
        if self._engine is None:
            raise ModelError("the model is not loaded")
        return self._engine

    @property
    def cache(self) -> ScoreCache | None:
        """The score cache, if there is one and it is open."""
        return self._cache

    async def open(self) -> None:
        """Load the model, open the cache, start the engine, score a first pair.

        Raises:
            PairscoreError: one of them cannot be done.
        """
        self._draining = False
        try:
            road = self._given
            if road is None:
                road = await asyncio.to_thread(_load, self._settings)
            if self._settings.autotune:
                road = await asyncio.to_thread(tuned, road, self._settings)
            self._road = road
            # A large file without a manifest is hashed here, not in somebody's request.
            sha256 = await asyncio.to_thread(lambda: road.model_sha256)
            self._cache = open_cache(
                max_bytes=self._settings.cache_bytes,
                ttl_s=self._settings.cache_ttl_s,
                redis_url=self._settings.redis_url,
            )
            engine = Engine(
                road,
                config=_engine_config(self._settings),
                cache=self._cache,
                observer=self._telemetry,
            )
            await engine.start()
        except PairscoreError as error:
            self._failure = error
            await self._let_go()
            raise
        self._engine = engine
        self._telemetry.describe(
            version=pairscore.__version__,
            model=road.card.name,
            revision=road.card.revision,
            sha256=sha256,
            backend=road.backend_name,
        )
        self._telemetry.watch(
            state=engine.state,
            cache=lambda: None if self._cache is None else self._cache.stats(),
            ready=lambda: self.readiness().ready,
        )

    @property
    def draining(self) -> bool:
        """Whether the end has begun."""
        return self._draining

    async def drain(self) -> None:
        """Refuse what is new and finish what was admitted, within `grace_s`."""
        self._draining = True
        if self._engine is not None:
            await self._engine.close()

    async def close(self) -> None:
        """Drain, and free the model if it is ours; a second call does nothing."""
        await self.drain()
        self._engine = None
        await self._let_go()

    def readiness(self) -> Readiness:
        """Whether requests should be sent here now; any thread may ask."""
        if self._engine is None:
            return Readiness(checks={"model": "not loaded"})
        state = self._engine.state()
        settings = self._settings
        wanted = self._engine.road.config.workers
        oldest = settings.canary_max_age_s
        return Readiness(
            checks={
                "model": "",
                "accepting": "" if state.running else "shutting down",
                "workers": ""
                if state.num_workers >= wanted
                else f"{state.num_workers} of {wanted} alive",
                "canary": ""
                if state.canary_age_s <= oldest
                else f"no right score for more than {oldest:g} s",
                "queue": ""
                if state.stalled_s <= settings.run_timeout_s
                else f"nothing moved for {state.stalled_s:.0f} s",
            }
        )

    async def _let_go(self) -> None:
        road, self._road = self._road, None
        cache, self._cache = self._cache, None
        if cache is not None:
            await cache.close()
        if road is not None and self._given is None:
            await asyncio.to_thread(road.close)


def versions() -> dict[str, str]:
    """The versions of what runs."""
    return {
        "pairscore": pairscore.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def _load(settings: ServiceSettings) -> Road:
    config = RoadConfig(
        max_length=settings.max_length,
        budget=settings.budget,
        num_workers=settings.num_workers,
        # The service checks first, and its message names its own option.
        max_chars=max(settings.max_chars, DEFAULT_MAX_CHARS),
    )
    return open_road(
        settings.model,
        backend=settings.backend,
        options=BackendOptions(device=settings.device, dtype=settings.dtype),
        label=settings.label,
        skip_checks=settings.skipped_checks,
        config=config,
    )


def _engine_config(settings: ServiceSettings) -> EngineConfig:
    return EngineConfig(
        max_queue_tokens=settings.max_queue_tokens,
        timeout_s=settings.timeout_s,
        run_timeout_s=settings.run_timeout_s,
        grace_s=settings.grace_s,
        canary_interval_s=settings.canary_max_age_s / _CANARIES,
    )
