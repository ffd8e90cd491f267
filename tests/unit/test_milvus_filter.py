"""How Milvus' expressions are written and escaped, and how a collection's place is."""

from __future__ import annotations

import pytest

from pairscore.errors import FilterError, SettingError
from pairscore.retrieval.base import Condition, Operator
from pairscore.retrieval.milvus_filter import expression, ids_expression
from pairscore.retrieval.milvus_place import MilvusPlace, without_token


@pytest.mark.parametrize(
    ("column", "operator", "value", "written"),
    [
        ("year", ">=", 2020, 'metadata["year"] >= 2020'),
        ("price", "<", -1e-07, 'metadata["price"] < -1e-07'),
        ("open", "==", True, 'metadata["open"] == true'),
        ("lang", "!=", "en", '(exists metadata["lang"] and metadata["lang"] != "en")'),
        ("lang", "in", ("a",), 'metadata["lang"] == "a"'),
        ("lang", "in", ("a", "b"), '(metadata["lang"] == "a" or metadata["lang"] == "b")'),
        ("lang", "==", 'x" or "1" == "1', r'metadata["lang"] == "x\" or \"1\" == \"1"'),
        ("lang", "==", "back\\slash\n\r\t'", r'''metadata["lang"] == "back\\slash\n\r\t'"'''),
        ("odd key é", "==", "{x}", 'metadata["odd key é"] == "{x}"'),
        ("id", "in", ('a"b', "c"), r'id in ["a\"b", "c"]'),
        ("title", "!=", "", 'title != ""'),
    ],
)
def test_conditions_become_expressions(
    column: str, operator: Operator, value: object, written: str
) -> None:
    """Every text is quoted, every key is a path, and what would end a quote is escaped."""
    where = (Condition(column=column, operator=operator, value=value),)
    kinds = {"text", "number", "truth value"}

    assert expression(where, kinds_of=lambda _: kinds) == written


def test_several_conditions_are_joined() -> None:
    """No condition is no expression; ids are texts in a list."""
    where = tuple(Condition(column=one, operator="==", value=1) for one in "ab")

    assert expression(where, kinds_of=lambda _: {"number"}) == (
        'metadata["a"] == 1 and metadata["b"] == 1'
    )
    assert expression((), kinds_of=lambda _: set()) == ""
    assert ids_expression(['a"', "b"]) == r'id in ["a\"", "b"]'


@pytest.mark.parametrize("column", ['a"] or metadata["b', "a\\", "it's", "a[0]", "a\nb", "\ud800"])
def test_a_column_that_milvus_cannot_name_is_refused(column: str) -> None:
    """A server takes a key as it stands between quotes: there is no way to escape one."""
    with pytest.raises(FilterError, match="rename"):
        expression(
            (Condition(column=column, operator="==", value=1),), kinds_of=lambda _: {"number"}
        )


def test_half_a_character_is_no_value() -> None:
    """It could not be sent."""
    with pytest.raises(FilterError, match="surrogate"):
        expression((Condition(column="id", operator="==", value="\ud800"),), kinds_of=set)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("milvus:a/b.db", MilvusPlace(uri="a/b.db")),
        ("milvus:b.db?collection=c", MilvusPlace(uri="b.db", collection="c")),
        ("milvus+http://host:19530", MilvusPlace(uri="http://host:19530")),
        ("milvus+https://[::1]:1/c", MilvusPlace(uri="https://[::1]:1", collection="c")),
        (
            "milvus+http://root:p%40ss@host/c?database=d&timeout_s=2.5",
            MilvusPlace(
                uri="http://host", collection="c", token="root:p@ss", database="d", timeout_s=2.5
            ),
        ),
    ],
)
def test_a_place_is_written_as_a_uri(uri: str, place: MilvusPlace) -> None:
    """A folder, or a server with its collection; options behind a question mark."""
    assert MilvusPlace.parse(uri) == place


@pytest.mark.parametrize(
    "uri",
    [
        "http://host",
        "milvus:",
        "milvus+ftp://host/c",
        "milvus+http://",
        "milvus+http://host:port/c",
        "milvus+http://host/not-a-name",
        "milvus:a.db?colection=c",
        "milvus:a.db?timeout_s=soon",
        "milvus:a.db?timeout_s=0",
    ],
)
def test_a_place_written_wrongly_is_refused(uri: str) -> None:
    """With the way that it is written."""
    with pytest.raises(SettingError):
        MilvusPlace.parse(uri)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("milvus+http://root:p@ss@host:1/c?timeout_s=2", "milvus+http://***@host:1/c?timeout_s=2"),
        ("milvus+https://KEY@host", "milvus+https://***@host"),
        ("milvus+http://host/c", "milvus+http://host/c"),
        ("milvus:a@b.db", "milvus:a@b.db"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
    ],
)
def test_a_place_is_shown_without_its_token(uri: str, shown: str) -> None:
    """And otherwise as it was written."""
    assert without_token(uri) == shown
