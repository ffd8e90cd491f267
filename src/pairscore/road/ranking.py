"""Logits become scores, and scores an order; pure functions of arrays.

Order is by score, highest first, and equal scores keep the order of the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from pairscore.errors import ScaleError, SettingError
from pairscore.models.card import Card
from pairscore.values import FloatArray, Hit, Scale, Scores, Threshold

__all__ = [
    "against_rest",
    "apply_activation",
    "check_one_number",
    "check_one_scale",
    "hits",
    "least",
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
        probabilities=_calibrated(logits, card),
        scale=card.scale,
        num_tokens=np.asarray(num_tokens, dtype=np.int64),
        truncated=np.asarray(truncated, dtype=np.bool_),
        model=card.name,
        labels=card.labels,
        calibration=None if card.calibration is None else card.calibration.method,
    )


def _calibrated(logits: FloatArray, card: Card) -> FloatArray:
    """Never their order: `hits` sorts by scores, which a calibration leaves alone."""
    if card.calibration is None:
        return probabilities_of(logits, exclusive=card.exclusive)
    return card.calibration.probabilities(logits)


def least(threshold: float | Threshold, *, scale: Scale) -> float:
    """The value of a threshold for scores of this scale.

    Raises:
        ScaleError: it was found on another scale, or no score of this one could ever be on its other side.
    """
    value = threshold.value if isinstance(threshold, Threshold) else threshold
    if isinstance(threshold, Threshold) and threshold.scale != scale:
        raise ScaleError(
            f"the threshold {value:g} is on the scale {threshold.scale!r}, and these scores are on {scale!r}; "
            f"{_translated(value, threshold.scale)}"
        )
    if scale == "unit" and not 0.0 <= value <= 1.0:
        raise ScaleError(
            f"the threshold is {value:g}, and these scores are from 0 to 1; if it was meant for logits, "
            f"{_translated(value, 'logit')}"
        )
    return value


def check_one_scale(first: Scores, second: Scores) -> None:
    """Refuse to compare scores that mean different things.

    Raises:
        ScaleError: one has logits and the other scores from 0 to 1, or their labels differ.
    """
    if first.scale != second.scale:
        raise ScaleError(
            f"the scores of {first.model} are on the scale {first.scale!r}, those of {second.model} on "
            f"{second.scale!r}; compare their probabilities, or the order that each gives"
        )
    if first.labels != second.labels:
        raise ScaleError(
            f"{first.model} has the labels {first.labels or 'of one number'}, {second.model} "
            f"{second.labels or 'of one number'}; open both with the same label="
        )


def _translated(value: float, scale: Scale) -> str:
    """What a threshold of one scale is on the other."""
    if scale == "logit":
        return f"compare probabilities with {float(sigmoid([value])[0]):.4g}, or take raw scores"
    if not 0.0 < value < 1.0:
        return "compare the probabilities with it, not the scores"
    return (
        f"compare the probabilities with it, or the logits with {math.log(value / (1 - value)):.4g}"
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
    scores: Scores,
    *,
    top_k: int | None = None,
    min_score: float | Threshold | None = None,
    min_probability: float | None = None,
) -> Sequence[Hit]:
    """Documents from best to worst.

    Args:
        scores: one score for each document, in the documents' order.
        top_k: how many to keep; None keeps all.
        min_score: the lowest score to keep; a bare number is on the scale of `scores`.
        min_probability: the lowest probability to keep, from 0 to 1.

    Raises:
        SettingError: `top_k` is below 1, or the model has several labels.
        ScaleError: `min_score` is on another scale.
    """
    check_one_number(scores.model, scores.labels)
    if top_k is not None and (isinstance(top_k, bool) or top_k < 1):
        raise SettingError(f"top_k is {top_k!r}; it must be at least 1, or None for all")
    order = np.argsort(-scores.scores, kind="stable")[:top_k]
    if min_score is not None:
        min_score = least(min_score, scale=scores.scale)
        # In float64, because a caller may give what no float32 can hold.
        order = order[scores.scores[order].astype(np.float64) >= min_score]
    if min_probability is not None:
        probabilities = scores.probabilities[order].astype(np.float64)
        order = order[probabilities >= least(min_probability, scale="unit")]
    return [
        Hit(
            corpus_id=int(i),
            score=float(scores.scores[i]),
            probability=float(scores.probabilities[i]),
            truncated=bool(scores.truncated[i]),
        )
        for i in order
    ]
