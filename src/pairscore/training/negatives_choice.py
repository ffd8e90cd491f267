"""Which candidates become negatives: those that are further from the query than a positive, by a margin.

A candidate that scores above the positive's score less the margin is a suspected false negative: a text that belongs
to the query, and that nobody judged. The relative margin is TopK-PercPos of G. de S. P. Moreira et al.,
"NV-Retriever: Improving text embedding models with effective hard-negative mining", 2024,
https://arxiv.org/abs/2407.15831: with 0.05 a negative scores at most 95 % of the positive. Of a positive score below 0 its
size is taken, as sentence-transformers' `mine_hard_negatives` does, so that a larger margin is never a laxer one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import numpy as np

from pairscore.errors import SettingError
from pairscore.models.card import Card
from pairscore.retrieval.same_text import normalised
from pairscore.road.ranking import scores_of
from pairscore.training.negatives_scoring import Considered, ScoredQuery
from pairscore.values import FloatArray

__all__ = ["Chosen", "MarginRule", "MarginScale", "Reference", "Sampling", "choose"]

MarginScale: TypeAlias = Literal["score", "probability"]
"""What margins and limits are held against: the model's own score, or the probability of it."""
Sampling: TypeAlias = Literal["top", "random"]
"""Which of the candidates that are left: those with the highest scores, or any of them by chance."""
Reference: TypeAlias = Literal["lowest", "highest"]
"""Of several positives, whose score counts: the lowest, which lets no negative past any of them, or the highest."""

_SCALES: Final = ("score", "probability")
_SAMPLINGS: Final = ("top", "random")
_REFERENCES: Final = ("lowest", "highest")


@dataclass(frozen=True, kw_only=True, slots=True)
class MarginRule:
    """How negatives are chosen from what was scored.

    Attributes:
        relative: a part of the positive's score that must lie between it and a negative; None for no such rule.
        absolute: the distance that must lie between them; None for no such rule.
        max_score: the highest score of a negative; None for no such rule.
        min_score: the lowest score of a negative; what is below is too easy to teach anything. None for no such rule.
        scale: of all these numbers.
        reference: of several positives, whose score counts.
        num_negatives: the most negatives a query gets.
        sampling: which ones.
        seed: of the chance; a query's own part of it does not depend on other queries.

    Raises:
        SettingError: one makes no sense.
    """

    relative: float | None = 0.05
    absolute: float | None = None
    max_score: float | None = None
    min_score: float | None = None
    scale: MarginScale = "probability"
    reference: Reference = "lowest"
    num_negatives: int = 4
    sampling: Sampling = "top"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.relative is not None and not 0.0 <= self.relative < 1.0:
            raise SettingError(
                f"relative_margin is {self.relative}; it is a part of the positive's score, from 0 to below 1"
            )
        if self.absolute is not None and not (math.isfinite(self.absolute) and self.absolute >= 0):
            raise SettingError(f"absolute_margin is {self.absolute}; it must be 0 or more")
        if self.num_negatives < 1:
            raise SettingError(f"num_negatives is {self.num_negatives}; it must be at least 1")
        if self.seed < 0:
            raise SettingError(f"seed is {self.seed}; it must be 0 or more")
        _check_known("margin_scale", self.scale, _SCALES)
        _check_known("sampling", self.sampling, _SAMPLINGS)
        _check_known("reference", self.reference, _REFERENCES)
        least, most = self.min_score, self.max_score
        if least is not None and most is not None and least > most:
            raise SettingError(f"min_score is {least:g} and max_score {most:g}; swap them")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What became of one query's candidates.

    Attributes:
        negatives: highest score first.
        suspected: left out as suspected false negatives, by rank.
        num_easy: left out as too easy.
    """

    negatives: tuple[Considered, ...]
    suspected: tuple[Considered, ...]
    num_easy: int


def choose(scored: ScoredQuery, rule: MarginRule, *, query: str, card: Card) -> Chosen:
    """Choose a query's negatives.

    Args:
        scored: the query's positives and candidates; at least one positive.
        rule: how.
        query: the query's text, for its part of the chance.
        card: what the logits mean.
    """
    candidates = scored.candidates
    values = _on_scale([one.logit for one in candidates], card, rule.scale)
    positives = _on_scale([logit for _, logit in scored.positives], card, rule.scale)
    pick = min if rule.reference == "lowest" else max
    most = _most(float(pick(positives)), rule)
    least = -math.inf if rule.min_score is None else rule.min_score
    places = [place for place, value in enumerate(values) if least <= value <= most]
    places.sort(key=lambda place: (-candidates[place].logit, candidates[place].rank))
    return Chosen(
        negatives=tuple(candidates[place] for place in _sampled(places, rule, query)),
        suspected=tuple(one for one, value in zip(candidates, values, strict=True) if value > most),
        num_easy=sum(value <= most and value < least for value in values),
    )


def _most(positive: float, rule: MarginRule) -> float:
    """The highest value that a negative may have."""
    limits = [math.inf]
    if rule.relative is not None:
        limits.append(positive - abs(positive) * rule.relative)
    if rule.absolute is not None:
        limits.append(positive - rule.absolute)
    if rule.max_score is not None:
        limits.append(rule.max_score)
    return min(limits)


def _on_scale(logits: Sequence[float], card: Card, scale: MarginScale) -> list[float]:
    given: FloatArray = np.array(logits, dtype=np.float32)
    none = [0] * len(given)
    scores = scores_of(given, card=card, num_tokens=none, truncated=[False] * len(given))
    found: list[float] = (scores.scores if scale == "score" else scores.probabilities).tolist()
    return found


def _sampled(places: Sequence[int], rule: MarginRule, query: str) -> Sequence[int]:
    """Some places, in the order in which they came."""
    if rule.sampling == "top" or len(places) <= rule.num_negatives:
        return places[: rule.num_negatives]
    own = int.from_bytes(sha256(normalised(query).encode()).digest()[:8], "little")
    chance = np.random.default_rng([rule.seed, own])
    picked = chance.choice(len(places), size=rule.num_negatives, replace=False)
    return [places[one] for one in sorted(picked.tolist())]


def _check_known(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise SettingError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
