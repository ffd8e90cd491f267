"""The service around a model without weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.unit.retrievers import HashEncoder, MemoryRetriever

from pairscore.config import RoadConfig
from pairscore.retrieval.opening import OpenedIndex
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

MakeClient = Callable[..., TestClient]


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    """Start an app with settings of one's own, and a backend of one's own."""
    with ExitStack() as stack:

        def make(backend: Any = "fake", **settings: Any) -> TestClient:
            road = open_road(backend=backend)
            stack.callback(road.close)
            app = create_app(ServiceSettings(**settings), road=road)
            return stack.enter_context(TestClient(app))

        yield make


@pytest.fixture
def start_search() -> Iterator[MakeClient]:
    """A server with an index in memory."""
    with ExitStack() as stack:

        def make(
            retriever: Any = None,
            *,
            backend: Any = "fake",
            encoder: Any = True,
            config: RoadConfig | None = None,
            **settings: Any,
        ) -> TestClient:
            road = open_road(backend=backend, config=config or RoadConfig())
            stack.callback(road.close)
            opened = OpenedIndex(
                retriever=retriever or MemoryRetriever(),
                encoder=HashEncoder() if encoder else None,
            )
            app = create_app(ServiceSettings(**settings), road=road, opening=lambda: opened)
            return stack.enter_context(TestClient(app))

        yield make


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    """An app with the default settings."""
    return make_client()


@pytest.fixture
def failing(make_client: MakeClient) -> Callable[[Exception], TestClient]:
    """An app whose model raises."""

    def make(error: Exception) -> TestClient:
        backend = FakeBackend()
        client = make_client(backend)
        # Only now, because a model that cannot score at all does not start.
        backend.error = error
        return client

    return make


@pytest.fixture
def problem() -> Callable[..., dict[str, Any]]:
    """Check that an answer is an error of the one shape; gives its content."""

    def check(response: Any, status: int) -> dict[str, Any]:
        assert response.status_code == status, response.text
        body = json.loads(response.content)
        assert set(body) == {"error"}
        error: dict[str, Any] = body["error"]
        assert (
            {"type", "message", "request_id"}
            <= set(error)
            <= {
                "type",
                "message",
                "request_id",
                "details",
            }
        )
        assert error["request_id"] == response.headers["x-request-id"]
        return error

    return check
