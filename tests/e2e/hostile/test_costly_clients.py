"""Clients that cost much: bodies that are work, answers that nobody reads, and leaving in the middle."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Sequence

import pytest
from tests.e2e.hostile.clients import (
    CLOSED_S,
    MB,
    SCORE,
    START_S,
    Service,
    parameters,
    posted,
    wait,
)

pytestmark = pytest.mark.slow


def _filled(begin: bytes, unit: bytes, end: bytes) -> bytes:
    """A body of the largest size that is taken by default."""
    return begin + unit * ((16 * 1024**2 - len(begin) - len(end)) // len(unit)) + end


WORK = {
    "deep": b"[" * 1_000_000,
    "deep and closed": b"[" * 1_000_000 + b"]" * 1_000_000,
    "deep objects": b'{"pairs":' * 1_000_000,
    "deep in a field": b'{"text_a": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b', "text_b": "b"}',
    "a million objects": b'{"pairs": [' + b"{}," * 1_000_000 + b"{}]}",
    "a million numbers": b'{"pairs": [' + b"0," * 1_000_000 + b"0]}",
    "a million keys": b'{"pairs": [], ' + b'"a":0,' * 1_000_000 + b'"b": 0}',
    "pairs": _filled(b'{"pairs": [', b'{"text_a":"","text_b":""},', b"0]}"),
    "documents": _filled(b'{"query": "x", "documents": [', b'"",', b'""]}'),
    "objects": _filled(b'{"documents": [', b'{"":0},', b"0]}"),
    "lists": _filled(b'{"documents": [', b"[[]],", b"0]}"),
    "lists that nobody asked for": _filled(b'{"x": [', b"[],", b"0]}"),
    "numbers that nobody asked for": _filled(b'{"text_a": "", "text_b": "", "x": [', b"0,", b"0]}"),
    "lists for a text": _filled(b'{"text_b": "", "text_a": [', b"[],", b"0]}"),
    "a number": _filled(b'{"pairs": ', b"9", b"}"),
    "escapes": _filled(b'{"pairs": "', b"\\u0041", b'"}'),
    "escaped quotes": _filled(b'{"pairs": "', b'\\"', b""),
    "a text": _filled(b'{"pairs": [{"text_b": "", "text_a": "', b"x", b'"}]}'),
    "blanks": _filled(b"", b" ", b"0"),
}


@pytest.mark.parametrize(
    "name",
    parameters(
        WORK,
        slow={
            *("deep", "deep objects", "a million numbers", "a million keys", "objects"),
            *("numbers that nobody asked for", "a number", "escapes", "blanks"),
        },
    ),
)
def test_bodies_that_are_work(generous: Service, name: str) -> None:
    """A million of anything is refused in a sentence that fits on a screen, while others are served."""
    for path in (b"/score", b"/score/batch", b"/rerank"):
        answer = generous.ask(posted(path, WORK[name]))
        if name == "numbers that nobody asked for" and path == b"/score":
            assert answer.status in (200, 422)
            continue
        assert answer.status == 422, (path, answer.body[:300])
        assert json.loads(answer.body)["error"]["type"] in ("BodyError", "LimitError")
        assert len(answer.body) < 5_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a million objects", "lists", "lists that nobody asked for"])
def test_many_such_bodies_at_once(generous: Service, name: str) -> None:
    """Five of them, from five clients."""
    body = posted(b"/score", WORK[name])
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(generous.connect()) for _ in range(5)]
        senders = [threading.Thread(target=one.send, args=(body,)) for one in connections]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert {connection.answer().status for connection in connections} == {422}


def _ranking(num_documents: int, *, words: int, return_documents: bool = False) -> bytes:
    """A request that no cache knows, whose documents are all different; each hundredth one is about the query."""
    name = f"{time.monotonic_ns():x}"
    documents = [
        f"{'fox' if i % 100 == 0 else 'hen'} {'egg ' * words}{i} {name}"
        for i in range(num_documents)
    ]
    body = {"query": "fox", "documents": documents, "return_documents": return_documents}
    return posted(b"/rerank", json.dumps(body).encode())


def test_ten_thousand_documents(generous: Service) -> None:
    """One answer with each of them once, the best first, equal ones in the order of the request."""
    answer = generous.ask(_ranking(10_000, words=3))

    assert answer.status == 200
    results = json.loads(answer.body)["results"]
    assert sorted(result["corpus_id"] for result in results) == list(range(10_000))
    order = [(-result["score"], result["corpus_id"]) for result in results]
    assert order == sorted(order)
    assert {result["corpus_id"] for result in results[:100]} == set(range(0, 10_000, 100))


def test_one_document_more(generous: Service) -> None:
    """The limit is what it says."""
    message = generous.ask(_ranking(10_001, words=0)).error(422, "LimitError")

    assert "10,001" in message
    assert "--max-pairs" in message


def _echo(num_bytes: int) -> bytes:
    """A request with one pair to score, whose answer has a little more than so many bytes."""
    documents = ["e" * (num_bytes // 1_000)] * 1_000
    body = {"query": "fox", "documents": documents, "return_documents": True}
    return posted(b"/rerank", json.dumps(body).encode())


def _never_read(service: Service, sizes: Sequence[int]) -> None:
    """Ask for answers of these sizes and fetch none; the service must let go of all of them."""
    answered = 'pairscore_requests_total{route="/rerank",status="200"}'
    expected = service.metrics().get(answered, 0)
    with contextlib.ExitStack() as stack:
        for size in sizes:
            connection = stack.enter_context(service.connect(receive_bytes=4096))
            assert connection.send(_echo(size))
            expected += 1
            wait(lambda n=expected: service.metrics().get(answered) == n, START_S, service.metrics)
        # The pulse's own connection is left.
        wait(lambda: service.num_connections() <= 1, 2 * CLOSED_S, service.num_connections)


def test_clients_that_never_read(service: Service) -> None:
    """A large answer that nobody fetches is given up, and so is its connection."""
    _never_read(service, [8 * MB] * 5)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_clients_that_never_read_answers_of_any_size(service: Service) -> None:
    """Also where the system's buffers hold nearly all of it, and only a few kilobytes are left to the service."""
    sizes = range(100_000, 6 * MB, 40_000)
    # So many at once that what they hold by rights, request and answer, stays far below the bound on memory.
    for start in range(0, len(sizes), 12):
        _never_read(service, sizes[start : start + 12])


def test_a_client_that_reads_slowly(generous: Service) -> None:
    """It gets all of its answer, as long as it goes on reading."""
    with generous.connect(receive_bytes=65536) as connection:
        assert connection.send(_ranking(10_000, words=40, return_documents=True))
        response = http.client.HTTPResponse(connection._socket)
        response.begin()
        body = b""
        while piece := response.read(100_000):
            body += piece
            time.sleep(0.02)

    assert len(json.loads(body)["results"]) == 10_000


def test_clients_that_leave_while_they_wait(generous: Service) -> None:
    """Their work is dropped, they are counted as 499 and as cancelled, and nobody's answer gets lost."""
    left, cancelled = (
        'pairscore_requests_total{route="/rerank",status="499"}',
        'pairscore_outcomes_total{outcome="cancelled"}',
    )
    before = generous.metrics()
    for _ in range(3):
        with generous.connect() as connection:
            assert connection.send(_ranking(10_000, words=100))
            wait(
                lambda: generous.metrics()["pairscore_requests_in_flight"] > 0, START_S, lambda: ""
            )

    def gone() -> bool:
        now = generous.metrics()
        return (
            now.get(left, 0) - before.get(left, 0) == 3
            and now[cancelled] - before[cancelled] == 3
            and now["pairscore_requests_in_flight"] == 0
            and now["pairscore_queue_tokens"] == 0
        )

    wait(gone, START_S, generous.metrics)


def test_clients_that_leave_in_the_middle(service: Service) -> None:
    """At any byte of a request: in the head, in the body, after it."""
    for end in range(0, len(SCORE) + 1, 3):
        with service.connect() as connection:
            connection.send(SCORE[:end])
