"""The cluster that this process works with: joined if there is one, else started for as long as the work lasts."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import ray

from pairscore.errors import SettingError

__all__ = ["connected"]

_ANSWERS_WITHIN_S = 10.0


@contextmanager
def connected(address: str | None = None, *, dashboard: bool = False) -> Iterator[None]:
    """Work with a Ray cluster, and leave it, or end it if it was started here, when the work is over.

    A process that is connected already keeps its connection, and `address` must not name another cluster.

    Args:
        address: ``host:port`` of the cluster's head node, ``local`` for a new one on this machine, ``auto`` for the
            one that this machine is a node of. None is Ray's own rule: the variable ``RAY_ADDRESS``, else the cluster
            of this machine, else a new one with all its cores and GPUs.
        dashboard: a cluster that is started here gets Ray's dashboard.

    Raises:
        SettingError: the address is none, or no cluster of this version of Ray and Python answers there.
    """
    if ray.is_initialized():
        _check_same(address)
        yield
        return
    _connect(address, dashboard=dashboard)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None, *, dashboard: bool) -> None:
    _check_answers(address or os.environ.get("RAY_ADDRESS"))
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            include_dashboard=dashboard,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        # What Ray has half begun would stand in the way of the next try.
        ray.shutdown()
        raise _unreachable(address or "of this machine", error) from error
    finally:
        # Ray sets a handler of its own, which ends the process without a word. Only the main thread may set any.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, terminated)


def _check_answers(address: str | None) -> None:
    """Ray itself would try for minutes before it says that nobody is there."""
    if not address or address in ("auto", "local"):
        return
    if "://" in address:
        raise SettingError(
            f"Ray's address must be host:port, not {address!r}: Ray's client is not supported; "
            "run the command on a node of the cluster, or as a job of it (ray job submit)"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingError(
            f"Ray's address must be host:port, such as 10.0.0.1:6379, not {address!r}"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _check_same(address: str | None) -> None:
    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", here):
        raise SettingError(
            f"this process works with the Ray cluster at {here} already, so it cannot work with {address!r}; "
            "call ray.shutdown() before, or leave the address out"
        )


def _unreachable(address: str, error: Exception) -> SettingError:
    return SettingError(
        f"no Ray cluster answers at the address {address}: {error}; "
        "start one with `ray start --head`, or give the address local for one on this machine alone"
    )
