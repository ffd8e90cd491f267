"""`Access`: who may use the service, and how much of it. Plain ASGI, outside of everything that reads a body.

When there are keys, every path needs one but those that are named as public, so that a route which
somebody adds later is protected by itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pairscore.errors import SettingError
from pairscore.service.keys import Entry, KeyRing
from pairscore.service.problems import of_refusal
from pairscore.service.refusals import Refusal

__all__ = ["KEY_NAME", "PUBLIC_PATHS", "PUBLIC_PREFIXES", "Access", "charge"]

_log = logging.getLogger("pairscore.service")

PUBLIC_PATHS: Final = frozenset({"/livez", "/readyz", "/health", "/", "/docs", "/openapi.json"})
"""What probes, and people who have no key yet, must reach. It tells nothing about anybody's texts."""
PUBLIC_PREFIXES: Final = frozenset({"/docs-files/", "/page/"})
"""Folders of static files, each with a slash at its end."""

KEY_NAME: Final = "key_name"
"""Where a request's state holds the name of its key; an empty string when there is none."""
_METER: Final = "key_meter"

# A public path is public to be read; what somebody posts to the same path needs a key.
_READING: Final = frozenset({"GET", "HEAD"})
# Below a public folder only plain names, so that no way leads out of it again.
_PLAIN_NAMES: Final = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:/(?!\.)[A-Za-z0-9._-]+)*", re.ASCII)
# No key is longer, and hashing a long header would be work done for a stranger.
_MAX_KEY_BYTES: Final = 512
# WebSocket's code for a policy that was not met (RFC 6455, section 7.4.1).
_POLICY_VIOLATION: Final = 1008

# RFC 6750, section 3: every 401 names the scheme, and says so if a key came and was wrong.
_ASK: Final = {"WWW-Authenticate": "Bearer"}
_ASK_AGAIN: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
_HOW: Final = "send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`"


class Access:
    """Lets a request in if its key is known, not revoked and within its quota.

    The request's state then holds the key's name. The body is not touched before.

    Args:
        app: what is protected.
        keyring: the keys; an empty one lets everybody in.
        public: paths that need no key to be read, exactly as a route has them.
        public_prefixes: folders whose files need no key to be read, such as ``/files/``.
        on_refused: called with the kind of each refusal, for metrics.

    Raises:
        SettingError: a public path or prefix would open more than it says.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keyring: KeyRing,
        public: Collection[str] = PUBLIC_PATHS,
        public_prefixes: Collection[str] = PUBLIC_PREFIXES,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._public = frozenset(public)
        self._public_prefixes = tuple(public_prefixes)
        self._on_refused = on_refused
        _check_public(self._public, self._public_prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it; start-up and shutdown pass."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state[KEY_NAME] = ""
        try:
            if not self._is_open(scope):
                _admit(self._keyring, scope)
        except Refusal as refusal:
            self._report(refusal, state)
            # Answered here: the handlers of exceptions sit further inside and would not see it.
            await _answer(refusal, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        if self._keyring.empty:
            return True
        if scope["type"] != "http" or scope["method"] not in _READING:
            return False
        path = _route_path(scope)
        return path in self._public or any(
            path.startswith(prefix) and _PLAIN_NAMES.fullmatch(path, len(prefix)) is not None
            for prefix in self._public_prefixes
        )

    def _report(self, refusal: Refusal, state: Mapping[str, Any]) -> None:
        _log.info(
            "request %s refused: %s, key name %r",
            state.get("request_id", "unknown"),
            refusal.kind,
            state[KEY_NAME],
        )
        if self._on_refused is not None:
            self._on_refused(refusal.kind)


def charge(connection: HTTPConnection, *, num_tokens: int) -> None:
    """Count the tokens that a request cost, after it was scored; without a quota it does nothing.

    It refuses nothing: what goes beyond the quota becomes a debt, and the key's next requests wait.
    """
    meter = connection.scope.get("state", {}).get(_METER)
    if meter is not None:
        meter.charge(num_tokens=num_tokens)


def _admit(keyring: KeyRing, scope: Scope) -> None:
    """Let a request in that needs a key, or raise the `Refusal`. No message holds a part of a key."""
    given = _given_keys(scope["headers"])
    if not given:
        raise Refusal(
            "KeyMissingError",
            f"this path needs an API key and none was found; {_HOW}. "
            "The operator makes one with `pairscore keys new NAME`",
            headers=_ASK,
        )
    if len(given) > 1:
        raise Refusal(
            "KeyUnknownError",
            f"the request holds {len(given)} different API keys; {_HOW}, and only once",
            headers=_ASK_AGAIN,
        )
    (key,) = given
    entry = keyring.find(key) if len(key) <= _MAX_KEY_BYTES else None
    if entry is None:
        raise Refusal(
            "KeyUnknownError",
            "the API key is not known to this service; check that all of it was copied, "
            "and that it was made for this service",
            headers=_ASK_AGAIN,
        )
    _enter(entry, scope["state"])


def _enter(entry: Entry, state: dict[str, Any]) -> None:
    """Let a request in whose key is known, if nothing else speaks against it."""
    name = entry.key.name
    state[KEY_NAME] = name
    if entry.key.revoked:
        raise Refusal(
            "KeyRevokedError", f"the API key {name!r} is revoked; ask the operator for a new one"
        )
    exhausted = entry.meter.enter()
    if exhausted is not None:
        wait_s = exhausted.retry_after_s
        raise Refusal(
            "QuotaError",
            f"the API key {name!r} has used up its quota {exhausted.quota} = {exhausted.limit:,}; "
            f"send the request again in {wait_s:,} s, or ask the operator to raise "
            f"{exhausted.quota} in the keys file",
            headers={"Retry-After": str(wait_s)},
        )
    state[_METER] = entry.meter


def _given_keys(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """The different keys in the headers. Another scheme than Bearer is a proxy's own business.

    A value without any scheme counts as a key: some clients send what they were given as it is.
    """
    given = set()
    for raw_name, value in headers:
        name = raw_name.lower()
        if name == b"x-api-key":
            given.add(value.strip())
        elif name == b"authorization":
            scheme, _, credentials = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                given.add(credentials.strip())
            elif not credentials:
                given.add(scheme)
    return given - {b""}


def _route_path(scope: Scope) -> str:
    """The path as the router will match it: decoded, and without the path that a proxy put before it.

    The same steps as Starlette's own `get_route_path`, which is private; a test holds both together.
    """
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    if not root_path or not path.startswith(root_path):
        return path
    rest = path[len(root_path) :]
    return rest if rest[:1] in ("", "/") else path


def _check_public(paths: Iterable[str], prefixes: Iterable[str]) -> None:
    for path in paths:
        if not path.startswith("/"):
            raise SettingError(f"the public path {path!r} matches nothing; begin it with /")
    for prefix in prefixes:
        if prefix == "/" or not (prefix.startswith("/") and prefix.endswith("/")):
            raise SettingError(
                f"the public prefix {prefix!r} opens more than one folder; write it as /folder/"
            )


async def _answer(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        response = await of_refusal(Request(scope), refusal)
        await response(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal.kind})
