"""Conditions as people write them, and what is said of those that are none."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.errors import FilterError
from pairscore.retrieval.base import Condition
from pairscore.retrieval.conditions import check_condition, parse_condition, parse_conditions


def condition(column: str, operator: Any, value: Any) -> Condition:
    """Shorter."""
    return Condition(column=column, operator=operator, value=value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("year>=2020", ("year", ">=", 2020)),
        ("year <= 2020", ("year", "<=", 2020)),
        ("year<2020", ("year", "<", 2020)),
        ("year> -3", ("year", ">", -3)),
        ("price=1.50", ("price", "==", 1.5)),
        ("price>.5", ("price", ">", 0.5)),
        ("price<1e3", ("price", "<", 1000.0)),
        ("lang=en", ("lang", "==", "en")),
        (" lang == en ", ("lang", "==", "en")),
        ("lang!=en", ("lang", "!=", "en")),
        ("open=true", ("open", "==", True)),
        ("open!=False", ("open", "!=", False)),
        ('year="2020"', ("year", "==", "2020")),
        ("lang='null'", ("lang", "==", "null")),
        ('lang=""', ("lang", "==", "")),
        ('sign=">"', ("sign", "==", ">")),
        ("zip=00123", ("zip", "==", "00123")),
        ("part=1_000", ("part", "==", "1_000")),
        ("part=e5", ("part", "==", "e5")),
        ("name=a=b>c", ("name", "==", "a=b>c")),
        ("title=red wine, 'old'", ("title", "==", "red wine, 'old'")),
        ("tag in a,b", ("tag", "in", ("a", "b"))),
        ("tag in  a , 2 ,true", ("tag", "in", ("a", 2, True))),
        ("tag in \"a,b\",'c'", ("tag", "in", ("a,b", "c"))),
        ("tag in a", ("tag", "in", ("a",))),
        ("author.name=x", ("author.name", "==", "x")),
        ("größe>3", ("größe", ">", 3)),
        ("day=9" + "9" * 30, ("day", "==", "9" + "9" * 30)),
    ],
)
def test_what_is_a_condition(written: str, expected: tuple[str, str, Any]) -> None:
    """Columns, operators and values, numbers as numbers; quotes keep a text a text."""
    found = parse_condition(written)

    assert found == condition(*expected)
    assert type(found.value) is type(expected[2])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "no condition"),
        ("year", "no condition"),
        (">=2020", "no condition"),
        ("two words=1", "no condition"),
        ("year>=", "no value"),
        ("year=>2020", "operator that is none"),
        ("lang===en", "operator that is none"),
        ("tag in", "no condition"),
        ("tag in a,", "empty value"),
        ("tag in ,a", "empty value"),
        ("tag in a,,b", "empty value"),
        ("lang=null", "nothing"),
        ("lang!=None", "nothing"),
        ("open>true", "use == or !="),
        ("year>1e999", "finite"),
        ("day=9999999999999999999", "64 bits"),
    ],
)
def test_what_is_none(written: str, said: str) -> None:
    """The message quotes what was written, or names the column, and says how to write it."""
    with pytest.raises(FilterError, match=said):
        parse_condition(written)


def test_many_conditions() -> None:
    """All of them, in order; one alone is a list, too."""
    assert parse_conditions(["a=1", "b in x,y"]) == (
        condition("a", "==", 1),
        condition("b", "in", ("x", "y")),
    )
    assert parse_conditions(()) == ()
    with pytest.raises(FilterError, match="are a list"):
        parse_conditions("a=1")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (condition("", "==", 1), "no column"),
        (condition("a", "~", 1), "known are"),
        (condition("a", "in", "b"), "several values"),
        (condition("a", "==", ("b",)), "one value"),
        (condition("a", "in", ()), "no value"),
        (condition("a", "in", ("b", None)), "null"),
        (condition("a", "==", math.nan), "finite"),
        (condition("a", "==", 2**63), "64 bits"),
        (condition("a", "==", ["b"]), "list"),
        (condition("a", "==", {"b": 1}), "dict"),
    ],
)
def test_conditions_that_were_made_by_hand(made: Condition, said: str) -> None:
    """The same rules, whoever made them."""
    with pytest.raises(FilterError, match=said):
        check_condition(made)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_a_filter_error(written: str) -> None:
    """Never another error, and what is read can be held against documents."""
    try:
        found = parse_condition(written)
    except FilterError:
        return
    assert check_condition(found) is found
