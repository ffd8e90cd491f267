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
from dataclasses import dataclass
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
NUM_PAIRS = 100
NUM_CLIENTS = 8


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


def test_only_addresses_and_folders_are_others_here(tmp_path: Path) -> None:
    """What is tested below is the compose file's configuration: put them back, and it is the same to the letter."""
    ports = [8001, 8002]
    text = _adapted(tmp_path, listen=8003, replicas=ports).read_text(encoding="utf-8")

    back = text.replace(f"{tmp_path}/access.log", "/dev/stdout").replace(f"{tmp_path}/", "/tmp/")
    back = back.replace("listen 127.0.0.1:8003", "listen 8080")
    for name, port in zip(REPLICAS, ports, strict=True):
        back = back.replace(f"127.0.0.1:{port}", f"{name}:8000 resolve")

    assert text != NGINX
    assert back == NGINX


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


@dataclass(frozen=True, slots=True)
class _Answered:
    """What a client got: the status, and whose pairs were answered, in which order."""

    status: int
    texts: list[tuple[str, str]]


def _pairs(number: int) -> list[tuple[str, str]]:
    # Pairs of its own, so that no cache answers.
    return [(f"query {number}", f"document {number} {place} " * 40) for place in range(NUM_PAIRS)]


def _ask(client: httpx.Client, number: int) -> _Answered:
    pairs = [{"text_a": a, "text_b": b} for a, b in _pairs(number)]
    # Spaces, so that the body lies in a file of the balancer.
    content = json.dumps({"pairs": pairs}) + " " * 300_000
    headers = {"Content-Type": "application/json", "X-Request-ID": f"request-{number}"}
    answer = client.post("/score/batch", content=content, headers=headers)
    scored = answer.json() if answer.status_code == 200 else []
    return _Answered(answer.status_code, [(one["text_a"], one["text_b"]) for one in scored])


@dataclass(frozen=True, slots=True)
class _Handled:
    """A line of the load balancer's log: which replicas got a request, one after the other, and what each said."""

    request_id: str
    replicas: list[int]
    statuses: list[int]


def _handled(log: Path) -> list[_Handled]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [
        _Handled(
            line["request_id"],
            [int(address.rpartition(":")[2]) for address in line["replica"].split(", ")],
            [int(status) for status in line["replica_status"].split(", ")],
        )
        for line in lines
        if line["path"] == "/score/batch"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_no_request_is_lost_when_a_replica_goes(
    nginx: str, tmp_path: Path, processes: list[subprocess.Popen[bytes]], end: signal.Signals
) -> None:
    """Of 200 requests none fails, though one of two replicas is ended, or dies, in the middle.

    What it had not answered is sent once more, to the other one; nothing else is sent twice.
    """
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

        def post(number: int) -> _Answered:
            if number == 80:
                processes[0].send_signal(end)
            return _ask(client, number)

        with ThreadPoolExecutor(NUM_CLIENTS) as threads:
            answers = list(threads.map(post, range(200)))

    assert answers == [_Answered(200, _pairs(number)) for number in range(200)]
    assert processes[0].wait(40) == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    gone, stays = ports
    handled = _handled(tmp_path / "access.log")
    assert sorted(one.request_id for one in handled) == sorted(f"request-{n}" for n in range(200))
    assert {one.replicas[-1] for one in handled} == {gone, stays}
    again = [one for one in handled if len(one.replicas) > 1]
    assert again, "nothing was under way on the replica that went, so this showed nothing"
    for one in again:
        assert (one.replicas, one.statuses[-1]) == ([gone, stays], 200)
        # Never one that was answered: the connection broke or nobody listened, or it said that it is ending.
        assert one.statuses[0] in ({502} if end is signal.SIGKILL else {502, 503})
