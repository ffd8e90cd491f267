"""The walk through an app's table of routes, and every kind of credentials that opens none of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route
from starlette.testclient import TestClient

from pairscore.service.dialects.faults import NATIVE, shape_of_path

GOOD = "psk_" + "g" * 43
REVOKED = "psk_" + "r" * 43
WRONG = "psk_" + "w" * 43

# What is open to read without a key, as the documentation tells it; on purpose not taken from the code.
PUBLIC_PATHS = {"/livez", "/readyz", "/health", "/", "/docs", "/openapi.json"}
READING = {"GET", "HEAD"}
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
POSTED_STATUSES = {"401", "403", "408", "413", "415", "422", "429", "500", "503", "504"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Headers that open nothing, and what is said to them."""

    headers: dict[str, str]
    status: int
    kind: str
    challenge: str | None


def _unknown(**headers: str) -> Credentials:
    return Credentials(
        headers=_header_names(headers),
        status=401,
        kind="KeyUnknownError",
        challenge='Bearer error="invalid_token"',
    )


def _missing(**headers: str) -> Credentials:
    return Credentials(
        headers=_header_names(headers), status=401, kind="KeyMissingError", challenge="Bearer"
    )


def _revoked(**headers: str) -> Credentials:
    return Credentials(
        headers=_header_names(headers), status=403, kind="KeyRevokedError", challenge=None
    )


def _header_names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


REFUSED = {
    "none": _missing(),
    "empty": _missing(authorization="Bearer ", x_api_key=""),
    "another scheme": _missing(authorization=f"Basic {GOOD}"),
    "wrong without a scheme": _unknown(authorization=WRONG),
    "another header": _missing(x_api_token=GOOD),
    "wrong": _unknown(authorization=f"Bearer {WRONG}"),
    "wrong in the other header": _unknown(x_api_key=WRONG),
    "one good and one wrong": _unknown(authorization=f"Bearer {GOOD}", x_api_key=WRONG),
    "nearly right": _unknown(x_api_key=GOOD[:-1]),
    "revoked": _revoked(authorization=f"Bearer {REVOKED}"),
    "revoked in the other header": _revoked(x_api_key=REVOKED),
}
CREDENTIALS = pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED.keys())
METRICS = pytest.mark.parametrize("public_metrics", [True, False])


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One method of one route, with a path that it matches."""

    method: str
    path: str


def table_of(app: FastAPI) -> set[Place]:
    """Every method of every route, those of included routers and mounted apps too."""
    return set(_walk(list(app.routes), prefix=""))


def _walk(routes: list[BaseRoute], *, prefix: str) -> Iterator[Place]:
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)
        if callable(contexts):
            for one in contexts():
                yield from _places(prefix + one.path, one.methods)
        elif isinstance(route, Mount):
            # What a mounted app answers is its own affair: all methods, at its root and below.
            for path in (route.path, f"{route.path}/", f"{route.path}/some/file"):
                yield from _places(prefix + path, ALL_METHODS)
            yield from _walk(list(route.routes), prefix=prefix + route.path)
        elif isinstance(route, Route):
            yield from _places(prefix + route.path, route.methods)
        else:
            pytest.fail(f"a kind of route that this walk does not know: {route!r}")


def _places(path: str, methods: Any) -> Iterator[Place]:
    assert methods, f"{path} has no methods"
    for method in methods:
        yield Place(method=method, path=re.sub(r"{.*?}", "x", path))


def is_public(place: Place, *, public_metrics: bool) -> bool:
    """Whether it may be read without a key."""
    if place.method not in READING:
        return False
    public = PUBLIC_PATHS | ({"/metrics"} if public_metrics else set())
    # The page's files are a route, the other ones a mounted folder.
    return place.path in public or place.path in {"/docs-files/some/file", "/page/x"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask_untouched(client: TestClient, place: Place, headers: dict[str, str]) -> Answer:
    """Send a request whose body must not be touched."""
    got: list[Any] = []

    async def receive() -> Any:
        pytest.fail(f"the body of {place} was asked for")

    async def send(message: Any) -> None:
        got.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": place.method,
        "path": place.path,
        "raw_path": place.path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5000),
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"1000000000"),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ],
    }
    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)
    begin, *rest = got
    return Answer(
        status=begin["status"],
        headers={name.decode().lower(): value.decode() for name, value in begin["headers"]},
        body=b"".join(message.get("body", b"") for message in rest),
    )


def check_refused(answer: Answer, given: Credentials, place: Place) -> None:
    """With the right words, and nothing of a key."""
    assert answer.status == given.status, place
    assert answer.headers.get("www-authenticate") == given.challenge
    body = json.loads(answer.body)
    if shape_of_path(place.path) == NATIVE:
        assert set(body) == {"error"}
        error = body["error"]
        assert set(error) == {"type", "message", "request_id"}
        assert error["type"] == given.kind
        assert error["request_id"] == answer.headers["x-request-id"]
    else:
        # In the words of the clients of that path; the dialects' own tests know them.
        assert body
        assert isinstance(body, dict)
    told = answer.body + str(answer.headers).encode()
    assert not any(key[4:].encode() in told for key in (GOOD, REVOKED, WRONG))


def counts_of(client: TestClient, name: str) -> dict[str, float]:
    """The series of one metric, by their labels."""
    text = client.get("/metrics", headers={"X-API-Key": GOOD}).text
    found = re.findall(rf"^{name}{{(.*?)}} (\S+)$", text, re.MULTILINE)
    # Here there is one model.
    return {re.sub(r'^model="[^"]*",', "", labels): float(value) for labels, value in found}
