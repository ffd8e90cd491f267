"""A client that does what no library lets it do, and the process of the service that it is let loose on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from tests.ports import free_port

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
        """Every series, without the label of the one model."""
        text = self.ask(LIVEZ.replace(b"livez", b"metrics")).body.decode()
        text = re.sub(r'(?<={)model="[^"]*",?', "", text).replace("{}", "")
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def num_connections(self) -> int:
        """Sockets that the service holds and does not listen on."""
        connections = psutil.Process(self.process.pid).net_connections(kind="tcp")
        return sum(connection.status != psutil.CONN_LISTEN for connection in connections)

    def rss(self) -> int:
        """Bytes of memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


def wait(condition: Callable[[], bool], timeout_s: float, told: Callable[[], object]) -> None:
    """Until it is so; a failure tells what was seen."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.01)


@contextlib.contextmanager
def running(folder: Path, *, backend: str = "fake", **settings: Any) -> Iterator[Service]:
    """A service; at the end it stops in peace, and its log holds nothing that it should not."""
    port = free_port()
    log = folder / "log.txt"
    variables = {f"PAIRSCORE_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pairscore", "serve", "--port", str(port), "--backend", backend],
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
        wait(ready, START_S, log.read_text)
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


def parameters(names: Iterable[Any], *, slow: Collection[Any]) -> list[Any]:
    """All of them as parameters, these only where there is time."""
    return [pytest.param(name, marks=SLOW if name in slow else ()) for name in names]


@contextlib.contextmanager
def unharmed(service: Service) -> Iterator[Service]:
    """What every hostile client must leave behind it: a service as it was."""
    wait(lambda: service.num_connections() == 0, CLOSED_S, service.num_connections)
    with Pulse(service=service) as pulse:
        yield service
    assert pulse.failure is None, repr(pulse.failure)
    assert pulse.num_answers > 0
    assert service.ask(SCORE).status == 200
    assert max(pulse.peak_bytes, service.rss()) < MAX_RSS_BYTES
    wait(lambda: service.num_connections() == 0, CLOSED_S, service.num_connections)


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


def send_flood(connection: Connection, first: bytes, piece: bytes, *, num_bytes: int) -> int:
    """Send without an end, as fast as it goes; how much was taken."""
    sent = 0
    taken = connection.send(first)
    while taken and sent < num_bytes:
        taken = connection.send(piece)
        sent += len(piece)
    return sent


def posted(path: bytes, body: bytes) -> bytes:
    """One whole request."""
    return POST.replace(b"/score", path) + b"Content-Length: %d\r\n\r\n" % len(body) + body
