"""Clients that stall, flood, lie, hang up or speak no HTTP: the service answers all others and forgets them.

While each of them is at work `/livez` answers; afterwards a pair is scored, memory is bounded, and no connection is left.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

START_S = 60.0
BODY_TIMEOUT_S = 1.0
# uvicorn's own patience with a connection on which nothing is asked.
KEEP_ALIVE_S = 5.0
# What a busy machine may add to any of them.
SLACK_S = 4.0
# A connection on which nothing useful comes is closed after so long, in any state.
CLOSED_S = BODY_TIMEOUT_S + KEEP_ALIVE_S + SLACK_S
MAX_CONNECTIONS = 60
MAX_RSS_BYTES = 600 * 10**6
MB = 10**6
SLOW = pytest.mark.slow
UNWANTED = ("Traceback", "Task was destroyed", "never retrieved", "never awaited", "Exception in")
POST = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PAIR = b'{"text_a": "a", "text_b": "b"}'
SCORE = POST + b"Content-Length: %d\r\n\r\n" % len(PAIR) + PAIR
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer off a connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    def error(self, status: int, kind: str) -> str:
        """The message of an error of the one shape."""
        assert self.status == status, self
        error = json.loads(self.body)["error"]
        assert error["type"] == kind
        return str(error["message"])


class Connection:
    """A client that does what no library lets it do."""

    def __init__(self, port: int, *, receive_bytes: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.settimeout(60)
        try:
            self._socket.connect(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Whether the server still took it."""
        try:
            self._socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            return False
        return True

    def answer(self) -> Answer:
        """The next answer, whole."""
        response = http.client.HTTPResponse(self._socket)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=headers, body=response.read())

    def rest(self, limit_s: float = CLOSED_S) -> bytes:
        """Everything until the server closes the connection, which it must within this time."""
        end = time.monotonic() + limit_s
        received = b""
        try:
            while True:
                self._socket.settimeout(max(0.001, end - time.monotonic()))
                data = self._socket.recv(65536)
                if not data:
                    return received
                received += data
        except ConnectionResetError:
            return received
        except TimeoutError:
            pytest.fail(f"still open after {limit_s} s; received {received[:300]!r}")

    def head(self, limit_s: float = CLOSED_S) -> bytes:
        """The head of an answer, or what there was of it when the server closed the connection."""
        end = time.monotonic() + limit_s
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while b"\r\n\r\n" not in received:
                self._socket.settimeout(max(0.001, end - time.monotonic()))
                data = self._socket.recv(65536)
                if not data:
                    break
                received += data
        return received

    def is_closed(self) -> bool:
        """Whether the server has closed it; what it sent is read."""
        self._socket.settimeout(0)
        try:
            while self._socket.recv(65536):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True

    def leave(self) -> None:
        """Close it, at once and without reading."""
        self._socket.close()

    def end_sending(self) -> None:
        """Close one half of it."""
        self._socket.shutdown(socket.SHUT_WR)


@dataclass(kw_only=True, slots=True)
class Service:
    """One process of the service, and what was seen of it lately."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def connect(self, **options: Any) -> Connection:
        """One more client."""
        return Connection(self.port, **options)

    def ask(self, data: bytes) -> Answer:
        """One request on a connection of its own."""
        with self.connect() as connection:
            assert connection.send(data)
            return connection.answer()

    def metrics(self) -> dict[str, float]:
        """Every series."""
        text = self.ask(LIVEZ.replace(b"livez", b"metrics")).body.decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def num_connections(self) -> int:
        """Sockets that the service holds and does not listen on."""
        connections = psutil.Process(self.process.pid).net_connections(kind="tcp")
        return sum(connection.status != psutil.CONN_LISTEN for connection in connections)

    def rss(self) -> int:
        """Bytes of memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


def _wait(condition: Callable[[], bool], timeout_s: float, told: Callable[[], object]) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.01)


@contextlib.contextmanager
def _running(folder: Path, **settings: Any) -> Iterator[Service]:
    """A service; at the end it stops in peace, and its log holds nothing that it should not."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    log = folder / "log.txt"
    variables = {f"PAIRSCORE_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pairscore", "serve", "--port", str(port), "--backend", "fake"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
        )
    service = Service(port=port, process=process, log=log)

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            return service.ask(LIVEZ.replace(b"livez", b"readyz")).status == 200
        return False

    try:
        _wait(ready, START_S, log.read_text)
        yield service
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0
        text = log.read_text(encoding="utf-8")
        assert not [part for part in UNWANTED if part in text], text
    finally:
        process.kill()
        process.wait()


@dataclass(kw_only=True, slots=True)
class Pulse:
    """Asks `/livez` all the time, on a connection that it had before the others came; watches the memory."""

    service: Service
    num_answers: int = 0
    peak_bytes: int = 0
    failure: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        began = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(began,))
        self._thread.start()
        assert began.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self, began: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=5)
        try:
            while not self._stop.is_set():
                connection.request("GET", "/livez")
                response = connection.getresponse()
                response.read()
                assert response.status == 200
                self.num_answers += 1
                self.peak_bytes = max(self.peak_bytes, self.service.rss())
                began.set()
                self._stop.wait(0.02)
        # Told by the test that waits for this thread.
        except Exception as error:  # noqa: BLE001
            self.failure = error
        finally:
            began.set()
            connection.close()


def _some(names: Iterable[Any], *, slow: Collection[Any]) -> list[Any]:
    """All of them as parameters, these only where there is time."""
    return [pytest.param(name, marks=SLOW if name in slow else ()) for name in names]


@contextlib.contextmanager
def _unharmed(service: Service) -> Iterator[Service]:
    """What every hostile client must leave behind it: a service as it was."""
    _wait(lambda: service.num_connections() == 0, CLOSED_S, service.num_connections)
    with Pulse(service=service) as pulse:
        yield service
    assert pulse.failure is None, repr(pulse.failure)
    assert pulse.num_answers > 0
    assert service.ask(SCORE).status == 200
    assert max(pulse.peak_bytes, service.rss()) < MAX_RSS_BYTES
    _wait(lambda: service.num_connections() == 0, CLOSED_S, service.num_connections)


@pytest.fixture(scope="module")
def _impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("impatient")
    limits = {"body_timeout_s": BODY_TIMEOUT_S, "max_connections": MAX_CONNECTIONS}
    with _running(folder, grace_s=2, **limits) as service:
        yield service


@pytest.fixture(scope="module")
def _generous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("generous")
    with _running(folder, grace_s=2, max_pairs=10_000, max_queue_tokens=10**7) as service:
        yield service


@pytest.fixture
def service(_impatient: Service) -> Iterator[Service]:
    """With small limits; as it was, after the test."""
    with _unharmed(_impatient) as service:
        yield service


@pytest.fixture
def generous(_generous: Service) -> Iterator[Service]:
    """With the default limits, but that it takes 10,000 documents; as it was, after the test."""
    with _unharmed(_generous) as service:
        yield service


STALLED = {
    "nothing at all": b"",
    "a part of the first line": b"GET /liv",
    "a part of a header": b"GET /livez HTTP/1.1\r\nHost: ",
    "a head without its end": b"GET /livez HTTP/1.1\r\nHost: x\r\n",
    "empty lines": b"\r\n\r\n\r\n",
    "no body": POST + b"Content-Length: 30\r\n\r\n",
    "half a body": POST + b'Content-Length: 30\r\n\r\n{"text_a": ',
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n1e\r\n{",
    "no last chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "half a length of a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n1",
    "half a second request": LIVEZ + b"GET /liv",
    "empty lines after a request": LIVEZ + b"\r\n\r\n",
}


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


def _flood(connection: Connection, first: bytes, piece: bytes, *, num_bytes: int) -> int:
    """Send without an end, as fast as it goes; how much was taken."""
    sent = 0
    taken = connection.send(first)
    while taken and sent < num_bytes:
        taken = connection.send(piece)
        sent += len(piece)
    return sent


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
    "flood", _some(FLOODS, slow={"a name", "a method", "empty lines", "an extension of a chunk"})
)
def test_floods_without_an_end(generous: Service, flood: str) -> None:
    """What would pile up in memory is cut off by its size, long before its time is over."""
    first, piece = FLOODS[flood]
    limit = 64 * MB
    with generous.connect() as connection:
        assert _flood(connection, first, piece, num_bytes=limit) < limit


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
        _wait(lambda: service.num_connections() < MAX_CONNECTIONS, SLACK_S, service.num_connections)
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


def _posted(path: bytes, body: bytes) -> bytes:
    return POST.replace(b"/score", path) + b"Content-Length: %d\r\n\r\n" % len(body) + body


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
    _some(
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
        answer = generous.ask(_posted(path, WORK[name]))
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
    body = _posted(b"/score", WORK[name])
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
    return _posted(b"/rerank", json.dumps(body).encode())


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
    return _posted(b"/rerank", json.dumps(body).encode())


def _never_read(service: Service, sizes: Sequence[int]) -> None:
    """Ask for answers of these sizes and fetch none; the service must let go of all of them."""
    answered = 'pairscore_requests_total{route="/rerank",status="200"}'
    expected = service.metrics().get(answered, 0)
    with contextlib.ExitStack() as stack:
        for size in sizes:
            connection = stack.enter_context(service.connect(receive_bytes=4096))
            assert connection.send(_echo(size))
            expected += 1
            _wait(lambda n=expected: service.metrics().get(answered) == n, START_S, service.metrics)
        # The pulse's own connection is left.
        _wait(lambda: service.num_connections() <= 1, 2 * CLOSED_S, service.num_connections)


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
            _wait(
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

    _wait(gone, START_S, generous.metrics)


def test_clients_that_leave_in_the_middle(service: Service) -> None:
    """At any byte of a request: in the head, in the body, after it."""
    for end in range(0, len(SCORE) + 1, 3):
        with service.connect() as connection:
            connection.send(SCORE[:end])


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
            b"".join(_posted(b"/score", json.dumps(pair).encode()) for pair in pairs)
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
    """A client that only writes requests is not served without an end, and costs little."""
    with service.connect(receive_bytes=4096) as connection:
        connection._socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            _flood(connection, b"", LIVEZ * 2_000, num_bytes=20 * MB)


@pytest.mark.parametrize(
    "num_bytes",
    _some([1_000, 8_000, 60_000, 70_000, 140_000, 1_000_000], slow={1_000, 60_000, 140_000}),
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
