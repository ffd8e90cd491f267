"""Errors leave with the right status, one shape, a request id, and no internals."""

from __future__ import annotations

import logging
import math
import re
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from pairscore import errors
from pairscore.errors import BackendError, OutOfMemoryError, PairscoreError
from pairscore.road.backends.fake import FakeBackend
from pairscore.service.problems import STATUS, problem, status_of

PAIR = {"text_a": "a", "text_b": "b"}


def _tree(root: type) -> list[type]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


def test_the_table_of_statuses_is_complete() -> None:
    """Every error of the tree stands in the table by itself, and nothing else does."""
    tree = {error for error in _tree(PairscoreError) if error.__module__ == errors.__name__}

    assert set(STATUS) == tree
    assert all(400 <= status < 600 for status in STATUS.values())


def test_a_strange_error_takes_the_status_above_it() -> None:
    """A subclass made elsewhere is treated as what it is derived from."""
    strange = type("StrangeError", (OutOfMemoryError,), {})

    assert status_of(strange("x")) == STATUS[OutOfMemoryError]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BackendError("secret /home/x"), 500, "BackendError"),
        (RuntimeError("secret /home/x"), 500, "InternalError"),
        (KeyError("secret /home/x"), 500, "InternalError"),
        (MemoryError("secret /home/x"), 503, "OutOfMemoryError"),
        (OutOfMemoryError("secret /home/x"), 503, "OutOfMemoryError"),
    ],
)
def test_what_fails_inside_stays_inside(
    failing: Any,
    problem: Any,
    caplog: pytest.LogCaptureFixture,
    *,
    error: Exception,
    status: int,
    kind: str,
) -> None:
    """The caller gets a request id and no word of the error; the log gets both."""
    with caplog.at_level(logging.ERROR, logger="pairscore.service"):
        response = failing(error).post("/score", json=PAIR)

    told = problem(response, status)
    assert told["type"] == kind
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    (record,) = [entry for entry in caplog.records if entry.name == "pairscore.service"]
    assert told["request_id"] == record.request_id
    assert record.exc_info is not None
    cause: BaseException | None = record.exc_info[1]
    assert "secret" in f"{cause} {cause and cause.__cause__}"


@pytest.mark.parametrize("route", ["/score", "/score/batch", "/rerank"])
@pytest.mark.parametrize("logit", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_an_error(
    make_client: Any, problem: Any, route: str, logit: float
) -> None:
    """NaN and infinity never leave as scores, on any route."""
    backend = FakeBackend()
    client = make_client(backend)
    backend.logit = logit
    body = {**PAIR, "pairs": [PAIR], "query": "q", "documents": ["d"]}

    told = problem(client.post(route, json=body), 500)

    assert told["type"] == "NonFiniteScoreError"
    assert "finite" in told["message"]


def test_the_service_lives_on_after_an_error(make_client: Any) -> None:
    """One failed request harms no other one."""
    backend = FakeBackend()
    client = make_client(backend)
    backend.error = RuntimeError("x")

    assert client.post("/score", json=PAIR).status_code == 500
    backend.error = None
    assert client.post("/score", json=PAIR).status_code == 200


def test_a_request_id_is_kept(client: TestClient) -> None:
    """An id that the caller gives comes back, in the header and in an error's body."""
    response = client.post("/score", json={}, headers={"X-Request-ID": "order-66.a:b_c"})

    assert response.headers["x-request-id"] == "order-66.a:b_c"
    assert response.json()["error"]["request_id"] == "order-66.a:b_c"


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 129, "a\tb", "<script>", "é"])
def test_a_bad_request_id_is_replaced(client: TestClient, given: str) -> None:
    """An id that could harm a log is replaced by a new one."""
    response = client.get("/health", headers={"X-Request-ID": given.encode("latin-1")})

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_new_request_ids_differ(client: TestClient) -> None:
    """Each request without an id gets one of its own."""
    ids = {client.get("/health").headers["x-request-id"] for _ in range(3)}

    assert len(ids) == 3


def test_half_a_character_in_a_message_can_be_sent() -> None:
    """An error's body is plain ASCII, so nothing in a message can break it."""
    response = problem(
        Request({"type": "http", "path": "/score"}),
        status=422,
        kind="X",
        message="\ud800",
        details=[("é", "\udfff")],
    )

    assert b"\\ud800" in bytes(response.body)
    assert bytes(response.body).isascii()
