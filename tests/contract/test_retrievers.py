"""What every retriever must find, wherever its documents are; the one in memory says what is right.

`test_retrievers_writing.py` is the other half: what is written, and what is left of it.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.contract.retrievers import (
    DIMENSION,
    DOCUMENTS,
    ODD_TEXTS,
    MemoryRetriever,
    WritableRetriever,
    ids_of,
    vector_of,
    where_is,
)

from pairscore.errors import FilterError, SearchIndexError, SettingError
from pairscore.retrieval.base import Operator, Retriever


def test_it_says_what_it_is(filled: WritableRetriever) -> None:
    """It fits the protocol, has a name, and can do both ways."""
    assert isinstance(filled, Retriever)
    assert filled.name
    assert filled.modes == {"dense", "bm25"}
    assert filled.num_documents == len(DOCUMENTS)


@pytest.mark.parametrize("query", ["fox river", "heron", "story17 quarry", "nothing of it"])
def test_vectors_find_the_nearest_first(
    filled: WritableRetriever, exact: MemoryRetriever, query: str
) -> None:
    """The same documents as exact search, in its order, and the scores are cosines."""
    found = filled.by_vector(vector_of(query), limit=10)
    right = exact.by_vector(vector_of(query), limit=10)

    assert [c.score for c in found] == pytest.approx([c.score for c in right], abs=1e-4)
    assert ids_of(found) == ids_of(right)
    assert [c.document for c in found] == [c.document for c in right]


@pytest.mark.parametrize(
    "query", ["story17", "fox story8", "raven wolf", "RIVER", "quarry story3 story4"]
)
def test_words_find_who_has_them(
    filled: WritableRetriever, exact: MemoryRetriever, query: str
) -> None:
    """Exactly the documents with one of the words; the rarest decides who is first; scores fall."""
    found = filled.by_words(query, limit=60)
    right = exact.by_words(query, limit=60)

    assert set(ids_of(found)) == set(ids_of(right))
    assert all(candidate.score > 0 for candidate in found)
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    top = sum(c.score > right[0].score * 0.99 for c in right)
    assert set(ids_of(found)[:top]) == set(ids_of(right)[:top])


@pytest.mark.parametrize("limit", [1, 7, 60, 1000])
def test_no_more_than_asked_for(
    filled: WritableRetriever, exact: MemoryRetriever, limit: int
) -> None:
    """The limit is the most, in both ways; where there are fewer, all come."""
    assert len(filled.by_vector(vector_of("fox"), limit=limit)) == min(limit, 60)
    assert len(filled.by_words("fox river", limit=limit)) == len(
        exact.by_words("fox river", limit=limit)
    )


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(filled: WritableRetriever, limit: int) -> None:
    """Nobody asks for nothing on purpose."""
    with pytest.raises(SettingError, match="limit"):
        filled.by_vector(vector_of("fox"), limit=limit)
    with pytest.raises(SettingError, match="limit"):
        filled.by_words("fox", limit=limit)


@pytest.mark.parametrize("query", ["", "   ", "!!! ... ???", "\n\t", "🦊"])
def test_a_query_without_words_finds_nothing(filled: WritableRetriever, query: str) -> None:
    """It is no error either."""
    assert list(filled.by_words(query, limit=5)) == []


@pytest.mark.parametrize("query", ODD_TEXTS)
def test_a_query_is_words_and_no_language(filled: WritableRetriever, query: str) -> None:
    """Quotes, operators and emoji mean nothing: the fox in it is found."""
    found = filled.by_words(query, limit=60)

    assert {one.id for one in DOCUMENTS if "fox" in one.text} <= set(ids_of(found))


def test_a_query_of_ten_thousand_words(filled: WritableRetriever) -> None:
    """It finds what it names."""
    query = " ".join(f"nobody{number}" for number in range(9_999)) + " story17"

    assert ids_of(filled.by_words(query, limit=5)) == ["d17"]


CONDITIONS = [
    *(("year", operator, 2011) for operator in ("==", "!=", "<", "<=", ">", ">=")),
    *(("year", operator, 2010.5) for operator in ("!=", "<", ">=")),
    *(("price", operator, 2.5) for operator in ("==", "!=", "<", "<=", ">", ">=")),
    *(("price", operator, 3) for operator in ("==", "<", ">=")),
    *(("lang", operator, "en") for operator in ("==", "!=", "<", "<=", ">", ">=")),
    *(("open", operator, value) for operator in ("==", "!=") for value in (True, False)),
    ("year", "in", (1991, 1995, 3000)),
    ("price", "in", (0.25, 5.0, 9)),
    ("lang", "in", ("en", "fr", "xx")),
    ("open", "in", (True,)),
    ("year", ">", -5),
    ("price", ">=", 1e-7),
    ("id", "==", "d7"),
    ("id", "in", ("d7", "d8", "nobody")),
    ("title", "==", ""),
    ("title", "!=", "river"),
    ("lang", "==", 'en" or "1" == "1'),
    ("lang", "!=", "it's \\ % \n _"),
    ("year", "in", tuple(range(1900, 2100))),
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: f"{c[0]}{c[1]}{str(c[2])[:20]!r}")
def test_conditions_are_held_before_the_search(
    filled: WritableRetriever, exact: MemoryRetriever, condition: tuple[str, Operator, object]
) -> None:
    """Every operator on every type gives what exact search gives, by vectors and by words."""
    where = where_is(*condition)

    assert ids_of(filled.by_vector(vector_of("fox"), limit=60, where=where)) == ids_of(
        exact.by_vector(vector_of("fox"), limit=60, where=where)
    )
    assert set(ids_of(filled.by_words("fox river", limit=60, where=where))) == set(
        ids_of(exact.by_words("fox river", limit=60, where=where))
    )


def test_all_conditions_must_hold(filled: WritableRetriever, exact: MemoryRetriever) -> None:
    """Several narrow each other, also down to nothing."""
    both = (
        *where_is("lang", "in", ("en", "de")),
        *where_is("year", ">", 2000),
        *where_is("open", "==", value=True),
    )
    none = (*where_is("year", ">", 2000), *where_is("year", "<", 2000))

    found = ids_of(filled.by_vector(vector_of("fox"), limit=60, where=both))
    assert found == ids_of(exact.by_vector(vector_of("fox"), limit=60, where=both))
    assert found
    assert list(filled.by_vector(vector_of("fox"), limit=60, where=none)) == []
    assert list(filled.by_words("fox", limit=60, where=none)) == []


def test_an_unknown_column_is_named_beside_the_known(filled: WritableRetriever) -> None:
    """A slip of the pen finds no empty result, but what could have been meant."""
    for search in (
        lambda where: filled.by_vector(vector_of("fox"), limit=5, where=where),
        lambda where: filled.by_words("fox", limit=5, where=where),
    ):
        with pytest.raises(FilterError, match="yaer") as caught:
            search(where_is("yaer", "==", 2000))
        if filled.name != "memory":
            assert "year" in str(caught.value)


@pytest.mark.parametrize(
    ("column", "operator", "value"),
    [
        ("year", "==", "2000"),
        ("year", "==", True),
        ("lang", ">", 5),
        ("open", "==", "true"),
        ("open", "<", True),
        ("lang", "==", None),
        ("lang", "in", "en"),
        ("lang", "==", ("en", "de")),
        ("price", ">", float("nan")),
        ("id", "==", 7),
        ("lang", "like", "e%"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    filled: WritableRetriever, column: str, operator: Operator, value: object
) -> None:
    """A text is no number, truth has no order, and nothing is nothing."""
    with pytest.raises(FilterError, match=column):
        filled.by_vector(vector_of("fox"), limit=5, where=where_is(column, operator, value))


def test_a_vector_of_another_dimension_is_refused(filled: WritableRetriever) -> None:
    """With both numbers, not with an error of the library."""
    with pytest.raises(SearchIndexError):
        filled.by_vector(np.ones(DIMENSION + 1, dtype=np.float32), limit=5)
