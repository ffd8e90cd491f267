"""From which score on two texts count as duplicates: a number on a named scale, given, or chosen by a labelled sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.errors import EmptyInputError, ScaleError, SettingError
from pairscore.models.card import Card
from pairscore.models.catalog import DEFAULT_ENCODER, DEFAULT_MODEL
from pairscore.values import Scale

__all__ = [
    "ChosenCut",
    "Cut",
    "CutScale",
    "check_cut",
    "choose_cut",
    "default_scale",
    "known_cut",
]

CutScale: TypeAlias = Literal["relative", "logit", "unit", "probability", "cosine"]
"""``relative``: the cross-encoder's logit less those of the texts with themselves, 0 for the same text. ``logit``,
``unit``: its own score. ``probability``: of its logit, calibrated if it has a calibration. ``cosine``: of the
bi-encoder, where that decides alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """The least score of a duplicate.

    Attributes:
        value: the score.
        scale: what it means.
    """

    value: float
    scale: CutScale


# Where 80 % of the pairs above it have a grade of 4 or 5 in STS-B's dev split: docs/duplicates.md has the command.
_KNOWN: Final = {
    DEFAULT_MODEL: Cut(value=-1.1, scale="relative"),
    DEFAULT_ENCODER: Cut(value=0.92, scale="cosine"),
}

_RANGES: Final = {"cosine": (-1.0, 1.0), "unit": (0.0, 1.0), "probability": (0.0, 1.0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenCut:
    """A cut that a labelled sample chose, and how good it is on that very sample, which flatters it.

    Attributes:
        cut: the cut, half-way between the last pair above it and the next one below.
        precision: the share of duplicates among the pairs above it.
        recall: the share of duplicates that are above it.
        f1: the harmonic mean of both.
        num_pairs: pairs in the sample.
        num_positive: duplicates among them.
    """

    cut: Cut
    precision: float
    recall: float
    f1: float
    num_pairs: int
    num_positive: int


def known_cut(model: str) -> Cut | None:
    """The cut of a model inside the package; None for every other, whose scores mean something else."""
    return _KNOWN.get(model)


def default_scale(card: Card | None) -> CutScale:
    """The scale of a cut where none is named: a relevance model's logits mean little by themselves here.

    Args:
        card: of the cross-encoder; None where the bi-encoder decides alone.
    """
    if card is None:
        return "cosine"
    return "relative" if card.task == "relevance" else card.scale


def check_scale(scale: CutScale, *, own: Scale | None) -> None:
    """Refuse a scale that the decider's scores cannot be on.

    Args:
        scale: of the cut.
        own: of the cross-encoder's scores; None where the bi-encoder decides alone.

    Raises:
        ScaleError: they cannot.
    """
    allowed = ("cosine",) if own is None else ("relative", own, "probability")
    if scale not in allowed:
        who = "the bi-encoder decides alone" if own is None else "the cross-encoder decides"
        raise ScaleError(
            f"the threshold is on the scale {scale!r}, and {who}, so it must be on {' or '.join(map(repr, allowed))}"
        )


def check_cut(cut: Cut, *, own: Scale | None) -> None:
    """Refuse a cut that no score could ever be on the other side of.

    Args:
        cut: the cut.
        own: as for `check_scale`.

    Raises:
        ScaleError: it is such a one, or on another scale.
    """
    check_scale(cut.scale, own=own)
    lowest, highest = _RANGES.get(cut.scale, (-np.inf, np.inf))
    if not lowest <= cut.value <= highest or not np.isfinite(cut.value):
        raise ScaleError(
            f"the threshold is {cut.value:g}, and on the scale {cut.scale!r} it must be "
            f"{'a finite number' if highest == np.inf else f'from {lowest:g} to {highest:g}'}"
        )


def choose_cut(
    values: npt.NDArray[np.floating],
    positive: Sequence[bool],
    *,
    scale: CutScale,
    min_precision: float | None = None,
) -> ChosenCut:
    """The cut with the best F1, or the one with the most recall among those that are precise enough.

    Args:
        values: the scores of the labelled pairs, shape (num_pairs,).
        positive: whether each pair is one of duplicates.
        scale: what the scores mean.
        min_precision: the least share of duplicates above the cut; None for the best F1.

    Raises:
        SettingError: `min_precision` is no share, or no cut reaches it.
        EmptyInputError: the sample has no duplicate, or nothing else.
    """
    if min_precision is not None and not 0.0 < min_precision <= 1.0:
        raise SettingError(f"min_precision is {min_precision!r}; it must be above 0 and at most 1")
    truth = np.asarray(positive, dtype=np.bool_)
    num_positive = int(truth.sum())
    if num_positive in (0, len(truth)):
        raise EmptyInputError(
            f"of {len(truth):,} labelled pairs {num_positive:,} are duplicates; a threshold needs some that are and "
            "some that are not"
        )
    order = np.argsort(-values, kind="stable")
    ranked = values[order].astype(np.float64)
    # Only between two different scores is there room for a cut.
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(truth[order])[ends]
    precision, recall = hits / (ends + 1), hits / num_positive
    f1 = 2 * hits / (ends + 1 + num_positive)
    best = _best(precision, f1, min_precision=min_precision)
    end = int(ends[best])
    below = ranked[end + 1] if end + 1 < len(ranked) else ranked[end]
    return ChosenCut(
        cut=Cut(value=float((ranked[end] + below) / 2), scale=scale),
        precision=float(precision[best]),
        recall=float(recall[best]),
        f1=float(f1[best]),
        num_pairs=len(truth),
        num_positive=num_positive,
    )


def _best(
    precision: npt.NDArray[np.float64], f1: npt.NDArray[np.float64], *, min_precision: float | None
) -> int:
    if min_precision is None:
        return int(np.argmax(f1))
    enough = np.flatnonzero(precision >= min_precision)
    if not len(enough):
        raise SettingError(
            f"no threshold has a precision of {min_precision:g} on this sample, the best has {precision.max():.3f}; "
            "ask for less, or use a model that fits better"
        )
    return int(enough[-1])
