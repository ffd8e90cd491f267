"""Make the environments in which the peers of the benchmark run, beside the project's own.

`.venv-oracle` holds pairscore with sentence-transformers 6 and torch; `.venv-peers` holds
sentence-transformers' ONNX backend and FlashRank, which need older transformers; `.venv-infinity` holds the
Infinity server, which needs older versions of nearly everything. An environment is made once, and again when
its requirements change. Run it alone with::

    python benchmarks/setup_peers.py            # or: python benchmarks/setup_peers.py oracle
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from texts import ROOT

__all__ = ["ENVIRONMENTS", "Environment", "SetupError", "ensure"]

_STAMP = ".benchmarks-ready"
_TAIL = 12


class SetupError(Exception):
    """An environment could not be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment: its folder, what pip is told, and the files that decide what it holds."""

    name: str
    folder: Path
    pip: tuple[str, ...]
    sources: tuple[Path, ...]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        place = "Scripts/python.exe" if os.name == "nt" else "bin/python"
        return self.folder / place

    @property
    def fingerprint(self) -> str:
        """Changes when the environment has to be made again."""
        content = b"".join(path.read_bytes() for path in self.sources if path.is_file())
        return hashlib.sha256(content + " ".join(self.pip).encode()).hexdigest()

    @property
    def is_ready(self) -> bool:
        """Whether it was made, completely, from today's requirements."""
        stamp = self.folder / _STAMP
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == self.fingerprint


def _constraints() -> tuple[str, ...]:
    path = ROOT / "constraints.txt"
    return ("-c", str(path)) if path.is_file() else ()


ENVIRONMENTS = {
    "oracle": Environment(
        name="oracle",
        folder=ROOT / ".venv-oracle",
        pip=("-e", f"{ROOT}[oracle,dev]", *_constraints()),
        sources=(ROOT / "pyproject.toml", ROOT / "constraints.txt"),
    ),
    "peers": Environment(
        name="peers",
        folder=ROOT / ".venv-peers",
        pip=("-r", str(ROOT / "benchmarks/peers/requirements.txt")),
        sources=(ROOT / "benchmarks/peers/requirements.txt",),
    ),
    "infinity": Environment(
        name="infinity",
        folder=ROOT / ".venv-infinity",
        pip=("-r", str(ROOT / "benchmarks/peers/infinity-requirements.txt")),
        sources=(ROOT / "benchmarks/peers/infinity-requirements.txt",),
    ),
}


def ensure(name: str) -> Path:
    """Make an environment if it is not ready; returns its interpreter.

    Raises:
        SetupError: it cannot be made here.
    """
    environment = ENVIRONMENTS[name]
    if not environment.is_ready:
        _make(environment)
    return environment.python


def _make(environment: Environment) -> None:
    begin = time.perf_counter()
    _say(f"making {environment.folder.name}: torch is big, this takes a few minutes the first time")
    (environment.folder / _STAMP).unlink(missing_ok=True)
    if not environment.python.exists():
        _run([sys.executable, "-m", "venv", str(environment.folder)], environment)
    pip = [
        str(environment.python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    _run([*pip, *environment.pip], environment)
    (environment.folder / _STAMP).write_text(environment.fingerprint, encoding="utf-8")
    _say(f"{environment.folder.name} is ready after {time.perf_counter() - begin:.0f} s")


def _run(command: Sequence[str], environment: Environment) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise SetupError(
            f"{environment.folder.name} cannot be made: {' '.join(command)} ended with "
            f"{done.returncode}; it said: {' | '.join(lines[-_TAIL:])}"
        )


def _say(message: str) -> None:
    print(f"[setup] {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environments that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ENVIRONMENTS, []], help="default: all")
    parser.add_argument("--remove", action="store_true", help="remove them instead")
    options = parser.parse_args(arguments)
    status = 0
    for name in options.names or ENVIRONMENTS:
        if options.remove:
            shutil.rmtree(ENVIRONMENTS[name].folder, ignore_errors=True)
            continue
        try:
            _say(f"{name}: {ensure(name)}")
        except SetupError as error:
            _say(f"{name}: not set up: {error}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
