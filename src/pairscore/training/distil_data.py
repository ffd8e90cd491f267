"""Rows with the teacher's logits as their labels, in the shape that the loss reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from pairscore.errors import DataFileError
from pairscore.training.data import (
    LabelledPair,
    TrainingData,
    Triplet,
    pairs_of,
    training_data,
)
from pairscore.training.data_files import read_training
from pairscore.training.recipe import DataRecipe
from pairscore.values import FloatArray

__all__ = [
    "DistilLoss",
    "chosen_loss",
    "label_variance",
    "margins",
    "read_untaught",
    "taught",
    "training_pairs",
]

DistilLoss: TypeAlias = Literal["mse", "margin_mse"]
"""``mse``: the student's logits shall be the teacher's; ``margin_mse``: differences of two documents' logits shall."""


def read_untaught(asked: DataRecipe) -> TrainingData:
    """The texts of a file, whatever its labels are: of pairs and triplets no label is even read.

    Args:
        asked: the file, and its columns where they have unusual names.

    Raises:
        DataFileError, InputFileError, EmptyInputError, SettingError: as `read_training`.
    """
    columns: dict[str, Any] = {
        "kind": asked.kind,
        "split": asked.split,
        "query_column": asked.query_column,
        "document_column": asked.document_column,
        "negative_column": asked.negative_column,
    }
    if Path(asked.train).is_dir():
        return _unlabelled(read_training(asked.train, **columns))
    try:
        data = read_training(asked.train, labels="none", **columns)
    except DataFileError:
        # Lists have to have labels; any number will do.
        with suppress(DataFileError):
            label = asked.label_column
            return read_training(asked.train, labels="teacher", label_column=label, **columns)
        raise
    return _unlabelled(data)


def _unlabelled(data: TrainingData) -> TrainingData:
    """Without the notes, which speak of labels."""
    return replace(data, notes=())


def training_pairs(data: TrainingData) -> list[tuple[str, str]]:
    """All pairs of the rows, row by row: what the teacher scores."""
    return [pair for row in data.rows for pair in pairs_of(row)]


def chosen_loss(data: TrainingData, asked: DistilLoss | None) -> DistilLoss:
    """The loss that was asked for, or that fits the rows: the margin's for triplets and lists."""
    if asked is not None:
        return asked
    return "mse" if data.kind == "pairs" else "margin_mse"


def taught(data: TrainingData, logits: FloatArray) -> TrainingData:
    """Every pair of the data with the teacher's logit as its label.

    Args:
        data: rows of any kind; their own labels count for nothing.
        logits: of `training_pairs(data)`, shape (num_pairs,), float32.
    """
    values = iter(logits.tolist())
    rows = [
        LabelledPair(query=query, document=document, label=next(values), place=row.place)
        for row in data.rows
        for query, document in pairs_of(row)
    ]
    return training_data(rows, name=data.name, kind="pairs", labels="teacher", notes=data.notes)


def label_variance(data: TrainingData) -> float:
    """How far the teacher's logits, or their margins, spread: their variance, in squared logits."""
    labels = [row.label for row in data.rows if isinstance(row, LabelledPair)]
    found = [row.margin for row in data.rows if isinstance(row, Triplet) and row.margin is not None]
    return float(np.var(labels or found))


def margins(data: TrainingData) -> TrainingData:
    """Triplets of taught pairs: of a query's documents the one that the teacher likes best, with each of the others.

    The margin is the difference of their logits. Source: Hofstätter et al., "Improving Efficient Neural Ranking Models
    with Cross-Architecture Knowledge Distillation", 2020.

    Args:
        data: what `taught` gave, or a part of it; rows of one query count together, wherever they stand.

    Raises:
        DataFileError: no query has two documents, which a margin needs.
    """
    queries: dict[str, dict[str, LabelledPair]] = {}
    for row in data.rows:
        if isinstance(row, LabelledPair):
            queries.setdefault(row.query, {})[row.document] = row
    rows = [triplet for pairs in queries.values() for triplet in _triplets(list(pairs.values()))]
    if not rows:
        raise DataFileError(
            f"{data.name}: margin_mse compares two documents of a query, and no query has two; use --loss mse, or give "
            "several documents for each query"
        )
    return training_data(rows, name=data.name, kind="triplets", labels="teacher", notes=data.notes)


def _triplets(pairs: Sequence[LabelledPair]) -> Iterator[Triplet]:
    """Of the pairs of one query, each with another document."""
    best = max(pairs, key=lambda pair: pair.label)
    for pair in pairs:
        if pair is not best:
            yield Triplet(
                query=best.query,
                positive=best.document,
                negative=pair.document,
                margin=best.label - pair.label,
                place=pair.place,
            )
