"""What signals do to a real service under load: nothing that was admitted is lost, and the end always comes."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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

        _wait(ready, START_S, self)
        return self

    def wait_for_log(self, part: str, times: int = 1) -> None:
        """Until it has logged this so often."""

        def said() -> bool:
            text = self.text()
            assert text.count(part) >= times or self.process.poll() is None, text
            return text.count(part) >= times

        _wait(said, START_S, self)

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


def _wait(condition: Callable[[], bool], timeout_s: float, server: Server) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, server.text()
        time.sleep(0.002)


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services with settings of one's own; whatever is left at the end is killed."""
    started: list[Server] = []
    # What a shell has told us to ignore, our children would ignore; what we handle, they do not inherit.
    before = signal.signal(signal.SIGHUP, lambda *_: None)

    def make(*, port: int | None = None, **settings: Any) -> Server:
        port = port or _free_port()
        variables = {f"PAIRSCORE_{name.upper()}": str(value) for name, value in settings.items()}
        log = tmp_path / f"log-{len(started)}.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pairscore", "serve", "--port", str(port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HF_HUB_OFFLINE": "1", **variables},
            )
        started.append(Server(port=port, process=process, log=log))
        return started[-1]

    yield make
    signal.signal(signal.SIGHUP, before)
    for server in started:
        server.process.kill()
        server.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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


def _fill(attempt: Attempt, connection: http.client.HTTPConnection, body: bytes) -> None:
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


def _check_complete(attempt: Attempt) -> None:
    assert attempt.status == 200, attempt
    results = json.loads(attempt.body)["results"]
    assert sorted(result["corpus_id"] for result in results) == list(range(NUM_DOCUMENTS))
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert all(math.isfinite(score) for score in scores)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for the clients."""
    with ThreadPoolExecutor(NUM_CLIENTS) as threads:
        yield threads


def _begin(load: Load, pool: ThreadPoolExecutor, *, answered: int) -> list[Future[None]]:
    """Start the clients, and wait until so many requests have been answered."""
    clients = [pool.submit(load.client, number) for number in range(NUM_CLIENTS)]

    def warm() -> bool:
        return sum(attempt.status is not None for attempt in list(load.attempts)) >= answered

    _wait(warm, START_S, load.server)
    return clients


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=SLOW)])
def test_nothing_that_was_admitted_is_lost(
    start: Start, pool: ThreadPoolExecutor, number: signal.Signals
) -> None:
    """What came before the signal is answered whole; what comes later is answered, refused or told to come back."""
    grace_s = 20.0
    server = start(grace_s=grace_s).wait_until_ready()
    load = Load(server=server)
    clients = _begin(load, pool, answered=2 * NUM_CLIENTS)
    signalled_at = time.monotonic()
    server.process.send_signal(number)

    server.ended(grace_s + SLACK_S)
    for client in clients:
        client.result(30)

    before = [a for a in load.attempts if a.sent_at <= signalled_at - ADMITTED_S]
    assert sum(attempt.ended_at > signalled_at for attempt in before) >= NUM_CLIENTS // 2
    for attempt in before:
        _check_complete(attempt)
    for attempt in load.attempts:
        if attempt.status == 503:
            assert int(attempt.headers["retry-after"]) >= 1
        elif attempt.status is not None:
            _check_complete(attempt)


def _half_a_request(server: Server, headers: str = "") -> socket.socket:
    """A connection with a head and a part of its body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(
        b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + headers.encode()
        + b'Content-Length: 30\r\n\r\n{"text_a": "a"'
    )
    return connection


OTHER_HALF = b', "text_b": "b"}'


def _answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def _wait_for_requests(server: Server, number: int) -> None:
    """Ask so often; by then the service has read what was sent before."""
    for _ in range(number):
        assert server.ask("GET", "/livez")[0] == 200


def test_a_client_that_never_finishes_its_body(start: Start) -> None:
    """It is waited for as long as the grace lasts and not longer, and makes no noise in the log."""
    grace_s = 1.0
    server = start(backend="fake", grace_s=grace_s, body_timeout_s=60).wait_until_ready()
    with _half_a_request(server), socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(b"POST /score HT")
        _wait_for_requests(server, 3)
        server.process.send_signal(signal.SIGTERM)

        assert server.ended(60) < grace_s + SLACK_S


def test_a_body_that_comes_during_the_grace(start: Start) -> None:
    """Its request was not admitted yet: it is told to come back, or answered; never left alone."""
    server = start(backend="fake", grace_s=20).wait_until_ready()
    with _half_a_request(server) as connection:
        _wait_for_requests(server, 3)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("Shutting down")
        connection.sendall(OTHER_HALF)
        status, body = _answer(connection)
        server.ended(SLACK_S)

    assert status in (200, 503)
    assert status == 200 or body["error"]["type"] == "ClosedError"


@pytest.mark.parametrize("second", [pytest.param(signal.SIGTERM, marks=SLOW), signal.SIGINT])
def test_a_second_signal(start: Start, second: signal.Signals) -> None:
    """It makes the end come sooner or as soon, and no worse."""
    grace_s = 1.0
    server = start(backend="fake", grace_s=grace_s, body_timeout_s=60).wait_until_ready()
    with _half_a_request(server):
        _wait_for_requests(server, 3)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("Shutting down")
        server.process.send_signal(second)

        assert server.ended(60) < grace_s + SLACK_S


@pytest.mark.parametrize(
    "second",
    [None, pytest.param(signal.SIGTERM, marks=SLOW), pytest.param(signal.SIGINT, marks=SLOW)],
)
def test_work_that_the_grace_is_too_short_for(
    start: Start, pool: ThreadPoolExecutor, second: signal.Signals | None
) -> None:
    """Whoever still waits then is told to come back, and the process ends, whatever its workers are doing."""
    grace_s = 1.0
    server = start(grace_s=grace_s).wait_until_ready()
    documents = [f"document {i} {'of many words ' * 200}" for i in range(300)]
    body = json.dumps({"query": "words", "documents": documents}).encode()
    attempt = Attempt(sent_at=0.0)
    waiting = pool.submit(_fill, attempt, server.connect(), body)

    def working() -> bool:
        return b"pairscore_requests_in_flight 1.0" in server.ask("GET", "/metrics")[1]

    _wait(working, START_S, server)
    server.process.send_signal(signal.SIGTERM)
    if second is not None:
        server.wait_for_log("Shutting down")
        server.process.send_signal(second)
    assert server.ended(60) < grace_s + SLACK_S
    waiting.result(10)

    if second is None:
        assert attempt.status == 503
        assert json.loads(attempt.body)["error"]["type"] == "ClosedError"
        assert int(attempt.headers["retry-after"]) >= 1
    assert attempt.status in (503, None)


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start(start: Start, number: signal.Signals, delay_s: float) -> None:
    """Whenever it comes, it ends the process; none is swallowed."""
    server = start(backend="fake")
    time.sleep(delay_s)
    server.process.send_signal(number)

    # Before the service has taken the signals over, Python's own way of ending is all there is.
    assert server.process.wait(15) in (0, -number, 130), server.text()


def test_a_signal_at_the_first_word(start: Start) -> None:
    """From the first line of the log on, a signal is a graceful end."""
    server = start(backend="fake")
    server.wait_for_log("pairscore on http://")
    server.process.send_signal(signal.SIGTERM)

    server.ended(15)


@pytest.mark.parametrize("autotune", [False, pytest.param(True, marks=SLOW)])
def test_kill_9_under_load(
    start: Start,
    pool: ThreadPoolExecutor,
    tmp_path: Path,
    golden: dict[str, Any],
    *,
    autotune: bool,
) -> None:
    """What is started again on the same port scores as before, whatever the killed one left behind."""
    folder = tmp_path / "cache"
    settings = {"cache_dir": folder, "autotune": autotune}
    server = start(**settings).wait_until_ready()
    query = {"query": "rivers", "documents": ["a river", "a town", "a river in a town"]}
    first = json.loads(server.ask("POST", "/rerank", query)[1])
    load = Load(server=server)
    clients = _begin(load, pool, answered=NUM_CLIENTS)
    server.process.kill()
    assert server.process.wait(10) == -signal.SIGKILL
    for client in clients:
        client.result(30)
    _halve_files(folder, expected=autotune)

    again = start(port=server.port, **settings).wait_until_ready()
    second = json.loads(again.ask("POST", "/rerank", query)[1])

    assert [result["corpus_id"] for result in second["results"]] == [
        result["corpus_id"] for result in first["results"]
    ]
    for before, after in zip(first["results"], second["results"], strict=True):
        assert after["score"] == pytest.approx(before["score"], abs=golden["tolerance"])
    again.process.send_signal(signal.SIGTERM)
    again.ended(SLACK_S)


def _halve_files(folder: Path, *, expected: bool) -> None:
    """As a disk may have them that was not asked to flush."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert bool(files) is expected
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.slow
def test_kill_9_during_the_start(start: Start, tmp_path: Path) -> None:
    """In the middle of measuring, again and again: the next one starts, and keeps what it measured."""
    folder = tmp_path / "cache"
    for delay_s in (0.3, 1.0, 2.0):
        server = start(cache_dir=folder, autotune=True)
        server.wait_for_log("Waiting for application startup")
        time.sleep(delay_s)
        server.process.kill()
        server.process.wait(10)
    again = start(cache_dir=folder, autotune=True).wait_until_ready()
    again.process.send_signal(signal.SIGTERM)
    again.ended(SLACK_S)

    files = [path.name for path in folder.rglob("*") if path.is_file()]
    assert len([name for name in files if name.endswith(".json")]) == 1
    # What was never finished is small, and does not pile up for ever.
    assert len(files) <= 4


FIRST = "psk_" + "f" * 43
SECOND = "psk_" + "s" * 43


def _keys(*, first: bool, second: bool) -> str:
    """A file of keys with one that is revoked or not, and one that is there or not."""
    text = f'[keys.first]\nsha256 = "{_digest(FIRST)}"\nrevoked = {str(not first).lower()}\n'
    if second:
        text += f'[keys.second]\nsha256 = "{_digest(SECOND)}"\n'
    return text


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(kw_only=True, slots=True)
class Keyed:
    """A service with a file of keys."""

    server: Server
    file: Path
    num_reloads: int = 0

    def reload(self, content: str | None, *, expected: str) -> None:
        """Write the file, or take it away; send SIGHUP and wait for the log to say so once more."""
        before = self.server.text().count(expected)
        if content is None:
            self.file.unlink()
        else:
            self.file.write_text(content, encoding="utf-8")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for_log(expected, before + 1)

    def statuses(self) -> tuple[int, int]:
        """What a request gets with the first key, and with the second one."""
        pair = {"text_a": "a", "text_b": "b"}
        first, second = (
            self.server.ask("POST", "/score", pair, {"Authorization": f"Bearer {key}"})[0]
            for key in (FIRST, SECOND)
        )
        return first, second


@pytest.fixture
def keyed(start: Start, tmp_path: Path) -> Keyed:
    """Only the first key is known."""
    file = tmp_path / "keys.toml"
    file.write_text(_keys(first=True, second=False), encoding="utf-8")
    return Keyed(server=start(backend="fake", keys_file=file).wait_until_ready(), file=file)


def test_sighup_reads_the_keys_again(keyed: Keyed) -> None:
    """A key is added, then one is revoked, while a request of it is under way."""
    assert keyed.statuses() == (200, 401)
    keyed.reload(_keys(first=True, second=True), expected="2 keys loaded again; added: second")
    assert keyed.statuses() == (200, 200)
    with _half_a_request(keyed.server, f"X-API-Key: {FIRST}\r\n") as under_way:
        _wait_for_requests(keyed.server, 3)
        keyed.reload(_keys(first=False, second=True), expected="revoked: first")
        assert keyed.statuses() == (403, 200)
        under_way.sendall(OTHER_HALF)
        assert _answer(under_way)[0] == 200

    keyed.server.process.send_signal(signal.SIGTERM)
    keyed.server.ended(SLACK_S)
    assert not re.search("f{8}|s{8}", keyed.server.text())


def test_a_broken_file_keeps_the_keys(keyed: Keyed) -> None:
    """Not TOML, no keys, no file: said in the log, and everybody stays in."""
    keyed.reload(_keys(first=False, second=True), expected="revoked: first")
    for broken in ("[keys.second", "", "[keys.second]\nsha256 = 5\n", None):
        keyed.reload(broken, expected="the keys stay as they are")
        assert keyed.statuses() == (403, 200)
    keyed.reload(_keys(first=True, second=True), expected="revoked: none")
    assert keyed.statuses() == (200, 200)


def test_no_request_is_dropped_by_a_reload(keyed: Keyed, pool: ThreadPoolExecutor) -> None:
    """Under load, again and again."""
    load = Load(server=keyed.server, headers={"X-API-Key": FIRST})
    clients = _begin(load, pool, answered=NUM_CLIENTS)
    for turn in range(10):
        keyed.reload(_keys(first=True, second=turn % 2 == 0), expected="keys loaded again")
    load.stopping = True
    for client in clients:
        client.result(30)

    assert len(load.attempts) > 2 * NUM_CLIENTS
    for attempt in load.attempts:
        _check_complete(attempt)


def test_sighup_is_harmless_without_keys(start: Start) -> None:
    """During the start, without a file of keys, and during the end: nothing happens."""
    server = start(backend="fake", grace_s=20)
    server.wait_for_log("pairscore on http://")
    server.process.send_signal(signal.SIGHUP)
    server.wait_until_ready()
    server.process.send_signal(signal.SIGHUP)
    with _half_a_request(server) as connection:
        _wait_for_requests(server, 3)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("Shutting down")
        server.process.send_signal(signal.SIGHUP)
        connection.sendall(OTHER_HALF)
        assert _answer(connection)[0] in (200, 503)
    server.ended(SLACK_S)
