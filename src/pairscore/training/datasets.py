"""Rows of training data as the columns that a loss reads, in memory alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from pairscore.errors import EmptyInputError
from pairscore.training.data import (
    RankedList,
    TrainingData,
    TrainingRow,
    Triplet,
    pairs_of,
    row_labels,
)
from pairscore.training.losses import ChosenLoss

__all__ = ["Columns", "columns_of", "lengths_of", "to_dataset"]

Columns: TypeAlias = dict[str, list[Any]]
"""Values by column; texts first, in the order in which the loss reads them, and ``label`` last if there is one."""


def columns_of(data: TrainingData, chosen: ChosenLoss, *, symmetric: bool = False) -> Columns:
    """The columns that a loss reads.

    Args:
        data: the rows, their grades in 0 to 1 already (`pairscore.training.data.scaled`).
        chosen: the loss.
        symmetric: put each pair in twice, the second time with its texts changed round.

    Raises:
        EmptyInputError: there is no row.
    """
    if not data.rows:
        raise EmptyInputError(f"{data.name} holds no rows to train on")
    if chosen.rows in ("pairs", "positives", "classes"):
        return _pair_columns(data, chosen, symmetric=symmetric)
    if chosen.rows == "triplets":
        return _triplet_columns(data)
    if chosen.rows == "ranked":
        return _ranked_columns(data)
    lists = [row for row in data.rows if isinstance(row, RankedList)]
    return {
        "query": [row.query for row in lists],
        "documents": [list(row.documents) for row in lists],
        "label": [list(row.labels) for row in lists],
    }


def lengths_of(columns: Columns) -> list[int]:
    """Characters of each row's texts together, by which rows of like length are found."""
    texts = [values for name, values in columns.items() if name != "label"]
    return [sum(map(_num_characters, row)) for row in zip(*texts, strict=True)]


def to_dataset(columns: Columns) -> Any:
    """A `datasets.Dataset` of the columns; it lies in memory, and nothing is written to the user's home."""
    # It brings pyarrow and pandas, and an extra.
    from datasets import Dataset

    return Dataset.from_dict(columns)


def _num_characters(value: str | list[str]) -> int:
    return len(value) if isinstance(value, str) else sum(map(len, value))


def _pair_columns(data: TrainingData, chosen: ChosenLoss, *, symmetric: bool) -> Columns:
    found = [item for row in data.rows for item in _labelled(row)]
    if symmetric:
        found = [turned for a, b, label in found for turned in ((a, b, label), (b, a, label))]
    columns: Columns = {"query": [a for a, _, _ in found], "document": [b for _, b, _ in found]}
    if chosen.rows != "positives":
        kind = int if chosen.rows == "classes" else float
        columns["label"] = [kind(label) for _, _, label in found]
    return columns


def _labelled(row: TrainingRow) -> Iterator[tuple[str, str, float]]:
    """The pairs of a row with a label each; of a triplet, 1 for the positive and 0 for the negative."""
    labels = (1.0, 0.0) if isinstance(row, Triplet) else row_labels(row)
    for (a, b), label in zip(pairs_of(row), labels, strict=True):
        yield a, b, label


def _triplet_columns(data: TrainingData) -> Columns:
    rows = [row for row in data.rows if isinstance(row, Triplet)]
    columns: Columns = {
        "query": [row.query for row in rows],
        "positive": [row.positive for row in rows],
        "negative": [row.negative for row in rows],
    }
    if data.labels == "teacher":
        columns["label"] = [row.margin for row in rows]
    return columns


def _ranked_columns(data: TrainingData) -> Columns:
    """A column for each place of the list, the best document by the labels first; ties keep their order."""
    lists = [row for row in data.rows if isinstance(row, RankedList)]
    orders = [
        sorted(range(len(row.labels)), key=row.labels.__getitem__, reverse=True) for row in lists
    ]
    columns: Columns = {"query": [row.query for row in lists]}
    for place in range(len(orders[0])):
        columns[f"document_{place}"] = [
            row.documents[order[place]] for row, order in zip(lists, orders, strict=True)
        ]
    columns["label"] = [
        [row.labels[index] for index in order] for row, order in zip(lists, orders, strict=True)
    ]
    return columns
