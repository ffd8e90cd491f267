"""Clients that speak no HTTP, odd HTTP, or all of it in one go: an answer in order, a 4xx, or a closed connection."""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from collections.abc import Sequence

import pytest
from tests.e2e.hostile.clients import (
    LIVEZ,
    MAX_CONNECTIONS,
    MB,
    PAIR,
    POST,
    SCORE,
    STALLED,
    Connection,
    Service,
    parameters,
    posted,
    send_flood,
)

pytestmark = pytest.mark.slow

_TLS = bytes.fromhex("16030100f0010000ec0303") + bytes(range(200))
GARBAGE = {
    "TLS": _TLS,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(30),
    "HTTP/0.9": b"GET /livez\r\n",
    "HTTP/9.9": b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
    "no version": b"GET /livez \r\nHost: x\r\n\r\n",
    "another protocol": b"GET /livez RTSP/1.0\r\nHost: x\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.0\r\n",
    "a proxy's line": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + LIVEZ,
    "an unknown method": b"BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a small method": b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
    "the whole server": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "only a query": b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute address": b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an address of another server": b"GET http://example.com:99999/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path of bytes": b"GET /\xff\xfe\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path of escapes": b"GET /%ff%00%zz%2e%2e HTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank in the path": b"GET /li vez HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /nowhere HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /nowhere/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "an odd host": b"GET /score/ HTTP/1.1\r\nHost: [\r\n\r\n",
    "a host of bytes": b"GET /score/ HTTP/1.1\r\nHost: \xff/?#@\r\n\r\n",
    "a header without a colon": b"GET /livez HTTP/1.1\r\nHost\r\n\r\n",
    "a header without a name": b"GET /livez HTTP/1.1\r\n: x\r\n\r\n",
    "a blank before the colon": b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
    "a header with a zero": b"GET /livez HTTP/1.1\r\nHost: x\x00y\r\n\r\n",
    "bare line ends": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "bare carriage returns": b"GET /livez HTTP/1.1\rHost: x\r\r",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + PAIR,
    "a length with a plus": POST + b"Content-Length: +30\r\n\r\n" + PAIR,
    "a length in hexadecimal": POST + b"Content-Length: 0x1e\r\n\r\n" + PAIR,
    "no length": POST + b"Content-Length: \r\n\r\n" + PAIR,
    "a length of 400 digits": POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n" + PAIR,
    "a length above 64 bits": POST + b"Content-Length: 18446744073709551617\r\n\r\n" + PAIR,
    "two lengths": POST + b"Content-Length: 30\r\nContent-Length: 5\r\n\r\n" + PAIR,
    "a list of lengths": POST + b"Content-Length: 30, 30\r\n\r\n" + PAIR,
    "a length and chunks": POST
    + b"Content-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another encoding": POST + b"Transfer-Encoding: gzip\r\n\r\n" + PAIR,
    "chunks that are hidden": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks, twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "no length of a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    "a body that nobody announced": POST + b"\r\n" + PAIR,
    "a web socket": b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "half a web socket": b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\n\r\n",
    "an upgrade to HTTP/2": b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n",
    "zeros": bytes(1000),
    "noise": random.Random(7).randbytes(5_000),
}


def test_what_is_no_http(service: Service) -> None:
    """It is closed, answered with a 4xx, or served as what it can be read as."""
    with contextlib.ExitStack() as stack:
        connections = {name: stack.enter_context(service.connect()) for name in GARBAGE}
        for name, connection in connections.items():
            connection.send(GARBAGE[name])
        received = {name: connection.head() for name, connection in connections.items()}

    for name, answer in received.items():
        assert not answer or re.match(rb"HTTP/1.1 [234]\d\d ", answer), (name, answer[:300])
    served = {name for name, answer in received.items() if answer.startswith(b"HTTP/1.1 2")}
    # Nothing that two servers could read in two ways is read at all.
    assert not served & {name for name in GARBAGE if "length" in name or "chunks" in name}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (GARBAGE["SSH"], 400),
        (GARBAGE["a negative length"], 400),
        # Not much longer than the limit: what a server does not read may cost the client the answer.
        (b"GET /livez HTTP/1.1\r\nX: " + b"a" * 66_000, 431),
    ],
    ids=["no HTTP", "a wrong head", "a long head"],
)
def test_errors_below_the_routes(service: Service, sent: bytes, status: int) -> None:
    """They have the one shape, too."""
    with service.connect() as connection:
        connection.send(sent)
        answer = connection.answer()

    assert answer.status == status
    assert answer.headers["content-type"] == "application/json", answer
    assert set(json.loads(answer.body)["error"]) == {"type", "message", "request_id"}


def test_requests_in_one_go(service: Service) -> None:
    """A hundred requests written at once are answered one by one, in order."""
    pairs = [{"text_a": "a", "text_b": f"number {i}"} for i in range(100)]
    with service.connect() as connection:
        assert connection.send(
            b"".join(posted(b"/score", json.dumps(pair).encode()) for pair in pairs)
        )
        received = _answers(connection, len(pairs))

    assert [json.loads(body)["text_b"] for body in received] == [pair["text_b"] for pair in pairs]


def _answers(connection: Connection, number: int) -> list[bytes]:
    """Bodies off one connection, one after the other, with one buffer for all."""
    bodies = []
    with connection._socket.makefile("rb") as stream:
        for _ in range(number):
            status = stream.readline()
            assert b" 200 " in status, (len(bodies), status)
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            bodies.append(stream.read(length))
    return bodies


def test_requests_in_one_go_that_nobody_waits_for(service: Service) -> None:
    """A client that only writes requests is not served without an end, and costs little.

    What is read ahead does not grow with what is answered: requests wait in the client's own buffers.
    """
    before = service.rss()
    with service.connect(receive_bytes=4096) as connection:
        connection._socket.settimeout(3)
        with contextlib.suppress(TimeoutError):
            send_flood(connection, b"", LIVEZ * 2_000, num_bytes=20 * MB)

    assert service.rss() < before + 100 * MB


@pytest.mark.parametrize(
    "num_bytes",
    parameters([1_000, 8_000, 60_000, 70_000, 140_000, 1_000_000], slow={1_000, 60_000, 140_000}),
)
def test_long_heads(service: Service, num_bytes: int) -> None:
    """Long addresses, long headers, many headers: served, or refused with a 4xx."""
    many = b"".join(b"X-%d: a\r\n" % i for i in range(num_bytes // 10))
    heads = {
        "path": b"GET /" + b"a" * num_bytes + b" HTTP/1.1\r\nHost: x\r\n",
        "query": b"GET /livez?" + b"a" * num_bytes + b" HTTP/1.1\r\nHost: x\r\n",
        "header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * num_bytes + b"\r\n",
        "name": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"a" * num_bytes + b": a\r\n",
        "headers": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + many,
        "id": b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-ID: " + b"a" * num_bytes + b"\r\n",
        "key": b"GET /livez HTTP/1.1\r\nAuthorization: Bearer " + b"a" * num_bytes + b"\r\n",
    }
    for name, head in heads.items():
        with service.connect() as connection:
            connection.send(head + b"Connection: close\r\n\r\n")
            received = connection.rest()
        assert not received or re.match(rb"HTTP/1.1 [24]\d\d ", received), (name, received[:200])
        assert len(received) < 5_000
        # What is of a usual size is served.
        if num_bytes <= 8_000:
            expected = b"404" if name == "path" else b"200"
            assert received.split(b" ", 2)[1] == expected, (name, received[:200])


@pytest.mark.slow
def test_all_at_once(service: Service) -> None:
    """Stalled, garbled, pipelined and leaving clients together, for a while; nobody else notices."""
    kinds: Sequence[bytes] = [*STALLED.values(), *GARBAGE.values(), SCORE, LIVEZ * 10]
    draw = random.Random(11)
    end = time.monotonic() + 15
    opened: list[Connection] = []
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            connection = service.connect()
            connection._socket.settimeout(1)
            opened.append(connection)
            connection.send(draw.choice(kinds))
        if len(opened) > 2 * MAX_CONNECTIONS:
            opened.pop(draw.randrange(len(opened))).leave()
        time.sleep(0.002)
    for connection in opened:
        connection.leave()
