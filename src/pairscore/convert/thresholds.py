"""From what closeness on a converted model is good enough: the thresholds, and which were passed.

The defaults, and the measurements that they come from, are explained in `docs/converting.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias

from pairscore.convert.parity import Parity
from pairscore.convert.vectors import VectorParity
from pairscore.errors import SettingError

__all__ = [
    "FLOAT32",
    "FLOAT32_VECTORS",
    "INT8",
    "INT8_VECTORS",
    "Check",
    "Numbers",
    "Thresholds",
    "check_applicable",
    "checks_of",
    "default_thresholds",
]

Numbers: TypeAlias = Literal["float32", "int8"]
"""How coarse the coarser side of a comparison is."""


_SIGNED: Final = ("min_spearman", "min_cosine", "min_worst_cosine")
_OF_VECTORS: Final = ("min_cosine", "min_worst_cosine", "min_neighbours")
_OF_BOTH: Final = ("min_spearman", "max_ndcg_loss")


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Each is left out where it is None.

    Attributes:
        min_spearman: of all pairs' logits; of a bi-encoder, of the similarities of each text with each other.
        min_top_overlap: of each query's ten best, mean over queries.
        max_flipped: share of neighbours that matter that swap places.
        max_ndcg_loss: of nDCG@10, where texts are judged.
        max_difference: largest absolute difference of the logits.
        min_label_agreement: share of pairs with the same label, of a model with several.
        min_cosine: of a text's two vectors, mean over texts, of a bi-encoder.
        min_worst_cosine: the same, of every single text.
        min_neighbours: of each text's ten nearest, mean over texts, of a bi-encoder.

    Raises:
        SettingError: a value that nothing can reach, or that everything passes by mistake.
    """

    min_spearman: float | None = None
    min_top_overlap: float | None = None
    max_flipped: float | None = None
    max_ndcg_loss: float | None = None
    max_difference: float | None = None
    min_label_agreement: float | None = None
    min_cosine: float | None = None
    min_worst_cosine: float | None = None
    min_neighbours: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            lowest = -1.0 if field.name in _SIGNED else 0.0
            highest = math.inf if field.name == "max_difference" else 1.0
            if not lowest <= value <= highest:
                raise SettingError(
                    f"{field.name} is {value}; it must be from {lowest:g} to {highest:g}"
                )


INT8: Final = Thresholds(
    min_spearman=0.99,
    min_top_overlap=0.95,
    max_flipped=0.05,
    max_ndcg_loss=0.005,
    min_label_agreement=0.97,
)
"""For a comparison in which either side computes in int8."""

FLOAT32: Final = Thresholds(
    min_spearman=0.9999,
    min_top_overlap=0.99,
    max_flipped=0.0,
    max_ndcg_loss=0.001,
    max_difference=1e-3,
    min_label_agreement=0.999,
)
"""For float32 against float32: only the order of sums may differ."""


INT8_VECTORS: Final = Thresholds(
    min_cosine=0.99,
    min_worst_cosine=0.97,
    min_spearman=0.99,
    min_neighbours=0.9,
    max_ndcg_loss=0.01,
)
"""For two bi-encoders of which either computes in int8."""

FLOAT32_VECTORS: Final = Thresholds(
    min_cosine=0.99999,
    min_worst_cosine=0.9999,
    min_spearman=0.9999,
    min_neighbours=0.99,
    max_ndcg_loss=0.001,
)
"""For two bi-encoders in float32."""


def default_thresholds(numbers: Numbers, *, vectors: bool = False) -> Thresholds:
    """The thresholds for a comparison.

    Args:
        numbers: of its coarser side.
        vectors: whether bi-encoders are compared.
    """
    if vectors:
        return INT8_VECTORS if numbers == "int8" else FLOAT32_VECTORS
    return INT8 if numbers == "int8" else FLOAT32


def check_applicable(asked: Thresholds, *, vectors: bool) -> None:
    """Refuse a threshold that was asked for and says nothing of such a model: it would seem to hold.

    Args:
        asked: what the caller set.
        vectors: whether bi-encoders are compared.

    Raises:
        SettingError: a bi-encoder's threshold for a cross-encoder, or the other way round.
    """
    for field in fields(asked):
        if getattr(asked, field.name) is None or field.name in _OF_BOTH:
            continue
        if (field.name in _OF_VECTORS) is not vectors:
            kind, other = (
                ("bi-encoder", "cross-encoder") if vectors else ("cross-encoder", "bi-encoder")
            )
            raise SettingError(
                f"{field.name} is a threshold for a {other}, and a {kind} is compared; leave it out"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One threshold and what was measured.

    Attributes:
        name: of the threshold, as in `Thresholds`.
        value: what was measured; None where it was not, NaN where it is not defined.
        limit: the threshold.
        passed: whether it holds; None where it was not measured. What is not defined fails.
    """

    name: str
    value: float | None
    limit: float
    passed: bool | None


def checks_of(
    parity: Parity, thresholds: Thresholds, *, vectors: VectorParity | None = None
) -> tuple[Check, ...]:
    """Hold what was measured against each threshold that is set.

    Args:
        parity: of logits, or of the similarities of a bi-encoder's pairs.
        thresholds: those that differ from None.
        vectors: of a bi-encoder.
    """
    measured = _of_pairs(parity) if vectors is None else _of_vectors(vectors, parity)
    return tuple(
        Check(name=name, value=value, limit=limit, passed=_holds(name, value, limit))
        for name, value in measured.items()
        if (limit := getattr(thresholds, name)) is not None
    )


def _of_pairs(parity: Parity) -> dict[str, float | None]:
    """A model with labels ranks nothing, and one without has no labels to agree on."""
    of_all = {"min_spearman": parity.spearman}
    differences = {"max_difference": parity.largest_difference}
    if parity.label_agreement is not None:
        return {**of_all, **differences, "min_label_agreement": parity.label_agreement}
    return {
        **of_all,
        "min_top_overlap": parity.top_overlap,
        "max_flipped": parity.flipped,
        "max_ndcg_loss": parity.ndcg_loss,
        **differences,
    }


def _of_vectors(vectors: VectorParity, parity: Parity) -> dict[str, float | None]:
    return {
        "min_cosine": vectors.cosine,
        "min_worst_cosine": vectors.worst_cosine,
        "min_spearman": vectors.spearman,
        "min_neighbours": vectors.neighbours,
        "max_ndcg_loss": parity.ndcg_loss,
    }


def _holds(name: str, value: float | None, limit: float) -> bool | None:
    if value is None:
        return None
    # NaN compares false both ways, so what is not defined never passes.
    return value >= limit if name.startswith("min_") else value <= limit
