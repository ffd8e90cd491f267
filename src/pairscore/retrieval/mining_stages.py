"""The three stages of finding duplicates, each kept on disk as it goes: vectors, neighbours, scores of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from pairscore.bi_encoder import BiEncoder
from pairscore.cross_encoder import CrossEncoder
from pairscore.retrieval.base import Encoder
from pairscore.retrieval.cuts import CutScale
from pairscore.retrieval.mining_work import WorkFolder
from pairscore.retrieval.neighbours import (
    BLOCK_ROWS,
    PairArray,
    nearest,
    similarities,
    unordered_pairs,
)
from pairscore.retrieval.pair_values import Both, both_orders, on_scale, own_logits
from pairscore.retrieval.same_text import Distinct
from pairscore.values import FloatArray

__all__ = ["Mine", "Scored"]

# What is done between two writes: all that a killed process loses.
_TEXTS_AT_ONCE: Final = 2048
_PAIRS_AT_ONCE: Final = 512
_SCORE: Final = np.dtype([("logits", "<f4", (2,)), ("truncated", "u1")])
# A text whose logit tells apart what a model's weights do not: its prompt, its label.
_PROBE: Final = "how does somebody play the guitar"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Pairs that may be alike, and how alike they are.

    Attributes:
        pairs: places among the distinct texts, the lower first, ascending, shape (num_pairs, 2).
        values: their scores, shape (num_pairs,), float32.
        num_truncated: texts that the bi-encoder did not read to their end.
        num_truncated_pairs: pairs that the cross-encoder did not.
    """

    pairs: PairArray
    values: FloatArray
    num_truncated: int
    num_truncated_pairs: int


class Mine:
    """Some distinct texts, and what is known of them so far.

    Args:
        distinct: the texts.
        encoder: makes their vectors.
        work: where everything is kept.
        progress: called with the stage, how much is done, and how much there is.
    """

    def __init__(
        self,
        distinct: Distinct,
        *,
        encoder: Encoder,
        work: WorkFolder,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._texts = distinct.texts
        self._encoder = encoder
        self._work = work
        self._progress = progress
        self._key = {
            "texts": distinct.sha256,
            "encoder": encoder.fingerprint,
            "dimension": encoder.dimension,
        }

    def by_cosine(self, *, num_neighbours: int, min_similarity: float) -> Scored:
        """Neighbours and their cosines."""
        vectors, num_truncated = self._vectors()
        pairs = self._pairs(vectors, num_neighbours, min_similarity)
        values = similarities(vectors, pairs)
        return Scored(
            pairs=pairs, values=values, num_truncated=num_truncated, num_truncated_pairs=0
        )

    def by_cross_encoder(
        self,
        cross_encoder: CrossEncoder,
        *,
        scale: CutScale,
        num_neighbours: int,
        min_similarity: float,
    ) -> Scored:
        """Neighbours and what the cross-encoder says of them, on a scale."""
        vectors, num_truncated = self._vectors()
        pairs = self._pairs(vectors, num_neighbours, min_similarity)
        key = self._scores_key(pairs, cross_encoder)
        own = self._own(pairs, key, cross_encoder) if scale == "relative" else None
        logits, truncated = self._scores(pairs, key, cross_encoder)
        return Scored(
            pairs=pairs,
            values=on_scale(logits, own, card=cross_encoder.card, scale=scale),
            num_truncated=num_truncated,
            num_truncated_pairs=int(truncated.sum()),
        )

    def _vectors(self) -> tuple[FloatArray, int]:
        """A map of all vectors, and how many texts were cut; what is kept already is not encoded again."""
        num_texts, dimension = len(self._texts), self._encoder.dimension
        vectors = self._work.stage("vectors", key=self._key, dtype=np.dtype(("<f4", (dimension,))))
        cut = self._work.stage("truncated", key=self._key, dtype="u1")
        done = min(len(vectors), len(cut))
        with self._work.writing():
            vectors.truncate(done)
            cut.truncate(done)
        self._progress("encode", done, num_texts)
        for start in range(done, num_texts, _TEXTS_AT_ONCE):
            made, truncated = _embedded(self._encoder, self._texts[start : start + _TEXTS_AT_ONCE])
            with self._work.writing():
                vectors.append(made)
                cut.append(truncated)
            self._progress("encode", start + len(made), num_texts)
        return vectors.mapped(), int(cut.read().sum())

    def _pairs(self, vectors: FloatArray, num_neighbours: int, min_similarity: float) -> PairArray:
        key = {**self._key, "num_neighbours": num_neighbours, "min_similarity": min_similarity}
        dtype = np.dtype(("<i4", (num_neighbours,)))
        stage = self._work.stage("neighbours", key=key, dtype=dtype)
        # A block begins where it would have begun in one go, so that a run that was stopped gives the same to the last bit.
        done = len(stage)
        if done < len(vectors):
            done -= done % BLOCK_ROWS
        with self._work.writing():
            stage.truncate(done)
        self._progress("compare", done, len(vectors))
        for rows in nearest(
            vectors, num_neighbours=num_neighbours, min_similarity=min_similarity, start=done
        ):
            with self._work.writing():
                stage.append(rows)
            done += len(rows)
            self._progress("compare", done, len(vectors))
        return unordered_pairs(stage.read())

    def _scores(self, pairs: PairArray, key: Mapping[str, Any], cross: CrossEncoder) -> Both:
        """The logits of both orders of each pair; what is kept already is not scored again."""
        stage = self._work.stage("scores", key=key, dtype=_SCORE)
        done = len(stage)
        self._progress("score", done, len(pairs))
        for start in range(done, len(pairs), _PAIRS_AT_ONCE):
            some = pairs[start : start + _PAIRS_AT_ONCE]
            logits, truncated = both_orders(
                cross, [(self._texts[a], self._texts[b]) for a, b in some]
            )
            records = np.empty(len(some), dtype=_SCORE)
            records["logits"], records["truncated"] = logits, truncated
            with self._work.writing():
                stage.append(records)
            self._progress("score", start + len(some), len(pairs))
        kept = stage.read()
        return kept["logits"], kept["truncated"].astype(np.bool_)

    def _own(self, pairs: PairArray, key: Mapping[str, Any], cross: CrossEncoder) -> FloatArray:
        """The logits of each pair's two texts with themselves, likewise."""
        nodes, places = np.unique(pairs, return_inverse=True)
        stage = self._work.stage("selves", key=key, dtype="<f4")
        done = len(stage)
        self._progress("selves", done, len(nodes))
        for start in range(done, len(nodes), _PAIRS_AT_ONCE):
            some = [self._texts[node] for node in nodes[start : start + _PAIRS_AT_ONCE]]
            logits = own_logits(cross, some)
            with self._work.writing():
                stage.append(logits)
            self._progress("selves", start + len(some), len(nodes))
        return cast("FloatArray", stage.read()[places.reshape(pairs.shape)])

    def _scores_key(self, pairs: PairArray, cross: CrossEncoder) -> dict[str, Any]:
        probe = own_logits(cross, [_PROBE])[0]
        return {
            "texts": self._key["texts"],
            "pairs": sha256(np.ascontiguousarray(pairs, dtype="<i8").tobytes()).hexdigest(),
            "model": cross.model_sha256,
            "backend": cross.backend_name,
            "max_length": cross.max_length,
            "probe": round(float(probe), 2),
        }


def _embedded(encoder: Encoder, texts: Sequence[str]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Vectors of length 1, and which texts were cut, as far as the encoder says."""
    if not isinstance(encoder, BiEncoder):
        return encoder.encode_documents(texts), np.zeros(len(texts), dtype=np.bool_)
    made = encoder.embed(texts, normalize_embeddings=True, prompt=encoder.card.document_prompt)
    return made.vectors, made.truncated
