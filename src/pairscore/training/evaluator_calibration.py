"""How far probabilities are from the truth, before and after a curve that was fitted on other queries."""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscore.models.calibration import PlattCurve
from pairscore.training.evaluator_labels import folds_of
from pairscore.training.evaluator_statistics import (
    DoubleArray,
    GroupArray,
    Measure,
    mean_of,
)

__all__ = ["MIN_PAIRS", "calibration_measures", "confidence_measures", "fit_platt"]

MIN_PAIRS: Final = 20
"""Pairs below which calibration is not measured."""

_NUM_BINS: Final = 15
# A bin with fewer pairs says more about chance than about calibration.
_MIN_PER_BIN: Final = 10
_NUM_STEPS: Final = 100
_SMALL_STEP: Final = 1e-9
_RIDGE: Final = 1e-9


def calibration_measures(
    logits: DoubleArray, truth: DoubleArray, groups: GroupArray
) -> dict[str, Measure]:
    """ECE and Brier score of sigmoid(logit), and of a curve that never saw the query that it is measured on.

    The truth may be graded, from 0 to 1: then the grade itself is what the probability should be. The curve is Platt's,
    fitted in turn on four fifths of the queries and measured on the fifth that was left out.

    Args:
        logits: shape (num_pairs,).
        truth: what should be the probability, 0 to 1, shape (num_pairs,).
        groups: the number of each pair's query, shape (num_pairs,).

    Returns:
        ``ece`` and ``brier``; with at least two queries ``ece_calibrated`` and ``brier_calibrated`` too. Empty for fewer
        than `MIN_PAIRS` pairs.
    """
    if len(logits) < MIN_PAIRS:
        return {}
    plain = PlattCurve(slope=1.0, intercept=0.0)(logits)
    found = _measures(plain, truth, groups, suffix="")
    folds = folds_of(groups)
    if folds is not None:
        fitted = np.empty_like(logits)
        for fold in np.unique(folds):
            held, seen = folds == fold, folds != fold
            fitted[held] = fit_platt(logits[seen], truth[seen])(logits[held])
        found |= _measures(fitted, truth, groups, suffix="_calibrated")
    return found


def confidence_measures(
    logits: DoubleArray, classes: GroupArray, groups: GroupArray
) -> dict[str, Measure]:
    """ECE of the chosen label's probability, and Brier's score over all labels, of the softmax.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.

    Args:
        logits: shape (num_pairs, num_labels).
        classes: the right label of each pair, shape (num_pairs,).
        groups: the number of each pair's first text, shape (num_pairs,).
    """
    if len(logits) < MIN_PAIRS:
        return {}
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    told = powers / powers.sum(axis=1, keepdims=True)
    right = (told.argmax(axis=1) == classes).astype(np.float64)
    wanted = np.eye(logits.shape[1])[classes]
    squares: DoubleArray = ((told - wanted) ** 2).sum(axis=1)
    return {
        "ece": _ece(told.max(axis=1), right, groups),
        "brier": mean_of(squares, groups, higher_is_better=False),
    }


def fit_platt(logits: DoubleArray, truth: DoubleArray) -> PlattCurve:
    """Platt's curve of grades from 0 to 1, by Newton's method.

    `pairscore.evaluation.calibration.fit_curve` is for labels 0 and 1 and needs scikit-learn; this one gives the same
    curve for them, takes grades too, and costs nothing at every evaluation of a training. The targets are drawn in from
    0 and 1 as Platt does it (1999, section 2.2), with the sum of the grades as the number of positive pairs.

    Args:
        logits: shape (num_pairs,).
        truth: 0 to 1, shape (num_pairs,).
    """
    # Logits of any size become small numbers first, so that Newton's steps end where they should.
    centre, spread = float(logits.mean()), float(logits.std()) or 1.0
    columns = np.stack([(logits - centre) / spread, np.ones_like(logits)], axis=1)
    num_upper = float(truth.sum())
    high, low = (num_upper + 1.0) / (num_upper + 2.0), 1.0 / (len(truth) - num_upper + 2.0)
    targets = low + (high - low) * truth
    found = np.zeros(2)
    for _ in range(_NUM_STEPS):
        told = PlattCurve(slope=1.0, intercept=0.0)(columns @ found)
        slopes = columns.T @ (told - targets)
        curvature = (columns * (told * (1.0 - told))[:, np.newaxis]).T @ columns
        step = np.linalg.solve(curvature + _RIDGE * np.eye(2), slopes)
        # A step further than the curve is known to bend is taken in part.
        found = found - step * min(1.0, 1.0 / float(np.abs(step).max() or 1.0))
        if float(np.abs(step).max()) < _SMALL_STEP:
            break
    slope = float(found[0]) / spread
    return PlattCurve(slope=slope, intercept=float(found[1]) - slope * centre)


def _measures(
    told: DoubleArray, truth: DoubleArray, groups: GroupArray, *, suffix: str
) -> dict[str, Measure]:
    return {
        f"ece{suffix}": _ece(told, truth, groups),
        f"brier{suffix}": mean_of((told - truth) ** 2, groups, higher_is_better=False),
    }


def _ece(told: DoubleArray, truth: DoubleArray, groups: GroupArray) -> Measure:
    """Expected calibration error over bins of equal mass, as `pairscore.evaluation.calibration` has it."""
    wanted = max(1, min(_NUM_BINS, len(told) // _MIN_PER_BIN))
    edges = np.sort(told)[np.arange(1, wanted) * len(told) // wanted]
    # The bins stay those of all pairs, so that a sample moves what is in them and not their edges.
    bins = np.eye(wanted)[np.searchsorted(edges, told, side="right")]
    apart = bins * (told - truth)[:, np.newaxis]

    def weighted(weights: DoubleArray) -> DoubleArray:
        value: DoubleArray = np.abs(weights @ apart).sum(axis=1) / weights.sum(axis=1)
        return value

    return Measure(weighted=weighted, groups=groups, higher_is_better=False, biased=True)
