"""HTTP on a socket, with patience that ends: too many connections and heads that never come.

uvicorn reads and writes; it has no limit on the time in which a request's head must come, and none on
connections that ask nothing. Bodies have their own limits in `middleware`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pairscore.service.settings import option

__all__ = ["patient_protocol"]

_log = logging.getLogger("pairscore.service")

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)


def patient_protocol(*, head_timeout_s: float, max_connections: int) -> type[asyncio.Protocol]:
    """A protocol for uvicorn's `http` setting.

    Args:
        head_timeout_s: seconds in which the head of a request must have come.
        max_connections: connections at once; one more is told 503 and closed.
    """
    settings = {"head_timeout_s": head_timeout_s, "max_connections": max_connections}
    return type("PatientProtocol", (_PatientProtocol,), settings)


class _PatientProtocol(HttpToolsProtocol):
    """One connection."""

    head_timeout_s: ClassVar[float]
    max_connections: ClassVar[int]
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.write(_refusal(self.max_connections))
            transport.close()
            return
        self._wait_for_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # The next request of a connection that is kept alive.
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._alarm is None:
            self._alarm = self.loop.call_later(self.head_timeout_s, self._too_late)

    def _head_came(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _too_late(self) -> None:
        _log.info("a connection was closed: no head of a request in %g s", self.head_timeout_s)
        self.transport.close()


def _refusal(max_connections: int) -> bytes:
    error = {
        "type": "ConnectionLimitError",
        "message": f"too many connections: the limit is {max_connections:,}; send the request again later, "
        f"or raise it with {option('max_connections')}",
        "request_id": "unknown",
    }
    content = json.dumps({"error": error}).encode("ascii")
    return _FULL % (len(content), content)
