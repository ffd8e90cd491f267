"""How well logits agree with labels: correlation with grades, two classes by a threshold, several classes by the best logit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.evaluation.resampling import weighted_correlations
from pairscore.training.evaluator_statistics import DoubleArray, GroupArray, Measure, mean_of

__all__ = [
    "best_threshold",
    "class_measures",
    "correlation_measures",
    "folds_of",
    "two_class_measures",
]

BoolArray: TypeAlias = npt.NDArray[np.bool_]

_NUM_FOLDS: Final = 5


def correlation_measures(
    scores: DoubleArray, grades: DoubleArray, groups: GroupArray
) -> dict[str, Measure]:
    """Spearman's and Pearson's correlation of scores with grades; Pearson's knows the scale, Spearman's the order only.

    Args:
        scores: on the scale of the model's task, shape (num_pairs,).
        grades: the truth, shape (num_pairs,).
        groups: the number of each pair's query, shape (num_pairs,).
    """
    return {
        kind: Measure(
            weighted=partial(weighted_correlations, scores, grades, kind=kind), groups=groups
        )
        for kind in ("spearman", "pearson")
    }


def two_class_measures(
    scores: DoubleArray, positive: BoolArray, groups: GroupArray
) -> dict[str, Measure]:
    """Average precision and AUC of the order; F1 and accuracy, each at its best threshold.

    A threshold that is judged by the pairs that it was chosen on flatters itself. So each pair is decided by one that
    was chosen on the other queries, in five parts; with fewer than two queries F1 and accuracy are left out.

    Args:
        scores: higher is more likely positive, shape (num_pairs,).
        positive: the truth, of both kinds, shape (num_pairs,).
        groups: the number of each pair's query, shape (num_pairs,).
    """
    truth = positive.astype(np.float64)
    found = {
        "average_precision": Measure(weighted=_average_precision(scores, positive), groups=groups),
        "auc": Measure(
            weighted=partial(weighted_correlations, scores, truth, kind="auc"), groups=groups
        ),
    }
    folds = folds_of(groups)
    if folds is None:
        return found
    by_f1 = _held_out(scores, positive, folds, quality=_f1_curve)
    right = _held_out(scores, positive, folds, quality=_accuracy_curve) == positive
    found["f1"] = Measure(weighted=_f1(by_f1, positive), groups=groups)
    found["accuracy"] = mean_of(right.astype(np.float64), groups)
    return found


def best_threshold(scores: DoubleArray, positive: BoolArray) -> float:
    """The threshold with the best F1 on all pairs: half-way between two scores, so that rounding decides nothing."""
    return _threshold(scores, positive, quality=_f1_curve)


def class_measures(
    logits: DoubleArray, classes: GroupArray, groups: GroupArray
) -> dict[str, Measure]:
    """Accuracy, and the mean F1 of the classes (macro F1), of the label with the highest logit.

    Args:
        logits: shape (num_pairs, num_labels).
        classes: the right label of each pair, shape (num_pairs,).
        groups: the number of each pair's first text, shape (num_pairs,).
    """
    told = logits.argmax(axis=1)
    each = [_f1(told == label, classes == label) for label in np.unique(classes)]

    def macro_f1(weights: DoubleArray) -> DoubleArray:
        mean: DoubleArray = np.mean([one(weights) for one in each], axis=0)
        return mean

    return {
        "accuracy": mean_of((told == classes).astype(np.float64), groups),
        "macro_f1": Measure(weighted=macro_f1, groups=groups),
    }


def folds_of(groups: GroupArray) -> GroupArray | None:
    """The part in which each pair is held out, whole queries together, shape (num_pairs,); None for one query.

    The seed is fixed, so that the same file gives the same numbers.
    """
    num_groups = int(groups.max()) + 1
    if num_groups < 2:  # noqa: PLR2004 - one query cannot be held out of itself
        return None
    shuffled = np.random.default_rng(0).permutation(num_groups)
    found: GroupArray = (shuffled % min(_NUM_FOLDS, num_groups))[groups]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """What a threshold takes, for every threshold from the highest score down.

    Attributes:
        num_right: positive pairs that are taken.
        num_taken: all pairs that are taken.
        num_positive: positive pairs, taken or not.
        num_pairs: all pairs.
    """

    num_right: DoubleArray
    num_taken: DoubleArray
    num_positive: float
    num_pairs: int


_Quality: TypeAlias = Callable[[_Taken], DoubleArray]


def _f1_curve(taken: _Taken) -> DoubleArray:
    value: DoubleArray = 2.0 * taken.num_right / (taken.num_taken + taken.num_positive)
    return value


def _accuracy_curve(taken: _Taken) -> DoubleArray:
    num_wrong = (taken.num_taken - taken.num_right) + (taken.num_positive - taken.num_right)
    value: DoubleArray = 1.0 - num_wrong / taken.num_pairs
    return value


def _threshold(scores: DoubleArray, positive: BoolArray, *, quality: _Quality) -> float:
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], positive[order]
    # A threshold takes all pairs of a score or none, so only the last of equal scores counts.
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    taken = _Taken(
        num_right=np.cumsum(hits)[last].astype(np.float64),
        num_taken=(last + 1).astype(np.float64),
        num_positive=float(hits.sum()),
        num_pairs=len(hits),
    )
    best = int(last[int(np.argmax(quality(taken)))])
    if best + 1 == len(falling):
        return float(falling[best])
    return float((falling[best] + falling[best + 1]) / 2.0)


def _held_out(
    scores: DoubleArray, positive: BoolArray, folds: GroupArray, *, quality: _Quality
) -> BoolArray:
    """What is taken where each pair is decided by a threshold that was chosen without its query."""
    taken = np.zeros(len(scores), dtype=np.bool_)
    for fold in np.unique(folds):
        held, seen = folds == fold, folds != fold
        taken[held] = scores[held] >= _threshold(scores[seen], positive[seen], quality=quality)
    return taken


def _f1(taken: BoolArray, positive: BoolArray) -> Callable[[DoubleArray], DoubleArray]:
    right = (taken & positive).astype(np.float64)
    both = taken.astype(np.float64) + positive.astype(np.float64)

    def weighted(weights: DoubleArray) -> DoubleArray:
        total = weights @ both
        value: DoubleArray = np.divide(
            2.0 * (weights @ right), total, out=np.zeros(len(weights)), where=total > 0.0
        )
        return value

    return weighted


def _average_precision(
    scores: DoubleArray, positive: BoolArray
) -> Callable[[DoubleArray], DoubleArray]:
    """The sum of precision times the gain in recall over all distinct scores, as scikit-learn has it."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], positive[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)

    def weighted(weights: DoubleArray) -> DoubleArray:
        heights = weights[:, order]
        num_taken = np.cumsum(heights, axis=1)[:, last]
        num_right = np.cumsum(heights * hits, axis=1)[:, last]
        precision = np.divide(
            num_right, num_taken, out=np.zeros_like(num_taken), where=num_taken > 0.0
        )
        gained = np.diff(num_right, axis=1, prepend=0.0)
        total = num_right[:, -1]
        value: DoubleArray = np.divide(
            (precision * gained).sum(axis=1),
            total,
            out=np.full_like(total, np.nan),
            where=total > 0.0,
        )
        return value

    return weighted
