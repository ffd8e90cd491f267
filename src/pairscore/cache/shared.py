"""Scores that all replicas share, in Redis; where Redis is away, scoring is slower and nothing else.

Whatever Redis does, a call here ends in time and raises nothing: an answer is a hit, everything else a miss.
"""

from __future__ import annotations

import asyncio
import logging
import math
import struct
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pairscore.cache.base import CachedScore, CacheStats, check_ttl, is_keepable
from pairscore.cache.breaker import Breaker
from pairscore.errors import MissingExtraError, SettingError

__all__ = ["RedisCache"]

_LOG = logging.getLogger("pairscore.cache")
_T = TypeVar("_T")

# Version, logit, tokens, truncated; then a check over the key and these, so that a value that was meant for
# another key, or that something else wrote, is not taken for a score.
_BODY = struct.Struct("<BfI?")
_CHECK = struct.Struct("<I")
_VERSION = 1
_VALUE_BYTES = _BODY.size + _CHECK.size

_CHUNK = 500
"""Keys in one MGET, or SETs in one pipeline: one to four milliseconds of work before others get a turn."""
_MAX_CONNECTIONS = 16
_CLOSE_S = 1.0
_MAX_TTL_S = 10 * 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class _Kind:
    """Reading or writing: Redis may refuse the one (no permission, no memory) and do the other."""

    verb: str
    breaker: Breaker


class RedisCache:
    """A `ScoreCache` in Redis, for many processes; it needs the extra ``redis``.

    Two kinds of failure are kept apart. When Redis does not answer (down, hanging, loading, wrong password),
    everything is skipped. When it answers with a refusal (out of memory, not permitted, a read-only replica),
    only what it refuses is skipped. Either way one probe at a time tries again, after pauses from 1 to 30
    seconds, and the change is logged once, without keys and without the URL.
    """

    def __init__(
        self,
        *,
        url: str,
        ttl_s: float,
        prefix: str = "pairscore",
        timeout_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the client; nothing is connected before the first call.

        Args:
            url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password where needed.
            ttl_s: seconds that Redis keeps a score; ten years at most.
            prefix: what the keys in Redis begin with.
            timeout_s: what one call may take in all, connecting included, for each 500 keys or part of them.
            clock: seconds that never go back, for the pauses.

        Raises:
            MissingExtraError: redis-py is not installed.
            SettingError: the URL is none, or a number makes no sense.
        """
        check_ttl(ttl_s)
        if not (timeout_s > 0 and math.isfinite(timeout_s)):
            raise SettingError(
                f"the shared cache's timeout_s is {timeout_s!r}; it must be a finite number above 0"
            )
        self._client = _connectable(url, timeout_s=timeout_s)
        self._outages = _outages()
        self._place = _place(self._client)
        self._ttl_ms = max(1, round(min(ttl_s, _MAX_TTL_S) * 1000))
        self._prefix = f"{prefix}:{_VERSION}:".encode()
        self._timeout_s = timeout_s
        self._num_slots = min(_MAX_CONNECTIONS, self._client.connection_pool.max_connections)
        self._slots = asyncio.Semaphore(self._num_slots)
        self._link = Breaker(clock=clock)
        self._reading = _Kind("read", Breaker(clock=clock))
        self._writing = _Kind("written", Breaker(clock=clock))
        self._num_hits = self._num_misses = self._num_errors = 0
        self._closed = False

    async def get_many(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        """What Redis knows, in the order of the keys; at an outage, what came before it."""
        values: list[Any] = []

        async def read() -> None:
            for chunk in _chunks(keys):
                answer = await self._client.mget([self._prefix + key for key in chunk])
                if not isinstance(answer, list) or len(answer) != len(chunk):
                    raise ValueError("the answer has not one value for each key")
                values.extend(answer)

        await self._ask(self._reading, read, num_keys=len(keys))
        values += [None] * (len(keys) - len(values))
        found = [_unpack(key, value) for key, value in zip(keys, values, strict=True)]
        num_hits = sum(score is not None for score in found)
        self._num_hits += num_hits
        self._num_misses += len(found) - num_hits
        return found

    async def put_many(self, entries: Sequence[tuple[bytes, CachedScore]]) -> None:
        """Keep scores in Redis, for all; at an outage, what was sent before it."""
        kept = [(key, score) for key, score in entries if is_keepable(score)]

        async def write() -> None:
            for chunk in _chunks(kept):
                async with self._client.pipeline(transaction=False) as pipe:
                    for key, score in chunk:
                        # Not `pipe.set`: building its options takes a quarter of the whole time.
                        pipe.execute_command(
                            "SET", self._prefix + key, _pack(key, score), "PX", self._ttl_ms
                        )
                    await pipe.execute()

        await self._ask(self._writing, write, num_keys=len(kept))

    async def close(self) -> None:
        """Let the calls that run end, which takes no longer than their timeout, and disconnect."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self._num_slots):
            await self._slots.acquire()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._client.aclose()
        except self._outages as error:
            _LOG.info("disconnecting from the shared score cache failed: %s", type(error).__name__)

    def stats(self) -> CacheStats:
        """What happened so far; what Redis holds is not this process's to count."""
        return CacheStats(
            num_hits=self._num_hits,
            num_misses=self._num_misses,
            num_shared_hits=self._num_hits,
            shared_errors=self._num_errors,
        )

    async def _ask(
        self, kind: _Kind, work: Callable[[], Awaitable[None]], *, num_keys: int
    ) -> None:
        """Do it in time unless it is known to fail, and learn from how it went."""
        if self._closed or not num_keys:
            return
        permit = kind.breaker.enter()
        if permit is None:
            return
        ticket = self._link.enter()
        if ticket is None:
            kind.breaker.abandon(permit)
            return
        try:
            # One timeout around everything: redis-py's own are several in a row, and its socket timeout
            # doubles the time of a pipeline by a timer for every reply.
            async with asyncio.timeout(self._timeout_s * math.ceil(num_keys / _CHUNK)):
                async with self._slots:
                    await work()
        except self._outages as error:
            self._num_errors += 1
            self._learn(kind, error, permit=permit, ticket=ticket)
        except BaseException:
            self._link.abandon(ticket)
            kind.breaker.abandon(permit)
            raise
        else:
            self._learn(kind, None, permit=permit, ticket=ticket)

    def _learn(self, kind: _Kind, error: Exception | None, *, permit: int, ticket: int) -> None:
        # The error's text may hold a key, so only its name is logged.
        name = type(error).__name__
        if error is not None and not _is_refusal(error):
            kind.breaker.abandon(permit)
            if self._link.fail(ticket):
                text = "the shared score cache at %s does not answer (%s); scoring goes on without"
                _LOG.warning(text, self._place, name)
            return
        # A refusal is an answer too.
        if self._link.succeed(ticket):
            # At the same level as the outage: who saw the one must see the other.
            _LOG.warning("the shared score cache at %s answers again", self._place)
        if error is not None:
            if kind.breaker.fail(permit):
                text = "the shared score cache at %s cannot be %s (%s); scoring goes on without"
                _LOG.warning(text, self._place, kind.verb, name)
        elif kind.breaker.succeed(permit):
            _LOG.warning("the shared score cache at %s is %s again", self._place, kind.verb)


def _connectable(url: str, *, timeout_s: float) -> Any:
    """A client that is not connected yet, checked to be able to."""
    try:
        # An optional package.
        from redis import exceptions
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise MissingExtraError(feature="the shared score cache", extra="redis") from error
    # RESP2 needs no greeting, so a new connection costs one round trip less; the URL may say otherwise.
    # These it may not change.
    ours: dict[str, Any] = {
        "decode_responses": False,
        "socket_timeout": None,
        "socket_connect_timeout": timeout_s,
        # Once more, at once: something on the way may have closed a connection that lay idle.
        "retry": Retry(NoBackoff(), 1),
        "retry_on_error": [exceptions.ConnectionError],
    }
    try:
        client: Any = Redis.from_url(url, protocol=2)
        pool = client.connection_pool
        pool.connection_kwargs.update(ours)
        # Otherwise an unknown option of the URL would only be found by the first call.
        pool.connection_class(**pool.connection_kwargs)
    except (exceptions.RedisError, ValueError, TypeError, AttributeError):
        # Nothing of the URL is repeated: it may hold a password.
        raise SettingError(
            "the shared cache's URL cannot be understood; it looks like redis://host:6379/0, "
            "rediss://user:password@host:6380/0 or unix:///path/to/socket"
        ) from None
    return client


def _outages() -> tuple[type[Exception], ...]:
    """What redis-py raises when Redis is away, refuses, or is no Redis at all."""
    from redis.exceptions import RedisError

    # OSError holds the timeouts; the others come out of the parser when the answer is none of Redis's.
    return (RedisError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError)


def _is_refusal(error: Exception) -> bool:
    from redis.exceptions import ResponseError

    return isinstance(error, ResponseError)


def _place(client: Any) -> str:
    """Host and port, or the socket's path: what may be logged of a URL."""
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def _pack(key: bytes, score: CachedScore) -> bytes:
    body = _BODY.pack(_VERSION, score.logit, score.num_tokens, score.truncated)
    return body + _CHECK.pack(zlib.crc32(body, zlib.crc32(key)))


def _unpack(key: bytes, value: Any) -> CachedScore | None:
    """The score in a value; None for whatever was not written by `_pack` for this key."""
    if not isinstance(value, bytes) or len(value) != _VALUE_BYTES:
        return None
    body = value[: _BODY.size]
    if value[_BODY.size :] != _CHECK.pack(zlib.crc32(body, zlib.crc32(key))):
        return None
    version, logit, num_tokens, truncated = _BODY.unpack(body)
    score = CachedScore(logit, num_tokens, truncated)
    return score if version == _VERSION and is_keepable(score) else None
