"""The app's own table of routes: each one but the public ones needs a key, whatever somebody adds to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from tests.service.access.guarded import sha256_of
from tests.service.access.route_table import (
    ALL_METHODS,
    CREDENTIALS,
    GOOD,
    METRICS,
    POSTED_STATUSES,
    PUBLIC_PATHS,
    READING,
    REFUSED,
    REVOKED,
    Credentials,
    Place,
    ask_untouched,
    check_refused,
    counts_of,
    is_public,
    table_of,
)

from pairscore.road.road import Road, open_road
from pairscore.service.app import create_app
from pairscore.service.dialects.faults import NATIVE, shape_of_path
from pairscore.service.settings import ServiceSettings

# Told in the shape of whoever the body is recognised as.
SHARED = {"/score", "/rerank", "/v1/reranking"}


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
        f'[keys.good]\nsha256 = "{sha256_of(GOOD)}"\n'
        f'[keys.old]\nsha256 = "{sha256_of(REVOKED)}"\nrevoked = true\n',
        encoding="utf-8",
    )

    def make(**settings: Any) -> FastAPI:
        return create_app(ServiceSettings(keys_file=path, **settings), road=road)

    return make


def test_the_table_is_whole(make_app: Callable[..., FastAPI]) -> None:
    """The walk finds what the documentation names, and what it does not name."""
    app = make_app()
    table = table_of(app)

    documented = {
        Place(method=method.upper(), path=re.sub(r"{.*?}", "x", path))
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
        for place in sorted(table_of(app), key=repr)
        if not is_public(place, public_metrics=public_metrics)
    ]
    assert {Place(method="POST", path=path) for path in ("/score", "/score/batch", "/rerank")} <= {
        *protected
    }
    assert (Place(method="GET", path="/metrics") in protected) is not public_metrics

    with TestClient(app) as client:
        for place in protected:
            check_refused(ask_untouched(client, place, given.headers), given, place)

        refusals = counts_of(client, "pairscore_key_refusals_total")
        requests = counts_of(client, "pairscore_requests_total")
        work = counts_of(client, "pairscore_outcomes_total")
    assert refusals == {f'kind="{given.kind}"': len(protected)}
    by_status = [n for labels, n in requests.items() if f'status="{given.status}"' in labels]
    assert sum(by_status) == len(protected)
    assert work['outcome="ok"'] == 0


@pytest.mark.parametrize(
    "path", sorted(PUBLIC_PATHS | {"/metrics", "/docs-files/swagger-ui.css", "/page/icon.svg"})
)
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
                assert anonymous in ({200, 405} if method == "HEAD" else {200})


@METRICS
def test_public_routes_answer(make_app: Callable[..., FastAPI], *, public_metrics: bool) -> None:
    """No key is asked for, and none is looked at."""
    app = make_app(public_metrics=public_metrics)
    public = [place for place in table_of(app) if is_public(place, public_metrics=public_metrics)]
    assert len([place for place in public if place.method == "GET"]) == 8 + public_metrics

    with TestClient(app, follow_redirects=False) as client:
        for place, (name, given) in product(public, REFUSED.items()):
            is_no_file = place.path in {"/docs-files/some/file", "/page/x"}
            expected = {404} if is_no_file else {200}
            response = client.request(place.method, place.path, headers=given.headers)
            assert response.status_code in expected, (place, name)
        assert counts_of(client, "pairscore_key_refusals_total") == {}
        for given in REFUSED.values():
            css = client.get("/docs-files/swagger-ui.css", headers=given.headers)
            assert css.status_code == 200


def test_a_good_key_opens_every_route(make_app: Callable[..., FastAPI]) -> None:
    """No route is shut for everybody; some are for keys that the operator named."""
    app = make_app(public_metrics=False, model_control="good")
    with TestClient(app, follow_redirects=False) as client:
        for place in table_of(app):
            response = client.request(place.method, place.path, headers={"X-API-Key": GOOD})
            assert response.status_code not in (401, 403), place


@CREDENTIALS
@pytest.mark.slow
def test_a_route_that_is_added_later(make_app: Callable[..., FastAPI], given: Credentials) -> None:
    """However it is added, before the start or after it: refused, and not run."""
    app = make_app()
    ran: list[str] = []
    before = table_of(app)
    _add_routes(app, "/before", ran)

    with TestClient(app) as client:
        _add_routes(app, "/after", ran)
        added = table_of(app) - before
        assert len(added) > 50
        for place in sorted(added, key=repr):
            check_refused(ask_untouched(client, place, given.headers), given, place)
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
    """Each says in OpenAPI how it may fail, and that a failure has the dialect's shape; aliases are not shown."""
    app = make_app()
    paths = app.openapi()["paths"]
    posts = [
        place.path for place in table_of(app) if place.method == "POST" and place.path in paths
    ]
    assert len(posts) >= 10

    for path in posts:
        responses = paths[path]["post"]["responses"]
        assert set(responses) >= POSTED_STATUSES, path
        for status in POSTED_STATUSES:
            content = responses[status]["content"]
            assert list(content) == ["application/json"], (path, status)
            native = content["application/json"]["schema"] == {
                "$ref": "#/components/schemas/ProblemBody"
            }
            assert native == (shape_of_path(path) == NATIVE and path not in SHARED), path
            assert len(responses[status]["description"]) > 10
