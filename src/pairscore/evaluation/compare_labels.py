"""What labelled pairs say of one system's scores: gap, best threshold, reliability; and which pairs to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.evaluation.compare_records import (
    Gap,
    Reliability,
    ReliabilityBin,
    Row,
    ThresholdFit,
)
from pairscore.evaluation.significance import correlation

__all__ = [
    "MAX_ROWS",
    "MIN_OF_EACH",
    "best_threshold",
    "enough_labels",
    "gap_of",
    "most_apart",
    "reliability_of",
    "side_by_side",
]

DoubleArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

MIN_OF_EACH: Final = 10
"""Related pairs, and unrelated ones, below which no threshold is said, as `pairscore calibrate` fits nothing."""
_NUM_FOLDS: Final = 5
_NUM_BINS: Final = 15
_MIN_PER_BIN: Final = 10
MAX_ROWS: Final = 20
"""Pairs up to which all are shown side by side."""
_NUM_APART: Final = 10
_MAX_CHARS: Final = 160


def gap_of(scores: DoubleArray, related: BoolArray) -> Gap | None:
    """How far apart related and unrelated pairs lie; None if there are none of one kind.

    Args:
        scores: shape (num_pairs,).
        related: shape (num_pairs,).
    """
    upper, lower = scores[related], scores[~related]
    if not len(upper) or not len(lower):
        return None
    degrees = len(scores) - 2
    spread = math.nan
    if len(upper) > 1 and len(lower) > 1:
        squares = upper.var(ddof=1) * (len(upper) - 1) + lower.var(ddof=1) * (len(lower) - 1)
        spread = math.sqrt(squares / degrees)
    apart = float(upper.mean() - lower.mean())
    return Gap(
        num_related=len(upper),
        num_unrelated=len(lower),
        mean_related=float(upper.mean()),
        mean_unrelated=float(lower.mean()),
        standardised=apart / spread if spread > 0.0 else math.nan,
        auc=correlation(scores, related.astype(np.float64), kind="auc"),
    )


def enough_labels(related: BoolArray) -> bool:
    """Whether there are enough pairs of both kinds to say a threshold or a reliability."""
    return min(int(related.sum()), int((~related).sum())) >= MIN_OF_EACH


def best_threshold(
    scores: DoubleArray, related: BoolArray, groups: npt.NDArray[np.intp], *, scale: str
) -> ThresholdFit | None:
    """The threshold with the best F1, and what such a threshold is worth on queries that it was not chosen on.

    It stands half-way between two neighbouring scores, so that rounding decides nothing.

    Args:
        scores: shape (num_pairs,).
        related: shape (num_pairs,).
        groups: which pairs share a query and are held out together, shape (num_pairs,).
        scale: what the scores mean.

    Returns:
        None where there are fewer than `MIN_OF_EACH` pairs of a kind.
    """
    if not enough_labels(related):
        return None
    value = _threshold(scores, related)
    quality = _quality(scores >= value, related)
    return ThresholdFit(
        value=value,
        scale=scale,
        f1=quality.f1,
        held_out_f1=_held_out(scores, related, groups),
        precision=quality.precision,
        recall=quality.recall,
    )


def reliability_of(probabilities: DoubleArray, related: BoolArray) -> Reliability | None:
    """Bins of equal mass, equal probabilities in one, as `pairscore calibrate` makes them; None for too few labels."""
    if not enough_labels(related):
        return None
    wanted = max(1, min(_NUM_BINS, len(probabilities) // _MIN_PER_BIN))
    edges = np.sort(probabilities)[np.arange(1, wanted) * len(probabilities) // wanted]
    places = np.searchsorted(edges, probabilities, side="right")
    bins = tuple(
        ReliabilityBin(
            probability=float(probabilities[places == place].mean()),
            frequency=float(related[places == place].mean()),
            num_pairs=int((places == place).sum()),
        )
        for place in np.unique(places)
    )
    distance = sum(part.num_pairs * abs(part.frequency - part.probability) for part in bins)
    return Reliability(bins=bins, ece=distance / len(probabilities))


def side_by_side(
    pairs: Sequence[tuple[str, str]],
    grades: DoubleArray,
    scores: Mapping[str, DoubleArray],
    places: Sequence[int],
) -> tuple[Row, ...]:
    """Some pairs with every system's score; texts are shortened to 160 characters."""
    return tuple(
        Row(
            first=_shortened(pairs[place][0]),
            second=_shortened(pairs[place][1]),
            grade=None if math.isnan(grades[place]) else float(grades[place]),
            scores={name: float(values[place]) for name, values in scores.items()},
        )
        for place in places
    )


def most_apart(first: DoubleArray | None, second: DoubleArray | None, *, count: int) -> list[int]:
    """Positions to show: all pairs if they are few, else the ten whose ranks in two lists differ most."""
    if count <= MAX_ROWS or first is None or second is None:
        return list(range(min(count, MAX_ROWS)))
    ranks = [np.argsort(np.argsort(values, kind="stable")) for values in (first, second)]
    places = np.argsort(-np.abs(ranks[0] - ranks[1]), kind="stable")[:_NUM_APART]
    return [int(place) for place in places]


@dataclass(frozen=True, slots=True)
class _Quality:
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2.0 * self.precision * self.recall / total if total else 0.0


def _quality(taken: BoolArray, related: BoolArray) -> _Quality:
    right = int((taken & related).sum())
    return _Quality(
        precision=right / max(1, int(taken.sum())), recall=right / max(1, int(related.sum()))
    )


def _threshold(scores: DoubleArray, related: BoolArray) -> float:
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], related[order]
    # A threshold takes all pairs of a score or none, so only the last of equal scores counts.
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    f1 = 2.0 * np.cumsum(hits)[last] / (last + 1 + int(hits.sum()))
    best = int(last[int(np.argmax(f1))])
    if best + 1 == len(falling):
        return float(falling[best])
    return float((falling[best] + falling[best + 1]) / 2.0)


def _held_out(scores: DoubleArray, related: BoolArray, groups: npt.NDArray[np.intp]) -> float:
    """F1 over all pairs, each judged by a threshold that was chosen without its query."""
    distinct, places = np.unique(groups, return_inverse=True)
    if len(distinct) < _NUM_FOLDS:
        return math.nan
    # The seed is fixed, so that the same file gives the same numbers.
    fold_of = np.random.default_rng(0).permutation(len(distinct)) % _NUM_FOLDS
    folds = fold_of[places]
    taken = np.zeros(len(scores), dtype=np.bool_)
    for fold in range(_NUM_FOLDS):
        held, seen = folds == fold, folds != fold
        if not related[seen].any():
            return math.nan
        taken[held] = scores[held] >= _threshold(scores[seen], related[seen])
    return _quality(taken, related).f1


def _shortened(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _MAX_CHARS else f"{one_line[: _MAX_CHARS - 1]}…"
