"""Training data of one kind made of another: lists of pairs, pairs of lists and of triplets."""

from __future__ import annotations

from dataclasses import replace

from pairscore.errors import DataFileError
from pairscore.training.data import (
    DataKind,
    LabelledPair,
    RankedList,
    TrainingData,
    TrainingRow,
    Triplet,
    with_rows,
)

__all__ = ["as_kind", "as_lists", "as_pairs"]


def as_kind(data: TrainingData, kind: DataKind) -> TrainingData:
    """The data as rows of this kind.

    Raises:
        DataFileError: it cannot be made; the message says what can.
    """
    if data.kind == kind:
        return data
    if kind == "pairs":
        return as_pairs(data)
    if kind == "lists":
        return as_lists(data)
    raise DataFileError(
        f"{data.name} holds {data.kind}, of which no triplets are made; give columns query, positive and negative, "
        "or mine them with pairscore negatives"
    )


def as_pairs(data: TrainingData) -> TrainingData:
    """Each document of a list with its label; of a triplet the positive with 1 and the negative with 0.

    Raises:
        DataFileError: triplets have margins, which belong to no one pair.
    """
    if data.kind == "pairs":
        return data
    if data.kind == "triplets" and data.labels == "teacher":
        raise DataFileError(
            f"{data.name} holds triplets with margins, which say nothing of one pair alone; give the two scores of "
            "each as pairs, or read them without margins (labels = none)"
        )
    rows = [pair for row in data.rows for pair in _pairs(row)]
    if data.kind == "triplets":
        data = replace(data, labels="binary", max_label=1.0)
    return with_rows(replace(data, kind="pairs"), rows)


def as_lists(data: TrainingData) -> TrainingData:
    """Pairs of the same query as one list, in the order in which their queries come first.

    Raises:
        DataFileError: the data is triplets, or its labels cannot order documents.
    """
    if data.kind == "lists":
        return data
    if data.kind == "triplets" or data.labels in {"classes", "none"}:
        raise DataFileError(
            f"{data.name} holds {data.kind} with {data.labels} labels, of which no lists are made; give a query, its "
            "documents and a label for each"
        )
    groups: dict[str, list[LabelledPair]] = {}
    for row in data.rows:
        if isinstance(row, LabelledPair):
            groups.setdefault(row.query, []).append(row)
    return with_rows(replace(data, kind="lists"), [_list(pairs) for pairs in groups.values()])


def _pairs(row: TrainingRow) -> list[LabelledPair]:
    if isinstance(row, LabelledPair):
        return [row]
    if isinstance(row, Triplet):
        documents, labels = (row.positive, row.negative), (1.0, 0.0)
    else:
        documents, labels = row.documents, row.labels  # type: ignore[assignment]
    return [
        LabelledPair(query=row.query, document=document, label=label, place=row.place)
        for document, label in zip(documents, labels, strict=True)
    ]


def _list(pairs: list[LabelledPair]) -> RankedList:
    return RankedList(
        query=pairs[0].query,
        documents=tuple(pair.document for pair in pairs),
        labels=tuple(pair.label for pair in pairs),
        place=pairs[0].place,
    )
