"""How long a request waits: until it is answered, its deadline passes, or its client goes away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request

from pairscore.engine.records import Outcome, outcome_of
from pairscore.service.refusals import Refusal

__all__ = ["TIMEOUT_HEADER", "deadline_of", "ended_as", "until_gone", "watched"]

T = TypeVar("T")

TIMEOUT_HEADER: Final = "X-Request-Timeout"

_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(ms|s)?", re.ASCII)
_MS: Final = 0.001


def deadline_of(request: Request, *, deadline_ms: int | None) -> float | None:
    """Seconds that a request gives us: the less of what its body and its header say; None if neither does.

    Raises:
        Refusal: the header is no duration.
    """
    given = [] if deadline_ms is None else [deadline_ms * _MS]
    header = request.headers.get(TIMEOUT_HEADER)
    if header is not None:
        given.append(_seconds(header.strip()))
    return min(given, default=None)


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    seconds = float(found[1]) * (_MS if found[2] == "ms" else 1.0) if found else 0.0
    if not seconds > 0:
        raise Refusal(
            "HeaderError",
            f"the header {TIMEOUT_HEADER} is {text[:40]!r}; give seconds above 0, such as 2.5, 2.5s or 2500ms",
        )
    return seconds


async def until_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work; if the client goes away first, the work is cancelled.

    The whole body must have been read.

    Raises:
        ClientDisconnect: nobody waits for the answer any more.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def watched(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, as `until_gone`; how it ended, if not well, is told to the log and the metrics."""
    try:
        return await until_gone(request, work)
    except BaseException as error:
        request.state.outcome = ended_as(error)
        raise


def ended_as(error: BaseException) -> Outcome:
    """The outcome of a request that ended with an error; a client that went away cancelled it."""
    return "cancelled" if isinstance(error, ClientDisconnect) else outcome_of(error)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
