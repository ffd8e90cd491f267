"""Filters on the index: every operator on every kind of value, and nothing that anybody writes is read as SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pairscore.errors import FilterError
from pairscore.retrieval.base import Condition, Document, Operator, Scalar
from pairscore.retrieval.index import SearchIndex
from pairscore.retrieval.lance_filter import expression

HOSTILE = (
    "'; DROP TABLE documents; --",
    "' OR '1'='1",
    "x' OR 1=1 --",
    '"; SELECT 1',
    "\\' OR TRUE --",
    "`id` = `id`",
    "line\nbreak\ttab \x00 null",
    "100% _under_ [a-z]",
    "é🦊 \u202e",
    "",
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchIndex]:
    """Documents whose metadata have keys and values of every kind."""
    with SearchIndex.create(tmp_path_factory.mktemp("filter") / "index", encoder=None) as made:
        made.add(
            [
                Document(id="whole", text="fox", metadata={"size": 3}),
                Document(id="decimal", text="fox", metadata={"size": 3.5}),
                Document(id="text", text="fox", metadata={"size": "3"}),
                Document(id="large", text="fox", metadata={"size": 2**53 + 1}),
                Document(id="truth", text="fox", metadata={"size": True}),
                Document(id="none", text="fox", metadata={"size": None, "other": 1}),
                *(
                    Document(id=f"hostile{number}", text="fox", metadata={"note": value})
                    for number, value in enumerate(HOSTILE)
                ),
                *(
                    Document(id=f"key{number}", text="fox", metadata={key or "k": "here"})
                    for number, key in enumerate(HOSTILE)
                ),
            ]
        )
        yield made


def _ids(index: SearchIndex, *conditions: Condition) -> set[str]:
    return {one.document.id for one in index.by_words("fox", limit=100, where=conditions)}


def _condition(column: str, operator: Operator, value: Scalar | tuple[Scalar, ...]) -> Condition:
    return Condition(column=column, operator=operator, value=value)


@pytest.mark.parametrize(
    ("operator", "value", "ids"),
    [
        ("==", 3, {"whole"}),
        ("==", 3.0, {"whole"}),
        ("==", 3.5, {"decimal"}),
        ("==", "3", {"text"}),
        ("==", True, {"truth"}),
        ("==", 2**53 + 1, {"large"}),
        ("==", 2**53, set()),
        (">", 3, {"decimal", "large"}),
        (">=", 3, {"whole", "decimal", "large"}),
        ("<", 3.2, {"whole"}),
        ("!=", 3, {"decimal", "text", "large", "truth"}),
        ("!=", "3", {"whole", "decimal", "large", "truth"}),
        ("!=", False, {"whole", "decimal", "text", "large", "truth"}),
        ("in", (3, "3", True), {"whole", "text", "truth"}),
        ("in", (3.5, 4), {"decimal"}),
    ],
)
def test_a_key_may_have_values_of_several_kinds(
    index: SearchIndex, operator: Operator, value: Scalar | tuple[Scalar, ...], ids: set[str]
) -> None:
    """A value is compared with its like; another kind is another value; who has none satisfies nothing."""
    assert _ids(index, _condition("size", operator, value)) == ids


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_values_are_never_read_as_sql(index: SearchIndex, number: int) -> None:
    """Equal to one document, as a list as well, and as an id to none."""
    value = HOSTILE[number]

    assert _ids(index, _condition("note", "==", value)) == {f"hostile{number}"}
    assert _ids(index, _condition("note", "in", (value, "else"))) == {f"hostile{number}"}
    assert len(_ids(index, _condition("note", "!=", value))) == len(HOSTILE) - 1
    assert _ids(index, _condition("id", "==", value)) == set()


@pytest.mark.parametrize("number", range(len(HOSTILE) - 1))
def test_keys_are_never_read_as_sql(index: SearchIndex, number: int) -> None:
    """A key is a column, whatever stands in it."""
    assert _ids(index, _condition(HOSTILE[number], "==", "here")) == {f"key{number}"}


def test_ids_are_never_read_as_sql(index: SearchIndex) -> None:
    """Also where documents are read by them, and removed."""
    before = index.num_documents

    assert index.get(list(HOSTILE)) == []
    assert index.delete(list(HOSTILE)) == 0
    assert index.num_documents == before


@pytest.mark.parametrize(
    "column", ["yaer", "s_size", "text", "full_text", "vector", "digest", "_rowid"]
)
def test_only_what_a_document_has_can_be_compared(index: SearchIndex, column: str) -> None:
    """The table's own columns are nobody's; the message lists what there is."""
    with pytest.raises(FilterError, match=rf"{column}.*'id', 'title', 'size'"):
        _ids(index, _condition(column, "==", "x"))


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("note", 3, "holds texts.*number"),
        ("other", "1", "holds numbers.*text"),
        ("other", True, "holds numbers.*truth"),
        ("id", 1, "holds texts"),
        ("note", "half \ud800", "surrogate"),
        ("half \udfff", "x", "surrogate"),
    ],
)
def test_what_cannot_be_compared_is_named(
    index: SearchIndex, column: str, value: Scalar, match: str
) -> None:
    """Instead of finding nothing."""
    with pytest.raises(FilterError, match=match):
        _ids(index, _condition(column, "==", value))


def test_conditions_are_all_held(index: SearchIndex) -> None:
    """Beside each other, also on one column."""
    both = (_condition("size", ">", 2), _condition("size", "<", 4))

    assert _ids(index, *both) == {"whole", "decimal"}
    assert _ids(index, *both, _condition("id", "!=", "whole")) == {"decimal"}


def test_no_condition_is_no_expression() -> None:
    """Every document passes."""
    assert expression((), {}) is None


def test_a_list_of_ten_thousand_values(index: SearchIndex) -> None:
    """As long as anybody's list of ids."""
    values = ("whole", *(f"nobody{number}" for number in range(10_000)))

    assert _ids(index, _condition("id", "in", values)) == {"whole"}


def test_the_filter_comes_before_the_limit(tmp_path: Path) -> None:
    """One document in a thousand is found by a search for one."""
    with SearchIndex.create(tmp_path / "index", encoder=None) as index:
        index.add(
            [
                Document(id=str(number), text="fox " * (1000 - number), metadata={"n": number})
                for number in range(1000)
            ]
        )
        found = index.by_words("fox", limit=1, where=(_condition("n", "==", 999),))
    assert [one.document.id for one in found] == ["999"]
