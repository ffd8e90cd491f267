"""`create_app`: the service put together, ready for any ASGI server.

It knows the parts and nothing of what they do; sockets, signals and logs are `server`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

import pairscore
from pairscore.errors import PairscoreError
from pairscore.retrieval.opening import OpenedIndex
from pairscore.road.road import Road
from pairscore.service import (
    batching,
    compare,
    explain,
    fleet_control,
    health,
    page,
    problems,
    routes,
    score_details,
    search,
)
from pairscore.service.access import PUBLIC_PATHS, Access
from pairscore.service.dialects import models
from pairscore.service.fleet_specs import default_spec, specs_of
from pairscore.service.keys import KeyRing
from pairscore.service.middleware import BodyLimit, Door
from pairscore.service.parts import Parts
from pairscore.service.refusals import Refusal
from pairscore.service.runtime import Runtime
from pairscore.service.settings import ServiceSettings, option
from pairscore.service.telemetry import Telemetry
from pairscore.service.tracing import open_tracing

__all__ = ["create_app"]

_COMPONENTS: Final = "#/components/schemas/{model}"
_NO_TELEMETRY: Final[Any] = dict.fromkeys(
    ("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False
)
# Swagger UI comes from a package, not from a CDN, so that /docs works without network.
_DOCS_FILES: Final = "/docs-files"


class _App(FastAPI):
    """FastAPI, told about the bodies that it does not read itself."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schema = super().openapi()
            _, posted = models_json_schema(
                [
                    *((model, "validation") for model in routes.posted_models()),
                    *batching.described(),
                    *search.described(),
                    *score_details.described(),
                    *compare.described(),
                    *explain.described(),
                ],
                ref_template=_COMPONENTS,
            )
            schema["components"]["schemas"].update(posted["$defs"])
            _describe_keys(schema, required=not self.state.parts.keyring.empty)
        return super().openapi()


class _DocsFiles(StaticFiles):
    """Small files, always sent whole: a range that is none would be answered in another shape."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


class _Folder(Mount):
    """A mounted folder that is a route like the others: logs and metrics name it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self}


def create_app(
    settings: ServiceSettings | None = None,
    *,
    road: Road | None = None,
    opening: Callable[[], OpenedIndex] | None = None,
) -> FastAPI:
    """Make the service; the model is loaded when the server starts it up, not here.

    Args:
        settings: None reads the environment.
        road: used instead of the model that the settings name, and never closed here.
        opening: opens another index to search in than the settings name; closed at the end.

    Raises:
        SettingError: a setting in the environment, or the file of keys, makes no sense.
        MissingExtraError: a setting needs an optional dependency that is not installed.
    """
    settings = settings or ServiceSettings()
    parts = _parts(settings, road, opening)
    app = _App(
        title="pairscore",
        summary="Reads two texts together and says how well they belong together.",
        description=_description(settings),
        version=pairscore.__version__,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        # Its own would write messages of errors into whatever the process exports; `tracing` does not.
        telemetry=_NO_TELEMETRY,
    )
    app.state.parts = parts
    # In the order in which paths are looked up: probes come first.
    app.include_router(health.router)
    app.include_router(routes.router)
    app.include_router(batching.router)
    app.include_router(search.router)
    app.include_router(score_details.router)
    app.include_router(compare.router)
    app.include_router(explain.router)
    app.include_router(fleet_control.router)
    app.include_router(models.router)
    app.include_router(page.router)
    app.add_api_route("/docs", _docs, include_in_schema=False)
    files = _DocsFiles(packages=[("fastapi_offline", "static")])
    app.router.routes.append(_Folder(_DOCS_FILES, app=files))
    app.add_exception_handler(PairscoreError, problems.of_pairscore_error)
    app.add_exception_handler(Refusal, problems.of_refusal)
    app.add_exception_handler(HTTPException, problems.of_http_exception)
    _add_doors(app, parts)
    return app


def _parts(
    settings: ServiceSettings, road: Road | None, opening: Callable[[], OpenedIndex] | None
) -> Parts:
    specs = list(specs_of(settings))
    if road is not None:
        specs[0] = default_spec(specs[0], name=road.card.name)
    telemetry = Telemetry([spec.name for spec in specs])
    secret = settings.api_keys
    return Parts(
        settings=settings,
        runtime=Runtime(settings, specs=specs, telemetry=telemetry, road=road, opening=opening),
        telemetry=telemetry,
        keyring=KeyRing(
            keys_file=settings.keys_file,
            api_keys=None if secret is None else secret.get_secret_value(),
        ),
        tracing=open_tracing(
            endpoint=settings.otlp_endpoint,
            service_name=settings.service_name,
            version=pairscore.__version__,
        ),
    )


def _add_doors(app: FastAPI, parts: Parts) -> None:
    """The last one added is the outermost: an id, then a key, then the body."""
    settings = parts.settings
    app.add_middleware(
        BodyLimit, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s
    )
    app.add_middleware(
        Access,
        keyring=parts.keyring,
        public=PUBLIC_PATHS | ({"/metrics"} if settings.public_metrics else set()),
        on_refused=parts.telemetry.refused_key,
    )
    app.add_middleware(Door, parts=parts)


def _describe_keys(schema: dict[str, Any], *, required: bool) -> None:
    """Say where a key goes, so that generated clients and /docs can send one."""
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    ways: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
    for path, operations in schema["paths"].items():
        if path not in PUBLIC_PATHS:
            for operation in operations.values():
                operation["security"] = ways if required else [{}, *ways]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    await parts.runtime.open()
    try:
        yield
    finally:
        await parts.runtime.close()
        await asyncio.to_thread(parts.tracing.close)


async def _docs() -> HTMLResponse:
    # Relative addresses, so that the page works behind a proxy's path too.
    files = _DOCS_FILES.removeprefix("/")
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="pairscore",
        swagger_js_url=f"{files}/swagger-ui-bundle.js",
        swagger_css_url=f"{files}/swagger-ui.css",
        swagger_favicon_url=f"{files}/favicon.png",
    )


def _description(settings: ServiceSettings) -> str:
    return (
        "Scores text pairs and ranks documents with a cross-encoder.\n\n"
        "**Limits** (each is a setting): "
        f"{settings.max_pairs:,} pairs or documents a request ({option('max_pairs')}); "
        f"{settings.max_chars:,} characters a text ({option('max_chars')}); "
        f"{settings.max_body_bytes:,} bytes a body ({option('max_body_bytes')}).\n\n"
        "**Long texts**: the second text is cut to what the model can read; `truncated` says so.\n\n"
        "**Errors** have one shape, `{error: {type, message, request_id, details?}}`; "
        "`X-Request-ID` is taken from the request or made."
    )
