"""HTTP on a socket, with patience that ends: for heads that never come or never end, for answers that nobody reads.

uvicorn reads and writes; it has no limit on the time and the bytes in which a request's head must come, none on
the number of connections, and none on the time in which an answer must be taken. Bodies have their own limits in
`middleware`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sized
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pairscore.service.settings import option

__all__ = ["patient_protocol"]

_log = logging.getLogger("pairscore.service")

_MAX_HEAD_BYTES: Final = 64 * 1024
_LAST: Final = (
    b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)


def patient_protocol(*, head_timeout_s: float, max_connections: int) -> type[asyncio.Protocol]:
    """A protocol for uvicorn's `http` setting.

    Args:
        head_timeout_s: seconds in which the head of a request must have come, and in which at least something
            of an answer must be taken.
        max_connections: connections at once; one more is told 503 and closed.
    """
    settings = {"head_timeout_s": head_timeout_s, "max_connections": max_connections}
    return type("PatientProtocol", (_PatientProtocol,), settings)


class _OneByOne(FlowControl):
    """Reads on only when no request that was read waits for its turn.

    uvicorn reads on after each answer, and one piece off the socket holds thousands of small requests: what waits
    would grow by that much with every answer.

    Args:
        transport: the connection.
        waiting: requests that came whole behind the one that is being answered.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Whoever is answered has come whole if others wait behind, so nobody misses the rest of a body."""
        if not self._waiting and not self._transport.is_closing():
            super().resume_reading()


class _PatientProtocol(HttpToolsProtocol):
    """One connection."""

    head_timeout_s: ClassVar[float]
    max_connections: ClassVar[int]
    _alarm: asyncio.TimerHandle | None = None
    _write_alarm: asyncio.TimerHandle | None = None
    # The request that is being answered, or was last.
    _begun: RequestResponseCycle | None = None
    # Bytes since the last piece of a body, or the end of a head.
    _num_idle_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = _OneByOne(transport, self.pipeline)
        # Whatever the client does not take counts, not only what is above some mark.
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > self.max_connections:
            self._refuse(_refusal(self.max_connections))
            return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        self._num_idle_bytes += len(data)
        if self._num_idle_bytes > _MAX_HEAD_BYTES + len(data):
            self._too_long()
            return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._num_idle_bytes > _MAX_HEAD_BYTES:
            self._too_long()
        elif self._answered:
            # Bytes that have not made a request yet; uvicorn stops its own clock at the first of them.
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._num_idle_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own words
        self._refuse(_NO_HTTP)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._taken()
        # uvicorn tells the request that was read last, which may wait behind the one that is being answered.
        self.pipeline.clear()
        if self._begun is not None and not self._begun.response_complete:
            self._begun.disconnected = True
            self._begun.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._begun = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    @property
    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self) -> None:
        if self._alarm is None:
            self._alarm = self.loop.call_later(self.head_timeout_s, self._too_late)

    def _head_came(self) -> None:
        self._num_idle_bytes = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _too_late(self) -> None:
        _log.info("a connection was closed: no head of a request in %g s", self.head_timeout_s)
        self.transport.close()

    def _too_long(self) -> None:
        _log.info("a connection was closed: more than %d bytes that are no body", _MAX_HEAD_BYTES)
        if self._answered:
            self._refuse(_HEAD_TOO_LONG)
        else:
            self.transport.abort()

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()

    def _wait_for_reader(self, num_left: int) -> None:
        self._taken()
        self._write_alarm = self.loop.call_later(self.head_timeout_s, self._not_taken, num_left)

    def _taken(self) -> None:
        if self._write_alarm is not None:
            self._write_alarm.cancel()
            self._write_alarm = None

    def _not_taken(self, num_left: int) -> None:
        """The answer still waits: slowly is well, not at all is the end."""
        num_now = self.transport.get_write_buffer_size()
        if num_now < num_left:
            self._wait_for_reader(num_now)
            return
        _log.info("a connection was closed: nothing was read in %g s", self.head_timeout_s)
        self.transport.abort()


def _refusal(max_connections: int) -> bytes:
    return _answer(
        b"503 Service Unavailable\r\nRetry-After: 1",
        "ConnectionLimitError",
        f"too many connections: the limit is {max_connections:,}; send the request again later, "
        f"or raise it with {option('max_connections')}",
    )


def _answer(status: bytes, kind: str, message: str) -> bytes:
    """An answer before there is a request: in the one shape, and the last of its connection."""
    error = {"type": kind, "message": message, "request_id": "unknown"}
    content = json.dumps({"error": error}).encode("ascii")
    return _LAST % (status, len(content), content)


_HEAD_TOO_LONG: Final = _answer(
    b"431 Request Header Fields Too Large",
    "HeadLimitError",
    f"the head of the request has more than {_MAX_HEAD_BYTES:,} bytes; send fewer or shorter headers",
)
_NO_HTTP: Final = _answer(
    b"400 Bad Request",
    "ProtocolError",
    "what came is no request of HTTP/1.1; check the address and the client",
)
