"""The two doors that every request passes, as plain ASGI: nothing is buffered on the way.

The outer one gives the request its id, counts it and catches what nobody foresaw;
the inner one counts the bytes of the body.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairscore.service.problems import REQUEST_ID_HEADER, Refusal, of_unknown_error
from pairscore.service.settings import option
from pairscore.service.telemetry import Telemetry
from pairscore.service.worker import ModelWorker

__all__ = ["BodyLimit", "Door"]

_log = logging.getLogger("pairscore.service")

_GOOD_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
# nginx' own number for a client that left before its answer.
_CLIENT_LEFT: Final = 499


class Door:
    """Request id in and out, the count of requests, and the last resort for errors."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry, worker: ModelWorker) -> None:
        self._app = app
        self._telemetry = telemetry
        self._worker = worker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The way of every request, and of the start-up."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        start = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            _log.info("request %s: the client left before its body was read", request_id)
        # The last door: whatever comes here would otherwise be a traceback on somebody's screen.
        except Exception as error:
            response = of_unknown_error(Request(scope), error)
            if status:
                # Half an answer is out; only a broken connection can still say so.
                raise
            await response(scope, receive, send_with_id)
        finally:
            self._telemetry.request(
                route=_template(scope),
                status=status or _CLIENT_LEFT,
                seconds=time.perf_counter() - start,
            )

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_worded(message: Message) -> None:
            # An error of our own says all that is needed; a traceback would bury it.
            if message["type"] == "lifespan.startup.failed" and self._worker.failure is not None:
                message = {**message, "message": f"cannot start: {self._worker.failure}"}
            await send(message)

        await self._app(scope, receive, send_worded)


class BodyLimit:
    """Refuses bodies with too many bytes: by what they announce, and by what really comes."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        received = 0

        # Refused when the body is asked for, not before: then the route is known, and counted.
        async def counting() -> Message:
            nonlocal received
            if announced.isascii() and announced.isdecimal() and _over(announced, self._max_bytes):
                raise self._refusal(announced)
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._refusal(f"at least {received:,}")
            return message

        await self._app(scope, counting, send)

    def _refusal(self, received: str) -> Refusal:
        value = f"{int(received):,}" if received.isdecimal() and len(received) < 20 else received  # noqa: PLR2004 - readable
        return Refusal(
            413,
            "BodyLimitError",
            f"too many bytes in the body: received {value[:40]}, the limit is {self._max_bytes:,}; "
            f"send less at once, or raise it with {option('max_body_bytes')}",
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
