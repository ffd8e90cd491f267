"""How alike two texts are, as a number that does not depend on which of them comes first.

A cross-encoder's score has a direction, and being the same has none: both orders are scored, and their logits averaged.
On the scale ``relative`` the mean of both texts' logits with themselves is subtracted: a relevance model gives one
question for another a low logit, because questions answer nothing, but it gives a question for itself one that is
not much higher. 0 is then as alike as two texts can be. What that brings is measured in docs/duplicates.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.cross_encoder import CrossEncoder
from pairscore.models.card import Card
from pairscore.retrieval.base import Encoder
from pairscore.retrieval.cuts import CutScale
from pairscore.road.ranking import scores_of
from pairscore.values import FloatArray

__all__ = ["Both", "both_orders", "cosines_of", "cross_values", "on_scale", "own_logits"]

Both: TypeAlias = tuple[FloatArray, npt.NDArray[np.bool_]]
"""The logits of both orders of some pairs, shape (num_pairs, 2), and whether a text of a pair was cut."""


def both_orders(cross_encoder: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> Both:
    """Score each pair in both orders."""
    found = cross_encoder.score([*pairs, *((second, first) for first, second in pairs)])
    logits = np.stack(np.split(found.logits, 2), axis=1)
    return logits, np.logical_or(*np.split(found.truncated, 2))


def own_logits(cross_encoder: CrossEncoder, texts: Sequence[str]) -> FloatArray:
    """The logit of each text with itself, shape (num_texts,)."""
    return cross_encoder.score([(text, text) for text in texts]).logits


def on_scale(
    logits: FloatArray, own: FloatArray | None, *, card: Card, scale: CutScale
) -> FloatArray:
    """What a cut on this scale is compared with.

    Args:
        logits: of both orders of each pair, shape (num_pairs, 2).
        own: of each pair's two texts with themselves, shape (num_pairs, 2); needed for ``relative`` alone.
        card: what the model's numbers mean.
        scale: ``relative``, ``logit``, ``unit`` or ``probability``.

    Returns:
        shape (num_pairs,), float32.
    """
    mean = logits.mean(axis=1, dtype=np.float32)
    if own is not None:
        return np.asarray(mean - own.mean(axis=1, dtype=np.float32))
    none = [0] * len(mean)
    scores = scores_of(mean, card=card, num_tokens=none, truncated=[False] * len(mean))
    return scores.probabilities if scale == "probability" else scores.scores


def cross_values(
    cross_encoder: CrossEncoder, pairs: Sequence[tuple[str, str]], *, scale: CutScale
) -> FloatArray:
    """How alike the texts of each pair are to the cross-encoder, shape (num_pairs,)."""
    logits, _ = both_orders(cross_encoder, pairs)
    own = None
    if scale == "relative":
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        known = dict(zip(texts, own_logits(cross_encoder, texts), strict=True))
        own = np.array([[known[first], known[second]] for first, second in pairs], dtype=np.float32)
    return on_scale(logits, own, card=cross_encoder.card, scale=scale)


def cosines_of(encoder: Encoder, pairs: Sequence[tuple[str, str]]) -> FloatArray:
    """The cosine of the two texts of each pair, shape (num_pairs,)."""
    first = encoder.encode_documents([a for a, _ in pairs])
    second = encoder.encode_documents([b for _, b in pairs])
    cosines: FloatArray = np.clip(np.einsum("ij,ij->i", first, second), -1.0, 1.0)
    return cosines
