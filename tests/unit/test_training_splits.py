"""Splits by query, and what a held-out part shares with the part that is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from pairscore.errors import DataFileError, SettingError
from pairscore.training.data import (
    LabelledPair,
    RankedList,
    TrainingData,
    TrainingRow,
    Triplet,
    pairs_of,
    training_data,
)
from pairscore.training.splits import (
    Leak,
    find_leaks,
    folded,
    split_by_query,
    without_leaks,
)

Texts = Sequence[tuple[str, str]]


def data(texts: Texts, *, name: str = "a") -> TrainingData:
    """Pairs with both labels in turn, one a line."""
    rows = [
        LabelledPair(query=query, document=document, label=line % 2, place=f"{name}, line {line}")
        for line, (query, document) in enumerate(texts, 2)
    ]
    return training_data(rows, name=name, kind="pairs", labels="binary")


def texts_of(part: TrainingData) -> list[tuple[str, str]]:
    """The pairs of a part, in its order."""
    return [pair for row in part.rows for pair in pairs_of(row)]


MANY = data([(f"q{index // 4}", f"d{index}") for index in range(80)])


def test_a_query_stays_on_one_side_with_all_its_rows_in_their_order() -> None:
    """Twenty queries of four rows, a quarter of them held out."""
    split = split_by_query(MANY, fraction=0.25, seed=1)

    train, held_out = texts_of(split.train), texts_of(split.held_out)
    assert len(held_out) == 20
    assert {query for query, _ in train}.isdisjoint(query for query, _ in held_out)
    assert sorted(train + held_out) == sorted(texts_of(MANY))
    assert held_out == [pair for pair in texts_of(MANY) if pair in held_out]
    assert train == [pair for pair in texts_of(MANY) if pair in train]
    assert (split.train.name, split.held_out.name) == ("a (train)", "a (held out)")


def test_a_seed_decides_a_split() -> None:
    """The same seed gives the same parts, another one others."""
    hashes = {
        seed: split_by_query(MANY, fraction=0.25, seed=seed).held_out.sha256 for seed in range(5)
    }

    assert split_by_query(MANY, fraction=0.25, seed=3).held_out.sha256 == hashes[3]
    assert len(set(hashes.values())) == 5


def test_a_split_does_not_depend_on_the_rows_order_and_is_the_same_everywhere() -> None:
    """The held-out queries of this seed are written down here: no version of a library may change them."""
    turned = data(list(reversed(texts_of(MANY))))

    for whole in (MANY, turned):
        split = split_by_query(whole, fraction=0.1, seed=0)
        assert {query for query, _ in texts_of(split.held_out)} == {"q6", "q11"}


def test_spellings_of_one_query_stay_together() -> None:
    """Case, white space and Unicode's superscripts make no other query."""
    texts = [pair for index in range(9) for pair in ((f"m² {index}", "x"), (f"M2  {index}", "y"))]

    split = split_by_query(data(texts), fraction=0.5, seed=0)

    held_out = {folded(query) for query, _ in texts_of(split.held_out)}
    assert held_out.isdisjoint(folded(query) for query, _ in texts_of(split.train))


def test_texts_that_hang_together_stay_together_where_that_is_asked() -> None:
    """A chain of pairs is one group, also where a text is the query of one and the document of another."""
    chains = [(f"{chain}-{link}", f"{chain}-{link + 1}") for link in range(4) for chain in "abcdef"]

    split = split_by_query(data(chains), fraction=0.34, seed=0, together="texts")

    train, held_out = (
        {text[0] for pair in texts_of(part) for text in pair}
        for part in (split.train, split.held_out)
    )
    assert (len(train), len(held_out)) == (4, 2)
    assert not train & held_out


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    """It lies between 0 and 1."""
    with pytest.raises(SettingError, match="fraction is"):
        split_by_query(MANY, fraction=fraction, seed=0)


@pytest.mark.parametrize(
    ("texts", "fraction"), [([("q", "a"), ("Q ", "b")], 0.5), ([("q", "a"), ("r", "b")], 0.9)]
)
def test_a_split_with_an_empty_part_is_refused(texts: Texts, fraction: float) -> None:
    """One query cannot be parted, and of two not both can be held out."""
    with pytest.raises(DataFileError, match="without leaving a part empty"):
        split_by_query(data(texts), fraction=fraction, seed=0)


def test_a_part_of_one_class_is_refused() -> None:
    """With the seed and the fraction that made it, and the lines that it goes over."""
    with pytest.raises(
        DataFileError, match=r"a \(train\), from a, line .* the fraction 0.5 and the seed 0"
    ):
        split_by_query(data([("q", "a"), ("r", "b")]), fraction=0.5, seed=0)


def test_a_pair_that_is_also_trained_on_is_found_in_either_order_and_spelling() -> None:
    """With both places, and its query among the texts."""
    train = data([("x", "y"), ("The  Cat", "ﬁne")], name="train")
    held_out = data([("fine", "the cat"), ("new", "x")], name="test")

    leaks = find_leaks(train, held_out)

    assert (leaks.num_pairs, leaks.num_texts) == (1, 1)
    assert leaks.places == (Leak(kind="pair", place="test, line 2", train_place="train, line 3"),)
    assert leaks.sentences == (
        "1 held-out pairs are also in the training part (test, line 2 is train, line 3)",
        "1 held-out queries are also texts of the training part",
    )


def test_a_held_out_query_that_is_a_text_of_the_training_part_is_found() -> None:
    """Once, however many rows have it; each row's place is told."""
    train = data([("a", "b"), ("c", "b")], name="train")
    held_out = data([("B", "1"), ("b", "2"), ("other", "a")], name="test")

    leaks = find_leaks(train, held_out)

    assert (leaks.num_pairs, leaks.num_texts) == (0, 1)
    assert [(leak.kind, leak.place, leak.train_place) for leak in leaks.places] == [
        ("text", "test, line 2", "train, line 2"),
        ("text", "test, line 3", "train, line 2"),
    ]


def test_parts_that_share_nothing_have_no_leaks() -> None:
    """A document of both is none: a corpus is the same for every query."""
    leaks = find_leaks(data([("a", "x"), ("b", "y")]), data([("c", "x"), ("d", "y")]))

    assert not leaks
    assert leaks.sentences == ()


@pytest.mark.parametrize(
    "row",
    [
        Triplet(query="n", positive="q", negative="z", margin=None, place="t, line 2"),
        Triplet(query="q", positive="z", negative="n", margin=None, place="t, line 2"),
        RankedList(query="q", documents=("z", "n"), labels=(1.0, 0.0), place="t, line 2"),
    ],
)
def test_each_document_of_a_triplet_or_list_is_a_pair_with_its_query(row: TrainingRow) -> None:
    """Negatives included: what a model has read once it knows."""
    kind: Literal["lists", "triplets"] = "lists" if isinstance(row, RankedList) else "triplets"
    train = training_data([row], name="t", kind=kind, labels="none")

    leaks = find_leaks(train, data([("q", "n"), ("other", "z")]))

    assert (leaks.num_pairs, leaks.places[0].train_place) == (1, "t, line 2")


def test_leaks_are_dropped_from_the_training_part_unless_it_is_said_otherwise() -> None:
    """So that a test part stays what others measure on; its own hash and the scale stay too."""
    train = data([("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")], name="train")
    held_out = data([("B", "a"), ("new", "1"), ("newer", "2")], name="test")

    dropped = without_leaks(train, held_out)
    other = without_leaks(train, held_out, drop_from="held_out")

    assert texts_of(dropped.train) == [("c", "d"), ("e", "f"), ("g", "h")]
    assert dropped.held_out is held_out
    assert texts_of(other.held_out) == [("new", "1"), ("newer", "2")]
    assert other.train is train
    assert not find_leaks(dropped.train, held_out)


def test_rows_with_a_held_out_query_are_dropped_only_if_that_is_asked() -> None:
    """A pair of a held-out query and another document is no leaked pair."""
    train = data([("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")], name="train")
    held_out = data([("d", "new"), ("new", "newer")], name="test")

    assert without_leaks(train, held_out).train is train
    assert texts_of(without_leaks(train, held_out, what="texts").train) == [
        ("a", "b"),
        ("e", "f"),
        ("g", "h"),
    ]


def test_dropping_everything_is_refused() -> None:
    """And so is what leaves one class."""
    train = data([("a", "b"), ("c", "d"), ("e", "f")], name="train")

    with pytest.raises(DataFileError, match="every row of train is also in test"):
        without_leaks(train, data([*texts_of(train), ("g", "h")], name="test"))
    with pytest.raises(DataFileError, match=r"label 0.*without the 1 rows that are also in test"):
        without_leaks(train, data([("c", "d"), ("g", "h")], name="test"))
