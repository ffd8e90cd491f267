"""Training data in memory: what its hash is of, what its scale is, and what one kind is made of another."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from pairscore.errors import DataFileError, SettingError
from pairscore.training.data import (
    LabelKind,
    LabelledPair,
    RankedList,
    TrainingData,
    Triplet,
    pairs_of,
    row_labels,
    scaled,
    training_data,
    with_rows,
)
from pairscore.training.data_files import read_training
from pairscore.training.data_shapes import as_kind, as_lists, as_pairs

TRIPLET = Triplet(query="q", positive="p", negative="n", margin=None, place="x, line 1")
LIST = RankedList(query="q", documents=("a", "b"), labels=(1.0, 0.0), place="x, line 2")


def pair(query: str = "q", document: str = "d", label: float = 1.0, line: int = 2) -> LabelledPair:
    """A pair read from some line."""
    return LabelledPair(query=query, document=document, label=label, place=f"x.csv, line {line}")


def pairs(
    labels: Sequence[float], kind: LabelKind = "graded", max_label: float | None = None
) -> TrainingData:
    """Pairs with these labels, each of its own query."""
    rows = [pair(f"q{index}", "d", label, index + 2) for index, label in enumerate(labels)]
    return training_data(rows, name="x", kind="pairs", labels=kind, max_label=max_label)


def test_the_hash_is_of_texts_labels_and_order_and_not_of_places() -> None:
    """Another order, text, label or kind of labels is another hash; another file with the same rows is not."""
    first, second = pair("a", "b", 1.0), pair("c", "d", 0.0)
    data = training_data([first, second], name="x", kind="pairs", labels="binary")
    moved = [pair("a", "b", 1.0, 7), pair("c", "d", 0.0, 9)]

    assert len(data.sha256) == 64
    assert with_rows(data, moved, name="y").sha256 == data.sha256
    assert with_rows(data, [second, first]).sha256 != data.sha256
    assert with_rows(data, [pair("ab", "", 1.0), second]).sha256 != data.sha256
    assert with_rows(data, [pair("a", "b", 0.5), second]).sha256 != data.sha256
    assert training_data([first, second], name="x", kind="pairs", labels="teacher").sha256 != (
        data.sha256
    )


def test_the_hash_is_of_one_json_list_a_line() -> None:
    """The bytes that are hashed are written down here, so that other programs can take the same hash."""
    rows = [pair("é", 'a "b"\n', 0.5)]

    data = training_data(rows, name="x", kind="pairs", labels="graded")

    content = b'["pairs", "graded", []]\n["\\u00e9", "a \\"b\\"\\n", 0.5]'
    assert data.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("rows", "kind", "num_pairs"),
    [((pair(), pair()), "pairs", 2), ((TRIPLET,), "triplets", 2), ((LIST, LIST), "lists", 4)],
)
def test_queries_and_pairs_are_counted(rows, kind, num_pairs: int) -> None:  # type: ignore[no-untyped-def]
    """A triplet is two pairs, a list as many as it has documents; equal queries count once."""
    data = training_data(rows, name="x", kind=kind, labels="none")

    assert (len(data), data.num_queries, data.num_pairs) == (len(rows), 1, num_pairs)


@pytest.mark.parametrize(
    ("labels", "top"), [((0.0, 0.4), 1.0), ((0.0, 3.0), 3.0), ((0.25, 4.8), 5.0)]
)
def test_the_scale_ends_at_the_greatest_label_rounded_up(
    labels: tuple[float, ...], top: float
) -> None:
    """Of grades only, and where no end is given; up to 1 it ends at 1."""
    assert pairs(labels).max_label == top
    assert pairs(labels, max_label=10.0).max_label == 10.0
    assert pairs(labels, "teacher").max_label is None
    assert pairs(labels, "binary").max_label == 1.0


def test_grades_are_scaled_to_the_unit_and_nothing_else_is() -> None:
    """Binary labels, classes, logits and no labels stay the same object."""
    data = scaled(pairs((0.0, 2.5, 5.0)))

    assert [row_labels(row) for row in data.rows] == [(0.0,), (0.5,), (1.0,)]
    assert (data.max_label, data.labels) == (1.0, "graded")
    assert data.sha256 == pairs((0.0, 0.5, 1.0)).sha256
    for kind in ("binary", "classes", "teacher", "none"):
        other = pairs((0.0, 1.0), kind)
        assert scaled(other) is other


def test_labels_of_lists_are_scaled_too() -> None:
    """Each label of a list is divided by the best grade."""
    row = RankedList(query="q", documents=("a", "b"), labels=(3.0, 1.5), place="x, line 1")
    data = training_data([row], name="x", kind="lists", labels="graded")

    assert row_labels(scaled(data).rows[0]) == (1.0, 0.5)


def test_a_part_is_scaled_as_another_one_is() -> None:
    """The end of the scale may be given, and a label above it is refused with its place."""
    assert row_labels(scaled(pairs((0.0, 2.0)), max_label=4.0).rows[1]) == (0.5,)
    with pytest.raises(DataFileError, match=r"x.csv, line 3: the label 2 is above .* 1"):
        scaled(pairs((0.0, 2.0)), max_label=1.0)
    with pytest.raises(SettingError, match="max_label is 0"):
        scaled(pairs((0.0, 2.0)), max_label=0.0)


def test_the_pairs_of_a_row_are_in_its_order() -> None:
    """Of a triplet the positive's pair comes first."""
    assert list(pairs_of(pair())) == [("q", "d")]
    assert list(pairs_of(TRIPLET)) == [("q", "p"), ("q", "n")]
    assert list(pairs_of(LIST)) == [("q", "a"), ("q", "b")]
    assert row_labels(TRIPLET) == ()


def test_pairs_of_one_query_become_a_list_in_the_order_of_the_queries() -> None:
    """Wherever they stand in the file; and the list can be taken apart again."""
    rows = [pair("a", "1", 2.0), pair("b", "2", 1.0, 3), pair("a", "3", 0.0, 4)]
    data = training_data(rows, name="x", kind="pairs", labels="graded")

    lists = as_lists(data)

    assert (lists.kind, lists.max_label) == ("lists", 2.0)
    assert lists.rows[0] == RankedList(
        query="a", documents=("1", "3"), labels=(2.0, 0.0), place="x.csv, line 2"
    )
    assert [row.query for row in lists.rows] == ["a", "b"]
    assert sorted(map(str, as_pairs(lists).rows)) == sorted(
        str(pair(row.query, row.document, row.label, 2 if row.query == "a" else 3)) for row in rows
    )


def test_a_triplet_becomes_a_positive_and_a_negative_pair() -> None:
    """Without a margin that is all that it says."""
    data = training_data([TRIPLET], name="x", kind="triplets", labels="none")

    made = as_kind(data, "pairs")

    assert (made.labels, made.max_label) == ("binary", 1.0)
    assert [(row.query, *row_labels(row)) for row in made.rows] == [("q", 1.0), ("q", 0.0)]


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (pairs((0.0, 1.0), "classes"), "lists", "no lists are made"),
        (pairs((0.0, 1.0), "binary"), "triplets", "pairscore negatives"),
        (
            training_data([TRIPLET], name="x", kind="triplets", labels="teacher"),
            "pairs",
            "margins, which say nothing of one pair",
        ),
        (training_data([TRIPLET], name="x", kind="triplets", labels="none"), "lists", "no lists"),
    ],
)
def test_what_cannot_be_made_is_refused(data: TrainingData, kind, message: str) -> None:  # type: ignore[no-untyped-def]
    """With what can be done instead."""
    with pytest.raises(DataFileError, match=message):
        as_kind(data, kind)


def test_data_of_the_asked_kind_stays_as_it_is() -> None:
    """Nothing is copied."""
    data = pairs((0.0, 1.0))

    assert as_kind(data, "pairs") is data
    assert as_pairs(data) is data


def test_reading_needs_little_memory_beside_the_rows(tmp_path: Path) -> None:
    """The file is read row by row, and a query that stands in many rows is one text."""
    lines = [f"a query of many rows,document {index},{index % 2}" for index in range(10_000)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["query,document,label", *lines]))
    read_training(path)  # what is imported once is not counted

    tracemalloc.start()
    try:
        data = read_training(path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len({id(row.query) for row in data.rows}) == 1
    assert peak < 1.3 * kept
    assert kept < 400 * len(data)
