"""From the pairs of a request to what the workers need: looked up, tokenized, each distinct pair once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from pairscore.cache.base import CachedScore, PairKeys, ScoreCache
from pairscore.config import Truncation
from pairscore.engine.scheduler import Missing
from pairscore.errors import TooLongError
from pairscore.road import ranking
from pairscore.road.road import Road
from pairscore.road.tokenization import Pair
from pairscore.values import Encoded, FloatArray, Scores

__all__ = ["Preparer", "Request", "guess_tokens"]

T = TypeVar("T")

# Pairs that a thread tokenizes in one go; then it is another request's turn.
_CHUNK: Final = 256
_NUM_THREADS: Final = 2
# Below this many pairs, hashing is quicker than the way to a thread and back.
_FEW: Final = 64
# Up to so many characters in all, tokenizing is done before a thread would have begun: about 0.5 ms.
_FEW_CHARS: Final = 2048
# Characters of a token of running text, for the guess that admission makes before anything is tokenized.
_CHARS_PER_TOKEN: Final = 4
_SPECIAL_TOKENS: Final = 3


@dataclass(eq=False, slots=True)
class Request:
    """What is known of one request before it runs.

    Attributes:
        num_pairs: how many were asked for.
        truncation: how their texts are cut.
        positions: where each distinct pair stands.
        known: the pairs whose score came out of the cache.
        encoded: the other ones, once they are tokenized.
        keys: cache keys of the pairs that are not known; empty without a cache.
    """

    num_pairs: int
    truncation: Truncation
    positions: dict[Pair, list[int]]
    known: dict[Pair, CachedScore] = field(default_factory=dict)
    encoded: dict[Pair, Encoded] = field(default_factory=dict)
    keys: dict[Pair, bytes] = field(default_factory=dict)

    @property
    def missing(self) -> list[Pair]:
        """The distinct pairs whose score has to be computed."""
        return [pair for pair in self.positions if pair not in self.known]

    @property
    def num_cached(self) -> int:
        """Pairs whose score came out of the cache."""
        return sum(len(self.positions[pair]) for pair in self.known)

    @property
    def num_repeated(self) -> int:
        """Pairs that stand in the request a second time, and have to be computed once."""
        return sum(len(self.positions[pair]) - 1 for pair in self.missing)


def guess_tokens(pairs: Iterable[Pair], *, max_length: int) -> int:
    """Tokens that pairs may have, guessed from their characters.

    Args:
        pairs: not tokenized yet.
        max_length: tokens that one may have at most.
    """
    return sum(
        min(max_length, (len(a) + len(b)) // _CHARS_PER_TOKEN + _SPECIAL_TOKENS) for a, b in pairs
    )


class Preparer:
    """Looks pairs up and tokenizes them, on threads of its own.

    Args:
        road: the model.
        cache: where scores are kept; None keeps none.
    """

    def __init__(self, road: Road, *, cache: ScoreCache | None) -> None:
        self._road = road
        self._cache = cache
        # Made once: it hashes a file.
        self._fingerprint = "" if cache is None else road.fingerprint
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="pairscore-tokenizer")

    async def look_up(
        self, pairs: Sequence[Pair], *, truncation: Truncation, use_cache: bool
    ) -> Request:
        """Find equal pairs, and the scores that are known already."""
        positions: dict[Pair, list[int]] = {}
        for position, pair in enumerate(pairs):
            positions.setdefault(pair, []).append(position)
        request = Request(len(pairs), truncation, positions)
        if use_cache and self._cache is not None:
            distinct = list(positions)
            keys = await self._on_thread(self._keys(truncation).keys, distinct)
            for pair, key, found in zip(
                distinct, keys, await self._cache.get_many(keys), strict=True
            ):
                # Whether it was the model that was too short, or a limit that was asked for, is not kept.
                if found is None or (truncation.strict and found.truncated):
                    request.keys[pair] = key
                else:
                    request.known[pair] = found
        return request

    def _keys(self, truncation: Truncation) -> PairKeys:
        return PairKeys(
            model_sha256=self._fingerprint,
            max_length=self._road.max_length,
            truncation=self._reading(truncation),
        )

    def _reading(self, truncation: Truncation) -> str:
        return truncation.reading(self._road.config.truncation_side)

    def estimate(self, request: Request) -> int:
        """Tokens that the missing pairs may have, guessed from their characters."""
        return guess_tokens(request.missing, max_length=self._road.max_length)

    async def encode(self, request: Request) -> list[Missing]:
        """Tokenize the missing pairs, and say what each one costs.

        Raises:
            InputError: a text cannot be tokenized, or must not be cut and is too long.
        """
        missing = request.missing
        encoded = await self._tokenized(missing, request)
        request.encoded = dict(zip(missing, encoded, strict=True))
        costs = [0] * len(missing)
        for batch in self._road.plan(encoded).batches:
            longest = encoded[batch[0]].num_tokens
            for position in batch:
                costs[position] = longest
        reading = self._reading(request.truncation)
        return [
            Missing(pair, encoded[i], costs[i], reading, request.keys.get(pair))
            for i, pair in enumerate(missing)
        ]

    def scores(self, request: Request, logits: FloatArray) -> Scores:
        """Everything that is said of the pairs, in the order in which they were given."""
        num_tokens = [0] * request.num_pairs
        truncated = [False] * request.num_pairs
        for pair, positions in request.positions.items():
            facts = request.known.get(pair) or request.encoded[pair]
            for position in positions:
                num_tokens[position] = facts.num_tokens
                truncated[position] = facts.truncated
        return ranking.scores_of(
            logits,
            card=self._road.card,
            num_tokens=num_tokens,
            truncated=truncated,
        )

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _tokenized(self, pairs: list[Pair], request: Request) -> list[Encoded]:
        encode = partial(self._encode, request)
        if sum(len(a) + len(b) for a, b in pairs) <= _FEW_CHARS:
            return encode(pairs)
        encoded: list[Encoded] = []
        loop = asyncio.get_running_loop()
        for start in range(0, len(pairs), _CHUNK):
            chunk = pairs[start : start + _CHUNK]
            encoded += await loop.run_in_executor(self._threads, encode, chunk)
        return encoded

    def _encode(self, request: Request, pairs: Sequence[Pair]) -> list[Encoded]:
        try:
            return self._road.encode(pairs, truncation=request.truncation)
        except TooLongError as error:
            # Counted among these pairs; the caller wants to know which of the request's it is.
            raise TooLongError(
                position=request.positions[pairs[error.position]][0],
                num_tokens=error.num_tokens,
                max_tokens=error.max_tokens,
            ) from None

    async def _on_thread(self, job: Callable[[list[Pair]], T], pairs: list[Pair]) -> T:
        if len(pairs) <= _FEW:
            return job(pairs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, job, pairs)
