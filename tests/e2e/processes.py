"""Commands as processes that are stopped in the middle of their work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT_S = 100
_LOOK_EVERY_S = 0.002


def started(*args: object) -> subprocess.Popen[str]:
    """`pairscore` with these arguments; both its outputs are read."""
    return subprocess.Popen(
        [sys.executable, "-m", "pairscore", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What it said on standard error; it must end without an error."""
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, said
    return said


def wait_until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until something is there; the process must be at work as long."""
    until = time.monotonic() + TIMEOUT_S
    while not there():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < until
        time.sleep(_LOOK_EVERY_S)


def size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
