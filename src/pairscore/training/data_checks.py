"""What training data must satisfy before anything is trained on it; each refusal names the row's place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from pairscore.errors import DataFileError, EmptyInputError
from pairscore.training.data import (
    LabelledPair,
    RankedList,
    TrainingData,
    TrainingRow,
    pairs_of,
    row_labels,
)

__all__ = ["check_data", "check_same_labels"]

# What labels can be of each kind of rows.
_FITTING: Final = {
    "pairs": ("binary", "graded", "classes", "teacher", "none"),
    "triplets": ("teacher", "none"),
    "lists": ("binary", "graded", "teacher"),
}


def check_data(data: TrainingData) -> None:
    """Refuse data that nothing can be learned from, or measured on.

    Raises:
        EmptyInputError: there is no row.
        DataFileError: a text is empty, a label is not finite or out of its range, the kind of labels does not fit
            the rows, or every label is the same.
    """
    if not data.rows:
        raise EmptyInputError(f"{data.name} holds no row; give at least two with different labels")
    if data.labels not in _FITTING[data.kind]:
        raise DataFileError(
            f"{data.name} holds {data.kind} with {data.labels} labels; {data.kind} have "
            f"{', '.join(_FITTING[data.kind])}"
        )
    for row in data.rows:
        _check_texts(row)
        for label in row_labels(row):
            _check_label(label, data, row.place)
    _check_margins(data)
    _check_variety(data)


def check_same_labels(train: TrainingData, held_out: TrainingData) -> None:
    """Refuse a held-out part whose labels mean something else than those of the training part.

    A part with plain grades may be measured against teacher's logits and the other way round; classes must have the
    same names in the same order, because a model's outputs are numbered by them.

    Raises:
        DataFileError: they do not belong together.
    """
    if (train.labels == "classes") != (held_out.labels == "classes"):
        raise DataFileError(
            f"{train.name} has {train.labels} labels and {held_out.name} has {held_out.labels} ones; "
            "give both the same, or say what they are with labels"
        )
    if train.label_names != held_out.label_names:
        raise DataFileError(
            f"{train.name} has the classes {', '.join(train.label_names)} and {held_out.name} has "
            f"{', '.join(held_out.label_names)}; give both the same label_names"
        )
    if train.labels == held_out.labels == "graded" and train.max_label != held_out.max_label:
        raise DataFileError(
            f"the grades of {train.name} end at {train.max_label:g} and those of {held_out.name} at "
            f"{held_out.max_label:g}; say where the scale of both ends with max_label"
        )


def _check_texts(row: TrainingRow) -> None:
    for query, document in pairs_of(row):
        if not query.strip() or not document.strip():
            which = "document" if query.strip() else "query"
            raise DataFileError(
                f"{row.place}: the {which} is empty; write a text, or leave the row out"
            )
    if isinstance(row, RankedList) and len(row.labels) != len(row.documents):
        raise DataFileError(
            f"{row.place}: {len(row.labels)} labels for {len(row.documents)} documents; write one for each"
        )


def _check_label(label: float, data: TrainingData, place: str) -> None:
    if not math.isfinite(label):
        raise DataFileError(f"{place}: the label is {label}, which is no finite number; correct it")
    if data.labels == "binary" and label not in (0.0, 1.0):
        raise DataFileError(f"{place}: the label is {label:g}; a binary label is 0 or 1")
    if data.labels == "graded":
        top = math.inf if data.max_label is None else data.max_label
        if not 0.0 <= label <= top:
            raise DataFileError(
                f"{place}: the label {label:g} is out of the range 0 to {top:g}; correct it, or say where the scale "
                "ends with max_label"
            )
    if data.labels == "classes" and label not in range(len(data.label_names)):
        raise DataFileError(
            f"{place}: the label is {label:g}; the classes are numbered 0 to {len(data.label_names) - 1}"
        )


def _check_margins(data: TrainingData) -> None:
    """Triplets have margins all, or none."""
    if data.kind != "triplets":
        return
    wanted = data.labels == "teacher"
    for row in data.rows:
        if bool(row_labels(row)) is not wanted:
            raise DataFileError(
                f"{row.place}: this triplet has {'no' if wanted else 'a'} margin and others have "
                f"{'one' if wanted else 'none'}; give one to all, or to none (labels = none reads no margins)"
            )


def _check_variety(data: TrainingData) -> None:
    if data.labels == "none" or (data.kind == "triplets" and len(data) == 1):
        return
    if isinstance(data.rows[0], RankedList):
        _check_lists(data)
        return
    only = _only_label(label for row in data.rows for label in row_labels(row))
    if only is None or data.kind == "triplets":
        return
    raise DataFileError(
        f"{data.name}, from {data.rows[0].place} to {data.rows[-1].place}: all {len(data):,} pairs have the label "
        f"{_said(only, data)}, so that there is nothing to tell apart; add pairs of another label, or {_remedy(data)}"
    )


def _check_lists(data: TrainingData) -> None:
    if any(_only_label(row_labels(row)) is None for row in data.rows):
        return
    raise DataFileError(
        f"{data.name}, from {data.rows[0].place}: in each of the {len(data):,} lists all documents have the same "
        "label, so that no order is better than another; add documents of other labels, for example with "
        "pairscore negatives"
    )


def _only_label(labels: Iterable[float]) -> float | None:
    """The label that all have; None where two differ, or there is none."""
    first: float | None = None
    for label in labels:
        if first is None:
            first = label
        elif label != first:
            return None
    return first


def _said(label: float, data: TrainingData) -> str:
    if data.labels == "classes":
        return repr(data.label_names[int(label)])
    return f"{label:g}"


def _remedy(data: TrainingData) -> str:
    positives = isinstance(data.rows[0], LabelledPair) and data.rows[0].label > 0.0
    if data.labels == "binary" and positives:
        return "mine negatives with pairscore negatives, or read them as positives only (labels = none)"
    return "check that the column of labels is the right one"
