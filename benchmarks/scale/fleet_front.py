"""The load balancer of `deploy/compose` as a process on this machine, before replicas that run here."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from pairscore.closing import Closing
from serve.client import HOST
from texts import ROOT
from workers import PeerError

__all__ = ["Front"]

_CONFIG = ROOT / "deploy" / "compose" / "nginx.conf"
_NAMES = ("pairscore-1", "pairscore-2")
_START_S, _END_S, _LOOK_EACH_S = 20.0, 20.0, 0.05


class Front(Closing):
    """A running nginx with the compose file's configuration; use it as a context manager.

    Args:
        replicas: two ports.
        folder: its files; made if need be.

    Raises:
        PeerError: there is no nginx, or it does not start.
    """

    def __init__(self, replicas: Sequence[int], *, folder: Path) -> None:
        self.port = _free_port()
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            raise PeerError("nginx is not here: apt-get install nginx-light")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "nginx.conf"
        path.write_text(_adapted(folder, port=self.port, replicas=replicas), encoding="utf-8")
        # Root's nginx would hand its work to a user who may not enter the folder.
        user = " user root;" if os.geteuid() == 0 else ""
        command = [program, "-e", "stderr", "-c", str(path), "-g", f"daemon off;{user}"]
        self._log = folder / "nginx.log"
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(command, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its first process."""
        return self._process.pid

    def close(self) -> None:
        """End it politely: a master that is killed leaves its workers behind."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._process.poll() is None:
            connection = http.client.HTTPConnection(HOST, self.port, timeout=_START_S)
            try:
                connection.request("GET", "/readyz")
                connection.getresponse()
            except OSError:
                time.sleep(_LOOK_EACH_S)
            else:
                return
            finally:
                connection.close()
        last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise PeerError(f"nginx does not answer: {' | '.join(last)}")


def _adapted(folder: Path, *, port: int, replicas: Sequence[int]) -> str:
    """The file with this machine's addresses for Docker's, and a scratch folder of its own."""
    text = _CONFIG.read_text(encoding="utf-8")
    text = text.replace("/tmp/", f"{folder}/").replace("/dev/stdout", f"{folder}/access.log")  # noqa: S108 - what stands in the file
    text = text.replace("listen 8080", f"listen {HOST}:{port}")
    for name, replica in zip(_NAMES, replicas, strict=True):
        # nginx before 1.27.3 knows no `resolve`; numbers need none.
        text = text.replace(f"{name}:8000 resolve", f"{HOST}:{replica}")
    return text


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
