"""The compose file's load balancer in a real nginx, on addresses of this machine, before real replicas."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.ports import free_ports

from pairscore.service.settings import ServiceSettings

COMPOSE = Path(__file__).parent.parent.parent / "deploy" / "compose"
NGINX = (COMPOSE / "nginx.conf").read_text(encoding="utf-8")
MAX_BODY_BYTES = ServiceSettings(config=COMPOSE / "config.toml").max_body_bytes
REPLICAS = ("pairscore-1", "pairscore-2")
START_S = 60.0


@pytest.fixture(scope="module")
def nginx() -> str:
    """The program; where changes are checked it has to be there."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        assert "CI" not in os.environ, "install nginx: apt-get install nginx-light"
        pytest.skip("nginx is not here")
    return found


def _adapted(folder: Path, *, listen: int, replicas: list[int]) -> Path:
    """The load balancer's file with this machine's addresses for Docker's, and a scratch folder of its own."""
    text = NGINX.replace("/tmp/", f"{folder}/").replace("/dev/stdout", f"{folder}/access.log")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{listen}")
    for name, port in zip(REPLICAS, replicas, strict=True):
        # nginx before 1.27.3 knows no `resolve`; numbers need none.
        text = text.replace(f"{name}:8000 resolve", f"127.0.0.1:{port}")
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    return path


def _nginx_command(nginx: str, path: Path) -> list[str]:
    # Root's nginx would hand its work to a user who may not enter the test's folder.
    user = " user root;" if os.geteuid() == 0 else ""
    return [nginx, "-e", "stderr", "-c", str(path), "-g", f"daemon off;{user}"]


def test_nginx_takes_the_configuration(nginx: str, tmp_path: Path) -> None:
    """Every directive is one that it knows, and it warns of nothing."""
    path = _adapted(tmp_path, listen=8080, replicas=[8001, 8002])

    done = subprocess.run(
        [*_nginx_command(nginx, path), "-t"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """What a test starts, ended afterwards."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        # Politely: a master of nginx that is killed leaves its workers behind.
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"nobody listens on port {port} after {START_S} s")


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"nobody is ready on port {port} after {START_S} s")


def test_the_load_balancer_speaks_as_the_service_does(
    nginx: str, tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    """What it refuses by itself has the one shape of errors, and the caller's request id."""
    front, *closed = free_ports(3)
    path = _adapted(tmp_path, listen=front, replicas=closed)
    processes.append(subprocess.Popen(_nginx_command(nginx, path), stderr=subprocess.DEVNULL))
    base = f"http://127.0.0.1:{front}"
    headers = {"Content-Type": "application/json", "X-Request-ID": "mine-1"}
    _wait_until_open(front)
    too_large = b" " * (MAX_BODY_BYTES + 1)

    away = httpx.post(f"{base}/score", content=b"{}", headers=headers)
    refused = httpx.post(f"{base}/score", content=too_large, headers=headers)
    hidden = httpx.get(f"{base}/metrics", headers=headers)

    assert [answer.status_code for answer in (away, refused, hidden)] == [503, 413, 404]
    assert away.headers["retry-after"] == "1"
    for answer in (away, refused, hidden):
        error = answer.json()["error"]
        assert set(error) == {"type", "message", "request_id"}
        assert error["request_id"] == answer.headers["x-request-id"] == "mine-1"


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_no_request_fails_when_a_replica_goes(
    nginx: str, tmp_path: Path, processes: list[subprocess.Popen[bytes]], end: signal.Signals
) -> None:
    """Of 200 requests none fails, though one of two replicas is ended, or dies, in the middle."""
    *ports, front = free_ports(3)
    serve = [sys.executable, "-m", "pairscore", "serve", "--backend", "fake", "--port"]
    processes += [
        subprocess.Popen([*serve, str(port)], stderr=subprocess.DEVNULL) for port in ports
    ]
    for port, process in zip(ports, processes, strict=True):
        _wait_until_ready(port, process)
    path = _adapted(tmp_path, listen=front, replicas=ports)
    processes.append(subprocess.Popen(_nginx_command(nginx, path)))
    _wait_until_ready(front, processes[-1])
    with httpx.Client(base_url=f"http://127.0.0.1:{front}", timeout=60) as client:

        def post(n: int) -> int:
            if n == 80:
                processes[0].send_signal(end)
            # Pairs of its own, so that no cache answers; spaces, so that the body lies in a file of the balancer.
            pairs = [
                {"text_a": f"query {n}", "text_b": f"document {n} {m} " * 40} for m in range(100)
            ]
            content = json.dumps({"pairs": pairs}) + " " * 300_000
            headers = {"Content-Type": "application/json"}
            return client.post("/score/batch", content=content, headers=headers).status_code

        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(post, range(200)))

    assert statuses == [200] * 200
    assert processes[0].wait(40) == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    log = (tmp_path / "access.log").read_text(encoding="utf-8")
    answered = [json.loads(line)["replica"] for line in log.splitlines()]
    assert all(any(str(port) in replica for replica in answered) for port in ports)
