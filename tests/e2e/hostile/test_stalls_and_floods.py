"""Clients that stall, drip, flood or lie about their size: told so, and cut off by time or by size.

While each of them is at work `/livez` answers; afterwards a pair is scored, memory is bounded, and no connection is left.
"""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from tests.e2e.hostile.clients import (
    CLOSED_S,
    LIVEZ,
    MAX_CONNECTIONS,
    MB,
    PAIR,
    POST,
    SCORE,
    SLACK_S,
    STALLED,
    Connection,
    Service,
    parameters,
    send_flood,
    wait,
)

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_clients_that_stall(service: Service) -> None:
    """Wherever they stop: told so if a request had begun, and closed, all of them at once."""
    with contextlib.ExitStack() as stack:
        stalled = {
            name: [stack.enter_context(service.connect()) for _ in range(4)] for name in STALLED
        }
        for name, connections in stalled.items():
            for connection in connections:
                assert connection.send(STALLED[name])
        received = {
            name: [connection.rest() for connection in connections]
            for name, connections in stalled.items()
        }

    for name, parts in received.items():
        status = 408 if STALLED[name].startswith(POST) else 200 if LIVEZ in STALLED[name] else None
        for part in parts:
            assert part.startswith(b"HTTP/1.1 %d " % status) if status else not part, (name, part)


AFTERWARDS = {
    "an empty line after an answer": (LIVEZ, b"\r\n"),
    "a byte of a body that was refused unread": (
        POST + b"Content-Length: 1000000000\r\n\r\n",
        b"x",
    ),
    "a byte of a body of another type": (
        b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b"x",
    ),
    "a byte of a body for no route": (
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b"x",
    ),
    "all of a body that nobody read": (
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
        b"12345",
    ),
    "a byte of a chunk that nobody reads": (
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"5\r\n1",
    ),
}


def test_clients_that_stall_after_an_answer(service: Service) -> None:
    """A byte that asks nothing does not keep a connection open."""
    with contextlib.ExitStack() as stack:
        connections = []
        for first, _ in AFTERWARDS.values():
            connection = stack.enter_context(service.connect())
            assert connection.send(first)
            assert connection.answer().status in (200, 404, 413, 415)
            connections.append(connection)
        for connection, (_, second) in zip(connections, AFTERWARDS.values(), strict=True):
            connection.send(second)
        end = time.monotonic() + CLOSED_S
        opened = dict(zip(AFTERWARDS, connections, strict=True))
        while opened and time.monotonic() < end:
            opened = {name: one for name, one in opened.items() if not one.is_closed()}
            time.sleep(0.02)
        assert not opened, f"still open after {CLOSED_S} s: {sorted(opened)}"


def test_clients_that_send_a_byte_at_a_time(service: Service) -> None:
    """Each byte alone is in time, and the whole is not."""
    heads = {"head": b"GET /livez HTTP/1.1\r\nX: ", "body": POST + b"Content-Length: 500\r\n\r\n"}
    with contextlib.ExitStack() as stack:
        opened = {}
        for name, head in heads.items():
            opened[name] = stack.enter_context(service.connect())
            assert opened[name].send(head)
        end = time.monotonic() + CLOSED_S
        while opened and time.monotonic() < end:
            time.sleep(0.2)
            opened = {name: one for name, one in opened.items() if not one.is_closed()}
            for connection in opened.values():
                with contextlib.suppress(BlockingIOError):
                    connection.send(b"a")
        assert not opened, f"still open after {CLOSED_S} s: {sorted(opened)}"


CHUNK = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
FLOODS = {
    "a header": (b"GET /livez HTTP/1.1\r\nX: ", b"a" * 65536),
    "headers": (b"GET /livez HTTP/1.1\r\n", b"X: a\r\n" * 10_000),
    "a name": (b"GET /livez HTTP/1.1\r\n", b"a" * 65536),
    "an address": (b"GET /livez?", b"a" * 65536),
    "a method": (b"", b"a" * 65536),
    "empty lines": (LIVEZ, b"\r\n" * 30_000),
    "an extension of a chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 65536),
    "trailers": (CHUNK, b"X: a\r\n" * 10_000),
    "a trailer": (CHUNK + b"X: ", b"a" * 65536),
}


@pytest.mark.parametrize(
    "flood",
    parameters(FLOODS, slow={"a name", "a method", "empty lines", "an extension of a chunk"}),
)
def test_floods_without_an_end(generous: Service, flood: str) -> None:
    """What would pile up in memory is cut off by its size, long before its time is over."""
    first, piece = FLOODS[flood]
    limit = 64 * MB
    with generous.connect() as connection:
        assert send_flood(connection, first, piece, num_bytes=limit) < limit


def test_more_connections_than_there_may_be(service: Service) -> None:
    """One more is told 503 and when to come back; those that are there stay, and places become free again."""
    with contextlib.ExitStack() as stack:
        # The pulse has one of the places.
        held = [stack.enter_context(service.connect()) for _ in range(MAX_CONNECTIONS - 1)]
        for connection in held:
            assert connection.send(LIVEZ)
        assert {connection.answer().status for connection in held} == {200}
        for _ in range(20):
            with service.connect() as one_more:
                answer = one_more.answer()
                assert "--max-connections" in answer.error(503, "ConnectionLimitError")
                assert int(answer.headers["retry-after"]) >= 1
                assert one_more.rest() == b""
        assert held[0].send(SCORE)
        assert held[0].answer().status == 200
        held.pop().leave()
        wait(lambda: service.num_connections() < MAX_CONNECTIONS, SLACK_S, service.num_connections)
        assert service.ask(SCORE).status == 200


def _hundred_megabytes(connection: Connection, piece: bytes = b"x" * MB) -> None:
    for _ in range(100):
        if not connection.send(piece):
            return


def test_100_megabytes_that_are_announced(service: Service) -> None:
    """Refused by the announcement, whether or not the client waits for leave to send."""
    head = POST + b"Content-Length: 100000000\r\n"
    with service.connect() as polite:
        assert polite.send(head + b"Expect: 100-continue\r\n\r\n")
        assert "--max-body-bytes" in polite.answer().error(413, "BodyLimitError")
    with service.connect() as rude:
        assert rude.send(head + b"\r\n")
        _hundred_megabytes(rude)
        rude.answer().error(413, "BodyLimitError")
        # What comes after it is what was meant to come, not a part of that body.
        if rude.send(SCORE):
            assert rude.answer().status == 200


def test_100_megabytes_in_chunks(service: Service) -> None:
    """Refused by what came."""
    chunk = b"%x\r\n%b\r\n" % (MB, b"x" * MB)
    with service.connect() as connection:
        assert connection.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        _hundred_megabytes(connection, chunk)
        connection.answer().error(413, "BodyLimitError")


def test_a_chunk_of_any_length(service: Service) -> None:
    """A length that no machine could hold is not believed."""
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    lengths = (b"7fffffff", b"ffffffffffffffff", b"f" * 100, b"-1", b"0x10", b" ")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(service.connect()) for _ in lengths]
        for connection, length in zip(connections, lengths, strict=True):
            connection.send(head + length + b"\r\n" + PAIR)
        for connection, length in zip(connections, lengths, strict=True):
            assert re.match(rb"HTTP/1.1 4\d\d ", connection.rest()), length


def test_more_than_was_announced(service: Service) -> None:
    """The body is what was announced; 100 MB behind it are no request, and the connection is closed."""
    with service.connect() as connection:
        assert connection.send(POST + b"Content-Length: 10\r\n\r\n")
        _hundred_megabytes(connection)
        received = connection.rest()

    # A reset may overtake the answer.
    assert not received or re.match(rb"HTTP/1.1 4\d\d ", received)


def test_less_than_was_announced(service: Service) -> None:
    """A client that says more than it sends and then closes its half is forgotten."""
    with service.connect() as connection:
        assert connection.send(POST + b"Content-Length: 1000\r\n\r\n" + PAIR)
        connection.end_sending()
        received = connection.rest()

    assert not received or re.match(rb"HTTP/1.1 4\d\d ", received)
