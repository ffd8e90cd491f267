"""What callers of `CrossEncoder` give and get: pairs that are checked, activations, entries, a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NotRequired, TypeAlias, TypedDict

import numpy as np

from pairscore.errors import EmptyInputError, NonFiniteScoreError, PairError, SettingError
from pairscore.road import ranking
from pairscore.road.tokenization import Pair, check_pairs
from pairscore.values import FloatArray, Hit, Windows

__all__ = [
    "ActivationFn",
    "RankedDocument",
    "apply_function",
    "check_batch_size",
    "entry_of",
    "one_or_many",
    "progress_bar",
    "query_pairs",
]

ActivationFn: TypeAlias = Callable[[FloatArray], Any]
"""From logits, shape (num_pairs,), float32, to scores of the same shape."""


class RankedDocument(TypedDict):
    """One entry of a ranking, with sentence-transformers' keys."""

    corpus_id: int
    score: float
    text: NotRequired[str]
    span: NotRequired[tuple[int, int]]
    num_windows: NotRequired[int]


def query_pairs(query: str, documents: Sequence[str]) -> list[Pair]:
    """One query with each of many documents, checked.

    Raises:
        PairError: the query or a document is not a string.
        EmptyInputError: there is no document.
    """
    if not isinstance(query, str):
        raise PairError(f"the query is a {type(query).__name__}; it must be a string (str)")
    if isinstance(documents, str | bytes) or not isinstance(documents, Iterable):
        raise PairError(
            f"documents is a {type(documents).__name__}; it must be a list of strings, "
            "also for one document"
        )
    listed = list(documents)
    if not listed:
        raise EmptyInputError("there is no document to rank; give at least one")
    return check_pairs([(query, document) for document in listed])


def one_or_many(pairs: Any) -> tuple[bool, list[Pair]]:
    """Tell one pair (two strings) from a list of pairs, as sentence-transformers does."""
    is_sequence = isinstance(pairs, Sequence) and not isinstance(pairs, str | bytes)
    if is_sequence and len(pairs) > 0 and isinstance(pairs[0], str):
        return True, check_pairs([tuple(pairs)])
    return False, check_pairs(pairs)


def check_batch_size(batch_size: int | None) -> None:
    """Refuse a batch size that is none.

    Raises:
        SettingError: it is below 1.
    """
    if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
        raise SettingError(f"batch_size is {batch_size!r}; it must be at least 1, or None")


def apply_function(function: ActivationFn, logits: FloatArray) -> FloatArray:
    """Apply a caller's activation; torch's own Sigmoid and Identity are known by name, without torch."""
    kind = type(function).__name__
    if kind in ("Sigmoid", "Identity"):
        return ranking.apply_activation(logits, "sigmoid" if kind == "Sigmoid" else "identity")
    scores = np.asarray(function(logits.copy()), dtype=np.float32)
    if scores.shape != logits.shape:
        raise SettingError(
            f"activation_fn gave shape {scores.shape} for {logits.shape} logits; it must keep the shape"
        )
    if not np.isfinite(scores).all():
        raise NonFiniteScoreError("activation_fn gave a number that is not finite; use another one")
    return scores


def entry_of(hit: Hit, pairs: list[Pair] | None, windows: Windows | None) -> RankedDocument:
    """One document of a ranking, with its text if `pairs` are given, and its best window if `windows` are."""
    entry: RankedDocument = {"corpus_id": hit.corpus_id, "score": hit.score}
    if pairs is not None:
        entry["text"] = pairs[hit.corpus_id][1]
    if windows is not None:
        entry["span"] = windows.span(hit.corpus_id)
        entry["num_windows"] = int(windows.num_windows[hit.corpus_id])
    return entry


@contextmanager
def progress_bar(
    total: int, *, shown: bool, unit: str = "pairs"
) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, or nothing; gives the function that moves it on."""
    if not shown:
        yield lambda _: None
        return
    # Here, because most calls draw nothing and rich costs more to import than they take.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(unit, total=total)
        yield lambda count: progress.advance(task, count)
