"""`pairscore serve` as a real process, for tests of what its users see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.ports import free_port

START_S = 60.0
END_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One process of the service, and where it answers."""

    base: str
    process: subprocess.Popen[bytes]
    log: Path


def command(port: int, *more: str) -> list[str]:
    """What starts the service."""
    return [sys.executable, "-m", "pairscore", "serve", "--port", str(port), *more]


@contextmanager
def serving(*more: str, log: Path, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """A service that has its models, for as long as the block lasts; killed if the block leaves it running."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(port, *more),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **(env or {})},
        )
    served = Served(base=f"http://127.0.0.1:{port}", process=process, log=log)
    try:
        _wait_until_healthy(served)
        yield served
    finally:
        process.kill()
        process.wait()


def ends_well(served: Served) -> None:
    """SIGTERM ends it without an error, and nothing went wrong before."""
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(END_S) == 0, served.log.read_text()
    assert "Traceback" not in served.log.read_text()


def _wait_until_healthy(served: Served) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert served.process.poll() is None, served.log.read_text()
        try:
            if httpx.get(f"{served.base}/health", timeout=5).json()["model_loaded"]:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"no answer from {served.base} within {START_S} s: {served.log.read_text()}")
