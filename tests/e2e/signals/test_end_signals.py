"""What SIGTERM, SIGINT and SIGKILL do to a real service under load: nothing that was admitted is lost, and the end always comes."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.signals.serving import (
    ADMITTED_S,
    NUM_CLIENTS,
    OTHER_HALF,
    SLACK_S,
    SLOW,
    START_S,
    Attempt,
    Load,
    Start,
    answer_on,
    begin_clients,
    check_complete,
    fill,
    half_a_request,
    wait_for_requests,
    wait_until,
)

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=SLOW)])
def test_nothing_that_was_admitted_is_lost(
    start: Start, pool: ThreadPoolExecutor, number: signal.Signals
) -> None:
    """What came before the signal is answered whole; what comes later is answered, refused or told to come back."""
    grace_s = 20.0
    server = start(grace_s=grace_s).wait_until_ready()
    load = Load(server=server)
    clients = begin_clients(load, pool, answered=2 * NUM_CLIENTS)
    signalled_at = time.monotonic()
    server.process.send_signal(number)

    server.ended(grace_s + SLACK_S)
    for client in clients:
        client.result(30)

    before = [a for a in load.attempts if a.sent_at <= signalled_at - ADMITTED_S]
    assert sum(attempt.ended_at > signalled_at for attempt in before) >= NUM_CLIENTS // 2
    for attempt in before:
        check_complete(attempt)
    for attempt in load.attempts:
        if attempt.status == 503:
            assert int(attempt.headers["retry-after"]) >= 1
        elif attempt.status is not None:
            check_complete(attempt)


@pytest.mark.slow
def test_a_client_that_never_finishes_its_body(start: Start) -> None:
    """It is waited for as long as the grace lasts and not longer, and makes no noise in the log."""
    grace_s = 1.0
    server = start(backend="fake", grace_s=grace_s, body_timeout_s=60).wait_until_ready()
    with half_a_request(server), socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(b"POST /score HT")
        wait_for_requests(server, 3)
        server.process.send_signal(signal.SIGTERM)

        assert server.ended(60) < grace_s + SLACK_S


def test_a_body_that_comes_during_the_grace(start: Start) -> None:
    """Its request was not admitted yet: it is told to come back, or answered; never left alone."""
    server = start(backend="fake", grace_s=20).wait_until_ready()
    with half_a_request(server) as connection:
        wait_for_requests(server, 3)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("Shutting down")
        connection.sendall(OTHER_HALF)
        status, body = answer_on(connection)
        server.ended(SLACK_S)

    assert status in (200, 503)
    assert status == 200 or body["error"]["type"] == "ClosedError"


@pytest.mark.parametrize("second", [pytest.param(signal.SIGTERM, marks=SLOW), signal.SIGINT])
def test_a_second_signal(start: Start, second: signal.Signals) -> None:
    """It makes the end come sooner or as soon, and no worse."""
    grace_s = 1.0
    server = start(backend="fake", grace_s=grace_s, body_timeout_s=60).wait_until_ready()
    with half_a_request(server):
        wait_for_requests(server, 3)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("Shutting down")
        server.process.send_signal(second)

        assert server.ended(60) < grace_s + SLACK_S


@pytest.mark.slow
@pytest.mark.parametrize(
    "second",
    [None, pytest.param(signal.SIGTERM, marks=SLOW), pytest.param(signal.SIGINT, marks=SLOW)],
)
def test_work_that_the_grace_is_too_short_for(
    start: Start, pool: ThreadPoolExecutor, second: signal.Signals | None
) -> None:
    """Whoever still waits then is told to come back, and the process ends, whatever its workers are doing."""
    grace_s = 1.0
    # On a slow machine the engine would refuse at once what cannot be scored within the usual time.
    server = start(grace_s=grace_s, timeout_s=3600).wait_until_ready()
    documents = [f"document {i} {'of many words ' * 200}" for i in range(300)]
    body = json.dumps({"query": "words", "documents": documents}).encode()
    attempt = Attempt(sent_at=0.0)
    waiting = pool.submit(fill, attempt, server.connect(), body)

    def working() -> bool:
        metrics = server.ask("GET", "/metrics")[1]
        return (
            re.search(rb"^pairscore_requests_in_flight{.*} 1.0$", metrics, re.MULTILINE) is not None
        )

    wait_until(working, START_S, server)
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


@pytest.mark.slow
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
    clients = begin_clients(load, pool, answered=NUM_CLIENTS)
    server.process.kill()
    assert server.process.wait(10) == -signal.SIGKILL
    for client in clients:
        # Nobody can finish an answer that this signal cut in two.
        with contextlib.suppress(http.client.IncompleteRead):
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
