"""The columns that a result has beside those of the input, and the values in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairscore.values import Hit, Scores, Windows

__all__ = ["AddedColumns", "hit_values", "part_of", "score_values"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedColumns:
    """Our columns and their types.

    Attributes:
        score_column: the name of the score's column; another one than ``score`` also names the others.
        windows: whether long documents are read in windows, of which the best one is told.
        ranked: whether a row is a hit of a ranking.
    """

    score_column: str = "score"
    windows: bool = False
    ranked: bool = False

    def types(self, labels: Sequence[str] = ()) -> dict[str, type]:
        """Each column's type, in their order; of a model with labels also the likeliest one's name, and each share."""
        hit = {"rank": int, "corpus_id": int, "text": str} if self.ranked else {}
        window = ("start", "end", "num_windows") if self.windows else ()
        shares = {f"probability_{label}": float for label in labels}
        return {
            **{self.named(column): kind for column, kind in hit.items()},
            self.score_column: float,
            self.named("probability"): float,
            self.named("truncated"): bool,
            **{self.named(column): int for column in window},
            **({self.named("label"): str} if labels else {}),
            **{self.named(column): kind for column, kind in shares.items()},
        }

    def named(self, column: str) -> str:
        """One of our columns, under the name that it has in the output."""
        return column if self.score_column == "score" else f"{self.score_column}_{column}"


def score_values(scores: Scores, position: int) -> tuple[Any, ...]:
    """Of one pair, in the order of the columns."""
    best = scores.best(position)
    values: tuple[Any, ...] = (best.score, best.probability, bool(scores.truncated[position]))
    if scores.windows is not None:
        values += (*scores.windows.span(position), int(scores.windows.num_windows[position]))
    return values if best.label is None else (*values, best.label, *scores.named(position).values())


def hit_values(
    found: Sequence[Hit], documents: Sequence[str], scores: Scores
) -> Iterator[tuple[Any, ...]]:
    """Of each hit of one ranking, in the order of the columns.

    Args:
        found: the hits, best first.
        documents: what was ranked.
        scores: one for each document.
    """
    for place, hit in enumerate(found, start=1):
        values = score_values(scores, hit.corpus_id)
        yield (place, hit.corpus_id, documents[hit.corpus_id], *values)


def part_of(scores: Scores, start: int, stop: int) -> Scores:
    """The scores of some of the pairs, one behind the other."""
    here = slice(start, stop)
    return replace(
        scores,
        logits=scores.logits[here],
        scores=scores.scores[here],
        probabilities=scores.probabilities[here],
        num_tokens=scores.num_tokens[here],
        truncated=scores.truncated[here],
        windows=None if scores.windows is None else _windows(scores.windows, here),
    )


def _windows(windows: Windows, here: slice) -> Windows:
    return replace(
        windows,
        num_windows=windows.num_windows[here],
        starts=windows.starts[here],
        ends=windows.ends[here],
        limited=windows.limited[here],
    )
