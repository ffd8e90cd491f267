"""`serve`: the app on a socket, until a signal ends it.

Everything about processes is here: the port, the signals, the log. Nothing here knows a route.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import socket
import threading
from collections.abc import Iterator

import uvicorn

from pairscore.errors import PairscoreError, SettingError
from pairscore.service import logs
from pairscore.service.app import create_app
from pairscore.service.check import check
from pairscore.service.parts import Parts
from pairscore.service.protocol import patient_protocol
from pairscore.service.settings import ServiceSettings, calm_tokenizers, option

__all__ = ["serve"]

_log = logging.getLogger("pairscore.service")

# Answers are still written after the engine has ended its last request.
_LAST_WORDS_S = 2.0
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered before it returns.

    SIGHUP reads the file of API keys again.

    Raises:
        SettingError: settings contradict each other, or the address cannot be listened on.
        ModelError: the model cannot be found, fetched, verified or used.
    """
    logs.configure(level=settings.log_level, format=settings.log_format)
    calm_tokenizers()
    for warning in check(settings):
        _log.warning("%s", warning)
    with _bound(settings) as listener:
        _run(settings, listener)


def _run(settings: ServiceSettings, listener: socket.socket) -> None:
    app = create_app(settings)
    parts: Parts = app.state.parts
    config = uvicorn.Config(
        app,
        # Ours is configured above; uvicorn's loggers pass their records on to it.
        log_config=None,
        log_level=settings.log_level,
        access_log=False,
        lifespan="on",
        http=patient_protocol(
            head_timeout_s=settings.body_timeout_s, max_connections=settings.max_connections
        ),
        timeout_graceful_shutdown=math.ceil(settings.grace_s + _LAST_WORDS_S),
        server_header=False,
    )
    server = _Server(config, parts=parts)
    host, port = listener.getsockname()[:2]
    try:
        with _quiet_signals(server), _reloading(parts):
            _log.info(
                "pairscore on http://%s:%d, docs at /docs",
                f"[{host}]" if ":" in host else host,
                port,
            )
            server.run(sockets=[listener])
    except SystemExit:
        # uvicorn ends the process when the start fails; who called us should learn why.
        failure: PairscoreError | None = parts.runtime.failure
        if failure is None:
            raise
        raise failure from None


class _Server(uvicorn.Server):
    """uvicorn, told what a signal means here."""

    def __init__(self, config: uvicorn.Config, *, parts: Parts) -> None:
        super().__init__(config)
        self._parts = parts

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if _may_handle_hangup():
            # A signal's own handler would wait until the loop has something else to do.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._parts.keyring.reload)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # At once, beside uvicorn's own waiting for connections: what comes on those is refused, what was
        # admitted is finished, and after the grace period whoever still waits is told.
        draining = asyncio.create_task(self._parts.runtime.drain())
        await super().shutdown(sockets)
        await draining
        if self.force_exit:
            # A second Ctrl-C: uvicorn waits for nobody any more, but what was opened is closed.
            await self.lifespan.shutdown()


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
def _reloading(parts: Parts) -> Iterator[None]:
    """Read the keys again on SIGHUP, also before the event loop turns: unhandled, it would end the process."""
    if not _may_handle_hangup():
        yield
        return
    before = signal.signal(signal.SIGHUP, lambda *_: parts.keyring.reload())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _may_handle_hangup() -> bool:
    return hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _quiet_signals(server: uvicorn.Server) -> Iterator[None]:
    """Let a signal that comes before uvicorn listens to signals end the server too.

    uvicorn raises its signal once more at its end; after a graceful end that is no news.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in _END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
