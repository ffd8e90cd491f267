"""What is kept of a pair, under which key, and what every score cache must keep to.

A cache maps exact pairs to what the model said about them. It knows keys and logits, never texts: a key is a
hash that says nothing of the pair, so nothing that a user wrote is stored, shared or logged.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pairscore.errors import SettingError

__all__ = ["CacheStats", "CachedScore", "PairKeys", "ScoreCache", "check_ttl", "is_keepable"]

_MAX_FLOAT32 = float.fromhex("0x1.fffffep+127")
_KEY_BYTES = 16
_PERSON = b"pairscore-pair-1"
"""Names the way in which a key is made; another way must have another name."""


@dataclass(frozen=True, slots=True)
class CachedScore:
    """What is kept of a pair.

    Attributes:
        logit: what the model's head put out; a float32 comes back bit for bit.
        num_tokens: tokens that the model read.
        truncated: whether a text of the pair was cut.
    """

    logit: float
    num_tokens: int
    truncated: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheStats:
    """What happened in a cache since it was made, and what it holds now.

    Attributes:
        num_hits: keys that were asked for and found.
        num_misses: keys that were asked for and not found; an outage of the shared cache is a miss.
        num_entries: pairs in this process's memory, expired ones that nobody met yet included.
        num_bytes: what they take there.
        num_evicted: pairs that had to leave for others.
        num_expired: pairs that were met after their time and dropped.
        num_shared_hits: those of the hits that came out of the shared cache.
        shared_errors: calls to the shared cache that failed; the ones that were skipped are not counted.
    """

    num_hits: int = 0
    num_misses: int = 0
    num_entries: int = 0
    num_bytes: int = 0
    num_evicted: int = 0
    num_expired: int = 0
    num_shared_hits: int = 0
    shared_errors: int = 0


class ScoreCache(Protocol):
    """Scores by key. Its methods belong to one event loop; `stats` may be called from any thread.

    A cache that is closed finds nothing and keeps nothing.
    """

    async def get_many(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        """What is known, in the order of the keys; None where nothing is. An outage is a miss."""
        ...

    async def put_many(self, entries: Sequence[tuple[bytes, CachedScore]]) -> None:
        """Keep scores. An outage, and a logit that is not finite, keep nothing and raise nothing."""
        ...

    async def close(self) -> None:
        """Let go of memory and connections; safe to repeat."""
        ...

    def stats(self) -> CacheStats:
        """What happened so far."""
        ...


class PairKeys:
    """Makes the keys of pairs, for one model read in one way.

    A key is a BLAKE2b of 16 bytes over the query's length, the query and the document; model and truncation
    are its salt, so that caches can be shared by all models. 128 bits are enough: among ten thousand million
    pairs the chance that any two share a key is below 2e-19, far less than that of a memory error, and
    somebody who could make two such pairs on purpose (2^64 attempts) would only mix up those two.
    Methods may be called from any thread.
    """

    def __init__(self, *, model_sha256: str, max_length: int, truncation: str) -> None:
        """Fix what else decides a logit.

        Args:
            model_sha256: names everything about the model that changes a logit: weights and tokenizer.
            max_length: tokens that a pair may have.
            truncation: names how texts are cut.
        """
        # JSON keeps the three apart whatever they hold; a salt has 16 bytes.
        reading = json.dumps([model_sha256, max_length, truncation]).encode()
        salt = hashlib.blake2b(reading, digest_size=16).digest()
        self._seed = hashlib.blake2b(digest_size=_KEY_BYTES, salt=salt, person=_PERSON)

    def key(self, a: str, b: str) -> bytes:
        """The key of one pair, 16 bytes; any two texts have one, lone surrogates too."""
        return self.keys([(a, b)])[0]

    def keys(self, pairs: Sequence[tuple[str, str]]) -> list[bytes]:
        """The keys of many pairs, in their order.

        A query that follows itself, as in a ranking, is hashed once: the state after it is copied.
        """
        found = []
        query: str | None = None
        after_query = self._seed
        for a, b in pairs:
            if a is not query and a != query:
                text = a.encode("utf-8", "surrogatepass")
                after_query = self._seed.copy()
                # Its length says where the query ends: ("ab", "c") is not ("a", "bc").
                after_query.update(len(text).to_bytes(8, "little"))
                after_query.update(text)
                query = a
            state = after_query.copy()
            state.update(b.encode("utf-8", "surrogatepass"))
            found.append(state.digest())
        return found


def is_keepable(score: CachedScore) -> bool:
    """Whether the logit is a finite float32; nothing else may ever come out of a cache."""
    return abs(score.logit) <= _MAX_FLOAT32


def check_ttl(ttl_s: float) -> None:
    """Refuse a time to live that is none.

    Raises:
        SettingError: it is not a finite number above 0.
    """
    if not (ttl_s > 0 and math.isfinite(ttl_s)):
        raise SettingError(
            f"the cache's ttl_s is {ttl_s!r}; it must be a finite number of seconds above 0"
        )
