"""What the door lets through besides: bodies, websockets, other protocols; quotas; and a real server's own reading of a path."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from tests.service.access.guarded import (
    BEARER,
    COUNTED,
    LIMITED,
    REVOKED,
    SECRET,
    ask,
    refusal,
    status_of,
)

from pairscore.service.access import Access, charge
from pairscore.service.keys import KeyRing


class TestTheWire:
    """What an ASGI server sees."""

    def test_the_body_of_a_refused_request_is_not_read(self, app: FastAPI) -> None:
        """Not one byte: a stranger's gigabyte stays where it is."""

        async def receive() -> None:
            pytest.fail("the body was asked for")

        sent = ask(app, "/score", method="POST", receive=receive)

        assert status_of(sent) == 401

    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": "x"}, {"X-API-Key": REVOKED}])
    def test_a_websocket_is_closed(
        self, client: TestClient, refused: list[str], headers: dict[str, str]
    ) -> None:
        """Before it is open; with the code for a policy."""
        with (
            pytest.raises(WebSocketDisconnect) as caught,
            client.websocket_connect("/talk", headers=headers),
        ):
            pass

        assert caught.value.code == 1008
        assert [caught.value.reason] == refused

    def test_a_websocket_with_a_key_is_opened(self, client: TestClient) -> None:
        """The same headers count."""
        with client.websocket_connect("/talk", headers=BEARER) as talk:
            assert talk.receive_text() == "protected, good"

    def test_a_public_path_opens_no_websocket(self, app: FastAPI) -> None:
        """Public is what is read with GET and HEAD."""
        sent = ask(app, "/livez", type="websocket", subprotocols=[])

        assert sent == [{"type": "websocket.close", "code": 1008, "reason": "KeyMissingError"}]

    def test_start_and_end_pass(self, keyring: KeyRing) -> None:
        """A server that starts has no key."""
        seen: list[str] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["type"])

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        asyncio.run(Access(inner, keyring=keyring)(scope, None, None))

        assert seen == ["lifespan"]
        assert "state" not in scope

    def test_a_name_from_outside_does_not_count(self, keyring: KeyRing) -> None:
        """A state that comes with the scope is overwritten, so that no log names the wrong key."""
        names: list[str] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            names.append(scope["state"]["key_name"])

        door = Access(inner, keyring=keyring)
        ask(door, "/livez", state={"key_name": "somebody"})
        ask(
            door,
            "/score",
            state={"key_name": "somebody"},
            headers=[(b"x-api-key", SECRET.encode())],
        )

        assert names == ["", "good"]


class TestQuotas:
    """429, and when to come back."""

    def test_requests(self, client: TestClient, clock: list[float], refused: list[str]) -> None:
        """The third of two a minute is refused, with the wait, the quota, its value, the remedy."""
        headers = {"X-API-Key": LIMITED}
        assert [client.get("/score", headers=headers).status_code for _ in range(2)] == [200, 200]
        clock[0] += 0.5

        response = client.get("/score", headers=headers)

        error = refusal(response, 429, "QuotaError")
        assert response.headers["retry-after"] == "30"
        for part in ("'limited'", "requests_per_minute = 2", "in 30 s", "in the keys file"):
            assert part in error["message"]
        assert refused == ["QuotaError"]
        clock[0] += 29.5
        assert client.get("/score", headers=headers).status_code == 200

    def test_tokens_are_charged_after_scoring(self, client: TestClient, clock: list[float]) -> None:
        """A request of 160 tokens is let in on 60; its key then waits until the debt is paid."""
        headers = {"X-API-Key": COUNTED}
        assert client.post("/score", headers=headers, content=b"x" * 160).status_code == 200

        response = client.post("/score", headers=headers, content=b"x")

        error = refusal(response, 429, "QuotaError")
        assert response.headers["retry-after"] == "101"
        assert "tokens_per_minute = 60" in error["message"]
        clock[0] += 101
        assert client.post("/score", headers=headers, content=b"x").status_code == 200

    def test_one_key_harms_no_other_one(self, client: TestClient) -> None:
        """Each has a bucket of its own; public paths have none."""
        for _ in range(5):
            client.get("/score", headers={"X-API-Key": LIMITED})

        assert client.get("/score", headers=BEARER).status_code == 200
        for _ in range(5):
            assert client.get("/health", headers={"X-API-Key": LIMITED}).status_code == 200

    def test_a_quota_survives_a_reload(self, client: TestClient, keyring: KeyRing) -> None:
        """SIGHUP is no way to get a fresh minute."""
        headers = {"X-API-Key": LIMITED}
        for _ in range(2):
            client.get("/score", headers=headers)
        assert keyring.reload()

        assert client.get("/score", headers=headers).status_code == 429

    def test_charging_without_a_quota(self) -> None:
        """Routes charge always, also where access is open or nobody asked for a key."""
        charge(Request({"type": "http", "headers": []}), num_tokens=5)
        charge(Request({"type": "http", "headers": [], "state": {}}), num_tokens=5)


def test_no_key_in_any_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Good, wrong, revoked, over quota: logs have names, kinds and request ids, and nothing of a key."""
    with caplog.at_level(logging.DEBUG):
        for key in (SECRET, REVOKED, LIMITED, LIMITED, LIMITED, "psk_" + "t" * 40):
            client.post("/score", headers={"X-API-Key": key})
            client.post("/score", headers={"Authorization": f"Bearer {key}"})
            client.post("/score", headers={"Authorization": key})

    ours = [record.getMessage() for record in caplog.records if record.name == "pairscore.service"]
    assert "request the-id refused: KeyRevokedError, key name 'old'" in ours
    assert "request the-id refused: QuotaError, key name 'limited'" in ours
    assert "request the-id refused: KeyUnknownError, key name ''" in ours
    assert not any(letter * 4 in caplog.text for letter in "srlt")
    assert "psk_" not in caplog.text


@pytest.fixture
def server(app: FastAPI) -> Iterator[tuple[str, int]]:
    """A real server, because clients tidy paths up before they send them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: running.run(sockets=[listener]))
        thread.start()
        until = time.monotonic() + 20
        while not running.started and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield listener.getsockname()
        finally:
            running.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


def _raw(server: tuple[str, int], target: str, *, method: str = "GET", headers: str = "") -> bytes:
    """Everything that comes back for a request line with exactly this target."""
    lines = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
    with socket.create_connection(server, timeout=10) as connection:
        connection.sendall(lines.encode("latin-1"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_tricks_on_the_wire(server: tuple[str, int]) -> None:
    """As a server decodes them: escapes, dots and absolute addresses open nothing."""
    targets = [
        "/score",
        "//livez",
        "/livez/",
        "/livez%2F",
        "/livez%2f..%2fscore",
        "/livez/../score",
        "/livez/%2e%2e/score",
        "/livez%00",
        "/livez%3Fx",
        "/livez%23x",
        "/livez;/score",
        "/%6civez/../score",
        "/%252e%252e/livez",
        "/docs-files/../score",
        "/docs-files/%2e%2e/score",
        "/docs-files/%2e%2e%2fscore",
        "/docs-files/..%5cscore",
        "/docs-files/%252e%252e/score",
        "/%64ocs-files/..%2f..%2fscore",
        "/score?/livez",
        "/score#/livez",
    ]

    for target in targets:
        answer = _raw(server, target)
        assert answer.split(b" ", 2)[1] in (b"401", b"400"), (target, answer[:200])
        assert b"protected" not in answer, target
    # Two ways to write one path are one path, for the key and for the route.
    for target in ("/livez", "/%6Civez", "/livez?x=/score", "/docs-files/ui%2Ejs"):
        assert _raw(server, target).startswith(b"HTTP/1.1 200"), target
    assert b"protected, good" in _raw(server, "/score", headers=f"X-API-Key: {SECRET}\r\n")


def test_a_body_is_not_sent_for_nothing(server: tuple[str, int]) -> None:
    """A client that waits for 100 Continue is refused before it sends its body."""
    answer = _raw(
        server,
        "/score",
        method="POST",
        headers="Content-Length: 1000000000\r\nExpect: 100-continue\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 401")
    assert b"100 Continue" not in answer
