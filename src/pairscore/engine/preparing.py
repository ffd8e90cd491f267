"""From the pairs of a request to what the workers need: looked up, tokenized, each distinct pair once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import numpy as np

from pairscore.cache.base import CachedScore, PairKeys, ScoreCache
from pairscore.config import Chunking, Truncation
from pairscore.engine.records import closed
from pairscore.engine.scheduler import Missing
from pairscore.errors import TooLongError
from pairscore.road import ranking
from pairscore.road.chunking import Windowed, Windower, guess_windows
from pairscore.road.folding import WindowedRead, windowed_scores
from pairscore.road.road import Road
from pairscore.road.tokenization import Pair
from pairscore.values import Encoded, FloatArray, IntArray, Scores

__all__ = ["Manner", "Preparer", "Request", "guess_tokens"]

P = TypeVar("P")
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


# Names the reading of windows: their keys say what the model reads, however that was cut.
_WINDOW: Final = "window"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How a request wants its texts read.

    Attributes:
        truncation: how they are cut.
        chunking: how long documents are read in windows; None cuts them.
    """

    truncation: Truncation = field(default_factory=Truncation)
    chunking: Chunking | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reads:
    """How the pairs of a request were read in windows.

    Attributes:
        pairs: each distinct one.
        places: which of them stands at each position of the request.
    """

    pairs: Sequence[WindowedRead]
    places: Sequence[int]

    def per_position(self) -> tuple[list[WindowedRead], IntArray]:
        """How the pair at each position was read, and the places of its windows' logits, all in one."""
        ends = np.cumsum([len(pair.spans) for pair in self.pairs])
        ranges = [np.arange(ends[i] - len(self.pairs[i].spans), ends[i]) for i in self.places]
        return [self.pairs[i] for i in self.places], np.concatenate(ranges)


@dataclass(eq=False, slots=True)
class Request:
    """What is known of one request before it runs.

    A window of a long document is a pair like others from here on. Its key is no text, but a hash of the tokens
    that the model reads, so that equal windows are run once whatever they were cut from.

    Attributes:
        num_places: how many pairs were asked for, or how many windows these have.
        manner: how their texts are read.
        positions: where each distinct pair stands.
        known: the pairs whose score came out of the cache.
        encoded: the other ones, once they are tokenized.
        keys: cache keys of the pairs that are not known; empty without a cache.
        reads: how documents were read in windows; None if they were not.
    """

    num_places: int
    manner: Manner
    positions: dict[Pair, list[int]]
    known: dict[Pair, CachedScore] = field(default_factory=dict)
    encoded: dict[Pair, Encoded] = field(default_factory=dict)
    keys: dict[Pair, bytes] = field(default_factory=dict)
    reads: _Reads | None = None

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
        self._closed = False

    async def look_up(self, pairs: Sequence[Pair], *, manner: Manner, use_cache: bool) -> Request:
        """Find equal pairs, and the scores that are known already; make windows, where they are wanted.

        Raises:
            InputError: a text cannot be tokenized into windows, or has too many of them and must not be cut.
        """
        positions: dict[Pair, list[int]] = {}
        for position, pair in enumerate(pairs):
            positions.setdefault(pair, []).append(position)
        request = Request(len(pairs), manner, positions)
        if manner.chunking is not None:
            request = await self._in_windows(request, manner.chunking)
        if use_cache and self._cache is not None:
            distinct = list(request.positions)
            keys = await self._on_thread(self._keys(request).keys, distinct)
            found = await self._cache.get_many(keys)
            strict = manner.truncation.strict and request.reads is None
            for pair, key, known in zip(distinct, keys, found, strict=True):
                # Whether it was the model that was too short, or a limit that was asked for, is not kept.
                if known is None or (strict and known.truncated):
                    request.keys[pair] = key
                else:
                    request.known[pair] = known
        return request

    async def _in_windows(self, request: Request, chunking: Chunking) -> Request:
        windower = self._road.windower(chunking=chunking, truncation=request.manner.truncation)
        windowed = await self._windowed(windower, request)
        positions: dict[Pair, list[int]] = {}
        encoded: dict[Pair, Encoded] = {}
        windows = [window for pair in windowed for window in pair.encoded]
        for position, window in enumerate(windows):
            key = (_digest(window), "")
            positions.setdefault(key, []).append(position)
            encoded[key] = window
        places = [0] * request.num_places
        for index, where in enumerate(request.positions.values()):
            for position in where:
                places[position] = index
        return Request(
            len(windows),
            request.manner,
            positions,
            encoded=encoded,
            reads=_Reads(pairs=[pair.reading for pair in windowed], places=places),
        )

    async def _windowed(self, windower: Windower, request: Request) -> list[Windowed]:
        """Tokenized on a thread; after some windows it is another request's turn."""
        found: list[Windowed] = []
        distinct = list(request.positions)
        for turn in windower.turns(distinct, max_windows=_CHUNK):
            with _found_at(request, turn):
                if sum(len(a) + len(b) for a, b in turn) <= _FEW_CHARS:
                    found += windower.windows(turn)
                else:
                    found += await self._threaded(windower.windows, turn)
        return found

    def _keys(self, request: Request) -> PairKeys:
        return PairKeys(
            model_sha256=self._fingerprint,
            max_length=self._road.max_length,
            truncation=self._reading(request),
        )

    def _reading(self, request: Request) -> str:
        if request.reads is not None:
            return _WINDOW
        return request.manner.truncation.reading(self._road.config.truncation_side)

    def guess(self, pairs: Iterable[Pair], manner: Manner) -> int:
        """Tokens of the windows that pairs may have, guessed from their characters; 0 without windows."""
        chunking, longest = manner.chunking, self._road.max_length
        if chunking is None:
            return 0
        return sum(
            _window_tokens(query, document, chunking=chunking, max_length=longest)
            for query, document in pairs
        )

    def estimate(self, request: Request) -> int:
        """Tokens that the missing pairs have, or may have, guessed from their characters."""
        if request.reads is not None:
            return sum(request.encoded[pair].num_tokens for pair in request.missing)
        return guess_tokens(request.missing, max_length=self._road.max_length)

    async def encode(self, request: Request) -> list[Missing]:
        """Tokenize the missing pairs, and say what each one costs.

        Raises:
            InputError: a text cannot be tokenized, or must not be cut and is too long.
        """
        missing = request.missing
        if request.reads is None:
            tokenized = await self._tokenized(missing, request)
            request.encoded = dict(zip(missing, tokenized, strict=True))
        encoded = [request.encoded[pair] for pair in missing]
        costs = [0] * len(missing)
        for batch in self._road.plan(encoded).batches:
            longest = encoded[batch[0]].num_tokens
            for position in batch:
                costs[position] = longest
        reading = self._reading(request)
        return [
            Missing(pair, encoded[i], costs[i], reading, request.keys.get(pair))
            for i, pair in enumerate(missing)
        ]

    def scores(self, request: Request, logits: FloatArray) -> Scores:
        """Everything that is said of the pairs, in the order in which they were given."""
        if request.reads is not None and request.manner.chunking is not None:
            reads, places = request.reads.per_position()
            aggregate = request.manner.chunking.aggregate
            return windowed_scores(logits[places], reads, card=self._road.card, aggregate=aggregate)
        num_tokens = [0] * request.num_places
        truncated = [False] * request.num_places
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
        """End the threads, and with ClosedError the requests that wait for one."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _tokenized(self, pairs: list[Pair], request: Request) -> list[Encoded]:
        encode = partial(self._encode, request)
        if sum(len(a) + len(b) for a, b in pairs) <= _FEW_CHARS:
            return encode(pairs)
        encoded: list[Encoded] = []
        for start in range(0, len(pairs), _CHUNK):
            chunk = pairs[start : start + _CHUNK]
            encoded += await self._threaded(encode, chunk)
        return encoded

    def _encode(self, request: Request, pairs: Sequence[Pair]) -> list[Encoded]:
        with _found_at(request, pairs):
            return self._road.encode(pairs, truncation=request.manner.truncation)

    async def _on_thread(self, job: Callable[[list[Pair]], T], pairs: list[Pair]) -> T:
        if len(pairs) <= _FEW:
            return job(pairs)
        return await self._threaded(job, pairs)

    async def _threaded(self, job: Callable[[P], T], pairs: P) -> T:
        """On a thread; a request that is still read when the engine ends, ends with it.

        Raises:
            ClosedError: the threads have ended, or end before its turn comes.
        """
        if self._closed:
            raise closed()
        work = asyncio.get_running_loop().run_in_executor(self._threads, job, pairs)
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError:
            work.cancel()
            raise
        # Who waits for a thread at the end is not cancelled by anybody who wanted the answer.
        if work.cancelled():
            raise closed()
        return work.result()


@contextmanager
def _found_at(request: Request, pairs: Sequence[Pair]) -> Iterator[None]:
    """Counted among these pairs; the caller wants to know which of the request's it is."""
    try:
        yield
    except TooLongError as error:
        raise TooLongError(
            position=request.positions[pairs[error.position]][0],
            num_tokens=error.num_tokens,
            max_tokens=error.max_tokens,
        ) from None


def _digest(window: Encoded) -> str:
    """Of equal ones, equal logits; a request's texts cannot be read from it."""
    state = hashlib.blake2b(window.ids.tobytes(), digest_size=16)
    state.update(window.type_ids.tobytes())
    return state.hexdigest()


def _window_tokens(query: str, document: str, *, chunking: Chunking, max_length: int) -> int:
    num_windows = guess_windows(document, chunking=chunking, max_length=max_length)
    most = min(max_length, chunking.window_tokens or max_length)
    tokens = len(document) // _CHARS_PER_TOKEN
    beside = len(query) // _CHARS_PER_TOKEN + _SPECIAL_TOKENS
    return min(num_windows * max_length, num_windows * beside + min(tokens, num_windows * most))
