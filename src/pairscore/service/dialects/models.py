"""Which models are served, as OpenAI's, vLLM's and Infinity's clients ask: `/v1/models` and its like.

Each model that was declared is an entry, loaded or not, and so is each further name that the operator gave the default
model: its `root` is the real one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from pairscore.service.answering import check_model
from pairscore.service.fleet_member import Member, State, reason_of
from pairscore.service.parts import Parts, PartsOfApp

__all__ = ["ModelEntry", "entry_of", "router"]

_OWNER: Final = "pairscore"
# Infinity's client takes no other owner than Infinity, but none at all: so there is none where it asks without a
# prefix. Below a prefix a client is told what it would be told there.
_LISTS: Final[Mapping[str, str | None]] = {
    "/v1/models": _OWNER,
    "/models": None,
    "/v3/models": _OWNER,
    "/nvidia/v1/models": _OWNER,
    "/vllm/v1/models": "vllm",
    "/vllm/models": "vllm",
    "/infinity/models": "infinity",
    "/infinity/v1/models": "infinity",
}
_LISTED: Final = "/v1/models"
# Infinity has no route for a single one.
_ONLY_LISTS: Final = "/infinity/"
_FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "The API key is missing or not known."},
    403: {"description": "The API key was revoked."},
    429: {"description": "The key's quota is used up."},
    503: {"description": "The model is not loaded."},
}
_STARTED: Final = int(time.time())


class ModelStats(BaseModel):
    """How busy it is, in Infinity's words."""

    queue_fraction: float = Field(description="The share of the queue's tokens that are taken.")
    queue_absolute: int = Field(description="Pairs that wait.")
    results_pending: int = Field(description="Requests that are not answered yet.")
    batch_tokens: int = Field(description="Padded tokens that one micro-batch may hold.")


class ModelEntry(BaseModel):
    """A name under which a model is served."""

    id: str = Field(description="What to send as `model`.")
    object: Literal["model"]
    created: int = Field(description="When this service started, in seconds since 1970.")
    owned_by: str | None = Field(default=None, description="Whose server it looks like.")
    root: str = Field(description="The model's own name.")
    parent: None
    max_model_len: int | None = Field(
        description="Tokens of a pair that the model can read; null as long as it was never loaded."
    )
    permission: list[str]
    backend: str
    capabilities: list[str]
    stats: ModelStats
    state: State = Field(
        description="loaded, loading, unloaded (the first request that names it loads it) or failed."
    )
    memory_bytes: int = Field(description="What it takes in memory now.")
    last_used: int | None = Field(
        description="When a request last used it, in seconds since 1970; null for never."
    )
    error: str | None = Field(description="Why it could not be loaded, if it could not.")


class ModelEntries(BaseModel):
    """The names under which models are served."""

    object: Literal["list"]
    data: list[ModelEntry]


router = APIRouter()


def entry_of(parts: Parts, member: Member, name: str, *, owner: str | None) -> ModelEntry:
    """What is told of a model under one of its names."""
    owned: dict[str, Any] = {} if owner is None else {"owned_by": owner}
    facts, failure = member.facts, member.failure
    return ModelEntry(
        id=name,
        object="model",
        created=_STARTED,
        root=member.name,
        parent=None,
        max_model_len=None if facts is None else facts.max_length,
        permission=[],
        backend=parts.settings.backend if facts is None else facts.backend,
        capabilities=["rerank"],
        stats=_stats(member),
        state=member.state,
        memory_bytes=member.num_bytes,
        last_used=int(member.last_used_s) or None,
        error=None if failure is None else reason_of(failure.error),
        **owned,
    )


def _stats(member: Member) -> ModelStats:
    if member.loaded is None:
        return ModelStats(
            queue_fraction=0.0,
            queue_absolute=0,
            results_pending=0,
            batch_tokens=0 if member.facts is None else member.facts.budget,
        )
    engine = member.loaded.engine
    state = engine.state()
    return ModelStats(
        queue_fraction=state.queue_tokens / engine.config.max_queue_tokens,
        queue_absolute=state.waiting_pairs,
        results_pending=state.num_requests,
        batch_tokens=engine.road.config.budget,
    )


def _entries(parts: Parts, owner: str | None) -> ModelEntries:
    fleet = parts.runtime.fleet
    named = {member.name: member for member in fleet.members}
    for alias in parts.settings.aliases:
        named.setdefault(alias, fleet.default)
    # The default first, its aliases after it, then the others.
    order = sorted(named.items(), key=lambda item: item[1] is not fleet.default)
    return ModelEntries(
        object="list", data=[entry_of(parts, member, name, owner=owner) for name, member in order]
    )


def _lister(owner: str | None) -> Callable[[PartsOfApp], Awaitable[ModelEntries]]:
    async def models(parts: PartsOfApp) -> ModelEntries:
        """The default model first, then its aliases, then the other models."""
        return _entries(parts, owner)

    return models


def _teller(
    owner: str | None,
) -> Callable[[str, PartsOfApp], Awaitable[ModelEntry | ModelEntries]]:
    async def model(name: str, parts: PartsOfApp) -> ModelEntry | ModelEntries:
        """One of them, by its name or an alias; a name may hold slashes."""
        # A stray slash at the end of the list's path is a list, too.
        if not name:
            return _entries(parts, owner)
        return entry_of(parts, check_model(name, parts), name, owner=owner)

    return model


def _add(path: str, owner: str | None) -> None:
    shown = path == _LISTED
    router.add_api_route(
        path,
        _lister(owner),
        name=path,
        summary="Which models are served",
        response_model=ModelEntries,
        # What was not set is the owner alone.
        response_model_exclude_unset=True,
        responses=_FAULTS,
        include_in_schema=shown,
    )
    if path.startswith(_ONLY_LISTS):
        return
    router.add_api_route(
        f"{path}/{{name:path}}",
        _teller(owner),
        name=f"{path}/name",
        summary="Whether a model is served",
        response_model=ModelEntry | ModelEntries,
        response_model_exclude_unset=True,
        responses={**_FAULTS, 404: {"description": "No such model is served here."}},
        include_in_schema=shown,
    )


for _path, _owner in _LISTS.items():
    _add(_path, _owner)
