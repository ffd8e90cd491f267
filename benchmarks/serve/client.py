"""A small HTTP/1.1 client that costs little: one keep-alive connection, one request at a time.

httptools parses; nothing else is done. Redirects, compression, TLS and proxies are not known here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import httptools

__all__ = ["HOST", "Connection", "Reply", "encode_request"]

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; names of headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


def encode_request(method: str, path: str, body: bytes = b"") -> bytes:
    """The bytes of a request; a body is declared as JSON."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {HOST}"]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Protocol(asyncio.Protocol):
    """One connection as asyncio sees it; `waiter` is who waits for the answer."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiter: asyncio.Future[Reply] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of it.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        reply = Reply(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self._headers, self._body = {}, []
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(reply)
        if not self._parser.should_keep_alive() and self.transport is not None:
            self.transport.close()
            self.transport = None

    def _fail(self, error: Exception) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error)
        if self.transport is not None:
            self.transport.close()


class Connection:
    """One connection to one port, opened when it is first needed and again after the server closed it.

    A request that the server may have seen is never sent twice: only a connection that was found closed
    before anything was written is opened anew.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._protocol: _Protocol | None = None

    async def send(self, request: bytes, *, timeout_s: float) -> Reply:
        """Send what `encode_request` made and wait for the answer.

        Raises:
            OSError: no connection, or it broke before the answer was whole.
            TimeoutError: no answer in time; the connection is given up.
        """
        try:
            async with asyncio.timeout(timeout_s):
                protocol = await self.open()
                transport = protocol.transport
                if transport is None:
                    raise ConnectionResetError("the server closed the connection")
                protocol.waiter = asyncio.get_running_loop().create_future()
                transport.write(request)
                return await protocol.waiter
        except TimeoutError:
            self.close()
            raise

    async def open(self) -> _Protocol:
        """Open it now, if it is not open; `send` does so by itself."""
        if self._protocol is None or self._protocol.transport is None:
            loop = asyncio.get_running_loop()
            _, self._protocol = await loop.create_connection(_Protocol, HOST, self._port)
        return self._protocol

    def close(self) -> None:
        """Close it; it opens again with the next request."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.waiter = None
            self._protocol.transport.close()
        self._protocol = None
