"""One server as a process: started, waited for, watched, ended with everything that it started.

Nothing here knows which server it is; `contestants.py` of this folder does.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from pairscore.closing import Closing
from serve.client import HOST
from serve.traffic import Request, Wire
from workers import OFFLINE, WORK, PeerError

__all__ = ["Server", "Spec", "Usage", "Watch"]

_START_S, _ASK_S, _END_S = 240.0, 60.0, 20.0
_LOOK_EACH_S = 0.2
_TAIL = 8
_MEGABYTE = 1e6
_OK = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One server that can be measured.

    Attributes:
        name: the row in the tables.
        python: the interpreter of its environment.
        command: what is run, given the port.
        wire: how it wants a request of so many documents.
        scores_wire: how it is asked for logits.
        health: routes that say it lives; the first that exists is asked during every load.
        folder: where it runs.
        logs: where what it prints is kept.
        environment: added to this process's own.
        packages: whose versions are told.
        note: how it runs.
    """

    name: str
    python: Path
    command: Callable[[int], Sequence[str]]
    wire: Callable[[int], Wire]
    scores_wire: Wire
    health: tuple[str, ...] = ("/health",)
    folder: Path = WORK
    logs: Path = WORK
    environment: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    note: str = ""

    @property
    def log(self) -> Path:
        """Keeps what it prints."""
        return self.logs / f"serve-{self.name.replace(' ', '-').replace(',', '')}.log"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server used during one load: resident megabytes at the end and at most, CPU seconds."""

    rss_mb: float
    peak_mb: float
    cpu_s: float


class Server(Closing):
    """A running server; use it as a context manager.

    Raises:
        PeerError: it ended or did not answer in time; the message ends in what it printed last.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.port = _free_port()
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        with spec.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                list(spec.command(self.port)),
                cwd=spec.folder,
                env={**os.environ, **OFFLINE, **spec.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A process group of its own, so that it ends with everything that it started.
                start_new_session=True,
            )
        try:
            self._wait(begin + _START_S)
            self.start_s = time.perf_counter() - begin
            self.health = next(path for path in spec.health if self.get(path) == _OK)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def get(self, path: str) -> int | None:
        """The status of a route; None while nothing answers."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_ASK_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def scores(self, request: Request) -> list[float]:
        """The logits of a request, in the order of its documents.

        Raises:
            PeerError: it did not answer as it should.
        """
        wire = self.spec.scores_wire
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_ASK_S)
        try:
            headers = {"content-type": "application/json"}
            connection.request("POST", wire.path, wire.body(request), headers)
            return wire.scores(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            raise self.failure(f"did not tell its scores ({error!r})") from error
        finally:
            connection.close()

    def failure(self, reason: str) -> PeerError:
        """The reason, and what the server printed last."""
        lines = self.spec.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return PeerError(f"{self.spec.name} {reason}: {' | '.join(lines[-_TAIL:])}")

    def close(self) -> None:
        """End it and its whole process group."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_END_S)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _wait(self, end: float) -> None:
        while True:
            if self._process.poll() is not None:
                raise self.failure(f"ended with {self._process.returncode}")
            # The last route is there on every server and tells of the model; the others are tried once it does.
            if self.get(self.spec.health[-1]) == _OK:
                return
            if time.perf_counter() > end:
                raise self.failure(f"did not answer within {_START_S:.0f} s")
            time.sleep(_LOOK_EACH_S)


class Watch:
    """Looks at a process and all that it started while something runs.

    Use it as a context manager; `usage` is there afterwards. Pages that processes share count once for each.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._peak = 0.0
        self._cpu = 0.0
        self.usage = Usage(0.0, 0.0, 0.0)

    def __enter__(self) -> Self:
        self._cpu = self._cpu_s()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        rss = self._rss_mb()
        self.usage = Usage(rss, max(self._peak, rss), self._cpu_s() - self._cpu)

    def _look(self) -> None:
        while not self._done.wait(_LOOK_EACH_S):
            self._peak = max(self._peak, self._rss_mb())

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return []

    def _rss_mb(self) -> float:
        total = 0
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total / _MEGABYTE

    def _cpu_s(self) -> float:
        total = 0.0
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
