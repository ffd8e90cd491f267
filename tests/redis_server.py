"""A real Redis of one's own, for the tests of the shared score cache."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.ports import free_port, listens


class RedisServer:
    """A redis-server on a loopback port of its own, and on a socket in its folder."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        # Relative to the folder, because the address of a socket must be short.
        self.command += ["--unixsocket", "socket", "--save", "", "--dir", str(folder)]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Through the port."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """Through the socket."""
        return f"unix://{self.folder / 'socket'}"

    def start(self) -> None:
        """Until it listens."""
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT)
        if listens(self.port, within_s=20):
            return
        pytest.fail(f"redis-server did not start: {(self.folder / 'log.txt').read_text()}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, *command: bytes | str) -> Any:
        """What it answers to a command."""
        with redis.Redis(port=self.port, socket_timeout=10) as client:
            return client.execute_command(*command)


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """A fresh Redis; without redis-server on the machine the test is skipped, and in CI it fails."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed, and CI must run these tests")
        pytest.skip("redis-server is not installed: Debian has it as redis-server")
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
