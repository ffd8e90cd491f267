"""From what closeness on a converted model is good enough: the thresholds, and which were passed.

The defaults, and the measurements that they come from, are explained in `docs/converting.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias

from pairscore.convert.parity import Parity
from pairscore.errors import SettingError

__all__ = ["FLOAT32", "INT8", "Check", "Numbers", "Thresholds", "checks_of", "default_thresholds"]

Numbers: TypeAlias = Literal["float32", "int8"]
"""How coarse the coarser side of a comparison is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Each is left out where it is None.

    Attributes:
        min_spearman: of all pairs' logits.
        min_top_overlap: of each query's ten best, mean over queries.
        max_flipped: share of neighbours that matter that swap places.
        max_ndcg_loss: of nDCG@10, where texts are judged.
        max_difference: largest absolute difference of the logits.
        min_label_agreement: share of pairs with the same label, of a model with several.

    Raises:
        SettingError: a value that nothing can reach, or that everything passes by mistake.
    """

    min_spearman: float | None = None
    min_top_overlap: float | None = None
    max_flipped: float | None = None
    max_ndcg_loss: float | None = None
    max_difference: float | None = None
    min_label_agreement: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            lowest = -1.0 if field.name == "min_spearman" else 0.0
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


def default_thresholds(numbers: Numbers) -> Thresholds:
    """The thresholds for a comparison whose coarser side has these numbers."""
    return INT8 if numbers == "int8" else FLOAT32


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


def checks_of(parity: Parity, thresholds: Thresholds) -> tuple[Check, ...]:
    """Hold what was measured against each threshold that is set."""
    measured = {
        "min_spearman": parity.spearman,
        "min_top_overlap": parity.top_overlap,
        "max_flipped": parity.flipped,
        "max_ndcg_loss": parity.ndcg_loss,
        "max_difference": parity.largest_difference,
        "min_label_agreement": parity.label_agreement,
    }
    return tuple(
        Check(name=name, value=value, limit=limit, passed=_holds(name, value, limit))
        for name, value in measured.items()
        if (limit := getattr(thresholds, name)) is not None and _applies(name, parity)
    )


def _applies(name: str, parity: Parity) -> bool:
    """A model with labels ranks nothing, and one without has no labels to agree on."""
    has_labels = parity.label_agreement is not None
    if name == "min_label_agreement":
        return has_labels
    return not has_labels or name in ("min_spearman", "max_difference")


def _holds(name: str, value: float | None, limit: float) -> bool | None:
    if value is None:
        return None
    # NaN compares false both ways, so what is not defined never passes.
    return value >= limit if name.startswith("min_") else value <= limit
