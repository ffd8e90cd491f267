"""Two servers for the clients, and an ear for what they send elsewhere.

One server is `pairscore serve` as its users start it, with a key. The other is the same service around a model that hangs,
so that its queue is full until the first request was refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.ports import free_port

from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
# What the page says about clients that send more than they are asked to.
SETTINGS = re.findall(
    r"`([A-Z_]+)=(\w+)`", PAGE.partition("## What clients send")[2].partition("\n## ")[0]
)
SCRIPT = Path(__file__).parent / "run_snippets.py"
KEY = "the-key-of-the-tests-of-clients"
START_S = 60.0
_HOLDER = {"text_a": "a", "text_b": "word " * 100}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `pairscore serve` that asks for KEY."""
    port = free_port()
    log = tmp_path_factory.mktemp("clients") / "log.txt"
    command = [sys.executable, "-m", "pairscore", "serve", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--api-keys", f"tests={KEY}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(address, process, log)
        yield address
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"no answer from {address} within {START_S} s: {log.read_text()}")


class FullOnce:
    """The service with a queue that is full from `/arm` until one request was refused; `/seen` tells what was answered."""

    def __init__(self) -> None:
        self._backend = FakeBackend()
        self._road = open_road(backend=self._backend)
        settings = ServiceSettings(
            max_queue_tokens=50,
            budget=50,
            num_workers=1,
            cache_bytes=0,
            api_keys=f"tests={KEY}",
            run_timeout_s=600,
            canary_max_age_s=600,
        )
        self._app: ASGIApp = create_app(settings, road=self._road)
        self._gate = threading.Event()
        self._held: asyncio.Task[Any] | None = None
        self._seen: list[int] = []

    def open(self) -> None:
        """Let the model run."""
        self._gate.set()

    def close(self) -> None:
        """Let go of the model."""
        self._road.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if path == "/arm":
            await self._arm()
            await _answer(send, [])
        elif path == "/seen":
            self._gate.set()
            await _answer(send, self._seen)
        else:
            await self._app(scope, receive, self._watched(scope, send))

    async def _arm(self) -> None:
        self._gate.set()
        if self._held is not None:
            await self._held
        self._seen = []
        self._gate = self._backend.gate = threading.Event()
        runs = self._backend.num_runs
        self._held = asyncio.create_task(self._hold())
        while self._backend.num_runs == runs:
            await asyncio.sleep(0.005)

    async def _hold(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        transport = httpx.ASGITransport(app=self._app)  # past the watch
        async with httpx.AsyncClient(transport=transport, base_url="http://held") as client:
            answer = await client.post("/score", json=_HOLDER, headers=headers)
            assert answer.status_code == 200, answer.text

    def _watched(self, scope: Scope, send: Send) -> Send:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["method"] == "POST":
                self._seen.append(message["status"])
                if message["status"] == 429:
                    self._gate.set()
                    assert self._held is not None
                    # So that whoever comes back finds room, however fast.
                    await asyncio.wait([self._held])
            await send(message)

        return watched


async def _answer(send: Send, content: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


@pytest.fixture(scope="session")
def overloaded() -> Iterator[str]:
    """The address of a service whose queue is full once."""
    app = FullOnce()
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    app.open()
    server.should_exit = True
    thread.join(START_S)
    app.close()


class _Ear(socketserver.StreamRequestHandler):
    """Keeps the first line of what a proxy is asked for, and does nothing about it."""

    def handle(self) -> None:
        self.server.heard.append(self.rfile.readline().decode(errors="replace").strip())  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def outside() -> Iterator[tuple[str, list[str]]]:
    """The address of a proxy that leads nowhere, and what it was asked for."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Ear) as server:
        server.daemon_threads = True
        heard: list[str] = []
        server.heard = heard  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()
        thread.join(START_S)


@pytest.fixture(scope="session")
def run_jobs(outside: tuple[str, list[str]]) -> Callable[..., tuple[list[Any], list[str]]]:
    """Run the page's code in the clients' environment; gives what came of it, and what was asked outside."""
    proxy, heard = outside
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    proxies = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1"}
    environment = {**kept, **proxies, **dict(SETTINGS)}

    def run(jobs: list[dict[str, Any]], *, older: bool) -> tuple[list[Any], list[str]]:
        heard.clear()
        done = subprocess.run(
            [_python(older=older), "-W", "ignore", SCRIPT],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), heard[:]

    return run


def _python(*, older: bool) -> Path:
    name = ".venv-clients-older" if older else ".venv-clients"
    if not (ROOT / name / ".ready").exists():
        message = f"{name} is not there or not whole; `make test-all` makes it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return ROOT / name / "bin" / "python"
