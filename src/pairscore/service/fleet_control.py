"""Load, unload and reload declared models while the service runs, for the API keys that may.

The model stands in the body, because a name may hold slashes. Only what was declared at the start can be named: no
request makes the service look at a path or fetch anything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import Field

from pairscore.service import answering, bodies
from pairscore.service.access import KEY_NAME
from pairscore.service.dialects.faults import NATIVE
from pairscore.service.dialects.models import ModelEntry, entry_of
from pairscore.service.fleet import Fleet
from pairscore.service.fleet_member import Member
from pairscore.service.parts import Parts, PartsOfApp
from pairscore.service.refusals import Refusal
from pairscore.service.schemas import Body
from pairscore.service.settings import EVERYBODY, option

__all__ = ["ModelChoice", "may_control", "router"]


class ModelChoice(Body):
    """Which of the declared models."""

    shape: ClassVar[str] = '{"model": "..."}'

    model: str = Field(min_length=1, description="Its name, or an alias of it.")


router = APIRouter()


def may_control(request: Request, parts: Parts) -> bool:
    """Whether a request may load and unload models; without such a setting none may."""
    controllers = parts.settings.controllers
    name = getattr(request.state, KEY_NAME, "")
    return EVERYBODY in controllers or (bool(name) and name in controllers)


def _check_key(request: Request, parts: Parts) -> None:
    """Let those in who may.

    Raises:
        Refusal: its key is not among those that may.
    """
    if not may_control(request, parts):
        raise Refusal(
            "ModelControlError",
            "this request may not load or unload models; the operator names the API keys that may, "
            f"with {option('model_control')}",
        )


def _endpoint(
    act: Callable[[Fleet, Member], Awaitable[None]],
) -> Callable[[Request, PartsOfApp], Awaitable[Response]]:
    async def endpoint(request: Request, parts: PartsOfApp) -> Response:
        _check_key(request, parts)
        raw = await bodies.raw_body(request)
        body = await bodies.on_thread(
            raw, partial(bodies.checked, raw, ModelChoice, parts.settings)
        )
        fleet = parts.runtime.fleet
        member = fleet.find(body.model)
        if member is None:
            # Not as for scoring, where any name may pass: what is done here is done to one model.
            answering.refuse_model(body.model, parts)
        await act(fleet, member)
        entry = entry_of(parts, member, member.name, owner="pairscore")
        return Response(entry.model_dump_json(), media_type="application/json")

    return endpoint


def _add(
    verb: str, summary: str, text: str, act: Callable[[Fleet, Member], Awaitable[None]]
) -> None:
    router.add_api_route(
        f"/v1/models/{verb}",
        _endpoint(act),
        methods=["POST"],
        name=f"/v1/models/{verb}",
        summary=summary,
        description=text,
        tags=[NATIVE],
        response_model=ModelEntry,
        # For those who were told; docs/several-models.md has it.
        include_in_schema=False,
    )


_add(
    "load",
    "Load a model now",
    "Answers when it is loaded; one that is loaded already stays as it is.",
    Fleet.load,
)
_add(
    "unload",
    "Free the memory of a model",
    "Its requests are finished first. The next request that names it loads it again.",
    Fleet.unload,
)
_add(
    "reload",
    "Load a model anew from its files",
    "The new one is loaded beside the old and scores a pair before it takes over; requests under way are finished by "
    "the old one. If it cannot be loaded, the old one stays.",
    Fleet.reload,
)
