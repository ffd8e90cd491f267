"""A running app that takes requests no client would send, and checks that each answer has a known shape."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
MAX_PAIRS = 4
SCORING = (
    "/score",
    "/score/batch",
    "/rerank",
    "/v1/rerank",
    "/v1/rerank/batch",
    "/v1/search",
    "/v1/score/details",
    "/v1/compare",
    "/v1/explain",
    "/v2/rerank",
    "/tei/rerank",
    "/predict",
    "/jina/v1/rerank",
    "/voyage/v1/rerank",
    "/v1/score",
    "/vllm/rerank",
    "/infinity/rerank",
    "/v1/reranking",
    "/v1/ranking",
)
READING = ("/livez", "/readyz", "/health", "/info", "/metrics", "/", "/docs", "/openapi.json")
OTHER = (
    "/docs-files/",
    "/docs-files/swagger-ui.css",
    "/docs-files/%2e%2e/x",
    "/page/",
    "/page/icon.svg",
    "/page/%2e%2e/files.py",
    "/score/",
    "/nope",
    "",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A request as it goes over the wire; the body in the pieces in which it comes."""

    path: str
    method: str = "POST"
    chunks: tuple[bytes, ...] = (b"",)
    headers: tuple[Header, ...] = (JSON,)

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks)


@dataclass(kw_only=True, slots=True)
class Service:
    """A running app that takes requests no client would send, and checks each answer."""

    app: FastAPI
    client: TestClient
    num_bodies: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def ask(self, *requests_: Sent) -> list[Answer]:
        """The answers in order; each is a good one or an error of the one shape."""
        assert self.client.portal is not None
        answers = self.client.portal.call(_asked_in_turn, self.app, requests_)
        for sent, answer in zip(requests_, answers, strict=True):
            try:
                _check(sent, answer)
            except AssertionError as error:
                error.add_note(f"{sent!r:.3000}\n{answer!r:.3000}")
                raise
        self.num_bodies += len(answers)
        self.statuses.update(answer.status for answer in answers)
        return answers


async def _asked_in_turn(app: FastAPI, requests_: Sequence[Sent]) -> list[Answer]:
    # On the loop for all of them, because the way there and back costs more than a request.
    return [await _asked(app, sent) for sent in requests_]


async def _asked(app: FastAPI, sent: Sent) -> Answer:
    """Send it as a server would; the client stays until it is answered."""
    chunks = list(sent.chunks)
    got: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not chunks:
            await asyncio.Event().wait()
        body = chunks.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        got.append(message)

    raw_path, _, query = sent.path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": sent.method,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5000),
        "headers": list(sent.headers),
    }
    async with asyncio.timeout(30):
        await app(scope, receive, send)
    begin, *rest = got
    assert [begin["type"], *{m["type"] for m in rest}] == [
        "http.response.start",
        "http.response.body",
    ]
    headers = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in begin["headers"]}
    return Answer(
        status=begin["status"], headers=headers, body=b"".join(m.get("body", b"") for m in rest)
    )


def _check(sent: Sent, answer: Answer) -> None:
    """No 5xx but the deadline that was asked for; errors have the one shape, answers finite numbers."""
    if answer.status >= 500:
        asked = any(name == b"x-request-timeout" for name, _ in sent.headers)
        assert answer.status == 504
        assert asked or b"deadline_ms" in sent.body
    assert answer.headers["x-request-id"]
    if answer.status >= 400:
        _check_problem(answer)
    elif sent.path in SCORING and sent.method == "POST":
        for line in answer.body.splitlines():
            json.loads(line, parse_constant=pytest.fail)


def _check_problem(answer: Answer) -> None:
    assert answer.headers["content-type"] == "application/json"
    body = json.loads(answer.body, parse_constant=pytest.fail)
    # A text of a message is for a person to read; nobody sends their whole body back to them.
    assert len(answer.body) < 20_000
    assert b"Traceback" not in answer.body
    if body.get("error", {}) and "request_id" in body["error"]:
        _check_native(body, answer)
    else:
        # In another dialect; the goldens know each one's words.
        assert {*body} & {"error", "detail", "message"}
        assert all(body.values())


def _check_native(body: dict[str, Any], answer: Answer) -> None:
    assert set(body) == {"error"}
    error = body["error"]
    must = {"type", "message", "request_id"}
    assert must <= set(error) <= must | {"details"}
    assert all(isinstance(error[name], str) and error[name] for name in must)
    assert error["request_id"] == answer.headers["x-request-id"]
    for detail in error.get("details", ()):
        assert set(detail) == {"field", "message"}
        assert detail["field"]
        assert detail["message"]
