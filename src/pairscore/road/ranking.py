"""Logits become scores, and scores an order; pure functions of arrays.

Order is by score, highest first, and equal scores keep the order of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from pairscore.errors import SettingError
from pairscore.models.card import Card
from pairscore.values import FloatArray, Hit, Scores

__all__ = [
    "against_rest",
    "apply_activation",
    "check_one_number",
    "hits",
    "probabilities_of",
    "scores_of",
    "sigmoid",
    "softmax",
]


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


def softmax(logits: npt.ArrayLike) -> FloatArray:
    """exp(x) / sum(exp(x)) along the last axis, in float64 and without overflow; returned as float32."""
    x = np.asarray(logits, dtype=np.float64)
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    value: FloatArray = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return value


def against_rest(logits: FloatArray, label: int) -> FloatArray:
    """One label's log-odds against all others together: its sigmoid is that label's softmax.

    log(p / (1 - p)) with p = softmax(x)[label] is x[label] - log(sum of exp(x) of the others).

    Args:
        logits: shape (num_pairs, num_labels).
        label: its column.

    Returns:
        shape (num_pairs,), float32, from float64 arithmetic.
    """
    x = logits.astype(np.float64)
    others = np.delete(x, label, axis=1)
    value: FloatArray = (x[:, label] - np.logaddexp.reduce(others, axis=1)).astype(np.float32)
    return value


def probabilities_of(logits: FloatArray, *, exclusive: bool = True) -> FloatArray:
    """The sigmoid of each pair's logit; of several exclusive labels the softmax over them."""
    return softmax(logits) if logits.ndim > 1 and exclusive else sigmoid(logits)


def apply_activation(logits: FloatArray, activation: Literal["identity", "sigmoid"]) -> FloatArray:
    """What the model's card says a score is."""
    return logits.copy() if activation == "identity" else sigmoid(logits)


def scores_of(
    logits: FloatArray, *, card: Card, num_tokens: Sequence[int], truncated: Sequence[bool]
) -> Scores:
    """Everything that is said of some pairs, from their logits and the model's card."""
    return Scores(
        logits=logits,
        scores=apply_activation(logits, card.activation),
        probabilities=probabilities_of(logits, exclusive=card.exclusive),
        scale=card.scale,
        num_tokens=np.asarray(num_tokens, dtype=np.int64),
        truncated=np.asarray(truncated, dtype=np.bool_),
        model=card.name,
        labels=card.labels,
    )


def check_one_number(model: str, labels: Sequence[str]) -> None:
    """Refuse to order what has several numbers.

    Raises:
        SettingError: the model has several labels.
    """
    if labels:
        raise SettingError(
            f"{model} puts out {len(labels)} labels ({', '.join(labels)}), and an order needs one number; "
            f"open it with label={labels[0]!r}, or another one, to order by that label"
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
        SettingError: `top_k` is below 1, or the model has several labels.
    """
    check_one_number(scores.model, scores.labels)
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
