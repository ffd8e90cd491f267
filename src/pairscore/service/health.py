"""The routes for operators: is it alive, is it ready, what is it, what did it do. None waits for the model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response

import pairscore
from pairscore.road.road import Road
from pairscore.service.fleet_control import may_control
from pairscore.service.fleet_member import Member, reason_of
from pairscore.service.parts import Parts, PartsOfApp
from pairscore.service.refusals import Refusal
from pairscore.service.runtime import versions
from pairscore.service.schemas import (
    Alive,
    Health,
    InfinityHealth,
    Info,
    InfoExplain,
    InfoIndex,
    InfoModel,
    Limits,
    ProblemBody,
    Ready,
    TeiInfo,
    TeiLabels,
)
from pairscore.service.searcher import Searcher

__all__ = ["router"]

_OK = 200
_UNAVAILABLE = 503
# What a model with one logit calls it, as `/predict` does.
_LABEL: Final = "LABEL_0"
# Of `engine.preparing`; a test holds both together.
_NUM_TOKENIZERS: Final = 2

router = APIRouter()


@router.get("/livez", summary="Whether the process answers", response_model=Alive)
async def livez() -> Alive:
    """For liveness probes: answers as long as the event loop turns; if it does not, restart the process."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    summary="Whether requests should be sent here",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not now; the checks say why."}},
)
async def readyz(response: Response, parts: PartsOfApp) -> Ready:
    """For readiness probes and load balancers; the body says what speaks against it.

    Ready is: the model is loaded, its workers live, a canary was scored rightly not long ago, the queue
    moves, and the service is not shutting down.
    """
    readiness = parts.runtime.readiness()
    response.status_code = _OK if readiness.ready else _UNAVAILABLE
    return Ready(
        ready=readiness.ready,
        checks={name: wrong or "ok" for name, wrong in readiness.checks.items()},
    )


@router.get(
    "/health",
    summary="Whether the model is loaded",
    response_model=Health,
    responses={503: {"model": Health, "description": "The model is not loaded."}},
)
async def health(response: Response, parts: PartsOfApp) -> Health:
    """Answers at once, whatever the model is doing."""
    loaded = parts.runtime.loaded
    response.status_code = _OK if loaded else _UNAVAILABLE
    return Health(status="ok" if loaded else "loading", model_loaded=loaded)


@router.get(
    "/info",
    summary="What is served, and how",
    response_model=Info,
    responses={
        401: {"model": ProblemBody, "description": "The API key is missing or not known."},
        503: {"model": ProblemBody, "description": "The model is not loaded."},
    },
)
async def info(request: Request, parts: PartsOfApp) -> Info:
    """The default model's name, revision, sha256, backend and scale; threads, limits, versions; and every model.

    While the default model is not in memory the answer is 503: `ModelUnloadedError` if it was unloaded, so that the next
    request that scores loads it again, else `ModelError`.
    """
    road, settings = _road(parts), parts.settings
    comparer = parts.runtime.comparer
    return Info(
        **dict(_tei_info(parts)),
        model=parts.runtime.fleet.default.name,
        revision=road.card.revision,
        sha256=road.model_sha256,
        backend=road.backend_name,
        scale=road.card.scale,
        calibration=None if road.card.calibration is None else road.card.calibration.method,
        num_workers=road.config.workers,
        budget=road.config.budget,
        cache=parts.runtime.cache is not None,
        limits=Limits(
            max_pairs=settings.max_pairs,
            max_batch_pairs=settings.max_batch_pairs,
            max_chars=settings.max_chars,
            max_body_bytes=settings.max_body_bytes,
            max_length=road.max_length,
            max_queue_tokens=settings.max_queue_tokens,
            timeout_s=settings.timeout_s,
        ),
        models=[_model(member) for member in parts.runtime.fleet.members],
        index=_index(parts.runtime.searcher),
        bi_encoder=None if comparer is None else comparer.name,
        may_control=may_control(request, parts),
        explain=InfoExplain(max_pairs=settings.max_explain_pairs),
        versions=versions(),
    )


@router.get("/tei/info", response_model=TeiInfo, include_in_schema=False)
async def tei_info(parts: PartsOfApp) -> TeiInfo:
    """What `/info` says in the words of text-embeddings-inference, alone."""
    return _tei_info(parts)


@router.get("/infinity/health", response_model=InfinityHealth, include_in_schema=False)
async def infinity_health(response: Response, parts: PartsOfApp) -> InfinityHealth:
    """The time, as Infinity answers; and, as it does not, 503 while the model is not loaded."""
    response.status_code = _OK if parts.runtime.loaded else _UNAVAILABLE
    return InfinityHealth(unix=time.time())


def _road(parts: Parts) -> Road:
    """The default model.

    Raises:
        Refusal: it was unloaded.
        ModelError: it is not loaded for another reason.
    """
    fleet = parts.runtime.fleet
    if fleet.default.state == "unloaded":
        # Without Retry-After: time alone brings nothing back.
        raise Refusal(
            "ModelUnloadedError",
            f"the model {fleet.default.name!r} was unloaded; the next request that scores loads it again, and so does "
            "POST /v1/models/load",
        )
    return parts.runtime.engine.road


def _model(member: Member) -> InfoModel:
    facts, failure = member.facts, member.failure
    return InfoModel(
        name=member.name,
        state=member.state,
        pinned=member.pinned,
        memory_bytes=member.num_bytes,
        last_used=int(member.last_used_s) or None,
        error=None if failure is None else reason_of(failure.error),
        revision=None if facts is None else facts.revision,
        sha256=None if facts is None else facts.sha256,
        backend=None if facts is None else facts.backend,
        scale=None if facts is None else facts.scale,
    )


def _index(searcher: Searcher | None) -> InfoIndex | None:
    if searcher is None:
        return None
    return InfoIndex(kind=searcher.kind, encoder=searcher.encoder, modes=list(searcher.modes))


def _tei_info(parts: Parts) -> TeiInfo:
    road, settings = _road(parts), parts.settings
    backend, _, dtype = road.backend_name.partition("-")
    return TeiInfo(
        model_id=parts.runtime.fleet.default.name,
        model_sha=road.card.revision,
        model_dtype=(dtype or "float32") if backend == "torch" else "unknown",
        served_model_name=parts.runtime.fleet.default.name,
        model_type={
            "classifier" if road.card.labels else "reranker": _labels(road.card.labels),
        },
        max_concurrent_requests=settings.max_connections,
        max_input_length=road.max_length,
        max_batch_tokens=road.config.budget,
        max_batch_requests=None,
        max_client_batch_size=settings.max_pairs,
        auto_truncate=True,
        tokenization_workers=_NUM_TOKENIZERS,
        version=pairscore.__version__,
        sha=None,
        docker_label=None,
    )


def _labels(names: Sequence[str]) -> TeiLabels:
    listed = names or (_LABEL,)
    return TeiLabels(
        id2label={str(place): name for place, name in enumerate(listed)},
        label2id={name: place for place, name in enumerate(listed)},
    )


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
async def metrics(request: Request, parts: PartsOfApp) -> Response:
    """Requests, pairs, tokens, queue, cache, health, in Prometheus' text format, or in OpenMetrics if asked for."""
    content, content_type = parts.telemetry.exposition(request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": content_type})
