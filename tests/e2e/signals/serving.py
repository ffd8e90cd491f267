"""A process of the service, and clients that keep it busy and remember what became of each request."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import math
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

START_S = 60.0
NUM_CLIENTS = 8
NUM_DOCUMENTS = 20
# A request that was written so long before the signal is in the hands of the service.
ADMITTED_S = 0.05
# What an end takes besides waiting for requests: a tick of the server, threads, the interpreter.
SLACK_S = 4.0
SLOW = pytest.mark.slow
JSON = {"Content-Type": "application/json"}
UNWANTED = ("Traceback", "Task was destroyed", "never retrieved", "never awaited", "Exception in")


@dataclass(kw_only=True, slots=True)
class Server:
    """One process of the service."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text(encoding="utf-8")

    def connect(self, timeout_s: float = 60.0) -> http.client.HTTPConnection:
        """A connection that is kept alive."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        connection = self.connect()
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, {**JSON, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def wait_until_ready(self) -> Server:
        """Until requests may be sent."""

        def ready() -> bool:
            assert self.process.poll() is None, self.text()
            try:
                return self.ask("GET", "/readyz")[0] == 200
            except OSError:
                return False

        wait_until(ready, START_S, self)
        return self

    def wait_for_log(self, part: str, times: int = 1) -> None:
        """Until it has logged this so often."""

        def said() -> bool:
            text = self.text()
            assert text.count(part) >= times or self.process.poll() is None, text
            return text.count(part) >= times

        wait_until(said, START_S, self)

    def ended(self, timeout_s: float) -> float:
        """The seconds until the process has ended, well and without a word too much."""
        begin = time.monotonic()
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {timeout_s} s: {self.text()}")
        text = self.text()
        assert code == 0, text
        assert not [part for part in UNWANTED if part in text], text
        return time.monotonic() - begin


def wait_until(condition: Callable[[], bool], timeout_s: float, server: Server) -> None:
    """Until it is so; a failure shows the log."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, server.text()
        time.sleep(0.002)


Start = Callable[..., Server]


@dataclass(kw_only=True, slots=True)
class Attempt:
    """One request of a client; `status` stays None if the connection was closed without an answer."""

    sent_at: float
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended_at: float = math.inf


@dataclass(kw_only=True, slots=True)
class Load:
    """Clients that each send one ranking after the other on a kept-alive connection, until they are refused."""

    server: Server
    attempts: list[Attempt] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    stopping: bool = False

    def client(self, number: int) -> None:
        """One of them."""
        connection = self.server.connect()
        try:
            for turn in itertools.count():
                if self.stopping or not self._attempt(connection, f"{number}-{turn}"):
                    return
        finally:
            connection.close()

    def _attempt(self, connection: http.client.HTTPConnection, name: str) -> bool:
        """Whether the service could be reached."""
        try:
            connection.request("POST", "/rerank", _ranking(name), {**JSON, **self.headers})
        except ConnectionRefusedError:
            return False
        except (ConnectionResetError, BrokenPipeError):
            # The connection had just been closed; the next one tells.
            connection.close()
            return True
        attempt = Attempt(sent_at=time.monotonic())
        self.attempts.append(attempt)
        _read(attempt, connection)
        return True


def _read(attempt: Attempt, connection: http.client.HTTPConnection) -> None:
    """The answer, whole, or none: one that breaks off fails the test."""
    try:
        response = connection.getresponse()
    except ConnectionResetError:
        connection.close()
    else:
        attempt.headers = {key.lower(): value for key, value in response.getheaders()}
        attempt.body = response.read()
        attempt.status = response.status
    attempt.ended_at = time.monotonic()


def fill(attempt: Attempt, connection: http.client.HTTPConnection, body: bytes) -> None:
    """Send one ranking."""
    with contextlib.closing(connection):
        connection.request("POST", "/rerank", body, JSON)
        _read(attempt, connection)


def _ranking(name: str) -> bytes:
    """A ranking that no cache knows."""
    documents = [
        f"document {i} of request {name} about rivers and towns" for i in range(NUM_DOCUMENTS)
    ]
    return json.dumps({"query": f"request {name}", "documents": documents}).encode()


def check_complete(attempt: Attempt) -> None:
    """Every document once, best first, with a finite score."""
    assert attempt.status == 200, attempt
    results = json.loads(attempt.body)["results"]
    assert sorted(result["corpus_id"] for result in results) == list(range(NUM_DOCUMENTS))
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert all(math.isfinite(score) for score in scores)


def begin_clients(load: Load, pool: ThreadPoolExecutor, *, answered: int) -> list[Future[None]]:
    """Start the clients, and wait until so many requests have been answered."""
    clients = [pool.submit(load.client, number) for number in range(NUM_CLIENTS)]

    def warm() -> bool:
        return sum(attempt.status is not None for attempt in list(load.attempts)) >= answered

    wait_until(warm, START_S, load.server)
    return clients


def half_a_request(server: Server, headers: str = "") -> socket.socket:
    """A connection with a head and a part of its body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(
        b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + headers.encode()
        + b'Content-Length: 30\r\n\r\n{"text_a": "a"'
    )
    return connection


OTHER_HALF = b', "text_b": "b"}'


def answer_on(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """The status of the answer, and its content."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def wait_for_requests(server: Server, number: int) -> None:
    """Ask so often; by then the service has read what was sent before."""
    for _ in range(number):
        assert server.ask("GET", "/livez")[0] == 200
