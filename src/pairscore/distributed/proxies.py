"""Ray Serve's proxies: the doors of the service on a cluster, on the address of the settings."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from ray import serve
from ray.exceptions import RayError

from pairscore.errors import SettingError, WorkerError
from pairscore.service.settings import ServiceSettings, option

__all__ = ["are_there", "start"]

_log = logging.getLogger("pairscore.service")

_HEALTHY: Final = "HEALTHY"
# A proxy that does not listen at the third look, five seconds each, is killed; the next one is given more.
_LISTENS_WITHIN_S: Final = 120.0
_POLL_S: Final = 0.1


def are_there() -> bool:
    """Whether Serve runs on the cluster already."""
    status = serve.status()
    return bool(status.proxies) or bool(status.applications)


def start(
    settings: ServiceSettings, *, was_there: bool, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Start Serve with its proxies on the settings' address, and wait until one of them listens.

    Args:
        settings: of the service; host and port are the proxies'.
        was_there: Serve runs already, and its address is only compared.
        stopped: asked now and then; if it says yes, nobody waits any more.

    Raises:
        SettingError: somebody else has the address, or Serve is there on another one.
        WorkerError: no proxy begins to listen.
    """
    if not was_there:
        _check_free(settings)
    try:
        serve.start(http_options={"host": settings.host, "port": settings.port})
    except (RayError, TimeoutError) as error:
        # On a busy machine the first proxy is too slow for Ray, which has begun the next one by now.
        _log.warning(
            "a proxy of Ray Serve did not start, and is tried again: %s", _first_line(error)
        )
    if was_there:
        _check_same(settings)
    with ExitStack() as undo:
        if not was_there:
            undo.callback(serve.shutdown)
        _wait(stopped)
        undo.pop_all()


def _wait(stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + _LISTENS_WITHIN_S
    while not stopped():
        proxies = serve.status().proxies
        if _HEALTHY in proxies.values():
            return
        if time.monotonic() > until:
            states = ", ".join(sorted(state.value for state in proxies.values())) or "none"
            raise WorkerError(
                f"no proxy of Ray Serve listens after {_LISTENS_WITHIN_S:.0f} s (they are: {states}); look into "
                "serve/proxy_*.log in the folder of Ray's logs, on each node"
            )
        time.sleep(_POLL_S)


def _check_same(settings: ServiceSettings) -> None:
    """What is there must have the settings' address.

    Raises:
        SettingError: it has another one.
    """
    there = serve.context._get_global_client().http_config  # noqa: SLF001 - nothing else tells
    if (there.host, there.port) != (settings.host, settings.port):
        raise SettingError(
            f"Ray Serve on this cluster listens on {there.host}, port {there.port} already, so it cannot on "
            f"{settings.host}, port {settings.port}; give those with {option('host')} and {option('port')}, or "
            "end it with: serve shutdown"
        )


def _check_free(settings: ServiceSettings) -> None:
    """Find out before a model is loaded that nobody could listen there.

    Raises:
        SettingError: so it is.
    """
    if not settings.port:
        raise SettingError(
            "port is 0, a free one; on a Ray cluster every node listens on the same, so it must be a number; "
            f"set it with {option('port')}"
        )
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
    except OSError as error:
        raise SettingError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}; "
            f"choose another address with {option('host')} or another port with {option('port')}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
