"""One request of ASGI as values that can travel between processes, and back: what a gateway sends to a replica.

Nothing here imports Ray.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["ASGIApp", "Message", "Receive", "Relayed", "Reply", "Scope", "Send", "read", "streamed"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# What of a scope is a value; the rest belongs to the server that made it.
_PARTS: Final = (
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "headers",
    "client",
    "server",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Relayed:
    """A request that was read, as far as it may be.

    Attributes:
        scope: of ASGI, without what only its server knows.
        body: its bytes.
        is_whole: whether the body is complete; if not, more was announced and never comes.
    """

    scope: dict[str, Any]
    body: bytes
    is_whole: bool

    def header(self, name: bytes) -> str | None:
        """The first header of that name, in lower case; None if there is none."""
        return next(
            (value.decode("latin-1") for key, value in self.scope["headers"] if key == name), None
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A whole answer.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
        body: its bytes.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def of(cls, messages: list[Message]) -> Reply:
        """The answer that such messages make."""
        start = messages[0]
        return cls(
            status=start["status"],
            headers=tuple((bytes(key), bytes(value)) for key, value in start["headers"]),
            body=b"".join(message.get("body", b"") for message in messages[1:]),
        )

    async def send(self, send: Send) -> None:
        """Answer with it; the length is its own again, whatever was said before."""
        headers = [pair for pair in self.headers if pair[0] != b"content-length"]
        headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


async def read(scope: Scope, receive: Receive, *, max_bytes: int, timeout_s: float) -> Relayed:
    """Read a request, as much of its body as the app would take.

    A body that is too long, too slow or broken off is not refused here: the app does that, in the words of the
    dialect that was spoken, as soon as it sees what came.

    Args:
        scope: of ASGI.
        receive: of ASGI.
        max_bytes: after one more than so many bytes nothing is read.
        timeout_s: in which the body must have come.
    """
    parts: list[bytes] = []
    is_whole = False
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not is_whole and sum(map(len, parts)) <= max_bytes:
                message = await receive()
                if message["type"] != "http.request":
                    break
                parts.append(message.get("body", b""))
                is_whole = not message.get("more_body", False)
    plain = {name: scope[name] for name in _PARTS if name in scope}
    plain["headers"] = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
    return Relayed(scope=plain, body=b"".join(parts), is_whole=is_whole)


async def streamed(app: ASGIApp, relayed: Relayed) -> AsyncIterator[list[Message]]:
    """What the app answers, in portions, as soon as each is there.

    Whoever stops asking cancels the request, as a client does that goes away.
    """
    answered: asyncio.Queue[Message | None] = asyncio.Queue()
    running = asyncio.ensure_future(_run(app, relayed, answered))
    has_ended = False
    try:
        while not has_ended:
            portion = [await answered.get()]
            while not answered.empty():
                portion.append(answered.get_nowait())
            has_ended = portion[-1] is None
            if messages := [message for message in portion if message is not None]:
                yield messages
        # What the app raised is its caller's.
        await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _run(app: ASGIApp, relayed: Relayed, answered: asyncio.Queue[Message | None]) -> None:
    try:
        # A copy, because the app writes into it.
        await app({**relayed.scope, "state": {}}, _receive(relayed), answered.put)
    finally:
        answered.put_nowait(None)


def _receive(relayed: Relayed) -> Receive:
    """The body, once; then nothing more: a client that leaves cancels the request itself."""
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            await asyncio.Event().wait()
        is_read = True
        return {
            "type": "http.request",
            "body": relayed.body,
            "more_body": not relayed.is_whole,
        }

    return receive
