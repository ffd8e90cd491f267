"""What the routes of one app share, and how a route gets at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from pairscore.service.keys import KeyRing
from pairscore.service.runtime import Runtime
from pairscore.service.settings import ServiceSettings
from pairscore.service.telemetry import Telemetry
from pairscore.service.tracing import Tracing

__all__ = ["Parts", "PartsOfApp", "parts_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the routes and the doors of one app share."""

    settings: ServiceSettings
    runtime: Runtime
    telemetry: Telemetry
    keyring: KeyRing
    tracing: Tracing


async def parts_of(request: Request) -> Parts:
    """The parts of the app that a request came to; a coroutine, because FastAPI calls anything else on a thread."""
    parts: Parts = request.app.state.parts
    return parts


PartsOfApp = Annotated[Parts, Depends(parts_of)]
