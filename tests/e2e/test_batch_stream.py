"""`/v1/rerank/batch` over real sockets: lines that come one by one, clients that leave, and calls of 1,000 queries."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.hostile.clients import (
    MB,
    Pulse,
    Service,
    posted,
    running,
    wait,
)

pytestmark = pytest.mark.slow

ROUTE = b"/v1/rerank/batch"
NUM_QUERIES = 24
NUM_DOCUMENTS = 5
OK = 'pairscore_outcomes_total{outcome="ok"}'
CANCELLED = 'pairscore_outcomes_total{outcome="cancelled"}'


def _call(name: str, *, num_queries: int, num_documents: int, filler: str, **more: Any) -> bytes:
    queries = [
        {
            "id": i,
            "query": f"what is {name} number {i}",
            "documents": [f"{name} {i} {j} {filler}" for j in range(num_documents)],
            **more,
        }
        for i in range(num_queries)
    ]
    return posted(ROUTE, json.dumps({"queries": queries}).encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The bundled model, so that queries take their time."""
    with running(tmp_path_factory.mktemp("batch"), backend="onnx") as service:
        yield service


def _opened(
    service: Service, call: bytes, *, receive_bytes: int | None = None
) -> tuple[socket.socket, http.client.HTTPResponse]:
    """A call whose head and first line can be read."""
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", service.port))
    connection.sendall(call)
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 200
    assert response.getheader("transfer-encoding") == "chunked"
    return connection, response


def _num_ok(service: Service) -> float:
    return service.metrics().get(OK, 0.0)


def test_the_first_line_comes_before_the_last_query_is_done(server: Service) -> None:
    """Each line is sent when its query is scored, and the last one says that all have come."""
    before = _num_ok(server)
    call = _call(
        "berlin", num_queries=NUM_QUERIES, num_documents=NUM_DOCUMENTS, filler="a city " * 25
    )
    connection, response = _opened(server, call)
    with connection:
        first = json.loads(response.readline())
        done = _num_ok(server) - before
        rest = [json.loads(line) for line in response.read().splitlines()]

    assert 1 <= done < NUM_QUERIES
    *others, end = rest
    assert sorted(line["id"] for line in (first, *others)) == list(range(NUM_QUERIES))
    assert all(len(line["results"]) == NUM_DOCUMENTS for line in (first, *others))
    assert (end["done"], end["num_queries"], end["num_failed"]) == (True, NUM_QUERIES, 0)


def test_a_client_that_goes_away_frees_the_queue(server: Service) -> None:
    """Nothing of its call waits or runs soon after, and most of it was never scored."""
    before = server.metrics()
    call = _call("paris", num_queries=400, num_documents=NUM_DOCUMENTS, filler="a city " * 25)
    connection, response = _opened(server, call)
    json.loads(response.readline())
    busy = server.metrics()["pairscore_queue_tokens"]
    response.close()
    connection.close()

    wait(lambda: server.metrics()["pairscore_queue_tokens"] == 0, 10, server.metrics)
    after = server.metrics()
    assert busy > 0
    assert 1 <= after[CANCELLED] - before.get(CANCELLED, 0.0) <= 8
    assert after[OK] - before.get(OK, 0.0) < 200
    assert server.ask(_call("rome", num_queries=1, num_documents=1, filler="")).status == 200
    assert server.num_connections() <= 1
    assert "outcome=cancelled" in server.log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_thousand_queries_in_bounded_memory(tmp_path: Path) -> None:
    """While their client does not read, no more of them are scored; then all are answered."""
    call = _call(
        "oslo", num_queries=1000, num_documents=10, filler="a city " * 80, return_documents=True
    )
    limits = {"max_queue_tokens": 10**6, "cache_bytes": 0, "body_timeout_s": 60}
    with running(tmp_path, **limits) as service:
        assert service.ask(_call("a", num_queries=10, num_documents=10, filler="b")).status == 200
        before, num_before = service.rss(), _num_ok(service)
        with Pulse(service=service) as pulse:
            connection, response = _opened(service, call, receive_bytes=65536)
            with connection:
                seen = [-1.0]

                def still() -> bool:
                    time.sleep(0.1)
                    seen.append(_num_ok(service))
                    return len(set(seen[-4:])) == 1

                wait(still, 20, lambda: seen)
                num_unread = _num_ok(service) - num_before
                lines = [json.loads(line) for line in response.read().splitlines()]

    assert pulse.failure is None, repr(pulse.failure)
    assert 0 < num_unread < 900
    *answers, end = lines
    assert sorted(line["id"] for line in answers) == list(range(1000))
    assert (end["num_queries"], end["num_failed"]) == (1000, 0)
    # The body, 6 MB, lies in memory as bytes, as texts and as pairs; the lines, twice as much, do not.
    assert pulse.peak_bytes - before < 60 * MB
