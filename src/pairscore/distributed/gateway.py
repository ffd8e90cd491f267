"""The gateway before several models: it reads which model a request names, and hands it to that model's deployment.

It holds no model and knows no key: the service in the replica refuses, counts and answers. Only what each deployment
can say of itself alone is asked of all, and put together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pairscore.distributed import summaries
from pairscore.distributed.relay import ASGIApp, Receive, Relayed, Reply, Scope, Send, read
from pairscore.distributed.replica import METRICS_PATH, exposed_by, serve_asgi
from pairscore.distributed.spreading import MODEL_LISTS, Deployed, by_name, named
from pairscore.service.settings import ServiceSettings

__all__ = ["Gateway"]

_READINESS: Final = "/readyz"
_INFO: Final = "/info"
# A model whose replicas are all away is said to be, and does not hold up the others.
_ANSWERED_WITHIN_S: Final = 5.0

_Summary: TypeAlias = Callable[[Mapping[str, Reply | None]], Reply]
_SUMMARIES: Final[Mapping[str, _Summary]] = {
    _READINESS: summaries.readiness,
    _INFO: summaries.info,
    **dict.fromkeys(MODEL_LISTS, summaries.models),
}


class Gateway:
    """Sends each request to the deployment of its model.

    Args:
        settings: of the service as a whole; their limits on bodies hold here too.
        deployed: what is deployed, the default first.
        handles: of the deployments, in the same order.
    """

    def __init__(
        self, settings: ServiceSettings, deployed: Sequence[Deployed], handles: Sequence[Any]
    ) -> None:
        self._settings = settings
        self._by_name = by_name(deployed)
        self._default = deployed[0]
        self._handles = {one.model: handle for one, handle in zip(deployed, handles, strict=True)}

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What the proxies talk to."""
        return serve_asgi(self._route)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        settings = self._settings
        relayed = await read(
            scope, receive, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s
        )
        path = scope["path"].rstrip("/")
        if scope["method"] == "GET" and path == METRICS_PATH:
            await (await self._metrics(relayed)).send(send)
        elif scope["method"] == "GET" and path in _SUMMARIES:
            await _SUMMARIES[path](await self._asked(relayed)).send(send)
        else:
            await self._relay(relayed, send)

    async def _relay(self, relayed: Relayed, send: Send) -> None:
        """To one replica of the model that is named; an unknown name goes to the default, which refuses it."""
        name = await asyncio.to_thread(named, relayed)
        model = self._by_name.get(name or "", self._default).model
        answering = self._handles[model].options(stream=True).answer.remote(relayed)
        try:
            async for portion in answering:
                for message in portion:
                    await send(message)
        finally:
            # Without effect on what was answered; a client that left cancels its request there.
            answering.cancel()

    async def _metrics(self, relayed: Relayed) -> Reply:
        allowed = await self._reply(self._default.model, relayed)
        exposed = await asyncio.gather(*map(exposed_by, self._handles.values()))
        return summaries.metrics(allowed, [one for told in exposed for one in told])

    async def _asked(self, relayed: Relayed) -> dict[str, Reply | None]:
        """What one replica of each deployment answers; None where none does in time."""
        replies = await asyncio.gather(
            *(_in_time(self._reply(model, relayed)) for model in self._handles)
        )
        return dict(zip(self._handles, replies, strict=True))

    async def _reply(self, model: str, relayed: Relayed) -> Reply:
        answering = self._handles[model].options(stream=True).answer.remote(relayed)
        try:
            return Reply.of([message async for portion in answering for message in portion])
        finally:
            answering.cancel()


async def _in_time(reply: Awaitable[Reply]) -> Reply | None:
    try:
        async with asyncio.timeout(_ANSWERED_WITHIN_S):
            return await reply
    except TimeoutError:
        return None
