"""Whatever the rows: a split keeps each once and no query on both sides, and what leaks is found and dropped."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from pairscore.errors import DataFileError
from pairscore.training.data import LabelledPair, TrainingData, training_data
from pairscore.training.splits import Together, find_leaks, folded, split_by_query, without_leaks

# Few letters, in several spellings, so that texts meet.
WORDS = st.text(alphabet="aAbBﬁ c", min_size=1, max_size=3).filter(lambda text: bool(text.strip()))
ROWS = st.lists(st.tuples(WORDS, WORDS), min_size=2, max_size=30)


def data(rows: list[tuple[str, str]], name: str) -> TrainingData:
    """Pairs without labels, so that any of them may make a part."""
    made = [
        LabelledPair(query=query, document=document, label=1.0, place=f"{name}, line {line}")
        for line, (query, document) in enumerate(rows, 2)
    ]
    return training_data(made, name=name, kind="pairs", labels="none")


def queries(part: TrainingData) -> set[str]:
    """The different queries."""
    return {folded(row.query) for row in part.rows}


@given(ROWS, st.floats(0.01, 0.99), st.integers(0, 2**32), st.sampled_from(["query", "texts"]))
def test_a_split_keeps_every_row_once_and_no_query_on_both_sides(
    rows: list[tuple[str, str]], fraction: float, seed: int, together: Together
) -> None:
    """Nor any text, where texts stay together."""
    whole = data(rows, "a")
    try:
        split = split_by_query(whole, fraction=fraction, seed=seed, together=together)
    except DataFileError as error:
        assume("without leaving a part empty" not in str(error))
        raise

    places = [row.place for part in (split.train, split.held_out) for row in part.rows]
    assert sorted(places) == sorted(row.place for row in whole.rows)
    assert split.train.rows
    assert split.held_out.rows
    assert not queries(split.train) & queries(split.held_out)
    if together == "texts":
        assert not find_leaks(split.train, split.held_out)
        assert not find_leaks(split.held_out, split.train)


@given(ROWS, ROWS)
def test_what_leaks_is_what_a_plain_comparison_finds_and_nothing_of_it_is_left(
    train_rows: list[tuple[str, str]], held_out_rows: list[tuple[str, str]]
) -> None:
    """Pairs as sets of two texts, and queries among all texts of the training part."""
    train, held_out = data(train_rows, "train"), data(held_out_rows, "test")
    known = {frozenset(map(folded, pair)) for pair in train_rows}
    texts = {folded(text) for pair in train_rows for text in pair}

    leaks = find_leaks(train, held_out)

    assert leaks.num_pairs == len(known & {frozenset(map(folded, pair)) for pair in held_out_rows})
    assert leaks.num_texts == len(texts & queries(held_out))
    try:
        left = without_leaks(train, held_out, what="texts").train
    except DataFileError:
        return
    assert not find_leaks(left, held_out)
