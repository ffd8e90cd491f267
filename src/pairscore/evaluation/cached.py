"""Models whose scores and vectors are looked up before they are computed, and kept as soon as they are.

What is kept of a pair is its logit, so scores and probabilities are made anew and a calibration changes nothing.
Pairs and texts that come several times are run once.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol, TypeAlias, TypeVar

import numpy as np

from pairscore import __version__
from pairscore.cache.base import PairKeys
from pairscore.config import Chunking
from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import EmptyInputError
from pairscore.evaluation.score_cache import ScoreCache
from pairscore.retrieval.base import Encoder
from pairscore.road.ranking import check_one_number, scores_of
from pairscore.values import FloatArray, Scores

__all__ = ["Advance", "CachedCrossEncoder", "CachedVectors", "Counts", "Pair", "VectorKind"]

Pair: TypeAlias = tuple[str, str]
Advance: TypeAlias = Callable[[int], None]
"""Called with the number of pairs or texts that were done since the last call."""

# What is computed, and then kept, at once: so much that it takes some seconds, which is what a kill -9 loses.
_LEAST, _MOST = 64, 8192
_QUICK_S, _SLOW_S = 1.0, 4.0
# float32, number of tokens, whether something was cut.
_ENTRY: Final = struct.Struct("<fI?")
_KEY_BYTES: Final = 16

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many different pairs or texts were asked for, and how many of them were known."""

    num_asked: int = 0
    num_cached: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.num_asked + other.num_asked, self.num_cached + other.num_cached)


def _portions(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """All items, in portions that grow or shrink until the caller takes some seconds for one."""
    start, size = 0, _LEAST
    while start < len(items):
        began = time.perf_counter()
        yield items[start : start + size]
        start += size
        seconds = time.perf_counter() - began
        if seconds < _QUICK_S:
            size = min(2 * size, _MOST)
        elif seconds > _SLOW_S:
            size = max(size // 2, _LEAST)


class CachedCrossEncoder:
    """A cross-encoder that scores each pair once in its life.

    Args:
        model: the cross-encoder.
        cache: where scores are kept; None keeps none.
        chunking: how long documents are read; None cuts them.

    Attributes:
        counts: what was asked for so far.

    Raises:
        SettingError: the model has several labels, and so no one score.
    """

    def __init__(
        self,
        model: CrossEncoder,
        cache: ScoreCache | None = None,
        *,
        chunking: Chunking | None = None,
    ) -> None:
        check_one_number(model.card.name, model.card.labels)
        self._model = model
        self._cache = cache
        self._chunking = chunking
        self._keys: PairKeys | None = None
        self.counts = Counts()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.card.name

    def score(self, pairs: Sequence[Pair], *, advance: Advance = lambda _: None) -> Scores:
        """Score pairs.

        Args:
            pairs: in any order; equal ones are scored once.
            advance: told of pairs that are done, equal ones left out.

        Returns:
            What `CrossEncoder.score` gives, in the order of the pairs, without `windows`: a document that has
            more windows than it may is told as truncated.

        Raises:
            EmptyInputError: there is no pair.
            InputError, BackendError: as `CrossEncoder.score`.
        """
        if not pairs:
            raise EmptyInputError("there is no pair to score; give at least one")
        distinct = list(dict.fromkeys(pairs))
        entries: dict[Pair, tuple[float, int, bool]] = self._known(distinct)
        self.counts += Counts(len(distinct), len(entries))
        advance(len(entries))
        missing = [pair for pair in distinct if pair not in entries]
        for portion in _portions(missing):
            entries.update(self._computed(portion))
            advance(len(portion))
        logits, num_tokens, truncated = zip(*(entries[pair] for pair in pairs), strict=True)
        return scores_of(
            np.asarray(logits, dtype=np.float32),
            card=self._model.card,
            num_tokens=num_tokens,
            truncated=truncated,
        )

    def _known(self, pairs: Sequence[Pair]) -> dict[Pair, tuple[float, int, bool]]:
        if self._cache is None:
            return {}
        found = self._cache.get_many(self._pair_keys().keys(pairs))
        return {
            pair: _ENTRY.unpack(value)
            for pair, value in zip(pairs, found, strict=True)
            if value is not None and len(value) == _ENTRY.size
        }

    def _computed(self, pairs: Sequence[Pair]) -> dict[Pair, tuple[float, int, bool]]:
        scored = self._model.score(pairs, chunking=self._chunking)
        cut = scored.truncated if scored.windows is None else scored.windows.limited
        entries = list(
            zip(scored.logits.tolist(), scored.num_tokens.tolist(), cut.tolist(), strict=True)
        )
        if self._cache is not None:
            keys = self._pair_keys().keys(pairs)
            kept = [_ENTRY.pack(*entry) for entry in entries]
            self._cache.put_many(list(zip(keys, kept, strict=True)))
        return dict(zip(pairs, entries, strict=True))

    def _pair_keys(self) -> PairKeys:
        if self._keys is None:
            reading: object = self._model.config.truncation_side
            if self._chunking is not None:
                reading = asdict(self._chunking)
            self._keys = PairKeys(
                # Another version may compute a logit in another way.
                model_sha256=f"{self._model.fingerprint}:{__version__}",
                max_length=self._model.max_length,
                truncation=json.dumps(reading),
            )
        return self._keys


class VectorKind(Protocol):
    """`Encoder.encode_queries` or `Encoder.encode_documents`."""

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts, shape (num_texts, dimension)."""
        ...


class CachedVectors:
    """A bi-encoder that encodes each text once in its life.

    Args:
        encoder: the bi-encoder.
        cache: where vectors are kept; None keeps none.

    Attributes:
        counts: what was asked for so far.
    """

    def __init__(self, encoder: Encoder, cache: ScoreCache | None = None) -> None:
        self._encoder = encoder
        self._cache = cache
        self.counts = Counts()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._encoder.name

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._encoder.dimension

    def queries(self, texts: Sequence[str], *, advance: Advance = lambda _: None) -> FloatArray:
        """Vectors of queries, of length 1, shape (num_texts, dimension), float32."""
        return self._vectors(texts, self._encoder.encode_queries, "query", advance)

    def documents(self, texts: Sequence[str], *, advance: Advance = lambda _: None) -> FloatArray:
        """Vectors of documents, of length 1, shape (num_texts, dimension), float32."""
        return self._vectors(texts, self._encoder.encode_documents, "document", advance)

    def _vectors(
        self, texts: Sequence[str], encode: VectorKind, kind: str, advance: Advance
    ) -> FloatArray:
        distinct = list(dict.fromkeys(texts))
        places = {text: place for place, text in enumerate(distinct)}
        vectors = np.empty((len(distinct), self.dimension), dtype=np.float32)
        keys = self._text_keys(distinct, kind) if self._cache is not None else []
        missing = self._fill(vectors, keys) if self._cache is not None else range(len(distinct))
        self.counts += Counts(len(distinct), len(distinct) - len(missing))
        advance(len(distinct) - len(missing))
        for portion in _portions(missing):
            vectors[portion] = encode([distinct[place] for place in portion])
            if self._cache is not None:
                self._cache.put_many([(keys[place], vectors[place].tobytes()) for place in portion])
            advance(len(portion))
        return vectors[[places[text] for text in texts]]

    def _fill(self, vectors: FloatArray, keys: Sequence[bytes]) -> Sequence[int]:
        """Put known vectors into their rows; the rows that are still missing."""
        found = self._cache.get_many(keys) if self._cache is not None else []
        missing = []
        for place, value in enumerate(found):
            if value is None or len(value) != vectors[place].nbytes:
                missing.append(place)
            else:
                vectors[place] = np.frombuffer(value, dtype=np.float32)
        return missing

    def _text_keys(self, texts: Sequence[str], kind: str) -> list[bytes]:
        named = json.dumps([self._encoder.fingerprint, __version__, kind]).encode()
        seed = hashlib.blake2b(named, digest_size=_KEY_BYTES, person=b"pairscore-text-1")
        keys = []
        for text in texts:
            state = seed.copy()
            state.update(text.encode("utf-8", "surrogatepass"))
            keys.append(state.digest())
        return keys
