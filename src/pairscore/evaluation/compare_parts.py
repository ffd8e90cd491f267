"""What comparisons of pairs and of rankings share: the systems, the labels, and one system's entry in the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import MissingExtraError, SettingError
from pairscore.evaluation.compare_labels import (
    MAX_ROWS,
    best_threshold,
    gap_of,
    most_apart,
    reliability_of,
    side_by_side,
)
from pairscore.evaluation.compare_records import (
    Compared,
    Estimate,
    Pairwise,
    Reliability,
    Row,
    Speed,
)
from pairscore.evaluation.compare_systems import (
    BI_ENCODER,
    CROSS_ENCODER,
    Advance,
    BiEncoderSystem,
    Bm25System,
    CrossEncoderSystem,
    Scored,
    System,
)
from pairscore.evaluation.significance import holm
from pairscore.retrieval.base import Encoder

__all__ = [
    "CompareOptions",
    "Labels",
    "Models",
    "Progress",
    "check_installed",
    "compared_of",
    "numbered",
    "reliability_in",
    "rows_are",
    "rows_of",
    "systems_of",
    "with_holm",
]

DoubleArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Progress: TypeAlias = Callable[[int], AbstractContextManager[Advance]]
"""Opens a progress bar for so many steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """What is compared.

    Attributes:
        cross: the cross-encoder.
        bi: the bi-encoder; None leaves it out.
        bm25: whether BM25 takes part.
    """

    cross: CrossEncoder
    bi: Encoder | None
    bm25: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareOptions:
    """How it is compared.

    Attributes:
        positive_from: the lowest grade that counts as related; None takes 1, and of graded pairs the upper fifth
            of their scale.
        num_candidates: of rankings, how many of the first stage's best are scored.
        price_per_hour: of the machine, in any currency; None says no money.
    """

    positive_from: float | None = None
    num_candidates: int = 100
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        if self.num_candidates < 1:
            raise SettingError(f"num_candidates is {self.num_candidates}; it must be at least 1")
        price = self.price_per_hour
        if price is not None and not (math.isfinite(price) and price >= 0.0):
            raise SettingError(f"price_per_hour is {price}; it must be a number of at least 0")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labels:
    """All pairs with what people said of them.

    Attributes:
        pairs: the texts.
        grades: shape (num_pairs,); NaN for an unjudged pair.
        related: shape (num_pairs,).
        known: whether `related` is known of a pair, shape (num_pairs,).
        groups: which pairs share a query, shape (num_pairs,).
    """

    pairs: Sequence[tuple[str, str]]
    grades: DoubleArray
    related: BoolArray
    known: BoolArray
    groups: npt.NDArray[np.intp]


def check_installed(*, measures: bool, pictures: bool) -> None:
    """Refuse before any work what would fail for want of a library at its end.

    Args:
        measures: whether rankings or correlations will be measured.
        pictures: whether something will be drawn.

    Raises:
        MissingExtraError: a library is not installed.
    """
    try:
        if measures:
            import ir_measures  # noqa: F401
            import scipy  # noqa: F401
        if pictures:
            import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(feature="pairscore compare", extra="evaluate") from error


def systems_of(models: Models, *, collection: Sequence[str], whose: str) -> list[System]:
    """The systems, the cross-encoder first.

    Args:
        models: what is compared.
        collection: the documents whose words BM25 counts.
        whose: these documents in words.
    """
    systems: list[System] = [CrossEncoderSystem(models.cross)]
    if models.bi is not None:
        systems.append(BiEncoderSystem(models.bi))
    if models.bm25:
        systems.append(Bm25System(collection, whose=whose))
    return systems


def compared_of(
    system: System,
    scored: Scored,
    labels: Labels,
    *,
    measures: Mapping[str, Estimate],
    speed: Speed | None,
) -> Compared:
    """One system's entry."""
    known = labels.known
    return Compared(
        name=system.name,
        detail=system.detail,
        scale=system.scale,
        scores=scored.scores,
        measures=measures,
        gap=gap_of(scored.scores[known], labels.related[known]),
        speed=speed,
        threshold=best_threshold(
            scored.scores[known], labels.related[known], labels.groups[known], scale=system.scale
        ),
    )


def reliability_in(scored: Scored, labels: Labels) -> Reliability | None:
    """How honest probabilities are; None for a system without them, or for too few labels."""
    if scored.probabilities is None:
        return None
    return reliability_of(scored.probabilities[labels.known], labels.related[labels.known])


def rows_of(compared: Sequence[Compared], labels: Labels) -> tuple[Row, ...]:
    """The pairs to show side by side."""
    scores = {system.name: system.scores for system in compared}
    places = most_apart(scores.get(CROSS_ENCODER), scores.get(BI_ENCODER), count=len(labels.pairs))
    return side_by_side(labels.pairs, labels.grades, scores, places)


def rows_are(num_pairs: int) -> str:
    """Which pairs `rows_of` shows, in words."""
    if num_pairs <= MAX_ROWS:
        return "all pairs"
    return "the pairs whose ranks by cross-encoder and by bi-encoder differ most"


def with_holm(tests: Sequence[Pairwise]) -> tuple[Pairwise, ...]:
    """The same tests with Holm's correction for being several."""
    adjusted = holm([test.difference.p for test in tests])
    return tuple(replace(test, adjusted_p=p) for test, p in zip(tests, adjusted, strict=True))


def numbered(names: Sequence[str]) -> npt.NDArray[np.intp]:
    """Equal names by equal numbers, shape (num_names,)."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.asarray([numbers[name] for name in names], dtype=np.intp)
