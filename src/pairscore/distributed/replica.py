"""One replica: the service's own app, with its engine, inside a process of Ray Serve.

Ray Serve calls the methods of `Replica` by their names: `check_health` decides whether it is replaced,
`record_autoscaling_stats` how many there are. All of them run on one event loop, the app's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from ray import serve

from pairscore.distributed.failing import ReplicaStartError
from pairscore.distributed.relay import (
    ASGIApp,
    Message,
    Receive,
    Relayed,
    Reply,
    Scope,
    Send,
    read,
    streamed,
)
from pairscore.distributed.scaling import QUEUE_TOKENS
from pairscore.distributed.summaries import Exposed, metrics
from pairscore.errors import ClosedError, PairscoreError
from pairscore.service import logs
from pairscore.service.app import create_app
from pairscore.service.parts import Parts
from pairscore.service.problems import REQUEST_ID_HEADER
from pairscore.service.settings import ServiceSettings, calm_tokenizers

__all__ = ["METRICS_PATH", "OneOfSeveral", "OnlyReplica", "exposed_by", "serve_asgi"]

METRICS_PATH: Final = "/metrics"
# A replica that is about to end does not hold up the others' numbers.
_EXPOSED_WITHIN_S: Final = 5.0
_REQUEST_ID: Final = REQUEST_ID_HEADER.lower().encode("ascii")
# A queue that ends is no illness: Ray ends it.
_NO_REASON: Final = frozenset({"accepting"})


class Replica:
    """The app, opened when the replica starts and closed after its last request was answered.

    Args:
        settings: of the service; what they name must be there on every node.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._app: ASGIApp
        self._parts: Parts
        self._opened: AbstractAsyncContextManager[Any] | None = None

    async def open(self) -> None:
        """Open the app: load the model, score a first pair.

        Raises:
            ReplicaStartError: it cannot be done.
        """
        logs.configure(level=self._settings.log_level, format=self._settings.log_format)
        calm_tokenizers()
        try:
            app = create_app(self._settings)
            opened = app.router.lifespan_context(app)
            await opened.__aenter__()
        except PairscoreError as error:
            raise ReplicaStartError(error) from None
        self._app, self._parts, self._opened = app, app.state.parts, opened

    async def __del__(self) -> None:
        """Close the app; Ray Serve has waited for the requests."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.__aexit__(None, None, None)

    async def check_health(self) -> None:
        """Say what `/readyz` says; three times wrong in a row, and Ray Serve puts another replica in the place.

        Raises:
            ClosedError: a check fails.
        """
        checks = self._parts.runtime.readiness().checks
        wrong = [f"{name}: {why}" for name, why in checks.items() if why and name not in _NO_REASON]
        if wrong:
            raise ClosedError(f"this replica is not ready ({'; '.join(wrong)})")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """The tokens that wait or run, in all engines of this replica."""
        members = self._parts.runtime.fleet.members
        loaded = [member.loaded for member in members if member.loaded is not None]
        return {QUEUE_TOKENS: float(sum(one.engine.state().queue_tokens for one in loaded))}

    async def answer(self, relayed: Relayed) -> AsyncIterator[list[Message]]:
        """What the app answers to a request that a gateway read, in portions."""
        async for portion in streamed(self._app, relayed):
            yield portion

    async def exposition(self) -> Exposed:
        """The numbers of this replica."""
        here = serve.get_replica_context()
        content, _ = self._parts.telemetry.exposition()
        return Exposed(
            deployment=here.deployment, replica=here.replica_tag, text=content.decode("utf-8")
        )


class OnlyReplica(Replica):
    """A replica of the only model: the proxies talk to it."""

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Open the app, and give what the proxies are to talk to."""
        await self.open()
        return serve_asgi(self._whole)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app, but for its numbers: those of all replicas."""
        if scope["type"] != "http" or scope["path"] != METRICS_PATH or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        relayed = await read(scope, receive, max_bytes=0, timeout_s=_EXPOSED_WITHIN_S)
        # The app decides whether this caller may see them.
        allowed = Reply.of(
            [one async for portion in streamed(self._app, relayed) for one in portion]
        )
        here = serve.get_replica_context()
        mine = serve.get_deployment_handle(here.deployment, here.app_name)
        await metrics(allowed, await exposed_by(mine)).send(send)


class OneOfSeveral(Replica):
    """A replica of one of several models: a gateway talks to it."""

    async def __init__(self, settings: ServiceSettings) -> None:  # type: ignore[misc]
        # Ray Serve awaits this, and a failure in it is one of the start.
        super().__init__(settings)
        await self.open()


async def exposed_by(deployment: Any) -> list[Exposed]:
    """The numbers of a deployment's replicas; one that does not answer in time is left out.

    Args:
        deployment: its handle.
    """
    asked = deployment.broadcast("exposition")
    try:
        told = await asked.results_async(timeout_s=_EXPOSED_WITHIN_S, return_exceptions=True)
    except TimeoutError:
        return []
    return [one for one in told if isinstance(one, Exposed)]


def serve_asgi(app: ASGIApp) -> ASGIApp:
    """The app, for Ray Serve's proxies.

    They add the caller's request id to each answer, which has it already. The start and the end are the replica's
    own, because Ray Serve would hide why a start failed.
    """

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return

        async def send_once(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _without_echo(scope, message["headers"])}
            await send(message)

        await app(scope, receive, send_once)

    return served


def _without_echo(scope: Scope, headers: Any) -> list[tuple[bytes, bytes]]:
    asked = {bytes(value) for name, value in scope["headers"] if name.lower() == _REQUEST_ID}
    return [
        (name, value)
        for name, value in headers
        if not (name.lower() == _REQUEST_ID and bytes(value) in asked)
    ]


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
