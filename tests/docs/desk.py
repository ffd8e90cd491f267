"""A reader's desk: a folder, a shell and an interpreter in which the blocks of a page are run, one after the other.

On the shell's path stand, before everything else, stand-ins for what must not really be done: `pip install` looks whether
the extras exist, `make` whether the target does, `pairscore serve` serves in the background on a port of its own, and
`curl` fails where the service answers with an error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.docs.pages import ROOT, Block
from tests.docs.processes import kill, stop
from tests.ports import free_port

__all__ = ["Desk", "desk"]

_HERE = Path(__file__).parent
_ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1):(8000|8080|9000)\b")
_BLOCK_S = 800.0
_END_S = 30.0


@dataclass(kw_only=True)
class Desk:
    """Where one page is read.

    Attributes:
        folder: the working folder of its blocks.
        port: on which its service listens.
        environment: of its processes.
        replacements: texts of the page that are others here, and what they are.
        strict: whether a warning in Python is an error.
    """

    folder: Path
    port: int
    environment: dict[str, str]
    replacements: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True
    _python: subprocess.Popen[str] | None = None

    @property
    def server(self) -> Path:
        """The file with the service's process id."""
        return self.folder / ".desk" / "server.pid"

    @property
    def log(self) -> Path:
        """What the service said."""
        return self.folder / ".desk" / "server.log"

    def adapted(self, text: str) -> str:
        """A page's text with this desk's port, and what is replaced."""
        for old, new in self.replacements.items():
            text = text.replace(old, new)
        return _ADDRESS.sub(f"127.0.0.1:{self.port}", text)

    def run(self, block: Block, text: str) -> str:
        """Run a block's text, or what of it can be run, and give what it printed.

        Raises:
            AssertionError: It failed; the message has its place and its last words.
        """
        text = self.adapted(text)
        if block.language == "python":
            return self._execute(block, text)
        return self.shell(text, place=block.place)

    def shell(self, text: str, *, place: str) -> str:
        """Run commands as a script that ends with the first that fails, and give their standard output.

        What it sets, the next script finds, as in one terminal.
        """
        log, kept = (self.folder / ".desk" / name for name in ("shell.err", "variables"))
        if self.server.exists():
            self.environment["PID"] = self.server.read_text().strip()
        text = f"set -a\n{text}\nenv --null > {kept}"
        with log.open("wb") as errors:
            code, output = _finished(
                subprocess.Popen(
                    ["bash", "-euo", "pipefail", "-c", text],
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                )
            )
        printed = output.decode("utf-8")
        said = log.read_text("utf-8", "replace")[-3000:]
        assert code == 0, f"{place} ends with {code}:\n{printed}\n{said}"
        variables = [entry.split("=", 1) for entry in kept.read_text("utf-8").split("\0") if entry]
        self.environment = dict(variables)
        return printed

    def _execute(self, block: Block, text: str) -> str:
        if self._python is None:
            self._python = self._interpreter()
        job = {"source": text, "page": block.page, "line": block.line}
        answer = _asked(self._python, job)
        said = (self.folder / ".desk" / "python.err").read_text("utf-8", "replace")[-2000:]
        assert answer is not None, f"{block.place} ended the interpreter:\n{said}"
        assert answer["error"] is None, f"{block.place} fails:\n{answer['error']}\n{said}"
        return str(answer["printed"])

    def _interpreter(self) -> subprocess.Popen[str]:
        strict = ["-W", "error"] if self.strict else []
        with (self.folder / ".desk" / "python.err").open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, *strict, str(_HERE / "interpreter.py")],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def end(self) -> None:
        """End what was started; the service must end well."""
        if self._python is not None:
            self._python.communicate(timeout=_END_S)
        if self.server.exists():
            stop(int(self.server.read_text()))
            self.server.unlink()
            assert "Traceback" not in self.log.read_text(), self.log.read_text()[-3000:]

    def kill(self) -> None:
        """End what is left, whatever state it is in."""
        if self._python is not None and self._python.returncode is None:
            self._python.kill()
            self._python.communicate()
        if self.server.exists():
            kill(int(self.server.read_text()))


def _finished(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """How it ended, and what it printed; what it started ends with it where it takes too long."""
    try:
        output, _ = process.communicate(timeout=_BLOCK_S)
    except BaseException:  # too late, or the tests are being stopped
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, output


def _asked(python: subprocess.Popen[str], job: Mapping[str, object]) -> dict[str, Any] | None:
    assert python.stdin is not None
    assert python.stdout is not None
    timer = threading.Timer(_BLOCK_S, python.kill)
    timer.start()
    try:
        return _exchange(python.stdin, python.stdout, job)
    finally:
        timer.cancel()


def _exchange(to: IO[str], back: IO[str], job: Mapping[str, object]) -> dict[str, Any] | None:
    to.write(json.dumps(job) + "\n")
    to.flush()
    line = back.readline()
    answer: dict[str, Any] | None = json.loads(line) if line else None
    return answer


@contextmanager
def desk(
    folder: Path,
    *,
    replacements: Mapping[str, str],
    environment: Mapping[str, str],
    strict: bool = True,
) -> Iterator[Desk]:
    """A desk in a folder, for as long as the block lasts."""
    own, port = folder / ".desk", free_port()
    own.mkdir(parents=True)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PAIRSCORE_", "HF_", "PYTEST_"))
    }
    made = Desk(
        folder=folder,
        port=port,
        replacements=replacements,
        strict=strict,
        environment={
            **inherited,
            "PATH": f"{_HERE / 'stand_ins'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(own / "home"),
            "XDG_CACHE_HOME": str(own / "cache"),
            "HF_HOME": str(own / "hub"),
            "HF_HUB_OFFLINE": "1",
            # Wide, and without colours.
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "DESK_CURL": shutil.which("curl") or "curl",
            "DESK_PYTHON": sys.executable,
            "DESK_ROOT": str(ROOT),
            "DESK_PORT": str(port),
            "DESK_SERVER": str(own / "server.pid"),
            "DESK_LOG": str(own / "server.log"),
            **environment,
        },
    )
    try:
        yield made
        made.end()
    finally:
        made.kill()
