"""An app of a few routes behind the keys, the keys that open it, and requests with exactly the path that is asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from pairscore.service.access import PUBLIC_PATHS, Access, charge

SECRET = "psk_" + "s" * 43
REVOKED = "psk_" + "r" * 43
LIMITED = "psk_" + "l" * 43
COUNTED = "psk_" + "t" * 43
_ALL = ["GET", "POST", "PUT", "DELETE", "OPTIONS"]
BEARER = {"Authorization": f"Bearer {SECRET}"}


def sha256_of(secret: str) -> str:
    """As a file of keys holds a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


class _RequestId:
    """Stands for the outer door, which gives every request its id."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["request_id"] = "the-id"
        await self._app(scope, receive, send)


def make_app(folder: Path, **options: Any) -> FastAPI:
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


def refusal(response: Any, status: int, kind: str) -> dict[str, Any]:
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


def ask(
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


def status_of(sent: list[Any]) -> int:
    """Of what was sent."""
    status: int = sent[0]["status"]
    return status


def content_of(sent: list[Any]) -> bytes:
    """The body of what was sent."""
    return b"".join(message.get("body", b"") for message in sent)


def routes_of(app: FastAPI) -> Iterator[tuple[str, set[str]]]:
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
