"""The two doors that every request passes, as plain ASGI: nothing is buffered on the way.

The outer one gives the request its id, traces, counts and logs it, and catches what nobody foresaw;
the inner one counts the bytes of the body, and the seconds in which they come.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairscore.service import logs
from pairscore.service.parts import Parts
from pairscore.service.problems import REQUEST_ID_HEADER, closing, of_unknown_error
from pairscore.service.refusals import Refusal
from pairscore.service.settings import option
from pairscore.service.tracing import RequestSpan

__all__ = ["BodyLimit", "Door"]

_log = logging.getLogger("pairscore.service")
_access_log = logging.getLogger("pairscore.access")

_GOOD_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
# nginx' own number for a client that left before its answer.
_CLIENT_LEFT: Final = 499
_READABLE: Final = 20
# Largest bodies that may lie in memory together.
_BODIES_AT_ONCE: Final = 8
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Door:
    """Request id in and out, trace, log, the count of requests, and the last resort for errors."""

    def __init__(self, app: ASGIApp, *, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The way of every request, and of the start-up."""
        if scope["type"] == "http":
            request_id = _request_id(Headers(scope=scope))
            state = scope.setdefault("state", {})
            state.update(request_id=request_id, answer=None, outcome=None, key_name="")
            with self._parts.tracing.request(
                scope["headers"], method=scope["method"], request_id=request_id
            ) as span:
                state["span"] = span
                await self._request(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0
        start = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = scope["state"]["request_id"]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            # Counted below as what it is.
            pass
        except asyncio.CancelledError:
            # The server has waited long enough for what is under way, and is about to end.
            if not self._parts.runtime.draining:
                raise
            if not status:
                await closing(Request(scope))(scope, receive, send_with_id)
        # The last door: whatever comes here would otherwise be a traceback on somebody's screen.
        except Exception as error:
            response = of_unknown_error(Request(scope), error)
            if status:
                # Half an answer is out; only a broken connection can still say so.
                raise
            await response(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - start
            self._ended(scope, status=status or _CLIENT_LEFT, seconds=seconds)

    def _ended(self, scope: Scope, *, status: int, seconds: float) -> None:
        state: dict[str, Any] = scope["state"]
        span: RequestSpan = state["span"]
        route = _template(scope)
        span.ended(route=route, status=status)
        self._parts.telemetry.request(
            route=route,
            status=status,
            seconds=seconds,
            key=state["key_name"],
            trace_id=span.trace_id,
        )
        if self._parts.settings.access_log:
            logs.access(_access_log, _record(scope, route=route, status=status, seconds=seconds))

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_worded(message: Message) -> None:
            # An error of our own says all that is needed; a traceback would bury it.
            failure = self._parts.runtime.failure
            if message["type"] == "lifespan.startup.failed" and failure is not None:
                message = {**message, "message": f"cannot start: {failure}"}
            await send(message)

        await self._app(scope, receive, send_worded)


class BodyLimit:
    """Refuses bodies with too many bytes, by what they announce and by what really comes, and too slow ones."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        # Of a request that has no body by its nature nothing is read, whatever it announces.
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        received = 0
        complete = False
        late = asyncio.get_running_loop().time() + self._timeout_s

        # Refused when the body is asked for, not before: then the route is known, and counted.
        async def counting() -> Message:
            nonlocal received, complete
            if announced.isascii() and announced.isdecimal() and _over(announced, self._max_bytes):
                raise self._too_large(announced)
            message = await (receive() if complete else self._in_time(receive, late))
            received += len(message.get("body", b""))
            self._held += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._max_bytes:
                raise self._too_large(f"at least {received:,}")
            if self._held > _BODIES_AT_ONCE * self._max_bytes:
                raise self._too_many()
            return message

        try:
            await self._app(scope, counting, send)
        finally:
            self._held -= received

    async def _in_time(self, receive: Receive, late: float) -> Message:
        try:
            async with asyncio.timeout_at(late):
                return await receive()
        except TimeoutError:
            raise Refusal(
                "BodyTimeoutError",
                f"the body did not come within {self._timeout_s:g} s; send it faster, in smaller "
                f"requests, or raise the limit with {option('body_timeout_s')}",
                headers={"Connection": "close"},
            ) from None

    def _too_many(self) -> Refusal:
        return Refusal(
            "BodiesLimitError",
            f"the bodies of all requests under way hold more than {_BODIES_AT_ONCE * self._max_bytes:,} "
            "bytes; send the request again in a moment, or smaller ones",
            headers={"Retry-After": "1"},
        )

    def _too_large(self, received: str) -> Refusal:
        short = received.isdecimal() and len(received) < _READABLE
        value = f"{int(received):,}" if short else received
        return Refusal(
            "BodyLimitError",
            f"too many bytes in the body: received {value[:40]}, the limit is {self._max_bytes:,}; "
            f"send less at once, or raise it with {option('max_body_bytes')}",
        )


def _record(scope: Scope, *, route: str, status: int, seconds: float) -> logs.AccessRecord:
    state: dict[str, Any] = scope["state"]
    answer = state["answer"]
    return logs.AccessRecord(
        request_id=state["request_id"],
        method=logs.known_method(scope["method"]),
        route=route,
        status=status,
        seconds=seconds,
        num_pairs=len(answer.scores) if answer else None,
        num_tokens=int(answer.scores.num_tokens.sum()) if answer else None,
        num_truncated=answer.scores.num_truncated if answer else None,
        num_cached=answer.num_cached if answer else None,
        key=state["key_name"] or None,
        outcome=state["outcome"],
        trace_id=state["span"].trace_id,
    )


def _over(announced: str, maximum: int) -> bool:
    """Whether a number in digits is above the maximum; thousands of digits are not worth an int()."""
    digits = announced.lstrip("0") or "0"
    return len(digits) > len(str(maximum)) or int(digits) > maximum


def _request_id(headers: Headers) -> str:
    """The caller's own id, if it cannot harm a log or a header; else a new one."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _GOOD_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _template(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"
