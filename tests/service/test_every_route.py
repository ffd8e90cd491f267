"""The app's own table of routes: each one but the public ones needs a key, whatever somebody adds to it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from pairscore.road.road import Road, open_road
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

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
    "no scheme": _missing(authorization=GOOD),
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


@pytest.fixture(scope="module")
def road() -> Iterator[Road]:
    """A model without weights, made once."""
    made = open_road(backend="fake")
    yield made
    made.close()


@pytest.fixture
def make_app(tmp_path: Path, road: Road) -> Callable[..., FastAPI]:
    """The real app, with a file of keys: a good one and a revoked one."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[keys.good]\nsha256 = "{_digest(GOOD)}"\n'
        f'[keys.old]\nsha256 = "{_digest(REVOKED)}"\nrevoked = true\n',
        encoding="utf-8",
    )

    def make(**settings: Any) -> FastAPI:
        return create_app(ServiceSettings(keys_file=path, **settings), road=road)

    return make


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One method of one route, with a path that it matches."""

    method: str
    path: str


def _table(app: FastAPI) -> set[Place]:
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


def _is_public(place: Place, *, public_metrics: bool) -> bool:
    if place.method not in READING:
        return False
    public = PUBLIC_PATHS | ({"/metrics"} if public_metrics else set())
    return place.path in public or place.path == "/docs-files/some/file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


def _ask(client: TestClient, place: Place, headers: dict[str, str]) -> Answer:
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


def _check_refused(answer: Answer, given: Credentials, place: Place) -> None:
    assert answer.status == given.status, place
    assert answer.headers.get("www-authenticate") == given.challenge
    error = json.loads(answer.body)["error"]
    assert set(error) == {"type", "message", "request_id"}
    assert error["type"] == given.kind
    assert error["request_id"] == answer.headers["x-request-id"]
    told = answer.body + str(answer.headers).encode()
    assert not any(key[4:].encode() in told for key in (GOOD, REVOKED, WRONG))


def _counted(client: TestClient, name: str) -> dict[str, float]:
    """The series of one metric, by their labels."""
    text = client.get("/metrics", headers={"X-API-Key": GOOD}).text
    found = re.findall(rf"^{name}{{(.*?)}} (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_the_table_is_whole(make_app: Callable[..., FastAPI]) -> None:
    """The walk finds what the documentation names, and what it does not name."""
    app = make_app()
    table = _table(app)

    documented = {
        Place(method=method.upper(), path=path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    assert len(documented) >= 8
    assert documented <= table
    assert {place.path for place in table} >= PUBLIC_PATHS | {"/metrics", "/docs-files"}
    assert {Place(method=method, path="/docs-files/") for method in ALL_METHODS} <= table


@CREDENTIALS
@METRICS
def test_every_route_refuses(
    make_app: Callable[..., FastAPI], given: Credentials, *, public_metrics: bool
) -> None:
    """Each method of each route but the public ones: refused, unread, and counted."""
    app = make_app(public_metrics=public_metrics)
    protected = [
        place
        for place in sorted(_table(app), key=repr)
        if not _is_public(place, public_metrics=public_metrics)
    ]
    assert {Place(method="POST", path=path) for path in ("/score", "/score/batch", "/rerank")} <= {
        *protected
    }
    assert (Place(method="GET", path="/metrics") in protected) is not public_metrics

    with TestClient(app) as client:
        for place in protected:
            _check_refused(_ask(client, place, given.headers), given, place)

        refusals = _counted(client, "pairscore_key_refusals_total")
        requests = _counted(client, "pairscore_requests_total")
        work = _counted(client, "pairscore_outcomes_total")
    assert refusals == {f'kind="{given.kind}"': len(protected)}
    by_status = [n for labels, n in requests.items() if f'status="{given.status}"' in labels]
    assert sum(by_status) == len(protected)
    assert work['outcome="ok"'] == 0


@pytest.mark.parametrize("path", sorted(PUBLIC_PATHS | {"/metrics", "/docs-files/swagger-ui.css"}))
def test_a_public_path_is_public_to_be_read(make_app: Callable[..., FastAPI], path: str) -> None:
    """Without a key the other methods are refused, with one they are no method of this path."""
    with TestClient(make_app(), follow_redirects=False) as client:
        for method in ALL_METHODS:
            anonymous = client.request(method, path).status_code
            known = client.request(method, path, headers={"X-API-Key": GOOD}).status_code
            if method not in READING:
                assert (anonymous, known) == (401, 405), method
            else:
                assert anonymous == known
                # FastAPI's own routes have no HEAD.
                assert anonymous in ({200, 307, 405} if method == "HEAD" else {200, 307})


@CREDENTIALS
@METRICS
def test_public_routes_answer(
    make_app: Callable[..., FastAPI], given: Credentials, *, public_metrics: bool
) -> None:
    """No key is asked for, and none is looked at."""
    app = make_app(public_metrics=public_metrics)
    public = [place for place in _table(app) if _is_public(place, public_metrics=public_metrics)]
    assert len([place for place in public if place.method == "GET"]) == 7 + public_metrics

    with TestClient(app, follow_redirects=False) as client:
        for place in public:
            expected = {404} if place.path == "/docs-files/some/file" else {200, 307}
            response = client.request(place.method, place.path, headers=given.headers)
            assert response.status_code in expected, place
        assert _counted(client, "pairscore_key_refusals_total") == {}
        css = client.get("/docs-files/swagger-ui.css", headers=given.headers)
    assert css.status_code == 200


def test_a_good_key_opens_every_route(make_app: Callable[..., FastAPI]) -> None:
    """No route is shut for everybody."""
    app = make_app(public_metrics=False)
    with TestClient(app, follow_redirects=False) as client:
        for place in _table(app):
            response = client.request(place.method, place.path, headers={"X-API-Key": GOOD})
            assert response.status_code not in (401, 403), place


@CREDENTIALS
def test_a_route_that_is_added_later(make_app: Callable[..., FastAPI], given: Credentials) -> None:
    """However it is added, before the start or after it: refused, and not run."""
    app = make_app()
    ran: list[str] = []
    before = _table(app)
    _add_routes(app, "/before", ran)

    with TestClient(app) as client:
        _add_routes(app, "/after", ran)
        added = _table(app) - before
        assert len(added) > 50
        for place in sorted(added, key=repr):
            _check_refused(_ask(client, place, given.headers), given, place)
        assert ran == []
        for place in sorted(added, key=repr):
            client.request(place.method, place.path, headers={"X-API-Key": GOOD})
        # The walk's paths are right: each route was there to be run.
        assert set(ran) == {
            f"{prefix}{path}"
            for prefix in ("/before", "/after")
            for path in ("/plain", "/x/of/x", "/router/livez", "/mounted/inner", "/livez")
        }


def _add_routes(app: FastAPI, prefix: str, ran: list[str]) -> None:
    """The several ways to add a route; two of them look like a public one."""

    def route(name: str) -> Callable[..., Any]:
        async def endpoint() -> PlainTextResponse:
            ran.append(f"{prefix}{name}")
            return PlainTextResponse("")

        return endpoint

    app.add_api_route(f"{prefix}/plain", route("/plain"), methods=ALL_METHODS)
    app.get(f"{prefix}/{{a}}/of/{{b:path}}")(route("/x/of/x"))
    router = APIRouter(prefix=f"{prefix}/router")
    router.add_api_route("/livez", route("/router/livez"), methods=["GET", "POST"])
    app.include_router(router)
    inner = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    inner.add_api_route("/inner", route("/mounted/inner"))
    app.mount(f"{prefix}/mounted", inner)

    async def bare(request: Any) -> PlainTextResponse:
        ran.append(f"{prefix}/livez")
        return PlainTextResponse("")

    app.router.routes.append(Route(f"{prefix}/livez", bare))


@CREDENTIALS
def test_a_websocket_that_is_added_later(
    make_app: Callable[..., FastAPI], given: Credentials
) -> None:
    """It is closed before it is open, also on a path that is public to be read."""
    app = make_app()

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("open")
        await websocket.close()

    app.router.routes += [WebSocketRoute(path, talk) for path in ("/talk", "/livez")]

    with TestClient(app) as client:
        for path in ("/talk", "/livez"):
            with (
                pytest.raises(WebSocketDisconnect) as caught,
                client.websocket_connect(path, headers=given.headers),
            ):
                pass
            assert (caught.value.code, caught.value.reason) == (1008, given.kind)
        with client.websocket_connect("/talk", headers={"X-API-Key": GOOD}) as opened:
            assert opened.receive_text() == "open"


def test_every_post_is_documented(make_app: Callable[..., FastAPI]) -> None:
    """Each says in OpenAPI how it may fail, and that a failure has the one shape."""
    app = make_app()
    paths = app.openapi()["paths"]
    posts = [
        place.path
        for place in _table(app)
        if place.method == "POST" and not place.path.startswith("/docs-files")
    ]
    assert len(posts) >= 3

    for path in posts:
        responses = paths[path]["post"]["responses"]
        assert set(responses) >= POSTED_STATUSES, path
        for status in POSTED_STATUSES:
            content = responses[status]["content"]
            assert list(content) == ["application/json"], (path, status)
            assert content["application/json"]["schema"] == {
                "$ref": "#/components/schemas/ProblemBody"
            }
            assert len(responses[status]["description"]) > 10
