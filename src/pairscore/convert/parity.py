"""How close a converted model's logits are to the reference's, on the same pairs; pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.convert.parity_texts import Candidates, ParityTexts
from pairscore.evaluation.measures import (
    CUT,
    Flips,
    flipped_neighbours,
    mean_and_error,
    ndcg,
    pearson,
    ranked,
    spearman,
    top_overlap,
)
from pairscore.values import FloatArray

__all__ = ["MARGIN", "Parity", "parity_of"]

MARGIN: Final = 0.05
"""Neighbours matter if they are further apart than this share of the reference logits' standard deviation."""

_Floats: TypeAlias = npt.NDArray[np.float64]
_MIN_CANDIDATES = 4
_TAIL = 99.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """What two models' logits have in common. None stands for what these texts or this model cannot show.

    Attributes:
        num_pairs: pairs that both scored.
        num_queries: queries that they belong to.
        spearman: correlation of the two orders of all pairs; of a model with labels, the worst label's; NaN
            where one side gives every pair the same.
        pearson: correlation of the logits, likewise.
        mean_difference: mean absolute difference of the logits.
        p99_difference: 99 of 100 are at most so far apart.
        largest_difference: the largest absolute difference.
        deviation: standard deviation of the reference's logits, to judge the differences by.
        top_overlap: share of the reference's ten best candidates of a query that are among the other's ten
            best, mean over queries; of fewer than twenty candidates the better half counts.
        worst_overlap: the same of the worst query.
        num_ranked: queries with candidates enough for that.
        flips: neighbours down to rank 10 that matter, and those of them that swapped places.
        margin: from what gap on they matter, in logits.
        reference_ndcg: nDCG@10 of the reference's order, mean over judged queries.
        converted_ndcg: nDCG@10 of the converted model's order.
        ndcg_loss: the first less the second; negative where the converted model ranks better.
        ndcg_error: standard error of that loss over the queries; NaN of a single query.
        num_judged: judged queries with a relevant document.
        label_agreement: share of pairs to which both give the same label, for a model with several.
    """

    num_pairs: int
    num_queries: int
    spearman: float
    pearson: float
    mean_difference: float
    p99_difference: float
    largest_difference: float
    deviation: float
    top_overlap: float | None = None
    worst_overlap: float | None = None
    num_ranked: int = 0
    flips: Flips | None = None
    margin: float = 0.0
    reference_ndcg: float | None = None
    converted_ndcg: float | None = None
    ndcg_loss: float | None = None
    ndcg_error: float | None = None
    num_judged: int = 0
    label_agreement: float | None = None

    @property
    def flipped(self) -> float | None:
        """The share of neighbours that matter that swapped places."""
        if self.flips is None or not self.flips.num_neighbours:
            return None
        return self.flips.num_flipped / self.flips.num_neighbours


def parity_of(texts: ParityTexts, reference: FloatArray, converted: FloatArray) -> Parity:
    """Compare two models' logits of the same pairs.

    Args:
        texts: the pairs, query by query.
        reference: logits in the order of `texts.pairs`, float32, shape (num_pairs,) or (num_pairs, num_labels).
        converted: the other logits, of the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != converted.shape or len(reference) != texts.num_pairs:
        raise ValueError(
            f"{texts.num_pairs} pairs have logits of the shapes {reference.shape} and {converted.shape}"
        )
    # In float64, so that the comparison adds no rounding of its own.
    first, second = reference.astype(np.float64), converted.astype(np.float64)
    gaps = np.abs(first - second)
    columns = _columns(first, second)
    common = Parity(
        num_pairs=texts.num_pairs,
        num_queries=len(texts.queries),
        spearman=_worst([spearman(one, other) for one, other in columns]),
        pearson=_worst([pearson(one, other) for one, other in columns]),
        mean_difference=float(gaps.mean()),
        p99_difference=float(np.percentile(gaps, _TAIL)),
        largest_difference=float(gaps.max()),
        deviation=float(first.std()),
    )
    if first.ndim > 1:
        agreement = float((first.argmax(axis=1) == second.argmax(axis=1)).mean())
        return replace(common, label_agreement=agreement)
    return _ranked_parity(common, texts, first, second)


def _columns(first: _Floats, second: _Floats) -> list[tuple[_Floats, _Floats]]:
    if first.ndim == 1:
        return [(first, second)]
    return list(zip(first.T, second.T, strict=True))


def _worst(values: Sequence[float]) -> float:
    return math.nan if any(math.isnan(value) for value in values) else min(values)


def _ranked_parity(
    common: Parity, texts: ParityTexts, reference: _Floats, converted: _Floats
) -> Parity:
    margin = MARGIN * common.deviation
    overlaps: list[float] = []
    flips = Flips(0, 0)
    for _, first, second in _by_query(texts, reference, converted):
        if len(first) >= _MIN_CANDIDATES:
            overlaps.append(top_overlap(first, second, cut=min(CUT, len(first) // 2)))
        flips += flipped_neighbours(first, second, margin=margin)
    return replace(
        _with_ndcg(common, texts, reference, converted),
        top_overlap=float(np.mean(overlaps)) if overlaps else None,
        worst_overlap=min(overlaps) if overlaps else None,
        num_ranked=len(overlaps),
        flips=flips,
        margin=margin,
    )


def _with_ndcg(
    common: Parity, texts: ParityTexts, reference: _Floats, converted: _Floats
) -> Parity:
    first, second = [], []
    for item, one, other in _by_query(texts, reference, converted):
        if max(item.judged, default=0) > 0:
            first.append(_ndcg(item, one))
            second.append(_ndcg(item, other))
    if not first:
        return common
    losses = [one - other for one, other in zip(first, second, strict=True)]
    loss, error = mean_and_error(losses)
    return replace(
        common,
        reference_ndcg=float(np.mean(first)),
        converted_ndcg=float(np.mean(second)),
        ndcg_loss=loss,
        ndcg_error=error,
        num_judged=len(first),
    )


def _ndcg(item: Candidates, scores: _Floats) -> float:
    return ndcg([item.grades[position] for position in ranked(scores)], item.judged)


def _by_query(
    texts: ParityTexts, reference: _Floats, converted: _Floats
) -> Iterator[tuple[Candidates, _Floats, _Floats]]:
    start = 0
    for item in texts.queries:
        end = start + len(item.documents)
        yield item, reference[start:end], converted[start:end]
        start = end
