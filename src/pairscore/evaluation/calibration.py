"""Fitting a calibration on labelled pairs, and measuring what it does on queries that it has not seen.

scikit-learn is imported here, so this module itself is imported only when something is to be fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from pairscore.errors import InputError
from pairscore.models.calibration import (
    Curve,
    IsotonicCurve,
    Measured,
    Measures,
    Method,
    PlattCurve,
)

__all__ = [
    "DEFAULT_NUM_BINS",
    "FEW_FOR_ISOTONIC",
    "MIN_OF_EACH",
    "Bin",
    "Choice",
    "Fitted",
    "Labelled",
    "calibrate",
    "check_numbers",
    "expected_calibration_error",
    "fit_curve",
    "measures_of",
    "reliability",
]

Choice: TypeAlias = Literal["platt", "isotonic", "auto"]
DoubleArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

DEFAULT_NUM_BINS: Final = 15
MIN_OF_EACH: Final = 10
"""Positive pairs, and negative ones, below which nothing is fitted."""
FEW_FOR_ISOTONIC: Final = 1000
"""Pairs below which isotonic regression tends to overfit, as scikit-learn's user guide (1.16.3.2) warns."""
_NUM_FOLDS: Final = 5
# A bin with fewer pairs says more about chance than about calibration.
_MIN_PER_BIN: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """Pairs with their logits and the truth about them.

    Attributes:
        logits: shape (num_pairs,), float64.
        positive: whether a pair belongs together, shape (num_pairs,), bool.
        queries: which pairs share a query and are held out together, shape (num_pairs,), int64.
    """

    logits: DoubleArray
    positive: BoolArray
    queries: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, logits: npt.ArrayLike, *, positive: Sequence[bool], queries: Sequence[str]
    ) -> Labelled:
        """The same from plain lists; equal queries are one."""
        numbers = {query: number for number, query in enumerate(dict.fromkeys(queries))}
        return cls(
            logits=np.asarray(logits, dtype=np.float64),
            positive=np.asarray(positive, dtype=np.bool_),
            queries=np.asarray([numbers[query] for query in queries], dtype=np.int64),
        )

    @property
    def num_queries(self) -> int:
        """How many queries there are."""
        return len(np.unique(self.queries))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """The pairs of nearly the same probability.

    Attributes:
        probability: their mean probability.
        frequency: the part of them that is positive.
        num_pairs: how many they are.
    """

    probability: float
    frequency: float
    num_pairs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A curve, and what it does.

    Attributes:
        curve: fitted on all pairs.
        measured: on held-out queries.
        before: the reliability of sigmoid(logit), bins from the least likely up.
        after: that of the calibrated probabilities of held-out queries.
        warnings: what a person should know before it is used, a sentence each.
    """

    curve: Curve
    measured: Measured
    before: tuple[Bin, ...]
    after: tuple[Bin, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Trial:
    """One method, with the probabilities that it gives to queries it was not fitted on."""

    method: Method
    probabilities: DoubleArray
    measures: Measures


def calibrate(labelled: Labelled, *, method: Choice = "auto") -> Fitted:
    """Fit a curve on all pairs, and measure its method on held-out queries.

    The folds are made of whole queries, because pairs of one query are alike, and the curve of a fold never
    sees what it is measured on: isotonic regression on its own pairs would always look perfect.

    Args:
        labelled: logits and labels.
        method: ``platt``, ``isotonic``, or ``auto``: Platt below `FEW_FOR_ISOTONIC` pairs, else what has the
            lower held-out log loss.

    Raises:
        InputError: too few positive or negative pairs or queries, or labels that contradict the logits.
    """
    check_numbers(labelled.positive.tolist(), labelled.queries.tolist())
    auc = float(roc_auc_score(labelled.positive, labelled.logits))
    _check_order(auc)
    folds = list(_folds(labelled))
    trials = [_trial(labelled, name, folds) for name in _candidates(method, labelled)]
    best = min(trials, key=lambda trial: trial.measures.log_loss)
    curve = fit_curve(labelled.logits, labelled.positive, method=best.method)
    if isinstance(curve, PlattCurve) and curve.slope <= 0.0:
        raise _inverted(auc)
    plain = PlattCurve(slope=1.0, intercept=0.0)(labelled.logits)
    after = reliability(best.probabilities, labelled.positive)
    measured = Measured(
        num_folds=len(folds),
        num_bins=len(after),
        auc=auc,
        before=measures_of(plain, labelled.positive),
        after=best.measures,
    )
    return Fitted(
        curve=curve,
        measured=measured,
        before=reliability(plain, labelled.positive),
        after=after,
        warnings=tuple(_warnings(measured, best.method, len(labelled.logits))),
    )


def check_numbers(positive: Sequence[bool], queries: Sequence[object]) -> None:
    """Refuse too few pairs to fit anything on, before they are scored.

    Raises:
        InputError: fewer than `MIN_OF_EACH` are positive or negative, or all have the same query.
    """
    num_positives = sum(positive)
    num_negatives = len(positive) - num_positives
    if min(num_positives, num_negatives) < MIN_OF_EACH:
        raise InputError(
            f"{num_positives:,} of {len(positive):,} labelled pairs are positive and {num_negatives:,} are negative; "
            f"a calibration needs at least {MIN_OF_EACH} of each: label more pairs"
        )
    if len(set(queries)) == 1:
        raise InputError(
            "all labelled pairs have the same query; at least 2 are needed, because a calibration is measured on "
            "queries that it was not fitted on: label pairs of more queries"
        )


def fit_curve(logits: DoubleArray, positive: BoolArray, *, method: Method) -> Curve:
    """Fit one curve on all that is given; both labels must be there.

    Platt's targets are not 1 and 0 but (num_positives + 1) / (num_positives + 2) and 1 / (num_negatives + 2)
    (Platt 1999, section 2.2). The same two bound the isotonic curve: so many pairs cannot show that anything is
    certain, and one surprise would cost an endless log loss.
    """
    high, low = _targets(positive)
    if method == "platt":
        return _platt(logits, np.where(positive, high, low))
    regression = IsotonicRegression(y_min=low, y_max=high, out_of_bounds="clip")
    regression.fit(logits, positive.astype(np.float64))
    return IsotonicCurve(
        logits=tuple(regression.X_thresholds_.tolist()),
        probabilities=tuple(regression.y_thresholds_.tolist()),
    )


def measures_of(
    probabilities: DoubleArray, positive: BoolArray, *, num_bins: int = DEFAULT_NUM_BINS
) -> Measures:
    """ECE, Brier score (G. Brier, Monthly Weather Review 78, 1950) and log loss."""
    return Measures(
        ece=expected_calibration_error(probabilities, positive, num_bins=num_bins),
        brier=float(brier_score_loss(positive, probabilities)),
        log_loss=float(log_loss(positive, probabilities, labels=[False, True])),
    )


def expected_calibration_error(
    probabilities: DoubleArray, positive: BoolArray, *, num_bins: int = DEFAULT_NUM_BINS
) -> float:
    """The mean distance between probability and frequency, over bins of equal mass, weighted by their pairs.

    Source: M. Naeini, G. Cooper, M. Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning", AAAI 2015; with bins of equal mass, which R. Roelofs et al., "Mitigating Bias in Calibration Error
    Estimation", AISTATS 2022, find less biased than bins of equal width.
    """
    bins = reliability(probabilities, positive, num_bins=num_bins)
    distance = sum(part.num_pairs * abs(part.frequency - part.probability) for part in bins)
    return distance / len(probabilities)


def reliability(
    probabilities: DoubleArray, positive: BoolArray, *, num_bins: int = DEFAULT_NUM_BINS
) -> tuple[Bin, ...]:
    """Pairs sorted by probability into bins of equal mass, from the least likely up.

    Equal probabilities always share a bin, so that the order of the pairs changes nothing; there may then be fewer
    bins than asked for, and there are never so many that one has less than ten pairs on average.
    """
    wanted = max(1, min(num_bins, len(probabilities) // _MIN_PER_BIN))
    # An edge is the least probability of the bin above it.
    edges = np.sort(probabilities)[np.arange(1, wanted) * len(probabilities) // wanted]
    places = np.searchsorted(edges, probabilities, side="right")
    return tuple(
        Bin(
            probability=float(probabilities[places == place].mean()),
            frequency=float(positive[places == place].mean()),
            num_pairs=int((places == place).sum()),
        )
        for place in np.unique(places)
    )


def _platt(logits: DoubleArray, targets: DoubleArray) -> PlattCurve:
    """Maximum likelihood with soft targets: each pair counts as both labels, weighted by its target."""
    # Logits of any size become small numbers first, which the solver needs to end where it should.
    centre, spread = float(logits.mean()), float(logits.std()) or 1.0
    column = ((logits - centre) / spread)[:, np.newaxis]
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=200)
    model.fit(
        np.concatenate([column, column]),
        np.repeat([1, 0], len(logits)),
        sample_weight=np.concatenate([targets, 1.0 - targets]),
    )
    slope = float(model.coef_[0, 0]) / spread
    return PlattCurve(slope=slope, intercept=float(model.intercept_[0]) - slope * centre)


def _targets(positive: BoolArray) -> tuple[float, float]:
    num_positives = int(positive.sum())
    num_negatives = len(positive) - num_positives
    return (num_positives + 1.0) / (num_positives + 2.0), 1.0 / (num_negatives + 2.0)


def _candidates(method: Choice, labelled: Labelled) -> tuple[Method, ...]:
    if method != "auto":
        return (method,)
    # Platt first: it wins a tie.
    return ("platt",) if len(labelled.logits) < FEW_FOR_ISOTONIC else ("platt", "isotonic")


def _trial(
    labelled: Labelled,
    method: Method,
    folds: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
) -> _Trial:
    probabilities = np.empty_like(labelled.logits)
    for seen, held_out in folds:
        curve = fit_curve(labelled.logits[seen], labelled.positive[seen], method=method)
        probabilities[held_out] = curve(labelled.logits[held_out])
    return _Trial(method, probabilities, measures_of(probabilities, labelled.positive))


def _folds(
    labelled: Labelled,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    num_folds = min(_NUM_FOLDS, labelled.num_queries)
    # The seed is fixed, so that the same file gives the same numbers.
    splitter = StratifiedGroupKFold(n_splits=num_folds, shuffle=True, random_state=0)
    for seen, held_out in splitter.split(
        labelled.logits, labelled.positive, groups=labelled.queries
    ):
        if not 0 < labelled.positive[seen].sum() < len(seen):
            raise InputError(
                "nearly all positive or all negative pairs belong to one query, so none are left to fit on when it "
                "is held out; label pairs of more queries"
            )
        yield seen, held_out


def _check_order(auc: float) -> None:
    if auc <= 0.5:  # noqa: PLR2004 - what chance reaches
        raise _inverted(auc)


def _inverted(auc: float) -> InputError:
    return InputError(
        f"positive pairs have no higher logits than negative ones (AUC {auc:.3f}; chance has 0.5), and a curve "
        "that falls would turn every ranking round; check that 1 means that a pair belongs together"
    )


def _warnings(measured: Measured, method: Method, num_pairs: int) -> Iterator[str]:
    if method == "isotonic" and num_pairs < FEW_FOR_ISOTONIC:
        yield (
            f"{num_pairs:,} pairs are few for isotonic regression, which overfits below "
            f"{FEW_FOR_ISOTONIC:,}; label more, or use --method platt"
        )
    if measured.after.log_loss >= measured.before.log_loss:
        yield (
            "on held-out queries the calibrated probabilities have no lower log loss than the model's own; "
            "label more pairs, or leave the calibration out"
        )
