"""Processes of the service that a test starts, and threads for its clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.signals.serving import NUM_CLIENTS, Server, Start
from tests.ports import free_port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services with settings of one's own; whatever is left at the end is killed."""
    started: list[Server] = []
    # What a shell has told us to ignore, our children would ignore; what we handle, they do not inherit.
    before = signal.signal(signal.SIGHUP, lambda *_: None)

    def make(*, port: int | None = None, **settings: Any) -> Server:
        port = port or free_port()
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


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for the clients."""
    with ThreadPoolExecutor(NUM_CLIENTS) as threads:
        yield threads
