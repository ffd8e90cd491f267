"""How much one API key may ask for a minute: token buckets, their clock, and what is left in them.

Nothing here knows HTTP or a key. A "token" of the algorithm is a unit of the quota: a request, or a
token of the model.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["MAX_PER_MINUTE", "Clock", "Exhausted", "Quota", "QuotaMeter", "TokenBucket"]

Clock: TypeAlias = Callable[[], float]
"""Gives seconds that never go back, as `time.monotonic` does."""

MAX_PER_MINUTE: Final = 10**12
"""Above it a float no longer counts single units; no machine reaches it."""

_MINUTE_S: Final = 60.0
# Sums of floats may end a hair below a whole number; nobody should wait one second more for that.
_HAIR: Final = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """What one key may use; None is no limit.

    Attributes:
        requests_per_minute: requests that are let in.
        tokens_per_minute: tokens that the model reads.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhausted:
    """A quota that is used up.

    Attributes:
        quota: its name in the keys file.
        limit: its value, in units a minute.
        wait_s: seconds until the next request would be let in, if nobody else asks; more than 0.
    """

    quota: str
    limit: int
    wait_s: float

    @property
    def retry_after_s(self) -> int:
        """The wait in whole seconds, rounded up, so at least one: what the header Retry-After says."""
        return math.ceil(self.wait_s)


class TokenBucket:
    """A token bucket that holds one minute's worth, is refilled continuously, and starts full.

    Over any T seconds it lets through at most capacity + rate x T: RFC 2215, section 3.6
    (TOKEN_BUCKET_TSPEC), with the depth b = the capacity and the rate r = capacity / 60 s. Unlike
    there, `charge` may take more than the bucket holds; the debt is paid back at the same rate.
    It may be used from several threads.
    """

    def __init__(self, per_minute: int, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._capacity = per_minute
        self._level = float(per_minute)
        self._filled_at = clock()

    @property
    def per_minute(self) -> int:
        """The capacity, and the units that flow in within a minute."""
        return self._capacity

    def wait_s(self) -> float:
        """Seconds until the bucket holds one whole unit; 0 if it does."""
        with self._lock:
            return self._wait_s()

    def take(self) -> float:
        """Take one unit if it is there; gives the seconds until it will be, 0 if it was taken."""
        with self._lock:
            wait_s = self._wait_s()
            if wait_s == 0:
                self._level -= 1
            return wait_s

    def charge(self, amount: int) -> None:
        """Take so many units in any case, on credit if they are not there."""
        with self._lock:
            self._fill()
            self._level -= amount

    def resize(self, per_minute: int) -> None:
        """Change capacity and rate from now on; what was used stays used, a debt too."""
        with self._lock:
            self._fill()
            self._capacity = per_minute

    def _wait_s(self) -> float:
        self._fill()
        missing = 1 - self._level
        return missing * _MINUTE_S / self._capacity if missing > _HAIR else 0.0

    def _fill(self) -> None:
        now = self._clock()
        gained = (now - self._filled_at) * self._capacity / _MINUTE_S
        self._level = min(float(self._capacity), self._level + gained)
        self._filled_at = now


class QuotaMeter:
    """What one key has used of its quota. It may be used from several threads."""

    def __init__(self, quota: Quota, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._requests: TokenBucket | None = None
        self._tokens: TokenBucket | None = None
        self.update(quota)

    def enter(self) -> Exhausted | None:
        """Let one request in and count it, or say which quota is used up; then nothing is counted.

        A request's tokens are known only after it was scored, so one token left is enough here.
        """
        requests, tokens = self._requests, self._tokens
        wait_s = tokens.wait_s() if tokens is not None else 0.0
        if requests is None:
            return _exhausted("tokens_per_minute", tokens, wait_s)
        request_wait_s = requests.take() if wait_s == 0 else requests.wait_s()
        # The longer of two waits is the true one.
        if request_wait_s > wait_s:
            return _exhausted("requests_per_minute", requests, request_wait_s)
        return _exhausted("tokens_per_minute", tokens, wait_s)

    def charge(self, *, num_tokens: int) -> None:
        """Count the tokens of a request that was scored; more than is left becomes a debt."""
        if self._tokens is not None:
            self._tokens.charge(num_tokens)

    def update(self, quota: Quota) -> None:
        """Take new limits from now on; what was used stays used."""
        self._requests = self._resized(self._requests, quota.requests_per_minute)
        self._tokens = self._resized(self._tokens, quota.tokens_per_minute)

    def _resized(self, bucket: TokenBucket | None, per_minute: int | None) -> TokenBucket | None:
        if per_minute is None:
            return None
        if bucket is None:
            return TokenBucket(per_minute, clock=self._clock)
        bucket.resize(per_minute)
        return bucket


def _exhausted(quota: str, bucket: TokenBucket | None, wait_s: float) -> Exhausted | None:
    if bucket is None or wait_s == 0:
        return None
    return Exhausted(quota=quota, limit=bucket.per_minute, wait_s=wait_s)
