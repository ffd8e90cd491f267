"""`serve`: the app on a socket, until a signal ends it.

Everything about processes is here: the port, the signals, the log. Nothing here knows a route.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator

import uvicorn

from pairscore.errors import PairscoreError, SettingError
from pairscore.service.app import create_app
from pairscore.service.routes import Parts
from pairscore.service.settings import ServiceSettings, option

__all__ = ["serve"]

_log = logging.getLogger("pairscore.service")

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_DRAIN_S = 30
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered before it returns.

    Raises:
        SettingError: the address cannot be listened on.
        ModelError: the model cannot be found, fetched, verified or used.
    """
    logging.basicConfig(level=settings.log_level.upper(), format=_LOG_FORMAT)
    with _bound(settings) as listener:
        _run(settings, listener)


def _run(settings: ServiceSettings, listener: socket.socket) -> None:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        # Ours is configured above; uvicorn's loggers pass their records on to it.
        log_config=None,
        log_level=settings.log_level,
        lifespan="on",
        timeout_graceful_shutdown=_DRAIN_S,
        server_header=False,
    )
    host, port = listener.getsockname()[:2]
    _log.info(
        "pairscore on http://%s:%d, docs at /docs", f"[{host}]" if ":" in host else host, port
    )
    try:
        with _quiet_signals():
            uvicorn.Server(config).run(sockets=[listener])
    except SystemExit:
        # uvicorn ends the process when the start fails; who called us should learn why.
        parts: Parts = app.state.parts
        failure: PairscoreError | None = parts.worker.failure
        if failure is None:
            raise
        raise failure from None


def _bound(settings: ServiceSettings) -> socket.socket:
    """A socket on the address, so that a port in use is an error of ours before a model is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise SettingError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}; "
            f"choose another address with {option('host')} or another port with {option('port')}"
        ) from error
    return listener


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    """Swallow the signal that uvicorn raises once more at its end; after a graceful end it is no news."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in _END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
