"""Training data in memory: labelled pairs, triplets and ranked lists, each row with the place that it came from.

Files are read by `pairscore.training.data_files.read_training`; data that a program makes is put together by
`training_data`, which takes the hash and the scale of the labels from the rows.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from pairscore.errors import DataFileError, SettingError

__all__ = [
    "DataKind",
    "LabelKind",
    "LabelledPair",
    "RankedList",
    "TrainingData",
    "TrainingRow",
    "Triplet",
    "pairs_of",
    "row_labels",
    "scaled",
    "training_data",
    "with_rows",
]

DataKind: TypeAlias = Literal["pairs", "triplets", "lists"]
"""What a row is: a pair with a label; a query with one better and one worse text; a query with many documents."""

LabelKind: TypeAlias = Literal["binary", "graded", "classes", "teacher", "none"]
"""What a label is.

``binary``: 0 or 1. ``graded``: 0 to `TrainingData.max_label`. ``classes``: the number of a name in
`TrainingData.label_names`. ``teacher``: any finite number, a logit (or of triplets a difference of two logits) that
another model gave. ``none``: no label; of pairs each is a positive, of triplets the order is all that is known.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledPair:
    """A pair and what is known of it.

    Attributes:
        query: the first text.
        document: the second text.
        label: as the data's `LabelKind` says; 1.0 where that is ``none``.
        place: where it was read, such as ``train.csv, line 3``.
    """

    query: str
    document: str
    label: float
    place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Triplet:
    """A query, a document that belongs to it, and one that belongs to it less.

    Attributes:
        query: the first text of both pairs.
        positive: the better document.
        negative: the worse one.
        margin: the teacher's logit of the positive less that of the negative; None without a teacher.
        place: where it was read.
    """

    query: str
    positive: str
    negative: str
    margin: float | None
    place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedList:
    """A query and documents, each with a label.

    Attributes:
        query: the first text of all pairs.
        documents: the second texts, at least one.
        labels: one for each document, in their order.
        place: where it was read.
    """

    query: str
    documents: tuple[str, ...]
    labels: tuple[float, ...]
    place: str


TrainingRow: TypeAlias = LabelledPair | Triplet | RankedList

_PAIRS_A_TRIPLET: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingData:
    """Rows of one kind, with labels of one kind.

    Attributes:
        name: how reports call it.
        kind: what each row is.
        labels: what each label is.
        rows: `LabelledPair`, `Triplet` or `RankedList`, as `kind` says.
        label_names: of classes, their names in the order of their numbers; else empty.
        sha256: of the rows' texts and labels in their order, and of what the labels are, as 64 hexadecimal
            digits; neither the file's format nor the places are part of it.
        max_label: the upper end of the labels' scale (1.0 for binary ones); None for classes, teacher and none.
        notes: a sentence for each thing that was left out or assumed.
    """

    name: str
    kind: DataKind
    labels: LabelKind
    rows: tuple[TrainingRow, ...]
    label_names: tuple[str, ...] = ()
    sha256: str
    max_label: float | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_queries(self) -> int:
        """Different first texts; counted each time it is asked for."""
        return len({row.query for row in self.rows})

    @property
    def num_pairs(self) -> int:
        """Pairs that a model has to read once to see every row: two a triplet, one for each document of a list."""
        if self.kind == "triplets":
            return _PAIRS_A_TRIPLET * len(self.rows)
        return sum(len(row.documents) if isinstance(row, RankedList) else 1 for row in self.rows)


def training_data(  # noqa: PLR0913 - what data is made of
    rows: Sequence[TrainingRow],
    *,
    name: str,
    kind: DataKind,
    labels: LabelKind,
    label_names: Sequence[str] = (),
    max_label: float | None = None,
    notes: Sequence[str] = (),
) -> TrainingData:
    """Put data together: takes the hash of the rows, and the scale of the labels where it is not given.

    Labels are not checked here; `pairscore.training.data_checks.check_data` does that.

    Args:
        rows: all of the kind that `kind` says.
        name: how reports call the data.
        kind: what each row is.
        labels: what each label is.
        label_names: of classes, their names in the order of their numbers.
        max_label: of graded labels the upper end of their scale; None takes 1 where no label is above it, else
            the greatest label, rounded up.
        notes: what there is to tell about it.
    """
    kept = tuple(rows)
    return TrainingData(
        name=name,
        kind=kind,
        labels=labels,
        rows=kept,
        label_names=tuple(label_names),
        sha256=_digest(kept, kind=kind, labels=labels, label_names=label_names),
        max_label=_scale(kept, labels) if max_label is None else max_label,
        notes=tuple(notes),
    )


def with_rows(
    data: TrainingData, rows: Sequence[TrainingRow], *, name: str | None = None
) -> TrainingData:
    """The same data with other rows of its kind (a part, another order) and their own hash.

    The scale and the names of the labels stay, so that a part means by its labels what the whole means.
    """
    kept = tuple(rows)
    return replace(
        data,
        name=data.name if name is None else name,
        rows=kept,
        sha256=_digest(kept, kind=data.kind, labels=data.labels, label_names=data.label_names),
    )


def scaled(data: TrainingData, *, max_label: float | None = None) -> TrainingData:
    """Graded labels brought to 0..1 by dividing by their scale's upper end; any other data as it is.

    Args:
        data: what to scale.
        max_label: the scale's upper end, for a part that must be scaled as another is; None takes the data's own.

    Raises:
        SettingError: the upper end is not a finite number above 0.
        DataFileError: a label is above it; the message names its place.
    """
    if data.labels != "graded":
        return data
    top = data.max_label if max_label is None else max_label
    if top is None or not math.isfinite(top) or top <= 0.0:
        raise SettingError(
            f"max_label is {top}; it must be a number above 0, the best grade of the scale"
        )
    rows = [_scaled_row(row, top) for row in data.rows]
    return replace(with_rows(data, rows), max_label=1.0)


def row_labels(row: TrainingRow) -> tuple[float, ...]:
    """The labels of a row: one of a pair, the margin of a triplet if it has one, all of a list."""
    if isinstance(row, LabelledPair):
        return (row.label,)
    if isinstance(row, RankedList):
        return row.labels
    return () if row.margin is None else (row.margin,)


def pairs_of(row: TrainingRow) -> Iterator[tuple[str, str]]:
    """The pairs of a row, in its order: of a triplet the positive's first."""
    if isinstance(row, LabelledPair):
        yield row.query, row.document
    elif isinstance(row, Triplet):
        yield row.query, row.positive
        yield row.query, row.negative
    else:
        for document in row.documents:
            yield row.query, document


def _scaled_row(row: TrainingRow, top: float) -> TrainingRow:
    worst = max(row_labels(row), default=0.0)
    if worst > top:
        raise DataFileError(
            f"{row.place}: the label {worst:g} is above the best grade {top:g}; correct it, or give the scale's "
            "best grade as max_label"
        )
    if isinstance(row, LabelledPair):
        return replace(row, label=row.label / top)
    if isinstance(row, RankedList):
        return replace(row, labels=tuple(label / top for label in row.labels))
    return row


def _scale(rows: Iterable[TrainingRow], labels: LabelKind) -> float | None:
    if labels == "binary":
        return 1.0
    if labels != "graded":
        return None
    best = max((label for row in rows for label in row_labels(row)), default=1.0)
    return 1.0 if best <= 1.0 else float(math.ceil(best))


def _digest(
    rows: Iterable[TrainingRow],
    *,
    kind: DataKind,
    labels: LabelKind,
    label_names: Sequence[str],
) -> str:
    """One JSON list a line: unambiguous, whatever the texts hold."""
    digest = hashlib.sha256(json.dumps([kind, labels, list(label_names)]).encode())
    for row in rows:
        digest.update(b"\n")
        digest.update(json.dumps(_fields(row)).encode())
    return digest.hexdigest()


def _fields(row: TrainingRow) -> list[object]:
    if isinstance(row, LabelledPair):
        return [row.query, row.document, float(row.label)]
    if isinstance(row, Triplet):
        margin = None if row.margin is None else float(row.margin)
        return [row.query, row.positive, row.negative, margin]
    return [row.query, row.documents, [float(label) for label in row.labels]]
