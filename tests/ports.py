"""Ports on which nobody listens, for servers under test; and whether one does by now."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

__all__ = ["free_port", "free_ports", "listens"]


def free_port() -> int:
    """One port."""
    (port,) = free_ports(1)
    return port


def free_ports(num: int) -> list[int]:
    """As many different ones; all are held until the last is known."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(num)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def listens(port: int, *, within_s: float) -> bool:
    """Wait until somebody listens there; False if nobody does in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False
