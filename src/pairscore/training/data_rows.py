"""One row of a file, as its layout has it, made a labelled pair, a triplet or a ranked list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pairscore.errors import DataFileError
from pairscore.evaluation.lines import half_character
from pairscore.training.data import LabelledPair, RankedList, TrainingRow, Triplet
from pairscore.training.data_columns import Layout
from pairscore.training.data_labels import LabelReader

__all__ = ["RowMaker"]


class RowMaker:
    """Makes the rows of one file.

    Args:
        layout: the file's columns.
        labels: reads its labels.
    """

    def __init__(self, layout: Layout, labels: LabelReader) -> None:
        self._layout = layout
        self._labels = labels
        # The same query stands in many rows: one object for all of them.
        self._queries: dict[str, str] = {}
        self._make = {
            "pairs": self._pair,
            "triplets": self._triplet,
            "lists": self._with_negatives if layout.negatives else self._list,
        }[layout.kind]

    def row(self, values: Mapping[str, Any], place: str) -> TrainingRow | None:
        """The row; None if its label says that there is none.

        Raises:
            DataFileError: a text is missing or empty, or a label is none; the message names the place.
        """
        query = _text(values, self._layout.query, place)
        return self._make(self._queries.setdefault(query, query), values, place)

    def _pair(self, query: str, values: Mapping[str, Any], place: str) -> LabelledPair | None:
        document = _text(values, self._layout.document, place)
        label: float | None = 1.0
        for column in self._layout.labels:
            label = self._labels.number(_value(values, column, place), place)
        if label is None:
            return None
        return LabelledPair(query=query, document=document, label=label, place=place)

    def _triplet(self, query: str, values: Mapping[str, Any], place: str) -> Triplet:
        layout = self._layout
        positive = _text(values, layout.document, place)
        negative = _text(values, layout.negatives[0], place)
        if positive == negative:
            raise DataFileError(
                f"{place}: {layout.document!r} and {layout.negatives[0]!r} are the same text; leave the row out"
            )
        return Triplet(
            query=query,
            positive=positive,
            negative=negative,
            margin=self._margin(values, place),
            place=place,
        )

    def _margin(self, values: Mapping[str, Any], place: str) -> float | None:
        found: list[float] = []
        for column in self._layout.labels:
            value = _value(values, column, place)
            for one in value if isinstance(value, list | tuple) else (value,):
                number = self._labels.number(one, place)
                found.extend(() if number is None else (number,))
        if not found:
            return None
        if len(found) > 2:  # noqa: PLR2004 - one margin, or two scores
            raise DataFileError(
                f"{place}: {len(found)} scores; write the margin, or one score of the positive and one of the negative"
            )
        return found[0] if len(found) == 1 else found[0] - found[1]

    def _list(self, query: str, values: Mapping[str, Any], place: str) -> RankedList:
        column = self._layout.labels[0]
        documents = _texts(values, self._layout.document, place)
        given = _value(values, column, place)
        if not isinstance(given, list | tuple) or len(given) != len(documents):
            count = f"{len(given)} labels" if isinstance(given, list | tuple) else "no list"
            raise DataFileError(
                f"{place}: {column!r} holds {count} for {len(documents)} documents; write one label for each"
            )
        read = [self._labels.number(label, place) for label in given]
        kept = [
            (text, label) for text, label in zip(documents, read, strict=True) if label is not None
        ]
        return RankedList(
            query=query,
            documents=tuple(text for text, _ in kept),
            labels=tuple(label for _, label in kept),
            place=place,
        )

    def _with_negatives(self, query: str, values: Mapping[str, Any], place: str) -> RankedList:
        positives = _texts(values, self._layout.document, place)
        negatives = [
            text
            for column in self._layout.negatives
            for text in _texts(values, column, place, may_lack=len(self._layout.negatives) > 1)
        ]
        if not negatives:
            raise DataFileError(f"{place}: no negative; write at least one, or leave the row out")
        twice = set(positives).intersection(negatives)
        if twice:
            raise DataFileError(
                f"{place}: a text is among the positives and the negatives; leave it out of one of them"
            )
        labels = (1.0,) * len(positives) + (0.0,) * len(negatives)
        return RankedList(
            query=query, documents=(*positives, *negatives), labels=labels, place=place
        )


def _value(values: Mapping[str, Any], column: str, place: str) -> Any:
    if column not in values:
        raise DataFileError(f"{place}: has no {column!r}; each row needs it")
    return values[column]


def _text(values: Mapping[str, Any], column: str, place: str) -> str:
    return _checked(_value(values, column, place), column, place)


def _texts(
    values: Mapping[str, Any], column: str, place: str, *, may_lack: bool = False
) -> list[str]:
    """The texts of a column of lists; a text alone is a list of one."""
    value = values.get(column) if may_lack else _value(values, column, place)
    if may_lack and (value is None or value == ""):
        return []
    some = value if isinstance(value, list | tuple) else [value]
    if not some:
        raise DataFileError(f"{place}: {column!r} is an empty list; write at least one text")
    return [_checked(text, column, place) for text in some]


def _checked(text: Any, column: str, place: str) -> str:
    if not isinstance(text, str):
        kind = "empty (null)" if text is None else f"of the type {type(text).__name__}"
        raise DataFileError(f"{place}: {column!r} is {kind}; write it as a string")
    if not text.strip():
        raise DataFileError(f"{place}: {column!r} is empty; write a text, or leave the row out")
    if not text.isascii() and half_character(text):
        raise DataFileError(
            f"{place}: {column!r} holds half a character (a lone surrogate, \\ud800 to \\udfff); clean it"
        )
    return text
