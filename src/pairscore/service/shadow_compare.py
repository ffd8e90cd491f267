"""How far two models are apart on the pairs of one request: pure functions of their logits, numpy alone.

`evaluation.measures` has the same correlation by scipy, which a service does not load; a test holds both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.values import Scale

__all__ = ["TOP", "Difference", "Outputs", "compare", "spearman"]

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

TOP: Final = 10
"""Documents that most people look at."""

# With two, a correlation is one or minus one.
_FEWEST: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """What a model put out for the pairs of one request.

    Attributes:
        logits: shape (num_pairs,), or (num_pairs, num_labels) of a model with several labels, float32.
        scores: on the model's own scale, the same shape, float32.
        scale: what the scores mean.
        labels: the labels' names; empty for a model that puts out one number.
    """

    logits: Floats
    scores: Floats
    scale: Scale
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far two models are apart on one request; None where a number would mean nothing.

    Attributes:
        logit_difference_mean: mean absolute difference of the logits.
        logit_difference_max: the largest one.
        score_difference_mean: mean absolute difference of the scores; None where the scales differ.
        score_difference_max: the largest one, likewise.
        spearman: correlation of the ranks, -1 to 1; None for fewer than three pairs, for several labels, and where
            a model gives all pairs the same.
        same_best: whether both have the same document in front; None where pairs were scored and not ranked.
        top_10_overlap: the share of one's ten best documents that the other one has there too, 0 to 1; None for up
            to ten documents, where it is always 1.
        same_label: the share of the pairs for which both find the same label likeliest; None for one number a pair.
    """

    logit_difference_mean: float
    logit_difference_max: float
    score_difference_mean: float | None
    score_difference_max: float | None
    spearman: float | None
    same_best: bool | None
    top_10_overlap: float | None
    same_label: float | None


def compare(live: Outputs, shadow: Outputs, *, is_ranking: bool) -> Difference:
    """Hold what a shadow put out against what was answered.

    Args:
        live: of the model that answered, at least one pair.
        shadow: of the same pairs, in the same order, with the same labels.
        is_ranking: whether documents were put in order; else pairs were scored, and none is the best.
    """
    logits = _apart(live.logits, shadow.logits)
    scores = _apart(live.scores, shadow.scores) if live.scale == shadow.scale else None
    ranked = is_ranking and not live.labels and len(live.logits) > 1
    return Difference(
        logit_difference_mean=float(logits.mean()),
        logit_difference_max=float(logits.max()),
        score_difference_mean=None if scores is None else float(scores.mean()),
        score_difference_max=None if scores is None else float(scores.max()),
        spearman=None if live.labels else spearman(live.logits, shadow.logits),
        same_best=_best(live.logits) == _best(shadow.logits) if ranked else None,
        top_10_overlap=_overlap(live.logits, shadow.logits) if ranked else None,
        same_label=_same_label(live.logits, shadow.logits) if live.labels else None,
    )


def spearman(first: Floats, second: Floats) -> float | None:
    """Spearman's correlation; equal values share their mean rank.

    Args:
        first: shape (num_values,).
        second: shape (num_values,).

    Returns:
        -1 to 1; None for fewer than three values, and where one list is constant and so has no order.
    """
    if len(first) < _FEWEST:
        return None
    one, other = _centred_ranks(first), _centred_ranks(second)
    spread = float(np.sqrt((one @ one) * (other @ other)))
    if not spread:
        return None
    return min(1.0, max(-1.0, float(one @ other) / spread))


def _apart(first: Floats, second: Floats) -> Floats:
    return np.abs(first.astype(np.float64) - second.astype(np.float64))


def _centred_ranks(values: Floats) -> Floats:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    centred: Floats = ranks[places] - ranks[places].mean()
    return centred


def _order(logits: Floats) -> npt.NDArray[np.intp]:
    # Stable, as answers are: equal ones keep the request's order.
    return np.argsort(-logits, kind="stable")


def _best(logits: Floats) -> int:
    return int(_order(logits)[0])


def _overlap(first: Floats, second: Floats) -> float | None:
    if len(first) <= TOP:
        return None
    both = np.intersect1d(_order(first)[:TOP], _order(second)[:TOP])
    return len(both) / TOP


def _same_label(first: Floats, second: Floats) -> float:
    return float((first.argmax(axis=1) == second.argmax(axis=1)).mean())
