"""Negatives as rows of training data: triplets, labelled pairs or lists, with the teacher's logits beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

__all__ = ["COLUMNS", "FLOAT_COLUMNS", "Form", "Labelled", "WrittenQuery", "rows_of"]

Form: TypeAlias = Literal["triplets", "pairs", "lists"]
"""What a row of the output is, as `pairscore.training.data` has it."""

COLUMNS: Final[Mapping[Form, tuple[str, ...]]] = {
    "triplets": ("query", "positive", "negative", "positive_id", "negative_id", "rank"),
    "pairs": ("query", "document", "label", "document_id", "rank"),
    "lists": ("query", "documents", "labels", "document_ids", "logits"),
}
"""The columns of each form, without those of `FLOAT_COLUMNS`."""
FLOAT_COLUMNS: Final[Mapping[Form, tuple[str, ...]]] = {
    "triplets": ("positive_logit", "negative_logit", "margin"),
    "pairs": ("logit",),
    "lists": (),
}
"""Columns that follow them: single float32 numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """A text that is written.

    Attributes:
        id: its id in the index; empty where nobody knows.
        text: the text.
        logit: the cross-encoder's.
        rank: where the first stage has it; None for a positive.
    """

    id: str
    text: str
    logit: float
    rank: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenQuery:
    """A query that has a positive and a negative.

    Attributes:
        query: its text.
        positives: in the order in which they were given.
        negatives: highest score first.
    """

    query: str
    positives: tuple[Labelled, ...]
    negatives: tuple[Labelled, ...]


def rows_of(written: WrittenQuery, form: Form) -> Iterator[dict[str, Any]]:
    """The rows of one query: a triplet for each positive and negative, a pair for each text, or one list."""
    if form == "triplets":
        yield from _triplets(written)
    elif form == "pairs":
        yield from _pairs(written)
    else:
        yield _list(written)


def _triplets(written: WrittenQuery) -> Iterator[dict[str, Any]]:
    for positive in written.positives:
        for negative in written.negatives:
            yield {
                "query": written.query,
                "positive": positive.text,
                "negative": negative.text,
                "positive_id": positive.id,
                "negative_id": negative.id,
                "rank": negative.rank,
                "positive_logit": _shortest(positive.logit),
                "negative_logit": _shortest(negative.logit),
                "margin": _shortest(positive.logit - negative.logit),
            }


def _pairs(written: WrittenQuery) -> Iterator[dict[str, Any]]:
    for one in (*written.positives, *written.negatives):
        yield {
            "query": written.query,
            "document": one.text,
            "label": int(one.rank is None),
            "document_id": one.id,
            "rank": one.rank,
            "logit": _shortest(one.logit),
        }


def _list(written: WrittenQuery) -> dict[str, Any]:
    every = (*written.positives, *written.negatives)
    return {
        "query": written.query,
        "documents": [one.text for one in every],
        "labels": [int(one.rank is None) for one in every],
        "document_ids": [one.id for one in every],
        "logits": [_shortest(one.logit) for one in every],
    }


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32, so that files are not full of digits that mean nothing."""
    return float(str(np.float32(value)))
