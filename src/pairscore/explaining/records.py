"""What an explanation says: the score, the units of the document with their contributions, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from pairscore.errors import SettingError
from pairscore.values import Scale

__all__ = [
    "DEFAULT_MAX_PAIRS",
    "MIN_PAIRS",
    "Cost",
    "Explanation",
    "Unit",
    "UnitKind",
    "check_asked",
]

UnitKind: TypeAlias = Literal["sentences", "words", "both"]
"""Which parts of a document are left out, one at a time."""

DEFAULT_MAX_PAIRS: Final = 512
"""Pairs that one explanation may score."""
MIN_PAIRS: Final = 2
"""The pair itself, and its texts as far as the model reads them."""

_MS: Final = 1000.0
_PLACES: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One sentence or word of the document.

    Attributes:
        start, end: it is document[start:end], in characters (Python's, so code points).
        text: that part.
        contribution: the logit with the unit minus the logit without it, so above 0 where it speaks for the
            pair; None if the unit was not read, because the document was cut before it.
    """

    start: int
    end: int
    text: str
    contribution: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What an explanation took.

    Attributes:
        num_pairs: distinct pairs that were scored, the pair itself among them.
        num_tokens: tokens that the model read in all of them, special tokens included, padding left out.
        elapsed_s: seconds from the question to the answer.
    """

    num_pairs: int
    num_tokens: int
    elapsed_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a pair has its score.

    Attributes:
        model: the name of the model.
        scale: what `score` means: ``logit`` or ``unit``.
        calibration: the method that made the probability; None for none.
        logit: of the whole pair, float32.
        score: of the whole pair, on `scale`.
        probability: of the whole pair.
        truncated: whether a text was cut.
        read: the part of the document that the model reads, (start, end) in characters.
        sentences: in the order of the document; empty if only words were asked for.
        words: likewise; if `limited`, those of the sentences that count most.
        cost: pairs, tokens and seconds.
        limited: whether there were more units than may be measured, so that some are left out.
    """

    model: str
    scale: Scale
    calibration: str | None
    logit: float
    score: float
    probability: float
    truncated: bool
    read: tuple[int, int]
    sentences: tuple[Unit, ...]
    words: tuple[Unit, ...]
    cost: Cost
    limited: bool

    def as_dict(self) -> dict[str, Any]:
        """What is told to machines: the same on the command line and over HTTP."""
        return {
            "model": self.model,
            "scale": self.scale,
            "calibration": self.calibration,
            "logit": self.logit,
            "score": self.score,
            "probability": self.probability,
            "truncated": self.truncated,
            "read": list(self.read),
            "sentences": [_unit(unit) for unit in self.sentences],
            "words": [_unit(unit) for unit in self.words],
            "cost": {
                "num_pairs": self.cost.num_pairs,
                "num_tokens": self.cost.num_tokens,
                "ms": round(self.cost.elapsed_s * _MS, _PLACES),
            },
            "limited": self.limited,
        }


def _unit(unit: Unit) -> dict[str, Any]:
    return {
        "start": unit.start,
        "end": unit.end,
        "text": unit.text,
        "contribution": unit.contribution,
    }


def check_asked(units: str, max_pairs: int) -> None:
    """Refuse what cannot be asked for.

    Raises:
        SettingError: no units are called so, or `max_pairs` is too low.
    """
    known = get_args(UnitKind)
    if units not in known:
        raise SettingError(f"units is {units!r}; it must be one of {', '.join(known)}")
    if isinstance(max_pairs, bool) or not isinstance(max_pairs, int) or max_pairs < MIN_PAIRS:
        raise SettingError(
            f"max_pairs is {max_pairs!r}; it must be a whole number of at least {MIN_PAIRS}"
        )
