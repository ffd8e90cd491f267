"""Measuring models on pairs that people judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pairscore.evaluation.cached import Advance, CachedCrossEncoder, CachedVectors
from pairscore.evaluation.datasets import ScoredPairs
from pairscore.evaluation.rankings import PairQuality, measure_pairs
from pairscore.values import FloatArray

__all__ = ["PairsEvaluation", "PairsReport", "cosines", "evaluate_pairs"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairsReport:
    """What one model's scores are worth.

    Attributes:
        scores: on the model's own scale, or cosines, shape (num_pairs,), float32.
        quality: the measures.
        num_truncated: pairs of which a text was cut; 0 for a bi-encoder, which does not say.
    """

    scores: FloatArray
    quality: PairQuality
    num_truncated: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairsEvaluation:
    """Labelled pairs, measured.

    Attributes:
        pairs: what was measured on.
        reports: by the model's name.
    """

    pairs: ScoredPairs
    reports: Mapping[str, PairsReport]


def evaluate_pairs(
    pairs: ScoredPairs,
    *,
    scorer: CachedCrossEncoder | None = None,
    vectors: CachedVectors | None = None,
    advance: Advance = lambda _: None,
) -> PairsEvaluation:
    """Measure models on labelled pairs.

    Args:
        pairs: with their grades.
        scorer: a cross-encoder, measured by its scores.
        vectors: a bi-encoder, measured by the cosine of a pair's two vectors.
        advance: told of pairs that the cross-encoder scored, or without one of texts that were encoded.

    Raises:
        MissingExtraError: scipy or scikit-learn is not installed.
        InputError, BackendError: a pair cannot be scored, or the model failed.
    """
    reports: dict[str, PairsReport] = {}
    if vectors is not None:
        found = cosines(pairs, vectors, advance=advance if scorer is None else lambda _: None)
        reports[vectors.name] = PairsReport(scores=found, quality=measure_pairs(pairs, found))
    if scorer is not None:
        scored = scorer.score(pairs.pairs, advance=advance)
        reports[scorer.name] = PairsReport(
            scores=scored.scores,
            quality=measure_pairs(pairs, scored.scores),
            num_truncated=scored.num_truncated,
        )
    return PairsEvaluation(pairs=pairs, reports=reports)


def cosines(
    pairs: ScoredPairs, vectors: CachedVectors, *, advance: Advance = lambda _: None
) -> FloatArray:
    """The cosine of each pair's vectors, shape (num_pairs,), float32."""
    first = vectors.queries([query for query, _ in pairs.pairs], advance=advance)
    second = vectors.documents([document for _, document in pairs.pairs], advance=advance)
    found: FloatArray = np.einsum("ij,ij->i", first, second).astype(np.float32)
    return found
