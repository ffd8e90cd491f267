"""Processes that are no children of ours: whether they run, and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

__all__ = ["kill", "stop"]

_END_S = 30.0


def stop(process: int) -> None:
    """End it politely; it must be gone in time."""
    until = time.monotonic() + _END_S
    _signal(process, signal.SIGTERM)
    while _runs(process):
        if time.monotonic() > until:
            raise TimeoutError(f"process {process} does not end")
        time.sleep(0.05)


def kill(process: int) -> None:
    """End it, whatever it does."""
    _signal(process, signal.SIGKILL)


def _signal(process: int, number: int) -> bool:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def _runs(process: int) -> bool:
    """One that ended stays as a zombie where nobody waits for it, which is not running."""
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return not Path("/proc/self").exists() and _signal(process, 0)
    return "\nState:\tZ" not in status
