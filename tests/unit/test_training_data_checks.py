"""What data made by a program must satisfy, as that of files must."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pairscore.errors import DataFileError, EmptyInputError
from pairscore.training.data import (
    LabelledPair,
    RankedList,
    TrainingData,
    TrainingRow,
    Triplet,
    training_data,
)
from pairscore.training.data_checks import check_data, check_same_labels


def pair(label: float, *, query: str = "q", document: str = "d") -> LabelledPair:
    """A pair with a label."""
    return LabelledPair(query=query, document=document, label=label, place="x, line 7")


def triplet(margin: float | None, *, negative: str = "n") -> Triplet:
    """A triplet with a margin."""
    return Triplet(query="q", positive="p", negative=negative, margin=margin, place="x, line 7")


def ranked(*labels: float, num_documents: int = 2) -> RankedList:
    """A list with these labels."""
    return RankedList(query="q", documents=("d",) * num_documents, labels=labels, place="x, line 7")


def data(*rows: TrainingRow, **options: Any) -> TrainingData:
    """Data of these rows, whose kind they tell."""
    kind: Any = {LabelledPair: "pairs", Triplet: "triplets", RankedList: "lists"}[type(rows[0])]
    return training_data(rows, name="x", kind=kind, **options)


@pytest.mark.parametrize(
    "good",
    [
        data(pair(0.0), pair(1.0), labels="binary"),
        data(pair(0.0), pair(0.3), labels="graded"),
        data(pair(1.0), labels="none"),
        data(pair(-3.0), pair(4.0), labels="teacher"),
        data(pair(0.0), pair(1.0), labels="classes", label_names=("a", "b")),
        data(triplet(None), labels="none"),
        data(triplet(1.0), triplet(1.0), labels="teacher"),
        data(ranked(1.0, 1.0), ranked(1.0, 0.0), labels="binary"),
        data(ranked(1.5, -2.0), labels="teacher"),
    ],
)
def test_data_that_can_be_learned_from_passes(good: TrainingData) -> None:
    """Each kind of rows with each kind of labels that fits it."""
    check_data(good)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (data(pair(0.0), pair(2.0), labels="binary"), "x, line 7: the label is 2; a binary"),
        (data(pair(0.0), pair(math.nan), labels="teacher"), "line 7: the label is nan"),
        (
            data(pair(0.0), pair(math.inf), labels="graded", max_label=1.0),
            "line 7: the label is inf",
        ),
        (data(pair(-1.0), pair(1.0), labels="graded"), "the label -1 is out of the range 0 to 1"),
        (data(pair(0.5), pair(0.5), labels="graded"), "all 2 pairs have the label 0.5"),
        (data(pair(3.5), pair(3.5), labels="teacher"), "all 2 pairs have the label 3.5"),
        (
            data(pair(0.0), pair(2.0), labels="classes", label_names=("a", "b")),
            "line 7: the label is 2; the classes are numbered 0 to 1",
        ),
        (data(pair(1.0, query=" "), pair(0.0), labels="binary"), "line 7: the query is empty"),
        (data(pair(1.0, document=""), pair(0.0), labels="binary"), "line 7: the document is empty"),
        (data(triplet(None, negative=" "), labels="none"), "line 7: the document is empty"),
        (data(triplet(1.0), triplet(None), labels="teacher"), "no margin and others have one"),
        (data(triplet(None), triplet(1.0), labels="none"), "a margin and others have none"),
        (data(triplet(None), labels="binary"), "triplets with binary labels; .* teacher, none"),
        (data(ranked(1.0, 1.0), labels="binary"), "in each of the 1 lists"),
        (data(ranked(1.0), labels="binary"), "line 7: 1 labels for 2 documents"),
        (data(ranked(1.0, 0.0), labels="none"), "lists with none labels"),
    ],
)
def test_data_that_nothing_can_be_learned_from_is_refused(bad: TrainingData, message: str) -> None:
    """With the place of the row."""
    with pytest.raises(DataFileError, match=message):
        check_data(bad)


def test_data_without_a_row_is_refused() -> None:
    """It is no data."""
    with pytest.raises(EmptyInputError, match="x holds no row"):
        check_data(training_data([], name="x", kind="pairs", labels="binary"))


def test_two_parts_whose_labels_mean_the_same_go_together() -> None:
    """A teacher's logits may be measured on people's labels."""
    binary = data(pair(0.0), pair(1.0), labels="binary")
    teacher = data(pair(0.0), pair(4.0), labels="teacher")

    check_same_labels(binary, binary)
    check_same_labels(teacher, binary)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (data(pair(0.0), pair(1.0), labels="binary"), "classes labels and x has binary ones"),
        (
            data(pair(0.0), pair(1.0), labels="classes", label_names=("b", "a")),
            "classes a, b and x has b, a",
        ),
    ],
)
def test_classes_that_differ_do_not_go_together(other: TrainingData, message: str) -> None:
    """A model's outputs are numbered by the names' order."""
    classes = data(pair(0.0), pair(1.0), labels="classes", label_names=("a", "b"))

    with pytest.raises(DataFileError, match=message):
        check_same_labels(classes, other)


def test_grades_of_two_scales_do_not_go_together() -> None:
    """Else one part would be scaled otherwise than the other."""
    five = data(pair(0.0), pair(5.0), labels="graded")
    four = data(pair(0.0), pair(4.0), labels="graded")

    with pytest.raises(DataFileError, match=r"end at 5 and those of x at 4; .*max_label"):
        check_same_labels(five, four)
