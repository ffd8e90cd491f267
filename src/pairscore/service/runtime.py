"""The models and their cache, between the start of the service and its end; it knows no HTTP."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Final

import pairscore
from pairscore.bi_encoder import BiEncoder
from pairscore.cache import open_cache
from pairscore.cache.base import ScoreCache
from pairscore.config import DEFAULT_MAX_CHARS, RoadConfig, num_cores
from pairscore.engine.core import Engine
from pairscore.engine.records import EngineConfig, EngineState
from pairscore.engine.turns import Turns
from pairscore.errors import ModelError, PairscoreError
from pairscore.models.resolve import resolve
from pairscore.retrieval.opening import OpenedIndex, open_index
from pairscore.road.backends.base import BackendOptions
from pairscore.road.backends.opening import kind_of
from pairscore.road.road import Road, open_road
from pairscore.service.autotune import tuned
from pairscore.service.comparer import Comparer
from pairscore.service.fleet import Fleet
from pairscore.service.fleet_memory import keep_one_heap, weights_bytes
from pairscore.service.fleet_opening import Opener, Opening
from pairscore.service.fleet_specs import ModelSpec, own_name
from pairscore.service.searcher import Searcher
from pairscore.service.settings import ServiceSettings
from pairscore.service.shadow import Shadow
from pairscore.service.shadow_opening import ShadowOpener
from pairscore.service.shadow_plan import plan_of
from pairscore.service.telemetry import IDLE, Telemetry

__all__ = ["Readiness", "Runtime", "versions"]

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
        settings: which models, and every limit.
        specs: the models that the settings declare.
        telemetry: is told what the engines do.
        road: used instead of the default model, and never closed here.
        opening: opens another index than the settings name.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        specs: Sequence[ModelSpec],
        telemetry: Telemetry,
        road: Road | None = None,
        opening: Callable[[], OpenedIndex] | None = None,
    ) -> None:
        if opening is None and settings.index is not None:
            opening = partial(_open_index, settings, settings.index)
        self.searcher = None if opening is None else Searcher(opening)
        self.comparer = _comparer(settings)
        plan = plan_of(settings, specs)
        self.shadow = None if plan is None else Shadow(plan, numbers=telemetry.shadow)
        self._settings = settings
        self._specs = specs
        self._telemetry = telemetry
        self._given = road
        self._fleet: Fleet | None = None
        self._cache: ScoreCache | None = None
        self._failure: PairscoreError | None = None
        self._draining = False

    @property
    def loaded(self) -> bool:
        """Whether the default model is loaded."""
        return self._fleet is not None and self._fleet.default.loaded is not None

    @property
    def failure(self) -> PairscoreError | None:
        """Why it could not be opened, if so."""
        return self._failure

    @property
    def fleet(self) -> Fleet:
        """The models.

        Raises:
            ModelError: they are not open.
        """
        if self._fleet is None:
            raise ModelError("the model is not loaded")
        return self._fleet

    @property
    def engine(self) -> Engine:
        """What scores with the default model.

        Raises:
            ModelError: it is not open.
        """
        loaded = self.fleet.default.loaded
        if loaded is None:
            raise ModelError("the model is not loaded")
        return loaded.engine

    @property
    def cache(self) -> ScoreCache | None:
        """The score cache, if there is one and it is open."""
        return self._cache

    async def open(self) -> None:
        """Open the cache, load the default model, start its engine, score a first pair; begin with the others.

        Raises:
            PairscoreError: one of them cannot be done.
        """
        self._draining = False
        if self.comparer is not None:
            self.comparer.reopen()
        if len(self._specs) > 1:
            keep_one_heap()
        try:
            # First, because a wrong index is found out in less time than a model is loaded.
            if self.searcher is not None:
                await self.searcher.open()
            if self.shadow is not None:
                self.shadow.open()
            self._cache = open_cache(
                max_bytes=self._settings.cache_bytes,
                ttl_s=self._settings.cache_ttl_s,
                redis_url=self._settings.redis_url,
            )
            fleet = self._new_fleet()
            await fleet.open()
        except PairscoreError as error:
            self._failure = error
            await self._let_go()
            raise
        self._fleet = fleet
        if self.shadow is not None:
            self.shadow.start(fleet)
        self._telemetry.watch(
            states=self._states,
            num_bytes=lambda: {
                member.name: None if member.loaded is None else member.num_bytes
                for member in fleet.members
            },
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
        if self.shadow is not None:
            # First, so that nobody waits for it to finish.
            await self.shadow.close()
        if self._fleet is not None:
            await self._fleet.drain()

    async def close(self) -> None:
        """Drain, and free the models that are ours; a second call does nothing."""
        await self.drain()
        fleet, self._fleet = self._fleet, None
        if fleet is not None:
            await fleet.close()
        await self._let_go()

    def readiness(self) -> Readiness:
        """Whether requests should be sent here now; any thread may ask. The default model decides."""
        loaded = None if self._fleet is None else self._fleet.default.loaded
        if loaded is None:
            return Readiness(checks={"model": "not loaded"})
        state = loaded.engine.state()
        settings = self._settings
        wanted = loaded.road.config.workers
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
                **self._index_check(),
            }
        )

    def _index_check(self) -> Mapping[str, str]:
        """Whether the index is open; nothing where there is none."""
        if self.searcher is None:
            return {}
        return {"index": "" if self.searcher.is_open else "not open"}

    def _new_fleet(self) -> Fleet:
        settings = self._settings
        opening = Opening(
            load=lambda spec: _load(settings, spec, is_default=spec is self._specs[0]),
            weigh=self._weigh,
            tune=lambda road: tuned(road, settings) if settings.autotune else road,
            config=_engine_config(settings, num_models=len(self._specs)),
            given=self._given,
        )
        return Fleet(
            self._specs,
            opener=self._opener(opening),
            telemetry=self._telemetry,
            max_bytes=settings.max_models_bytes,
            timeout_s=settings.timeout_s,
            grace_s=settings.grace_s,
        )

    def _opener(self, opening: Opening) -> Opener:
        cache, observer = self._cache, self._telemetry.of
        if self.shadow is None:
            return Opener(opening, cache=cache, observer=observer)
        return ShadowOpener(opening, cache=cache, observer=observer, shadow=self.shadow.name)

    def _weigh(self, spec: ModelSpec) -> int:
        """Bytes of the weights; 0 where nobody needs to know: looking takes seconds if a file has to be hashed."""
        alone = len(self._specs) == 1 and self._settings.max_models_bytes is None
        if alone or (self._given is not None and spec is self._specs[0]):
            return 0
        backend = self._settings.backend
        kind = None if backend == "auto" else kind_of(backend)
        return weights_bytes(resolve(spec.place, kind=kind))

    def _states(self) -> Mapping[str, EngineState]:
        """Of every engine; the default always has a state, and alerts rest on it."""
        members = () if self._fleet is None else self._fleet.members
        states = {
            member.name: loaded.engine.state()
            for member in members
            if (loaded := member.loaded) is not None
        }
        return {self._specs[0].name: IDLE, **states}

    async def _let_go(self) -> None:
        if self.searcher is not None:
            await self.searcher.close()
        if self.comparer is not None:
            await self.comparer.close()
        if self.shadow is not None:
            await self.shadow.close()
        cache, self._cache = self._cache, None
        if cache is not None:
            await cache.close()


def versions() -> dict[str, str]:
    """The versions of what runs."""
    return {
        "pairscore": pairscore.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def _load(settings: ServiceSettings, spec: ModelSpec, *, is_default: bool) -> Road:
    config = RoadConfig(
        max_length=settings.max_length,
        budget=settings.budget,
        num_workers=settings.num_workers,
        # The service checks first, and its message names its own option.
        max_chars=max(settings.max_chars, DEFAULT_MAX_CHARS),
    )
    return open_road(
        spec.place,
        backend=settings.backend,
        options=BackendOptions(device=settings.device, dtype=settings.dtype),
        # Both speak of one model.
        label=settings.label if is_default else None,
        prompt=settings.prompt if is_default else None,
        calibration=settings.calibration if is_default else None,
        skip_checks=settings.skipped_checks,
        config=config,
        cache_folder=settings.cache_folder,
    )


def _open_index(settings: ServiceSettings, uri: str) -> OpenedIndex:
    return open_index(
        uri, encoder=settings.encoder, backend="fake" if settings.backend == "fake" else "onnx"
    )


def _comparer(settings: ServiceSettings) -> Comparer | None:
    """What makes the cosines of `/v1/compare`; the index's own bi-encoder is another one's, with other threads."""
    place = settings.bi_encoder
    if place is None:
        return None
    opening = partial(BiEncoder, place, backend="fake" if settings.backend == "fake" else "onnx")
    return Comparer(own_name(place), opening)


def _engine_config(settings: ServiceSettings, *, num_models: int) -> EngineConfig:
    num_workers = settings.num_workers or num_cores()
    return EngineConfig(
        max_queue_tokens=settings.max_queue_tokens,
        timeout_s=settings.timeout_s,
        run_timeout_s=settings.run_timeout_s,
        grace_s=settings.grace_s,
        canary_interval_s=settings.canary_max_age_s / _CANARIES,
        turns=Turns(num_workers) if num_models > 1 else None,
    )
