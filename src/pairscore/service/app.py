"""`create_app`: the service put together, ready for any ASGI server.

It knows the parts and nothing of what they do; sockets, signals and logs are `server`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.staticfiles import StaticFiles

import pairscore
from pairscore.config import DEFAULT_MAX_CHARS, RoadConfig
from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import PairscoreError
from pairscore.service import problems
from pairscore.service.middleware import BodyLimit, Door
from pairscore.service.problems import Refusal
from pairscore.service.routes import Parts, router
from pairscore.service.schemas import BatchRequest, RerankRequest, ScoreRequest
from pairscore.service.settings import ServiceSettings, option
from pairscore.service.telemetry import Telemetry
from pairscore.service.worker import ModelWorker

__all__ = ["create_app"]

_COMPONENTS: Final = "#/components/schemas/{model}"
# Swagger UI comes from a package, not from a CDN, so that /docs works without network.
_PAGE_PATH: Final = "/docs-files"


class _App(FastAPI):
    """FastAPI, told about the bodies that it does not read itself."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schema = super().openapi()
            _, posted = models_json_schema(
                [(model, "validation") for model in (ScoreRequest, BatchRequest, RerankRequest)],
                ref_template=_COMPONENTS,
            )
            schema["components"]["schemas"].update(posted["$defs"])
        return super().openapi()


def create_app(
    settings: ServiceSettings | None = None, *, encoder: CrossEncoder | None = None
) -> FastAPI:
    """Make the service; the model is loaded when the server starts it up, not here.

    Args:
        settings: None reads the environment.
        encoder: used instead of the model that the settings name, and never closed here.

    Raises:
        SettingError: a setting in the environment makes no sense.
    """
    settings = settings or ServiceSettings()
    worker = ModelWorker(lambda: encoder or load_encoder(settings), owned=encoder is None)
    parts = Parts(settings=settings, worker=worker, telemetry=Telemetry())
    app = _App(
        title="pairscore",
        summary="Reads two texts together and says how well they belong together.",
        description=_description(settings),
        version=pairscore.__version__,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    app.include_router(router)
    app.add_api_route("/", _index, include_in_schema=False)
    app.add_api_route("/docs", _docs, include_in_schema=False)
    app.mount(_PAGE_PATH, StaticFiles(packages=[("fastapi_offline", "static")]))
    app.add_exception_handler(PairscoreError, problems.of_pairscore_error)
    app.add_exception_handler(Refusal, problems.of_refusal)
    app.add_exception_handler(HTTPException, problems.of_http_exception)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Door, telemetry=parts.telemetry, worker=worker)
    return app


def load_encoder(settings: ServiceSettings) -> CrossEncoder:
    """The model that the settings name.

    Raises:
        ModelError: it cannot be found, fetched, verified or used.
    """
    config = RoadConfig(
        max_length=settings.max_length,
        budget=settings.budget,
        num_workers=settings.num_workers,
        # The service checks first, and its message names its own option.
        max_chars=max(settings.max_chars, DEFAULT_MAX_CHARS),
    )
    return CrossEncoder(settings.model, backend=settings.backend, config=config)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    worker: ModelWorker = app.state.parts.worker
    await worker.open()
    try:
        yield
    finally:
        await worker.close()


async def _index(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


async def _docs() -> HTMLResponse:
    # Relative addresses, so that the page works behind a proxy's path too.
    files = _PAGE_PATH.removeprefix("/")
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
