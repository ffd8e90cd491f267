"""A request of ASGI that is read here and answered elsewhere."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from typing import Any

import pytest

from pairscore.distributed.relay import Message, Receive, Relayed, Scope, Send, read, streamed

SCOPE: Scope = {
    "type": "http",
    "method": "POST",
    "path": "/a",
    "headers": [[b"name", b"value"]],
    "app": object(),
    "state": {},
}


def _receive(messages: Sequence[Message]) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


def _part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def _read(messages: Sequence[Message], *, max_bytes: int = 100) -> Relayed:
    return await read(SCOPE, _receive(messages), max_bytes=max_bytes, timeout_s=0.05)


def test_a_request_is_read_whole_and_travels() -> None:
    """Its body in one piece, and of its scope what can be pickled."""
    relayed = asyncio.run(_read([_part(b"ab", more=True), _part(b"cd")]))

    assert pickle.loads(pickle.dumps(relayed)) == relayed
    assert (relayed.body, relayed.is_whole) == (b"abcd", True)
    assert relayed.header(b"name") == "value"
    assert relayed.header(b"other") is None
    assert "app" not in relayed.scope


@pytest.mark.parametrize(
    "messages",
    [
        [_part(b"a" * 60, more=True), _part(b"b" * 60, more=True), _part(b"c")],
        [_part(b"a", more=True)],
        [_part(b"a", more=True), {"type": "http.disconnect"}],
    ],
    ids=["too long", "too slow", "broken off"],
)
def test_what_is_not_whole_is_left_to_the_app(messages: list[Message]) -> None:
    """It is told that more was to come, and refuses it in its own words."""
    relayed = asyncio.run(_read(messages))

    assert not relayed.is_whole
    assert len(relayed.body) <= 120


def _relayed(body: bytes = b"body") -> Relayed:
    return Relayed(scope={"type": "http", "path": "/a", "headers": []}, body=body, is_whole=True)


async def _gathered(app: Any) -> list[list[Message]]:
    return [portion async for portion in streamed(app, _relayed())]


def test_an_answer_comes_in_portions_as_it_is_made() -> None:
    """What is there together goes together; the app sees the body once."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start"})
        await send({"body": body})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await send({"body": b"later"})

    portions = asyncio.run(_gathered(app))

    assert [[message.get("body") for message in portion] for portion in portions] == [
        [None, b"body"],
        [b"later"],
    ]


def test_an_error_of_the_app_is_its_callers() -> None:
    """After what it sent before."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"body": b"half"})
        raise ValueError("broken")

    async def ask() -> list[Message]:
        portions = streamed(app, _relayed())
        first = await anext(portions)
        with pytest.raises(ValueError, match="broken"):
            await anext(portions)
        return first

    assert asyncio.run(ask()) == [{"body": b"half"}]


def test_who_stops_asking_cancels_the_request() -> None:
    """The app is not left running for nobody."""
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"body": b"first"})
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def leave() -> None:
        portions = streamed(app, _relayed())
        await anext(portions)
        await portions.aclose()

    asyncio.run(leave())

    assert ended == ["cancelled"]
