"""The logits of a document's windows become one, and the best window is found; pure functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pairscore.config import Aggregate
from pairscore.models.card import Card
from pairscore.road.ranking import scores_of
from pairscore.values import FloatArray, IntArray, Scores, Windows

__all__ = ["WindowedRead", "aggregated", "windowed_scores"]


@dataclass(frozen=True, slots=True)
class WindowedRead:
    """How one pair was read in windows.

    Attributes:
        spans: each window's characters in the document, shape (num_windows, 2), int64: text[start:end].
        num_tokens: tokens that the model reads, of all windows.
        truncated: whether any text of the pair is in no window.
        limited: whether that is because the document has more windows than it may.
    """

    spans: IntArray
    num_tokens: int
    truncated: bool
    limited: bool


def aggregated(logits: FloatArray, aggregate: Aggregate) -> FloatArray:
    """The logits of one document's windows as one.

    ``max`` and ``first`` are MaxP and FirstP of Dai and Callan ("Deeper Text Understanding for IR with Contextual
    Neural Language Modeling", SIGIR 2019). ``softmax`` is the sum of w x with w = exp(x) / sum(exp(x)), the
    exponential softmax pooling of Wang, Li and Metze ("A Comparison of Five Multiple Instance Learning Pooling
    Functions", ICASSP 2019), here of logits: between ``mean`` and ``max``, and, unlike a log-sum-exp, no
    higher for a document that says the same in more windows.

    Args:
        logits: shape (num_windows,) or (num_windows, num_labels), float32; each label for itself.
        aggregate: which.

    Returns:
        shape () or (num_labels,), float32, from float64 arithmetic.
    """
    x = logits.astype(np.float64)
    if aggregate == "first":
        value = x[0]
    elif aggregate == "max":
        value = x.max(axis=0)
    elif aggregate == "mean":
        value = x.mean(axis=0)
    else:
        weights = np.exp(x - x.max(axis=0))
        value = (weights * x).sum(axis=0) / weights.sum(axis=0)
    return np.asarray(value, dtype=np.float32)


def windowed_scores(
    logits: FloatArray, pairs: Sequence[WindowedRead], *, card: Card, aggregate: Aggregate
) -> Scores:
    """Everything that is said of some pairs, from the logits of their windows.

    The best window is the one with the highest logit, the first of equal ones; of several labels it is the
    label that is highest in the end whose windows are compared.

    Args:
        logits: shape (num_windows,) or (num_windows, num_labels), float32: all pairs' windows, in order.
        pairs: how they were read.
        card: of the model.
        aggregate: how windows become one.
    """
    values: list[FloatArray] = []
    spans: list[IntArray] = []
    begin = 0
    for pair in pairs:
        own = logits[begin : begin + len(pair.spans)]
        begin += len(own)
        values.append(aggregated(own, aggregate))
        column = own if own.ndim == 1 else own[:, int(values[-1].argmax())]
        spans.append(pair.spans[int(column.argmax())])
    found = np.stack(spans)
    windows = Windows(
        num_windows=np.asarray([len(pair.spans) for pair in pairs], dtype=np.int64),
        starts=found[:, 0],
        ends=found[:, 1],
        limited=np.asarray([pair.limited for pair in pairs], dtype=np.bool_),
    )
    scores = scores_of(
        np.stack(values),
        card=card,
        num_tokens=[pair.num_tokens for pair in pairs],
        truncated=[pair.truncated for pair in pairs],
    )
    return replace(scores, windows=windows)
