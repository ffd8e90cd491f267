"""Who is let in: every way to give a key, every path, every trick, and what is said to those outside."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse
from hypothesis import given
from hypothesis import strategies as st
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from pairscore.errors import SettingError
from pairscore.service import access
from pairscore.service.access import PUBLIC_PATHS, PUBLIC_PREFIXES, Access, charge
from pairscore.service.keys import KeyRing

SECRET = "psk_" + "s" * 43
REVOKED = "psk_" + "r" * 43
LIMITED = "psk_" + "l" * 43
COUNTED = "psk_" + "t" * 43
_ALL = ["GET", "POST", "PUT", "DELETE", "OPTIONS"]
BEARER = {"Authorization": f"Bearer {SECRET}"}


def _hex(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@pytest.fixture
def clock() -> list[float]:
    """Seconds that the test moves."""
    return [0.0]


@pytest.fixture
def keyring(tmp_path: Path, clock: list[float]) -> KeyRing:
    """A good key, a revoked one, one with 2 requests a minute and one with 60 tokens a minute."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[keys.good]\nsha256 = "{_hex(SECRET)}"\n'
        f'[keys.old]\nsha256 = "{_hex(REVOKED)}"\nrevoked = true\n'
        f'[keys.limited]\nsha256 = "{_hex(LIMITED)}"\nrequests_per_minute = 2\n'
        f'[keys.counted]\nsha256 = "{_hex(COUNTED)}"\ntokens_per_minute = 60\n',
        encoding="utf-8",
    )
    return KeyRing(keys_file=path, clock=lambda: clock[0])


class _RequestId:
    """Stands for the outer door, which gives every request its id."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["request_id"] = "the-id"
        await self._app(scope, receive, send)


def _make_app(folder: Path, **options: Any) -> FastAPI:
    """An app with public and protected routes of several kinds; what is protected says so."""
    app = FastAPI(docs_url=None, redoc_url=None)
    router = APIRouter()

    async def shut(request: Request) -> PlainTextResponse:
        body = await request.body()
        charge(request, num_tokens=len(body))
        return PlainTextResponse(f"protected, {request.state.key_name}")

    async def free(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"free, {request.state.key_name!r}")

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"protected, {websocket.state.key_name}")
        await websocket.close()

    for path in sorted(PUBLIC_PATHS - {"/openapi.json"}):
        router.add_api_route(path, free, methods=["GET", "HEAD"], include_in_schema=False)
    router.add_api_route("/", shut, methods=["POST"], include_in_schema=False)
    for path in ("/score", "/score/batch", "/v1/{name}/rerank", "/metrics", "/files/{path:path}"):
        router.add_api_route(path, shut, methods=_ALL, include_in_schema=False)
    router.add_api_websocket_route("/talk", talk)
    app.include_router(router)
    static = folder / "static"
    static.mkdir(exist_ok=True)
    (static / "ui.js").write_text("free", encoding="utf-8")
    (folder / "score").write_text("protected", encoding="utf-8")
    app.mount("/docs-files", StaticFiles(directory=static))
    app.mount("/inner", FastAPI())
    app.add_middleware(Access, **options)
    app.add_middleware(_RequestId)
    return app


@pytest.fixture
def refused() -> list[str]:
    """The kinds of refusals, as metrics get them."""
    return []


@pytest.fixture
def app(tmp_path: Path, keyring: KeyRing, refused: list[str]) -> FastAPI:
    """The app behind the keys."""
    return _make_app(tmp_path, keyring=keyring, on_refused=refused.append)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A client without a key, that follows no redirection."""
    return TestClient(app, follow_redirects=False)


def _error(response: Any, status: int, kind: str) -> dict[str, Any]:
    """An answer is a refusal of the one shape, and holds no part of a key."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = json.loads(response.content)
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"type", "message", "request_id"}
    assert (error["type"], error["request_id"]) == (kind, "the-id")
    told = response.text + str(response.headers)
    assert not any(letter * 4 in told for letter in "srlt")
    return error


def _ask(
    app: Callable[..., Awaitable[None]],
    path: str,
    *,
    method: str = "GET",
    headers: list[tuple[bytes, bytes]] | None = None,
    receive: Any = None,
    **more: Any,
) -> list[Any]:
    """Send a request with exactly this path; what was sent back."""
    sent: list[Any] = []

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5000),
        "headers": headers or [],
        **more,
    }
    asyncio.run(app(scope, receive or nothing, send))
    return sent


def _status(sent: list[Any]) -> int:
    status: int = sent[0]["status"]
    return status


def _content(sent: list[Any]) -> bytes:
    return b"".join(message.get("body", b"") for message in sent)


class TestGivingAKey:
    """The headers, and what is wrong with them."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": f"Bearer {SECRET}"},
            {"authorization": f"bearer {SECRET}"},
            {"AUTHORIZATION": f"BEARER   {SECRET}  "},
            {"X-API-Key": SECRET},
            {"x-api-key": f" {SECRET} "},
            {"Authorization": f"Bearer {SECRET}", "X-API-Key": SECRET},
            {"Authorization": "Basic dXNlcjpwYXNz", "X-API-Key": SECRET},
            {"Authorization": f"Bearer {SECRET}", "X-API-Key": ""},
            {"Authorization": "Bearer", "X-API-Key": SECRET},
        ],
        ids=range(9),
    )
    def test_a_good_key_opens(
        self, client: TestClient, refused: list[str], headers: dict[str, str]
    ) -> None:
        """In either header, or in both; the route learns the key's name."""
        response = client.post("/score", headers=headers)

        assert (response.status_code, response.text) == (200, "protected, good")
        assert refused == []

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": ""},
            {"Authorization": "   "},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer   "},
            {"X-API-Key": ""},
            {"X-API-Key": "   "},
            {"Authorization": SECRET},
            {"Authorization": f"Basic {SECRET}"},
            {"Authorization": f"Token {SECRET}"},
            {"Authorization": f"Bearer{SECRET}"},
            {"Authorization": f"Bearer,{SECRET}"},
            {"Cookie": f"key={SECRET}"},
            {"Proxy-Authorization": f"Bearer {SECRET}"},
            {"X-API-Keys": SECRET},
        ],
        ids=range(15),
    )
    def test_no_key(self, client: TestClient, refused: list[str], headers: dict[str, str]) -> None:
        """Nothing, nothing but blanks, another scheme, another header: 401, and how to send one."""
        response = client.post("/score", headers=headers)

        error = _error(response, 401, "KeyMissingError")
        assert response.headers["www-authenticate"] == "Bearer"
        for part in ("Authorization: Bearer", "X-API-Key", "pairscore keys new"):
            assert part in error["message"]
        assert refused == ["KeyMissingError"]

    def test_a_key_in_the_address_is_no_key(self, client: TestClient) -> None:
        """Addresses end up in logs."""
        response = client.post(f"/score?api_key={SECRET}&key={SECRET}")

        _error(response, 401, "KeyMissingError")

    @pytest.mark.parametrize(
        "given",
        [
            b"x",
            SECRET[:-1].encode(),
            SECRET.encode() + b"s",
            SECRET.upper().encode(),
            SECRET.encode() + b" " + SECRET.encode(),
            f"{SECRET},{SECRET}".encode(),
            f'"{SECRET}"'.encode(),
            _hex(SECRET).encode(),
            f"sha256:{_hex(SECRET)}".encode(),
            b"\xff\xfe",
            "schlüssel-日本".encode(),
            b"\x00",
            b"x" * 513,
            b"x" * 60_000,
        ],
        ids=range(14),
    )
    @pytest.mark.parametrize("header", [b"x-api-key", b"authorization"])
    def test_a_wrong_key(
        self, app: FastAPI, refused: list[str], header: bytes, given: bytes
    ) -> None:
        """Nearly right, foreign characters, very long: 401, and nothing of it comes back."""
        value = b"Bearer " + given if header == b"authorization" else given

        sent = _ask(app, "/score", method="POST", headers=[(header, value)])

        assert _status(sent) == 401
        error = json.loads(_content(sent))["error"]
        assert error["type"] == "KeyUnknownError"
        assert (b"www-authenticate", b'Bearer error="invalid_token"') in sent[0]["headers"]
        assert len(given) < 6 or given[:6] not in _content(sent)
        assert refused == ["KeyUnknownError"]

    def test_a_long_key_is_not_hashed(self, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stranger gets no work done for a header of any length."""
        looked: list[bytes] = []
        monkeypatch.setattr(KeyRing, "find", lambda _ring, key: looked.append(key))

        for length in (512, 513):
            _ask(app, "/score", headers=[(b"x-api-key", b"x" * length)])

        assert [len(key) for key in looked] == [512]

    @pytest.mark.parametrize(
        "headers",
        [
            [(b"authorization", f"Bearer {SECRET}".encode()), (b"x-api-key", b"other")],
            [(b"authorization", b"Bearer other"), (b"x-api-key", SECRET.encode())],
            [(b"x-api-key", SECRET.encode()), (b"x-api-key", b"other")],
            [(b"authorization", f"Bearer {SECRET}".encode()), (b"Authorization", b"Bearer x")],
            [(b"authorization", f"Bearer {SECRET}".encode()), (b"x-api-key", LIMITED.encode())],
        ],
        ids=range(5),
    )
    def test_two_different_keys(self, app: FastAPI, headers: list[tuple[bytes, bytes]]) -> None:
        """Whose quota would count? Even where one of them, or both, are good."""
        sent = _ask(app, "/score", headers=headers)

        assert _status(sent) == 401
        error = json.loads(_content(sent))["error"]
        assert error["type"] == "KeyUnknownError"
        assert "2 different API keys" in error["message"]

    def test_the_same_key_twice(self, app: FastAPI) -> None:
        """A proxy may repeat a header."""
        headers = [(b"x-api-key", SECRET.encode())] * 2

        assert _status(_ask(app, "/score", headers=headers)) == 200

    def test_a_revoked_key(self, client: TestClient, refused: list[str]) -> None:
        """Its holder is told, by its name; 403, because another try is in vain."""
        error = _error(
            client.post("/score", headers={"X-API-Key": REVOKED}), 403, "KeyRevokedError"
        )

        assert "'old' is revoked" in error["message"]
        assert refused == ["KeyRevokedError"]

    def test_a_reload_counts_from_the_next_request(
        self, client: TestClient, keyring: KeyRing, tmp_path: Path
    ) -> None:
        """Without a restart."""
        assert client.get("/score", headers=BEARER).status_code == 200
        path = tmp_path / "keys.toml"
        path.write_text(f'[keys.good]\nsha256 = "{_hex(REVOKED)}"\n', encoding="utf-8")

        assert keyring.reload()

        _error(client.get("/score", headers=BEARER), 401, "KeyUnknownError")
        assert client.get("/score", headers={"X-API-Key": REVOKED}).status_code == 200

    @pytest.mark.parametrize("key", [None, "x" * 20, REVOKED, SECRET])
    def test_without_keys_everybody_is_let_in(self, tmp_path: Path, key: str | None) -> None:
        """Open access, whatever a client sends along."""
        client = TestClient(_make_app(tmp_path, keyring=KeyRing()))

        response = client.post("/score", headers={"X-API-Key": key} if key else {}, content=b"xx")

        assert (response.status_code, response.text) == (200, "protected, ")
        with client.websocket_connect("/talk") as talk:
            assert talk.receive_text() == "protected, "


class TestPaths:
    """What is open without a key, and that nothing else is."""

    @pytest.mark.parametrize("path", [*sorted(PUBLIC_PATHS), "/docs-files/ui.js"])
    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"X-API-Key": REVOKED}])
    def test_public_paths_are_open(
        self, client: TestClient, refused: list[str], path: str, headers: dict[str, str]
    ) -> None:
        """No key is asked for or looked at."""
        response = client.get(path, headers=headers)

        assert response.status_code == 200
        assert refused == []

    def test_public_paths_can_be_probed(self, client: TestClient) -> None:
        """HEAD is a way to read too."""
        assert client.head("/livez").status_code == 200

    def test_every_other_route_needs_a_key(self, app: FastAPI, client: TestClient) -> None:
        """Enumerated from the routes themselves: whatever somebody adds is protected."""
        protected = {
            (method, path)
            for path, methods in _routes(app)
            for method in methods
            if path not in PUBLIC_PATHS or method not in ("GET", "HEAD")
        }
        assert len(protected) > 25
        assert {("POST", "/"), ("GET", "/v1/{name}/rerank"), ("GET", "/inner/docs")} < protected

        for method, path in sorted(protected):
            response = client.request(method, re.sub(r"{.*?}", "x", path))
            assert response.status_code == 401, (method, path)
            assert "protected" not in response.text

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"])
    @pytest.mark.parametrize("path", [*sorted(PUBLIC_PATHS), "/docs-files/ui.js"])
    def test_public_paths_are_public_to_be_read(self, app: FastAPI, method: str, path: str) -> None:
        """Somebody may add a POST to the same path."""
        assert _status(_ask(app, path, method=method)) == 401

    @pytest.mark.parametrize("path", ["/nowhere", "/inner/docs", "/favicon.ico", "/docs-files"])
    def test_a_stranger_cannot_map_the_service(self, client: TestClient, path: str) -> None:
        """Paths that do not exist answer as those that do."""
        _error(client.get(path), 401, "KeyMissingError")

    TRICKS = (
        "//livez",
        "/livez/",
        "/livez//",
        "/livez%2F",
        "/LIVEZ",
        "/Livez",
        "/livez.",
        "/livez;x",
        "/livez ",
        " /livez",
        "/livez\n",
        "/livez\x00",
        "/livez\\",
        "\\livez",
        "/./livez",
        "/livez/.",
        "/livez/../score",
        "/livez/..%2fscore",
        "/livez/..\\score",
        "/score/../livez",
        "/score/batch/../../livez",
        "/docs/../score",
        "/docs-files",
        "/docs-files/",
        "/docs-files//score",
        "/docs-files/../score",
        "/docs-files/./../score",
        "/docs-files/x/../../score",
        "/docs-files/..",
        "/docs-files/..\\score",
        "/docs-files/%2e%2e/score",
        "/docs-files/ui.js/",
        "/docs-files/.ui.js",
        "/docs-files/x\n",
        "/docs-filesx",
        "/docs-filex/../score",
        "/DOCS-FILES/ui.js",
        "//docs-files/ui.js",
        "/files/../livez",
        "/files/livez",
        "/files//livez",
        "/metrics",
        "http://127.0.0.1/livez",
        "*",
        "",
        "livez",
        "//",
        "/ⅼivez",
        "/livez\u200b",
    )

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("path", TRICKS)
    def test_no_trick_opens_a_path(self, app: FastAPI, path: str, method: str) -> None:
        """A path is public as it is written or not at all."""
        sent = _ask(app, path, method=method)

        assert _status(sent) == 401
        assert b"protected" not in _content(sent)

    @given(
        path=st.lists(
            st.sampled_from(
                ["/", "//", "livez", "docs-files", "score", "..", ".", "\\", "%2e", "%2F", "ui.js"]
            ),
            max_size=8,
        ).map("".join),
        root_path=st.sampled_from(["", "/api", "/livez", "/docs-files", "/"]),
    )
    def test_whatever_is_open_is_not_protected(
        self, tmp_path_factory: pytest.TempPathFactory, path: str, root_path: str
    ) -> None:
        """For any path: without a key, a protected route is never reached."""
        folder = tmp_path_factory.mktemp("app")
        app = _make_app(folder, keyring=KeyRing(api_keys=f"a={SECRET}"))

        for full in (path, root_path + path):
            assert b"protected" not in _content(_ask(app, full, root_path=root_path))

    @given(
        path=st.text(alphabet="/ab.%", max_size=10),
        root_path=st.text(alphabet="/ab", max_size=4),
    )
    def test_paths_are_read_as_the_router_reads_them(self, path: str, root_path: str) -> None:
        """The same string decides about the key and about the route."""
        scope = {"path": path, "root_path": root_path}

        assert access._route_path(scope) == get_route_path(scope)

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/api/livez", 200),
            ("/livez", 200),
            ("/api/score", 401),
            ("/api/api/livez", 401),
            ("/apilivez", 401),
            ("/api", 401),
            ("/api/livez/", 401),
            ("/api/docs-files/../livez", 401),
        ],
    )
    def test_behind_a_proxys_path(self, app: FastAPI, path: str, status: int) -> None:
        """What a proxy put before the path counts neither for nor against it."""
        assert _status(_ask(app, path, root_path="/api")) == status

    def test_the_operator_may_open_more(self, tmp_path: Path, keyring: KeyRing) -> None:
        """Such as /metrics, for a Prometheus without a key; and may close what is open."""
        opened = _make_app(tmp_path, keyring=keyring, public=PUBLIC_PATHS | {"/metrics"})
        closed = _make_app(tmp_path, keyring=keyring, public=(), public_prefixes=())

        assert _status(_ask(opened, "/metrics")) == 200
        assert _status(_ask(opened, "/score")) == 401
        for path in (*PUBLIC_PATHS, "/docs-files/ui.js"):
            assert _status(_ask(closed, path)) == 401

    @pytest.mark.parametrize(
        "options",
        [
            {"public": ["metrics"]},
            {"public": [""]},
            {"public_prefixes": ["/"]},
            {"public_prefixes": ["/docs-files"]},
            {"public_prefixes": ["docs-files/"]},
            {"public_prefixes": [""]},
        ],
    )
    def test_an_opening_that_is_too_wide_is_refused(
        self, keyring: KeyRing, options: dict[str, Any]
    ) -> None:
        """A prefix without its slash would open its neighbours."""
        with pytest.raises(SettingError, match=r"write it as|begin it with"):
            Access(lambda *_: None, keyring=keyring, **options)

    def test_the_defaults_are_few(self) -> None:
        """A longer list should be meant."""
        assert {"/livez", "/readyz", "/health", "/", "/docs", "/openapi.json"} == PUBLIC_PATHS
        assert {"/docs-files/"} == PUBLIC_PREFIXES


def test_every_route_of_the_service_needs_a_key(make_client: Any) -> None:
    """The real one, enumerated: what is not named as public is protected, and a key opens it."""
    client = make_client(api_keys=f"good={SECRET}")
    shut = make_client(api_keys=f"good={SECRET}", public_metrics=False)
    routes = list(_routes(client.app))
    assert {"/score", "/score/batch", "/rerank", "/metrics", "/docs-files"} < {p for p, _ in routes}

    for path, methods in routes:
        for method in methods | {"OPTIONS", "POST"}:
            response = shut.request(method, path, follow_redirects=False)
            is_public = path in PUBLIC_PATHS and method in ("GET", "HEAD")
            assert (response.status_code == 401) is not is_public, (method, path)
    assert client.get("/metrics").status_code == 200
    assert shut.get("/metrics").status_code == 401
    assert shut.get("/metrics", headers=BEARER).status_code == 200
    pair = {"text_a": "a", "text_b": "b"}
    assert shut.post("/score", json=pair, headers=BEARER).status_code == 200


def test_the_services_own_page_opens_without_a_key(make_client: Any) -> None:
    """Every file that /docs asks for is there, and public."""
    client = make_client(api_keys=f"good={SECRET}")

    files = re.findall(r'(?:src|href)="(docs-files/[^"]+)"', client.get("/docs").text)

    assert len(files) >= 2
    for file in files:
        assert client.get(f"/{file}").status_code == 200


def _routes(app: FastAPI) -> Iterator[tuple[str, set[str]]]:
    """Every path of an app with its methods, out of included routers and mounted apps too."""

    def walk(routes: list[BaseRoute], prefix: str) -> Iterator[tuple[str, set[str]]]:
        for route in routes:
            context = getattr(route, "effective_route_contexts", None)
            if callable(context):
                yield from ((prefix + one.path, set(one.methods or ())) for one in context())
            elif isinstance(route, Mount):
                yield f"{prefix}{route.path}", {"GET", "POST"}
                yield from walk(list(route.routes), prefix + route.path)
            else:
                yield prefix + getattr(route, "path", ""), set(getattr(route, "methods", ()) or ())

    yield from walk(list(app.routes), "")


class TestTheWire:
    """What an ASGI server sees."""

    def test_the_body_of_a_refused_request_is_not_read(self, app: FastAPI) -> None:
        """Not one byte: a stranger's gigabyte stays where it is."""

        async def receive() -> None:
            pytest.fail("the body was asked for")

        sent = _ask(app, "/score", method="POST", receive=receive)

        assert _status(sent) == 401

    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": "x"}, {"X-API-Key": REVOKED}])
    def test_a_websocket_is_closed(
        self, client: TestClient, refused: list[str], headers: dict[str, str]
    ) -> None:
        """Before it is open; with the code for a policy."""
        with (
            pytest.raises(WebSocketDisconnect) as caught,
            client.websocket_connect("/talk", headers=headers),
        ):
            pass

        assert caught.value.code == 1008
        assert [caught.value.reason] == refused

    def test_a_websocket_with_a_key_is_opened(self, client: TestClient) -> None:
        """The same headers count."""
        with client.websocket_connect("/talk", headers=BEARER) as talk:
            assert talk.receive_text() == "protected, good"

    def test_a_public_path_opens_no_websocket(self, app: FastAPI) -> None:
        """Public is what is read with GET and HEAD."""
        sent = _ask(app, "/livez", type="websocket", subprotocols=[])

        assert sent == [{"type": "websocket.close", "code": 1008, "reason": "KeyMissingError"}]

    def test_start_and_end_pass(self, keyring: KeyRing) -> None:
        """A server that starts has no key."""
        seen: list[str] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["type"])

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        asyncio.run(Access(inner, keyring=keyring)(scope, None, None))

        assert seen == ["lifespan"]
        assert "state" not in scope

    def test_a_name_from_outside_does_not_count(self, keyring: KeyRing) -> None:
        """A state that comes with the scope is overwritten, so that no log names the wrong key."""
        names: list[str] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            names.append(scope["state"]["key_name"])

        door = Access(inner, keyring=keyring)
        _ask(door, "/livez", state={"key_name": "somebody"})
        _ask(
            door,
            "/score",
            state={"key_name": "somebody"},
            headers=[(b"x-api-key", SECRET.encode())],
        )

        assert names == ["", "good"]


class TestQuotas:
    """429, and when to come back."""

    def test_requests(self, client: TestClient, clock: list[float], refused: list[str]) -> None:
        """The third of two a minute is refused, with the wait, the quota, its value, the remedy."""
        headers = {"X-API-Key": LIMITED}
        assert [client.get("/score", headers=headers).status_code for _ in range(2)] == [200, 200]
        clock[0] += 0.5

        response = client.get("/score", headers=headers)

        error = _error(response, 429, "QuotaError")
        assert response.headers["retry-after"] == "30"
        for part in ("'limited'", "requests_per_minute = 2", "in 30 s", "in the keys file"):
            assert part in error["message"]
        assert refused == ["QuotaError"]
        clock[0] += 29.5
        assert client.get("/score", headers=headers).status_code == 200

    def test_tokens_are_charged_after_scoring(self, client: TestClient, clock: list[float]) -> None:
        """A request of 160 tokens is let in on 60; its key then waits until the debt is paid."""
        headers = {"X-API-Key": COUNTED}
        assert client.post("/score", headers=headers, content=b"x" * 160).status_code == 200

        response = client.post("/score", headers=headers, content=b"x")

        error = _error(response, 429, "QuotaError")
        assert response.headers["retry-after"] == "101"
        assert "tokens_per_minute = 60" in error["message"]
        clock[0] += 101
        assert client.post("/score", headers=headers, content=b"x").status_code == 200

    def test_one_key_harms_no_other_one(self, client: TestClient) -> None:
        """Each has a bucket of its own; public paths have none."""
        for _ in range(5):
            client.get("/score", headers={"X-API-Key": LIMITED})

        assert client.get("/score", headers=BEARER).status_code == 200
        for _ in range(5):
            assert client.get("/health", headers={"X-API-Key": LIMITED}).status_code == 200

    def test_a_quota_survives_a_reload(self, client: TestClient, keyring: KeyRing) -> None:
        """SIGHUP is no way to get a fresh minute."""
        headers = {"X-API-Key": LIMITED}
        for _ in range(2):
            client.get("/score", headers=headers)
        assert keyring.reload()

        assert client.get("/score", headers=headers).status_code == 429

    def test_charging_without_a_quota(self) -> None:
        """Routes charge always, also where access is open or nobody asked for a key."""
        charge(Request({"type": "http", "headers": []}), num_tokens=5)
        charge(Request({"type": "http", "headers": [], "state": {}}), num_tokens=5)


def test_no_key_in_any_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Good, wrong, revoked, over quota: logs have names, kinds and request ids, and nothing of a key."""
    with caplog.at_level(logging.DEBUG):
        for key in (SECRET, REVOKED, LIMITED, LIMITED, LIMITED, "psk_" + "t" * 40):
            client.post("/score", headers={"X-API-Key": key})
            client.post("/score", headers={"Authorization": f"Bearer {key}"})
            client.post("/score", headers={"Authorization": key})

    ours = [record.getMessage() for record in caplog.records if record.name == "pairscore.service"]
    assert "request the-id refused: KeyRevokedError, key name 'old'" in ours
    assert "request the-id refused: QuotaError, key name 'limited'" in ours
    assert "request the-id refused: KeyUnknownError, key name ''" in ours
    assert not any(letter * 4 in caplog.text for letter in "srlt")
    assert "psk_" not in caplog.text


@pytest.fixture
def server(app: FastAPI) -> Iterator[tuple[str, int]]:
    """A real server, because clients tidy paths up before they send them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: running.run(sockets=[listener]))
        thread.start()
        until = time.monotonic() + 20
        while not running.started and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield listener.getsockname()
        finally:
            running.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


def _raw(server: tuple[str, int], target: str, *, method: str = "GET", headers: str = "") -> bytes:
    """Everything that comes back for a request line with exactly this target."""
    lines = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
    with socket.create_connection(server, timeout=10) as connection:
        connection.sendall(lines.encode("latin-1"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_tricks_on_the_wire(server: tuple[str, int]) -> None:
    """As a server decodes them: escapes, dots and absolute addresses open nothing."""
    targets = [
        "/score",
        "//livez",
        "/livez/",
        "/livez%2F",
        "/livez%2f..%2fscore",
        "/livez/../score",
        "/livez/%2e%2e/score",
        "/livez%00",
        "/livez%3Fx",
        "/livez%23x",
        "/livez;/score",
        "/%6civez/../score",
        "/%252e%252e/livez",
        "/docs-files/../score",
        "/docs-files/%2e%2e/score",
        "/docs-files/%2e%2e%2fscore",
        "/docs-files/..%5cscore",
        "/docs-files/%252e%252e/score",
        "/%64ocs-files/..%2f..%2fscore",
        "/score?/livez",
        "/score#/livez",
    ]

    for target in targets:
        answer = _raw(server, target)
        assert answer.split(b" ", 2)[1] in (b"401", b"400"), (target, answer[:200])
        assert b"protected" not in answer, target
    # Two ways to write one path are one path, for the key and for the route.
    for target in ("/livez", "/%6Civez", "/livez?x=/score", "/docs-files/ui%2Ejs"):
        assert _raw(server, target).startswith(b"HTTP/1.1 200"), target
    assert b"protected, good" in _raw(server, "/score", headers=f"X-API-Key: {SECRET}\r\n")


def test_a_body_is_not_sent_for_nothing(server: tuple[str, int]) -> None:
    """A client that waits for 100 Continue is refused before it sends its body."""
    answer = _raw(
        server,
        "/score",
        method="POST",
        headers="Content-Length: 1000000000\r\nExpect: 100-continue\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 401")
    assert b"100 Continue" not in answer
