"""What the tests of `/v1/rerank/batch` share: its lines, a model that holds long texts, a client that reads as it goes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.service.asgi import post_scope

from pairscore.config import RoadConfig
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings
from pairscore.values import Batch, FloatArray

ROUTE = "/v1/rerank/batch"
LONG = "word " * 60
# Two micro-batches: one alone would be given all threads, and everybody would wait for it.
LONGS = (LONG, LONG + "more")


def query(text: str, *documents: Any, **more: Any) -> dict[str, Any]:
    """One query of a call."""
    return {"query": text, "documents": list(documents), **more}


def lines_of(content: bytes) -> list[dict[str, Any]]:
    """Each line, by itself a JSON object; the last one ends as all others do."""
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def post(client: Any, queries: list[Any], **more: Any) -> list[dict[str, Any]]:
    """The lines of a call that is not refused; the last one says that it is whole."""
    headers = more.pop("headers", None)
    response = client.post(ROUTE, json={"queries": queries, **more}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = lines_of(response.content)
    *answers, end = lines
    assert end["done"] is True
    assert end["num_queries"] == len(queries) == len(answers)
    assert end["num_failed"] == sum("error" in line for line in answers)
    assert sorted(line["index"] for line in answers) == list(range(len(queries)))
    return lines


class HoldingBackend(FakeBackend):
    """Holds micro-batches with long texts from `hold` until `let_go`."""

    def __init__(self) -> None:
        super().__init__()
        self.num_held = 0
        self._gate = threading.Event()
        self._gate.set()

    def hold(self) -> None:
        """From now on long texts wait."""
        self._gate.clear()

    def let_go(self) -> None:
        """No longer."""
        self._gate.set()

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """As the fake one, but for long texts."""
        if batch.ids.shape[1] > 50:
            self.num_held += 1
            self._gate.wait(60)
            self.num_held -= 1
        return super().run(batch, num_threads=num_threads)


def make_app(backend: FakeBackend, **settings: Any) -> Any:
    """A service with three workers, of which long texts hold two."""
    config = RoadConfig(budget=64, num_workers=3)
    return create_app(ServiceSettings(**settings), road=open_road(backend=backend, config=config))


@dataclass(kw_only=True, slots=True)
class Reader:
    """A client straight at the app, which sees each line when it is sent and may leave or dawdle.

    Attributes:
        app: the service.
        on_line: called with each line, before the next one can be sent.
        lines: so far.
        status: of the answer.
        headers: of the answer.
        gone: set when the client has left.
    """

    app: Any
    on_line: Callable[[dict[str, Any]], Awaitable[None]] | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _body: list[bytes] = field(default_factory=list)

    async def post(self, queries: list[Any], **more: Any) -> None:
        """Send a call, and read until its end."""
        self._body = [json.dumps({"queries": queries, **more}).encode()]
        scope = post_scope(ROUTE)
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        elif message["body"]:
            line = json.loads(message["body"])
            self.lines.append(line)
            if self.on_line is not None:
                await self.on_line(line)
