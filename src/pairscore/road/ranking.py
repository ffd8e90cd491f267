"""Logits become scores, and scores an order; pure functions of arrays.

Order is by score, highest first, and equal scores keep the order of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from pairscore.errors import SettingError
from pairscore.values import FloatArray, Hit, Scores

__all__ = ["apply_activation", "hits", "scores_of", "sigmoid"]


def sigmoid(logits: npt.ArrayLike) -> FloatArray:
    """1 / (1 + exp(-x)), in float64 and without overflow; returned as float32.

    Half precision, or even float32 with a naive formula, would make all confident scores equal.
    """
    x = np.asarray(logits, dtype=np.float64)
    decay = np.exp(-np.abs(x))
    value: FloatArray = np.where(x >= 0, 1.0 / (1.0 + decay), decay / (1.0 + decay)).astype(
        np.float32
    )
    return value


def apply_activation(logits: FloatArray, activation: Literal["identity", "sigmoid"]) -> FloatArray:
    """What the model's card says a score is."""
    return logits.copy() if activation == "identity" else sigmoid(logits)


def scores_of(
    logits: FloatArray,
    *,
    activation: Literal["identity", "sigmoid"],
    num_tokens: Sequence[int],
    truncated: Sequence[bool],
    model: str,
) -> Scores:
    """Everything that is said of some pairs, from their logits and the model's activation."""
    return Scores(
        logits=logits,
        scores=apply_activation(logits, activation),
        probabilities=sigmoid(logits),
        scale="logit" if activation == "identity" else "unit",
        num_tokens=np.asarray(num_tokens, dtype=np.int64),
        truncated=np.asarray(truncated, dtype=np.bool_),
        model=model,
    )


def hits(
    scores: Scores, *, top_k: int | None = None, min_score: float | None = None
) -> Sequence[Hit]:
    """Documents from best to worst.

    Args:
        scores: one score for each document, in the documents' order.
        top_k: how many to keep; None keeps all.
        min_score: the lowest score to keep, on the scale of `scores`.

    Raises:
        SettingError: `top_k` is below 1.
    """
    if top_k is not None and (isinstance(top_k, bool) or top_k < 1):
        raise SettingError(f"top_k is {top_k!r}; it must be at least 1, or None for all")
    order = np.argsort(-scores.scores, kind="stable")[:top_k]
    if min_score is not None:
        # In float64, because a caller may give what no float32 can hold.
        order = order[scores.scores[order].astype(np.float64) >= min_score]
    return [
        Hit(
            corpus_id=int(i),
            score=float(scores.scores[i]),
            probability=float(scores.probabilities[i]),
            truncated=bool(scores.truncated[i]),
        )
        for i in order
    ]
