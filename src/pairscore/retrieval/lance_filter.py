"""Filters as LanceDB's expressions. They are built and not written, so that no value and no name is ever read as SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_, eq, ge, gt, le, lt, ne, or_
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pairscore.errors import FilterError
from pairscore.retrieval.base import Condition, Filter, Scalar
from pairscore.retrieval.conditions import check_condition
from pairscore.retrieval.lance_schema import OWN, Kind, column_name, kind_of

if TYPE_CHECKING:
    from lancedb.expr import Expr

__all__ = ["Kinds", "expression", "ids_expression"]

Kinds: TypeAlias = Mapping[str, Sequence[Kind]]
"""The keys of the metadata, each with the kinds of its values."""

_COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}
# What can be compared with what: a number with any number.
_FAMILY: Final[Mapping[Kind, str]] = {
    "text": "text",
    "whole": "number",
    "decimal": "number",
    "truth": "truth value",
}


def expression(where: Filter, kinds: Kinds) -> Expr | None:
    """A filter as LanceDB takes it; None for no condition.

    Args:
        where: the conditions.
        kinds: the columns that there are.

    Raises:
        FilterError: a column is not known, or cannot be compared so; the message names those that are known.
    """
    made = [_condition(check_condition(condition), kinds) for condition in where]
    return reduce(and_, made) if made else None


def ids_expression(ids: Sequence[str]) -> Expr:
    """The documents with one of these ids."""
    from lancedb.expr import col  # of an extra

    return col("id").isin(ids)


def _condition(condition: Condition, kinds: Kinds) -> Expr:
    column, values = condition.column, _values(condition)
    _check_text(column, values)
    if column in OWN:
        there: Sequence[Kind] = ("text",)
        named = {"text": column}
    else:
        there = _known(column, kinds)
        named = {kind: column_name(column, kind) for kind in there}
    _check_families(column, there, values)
    parts = [part for kind in there for part in _parts(condition, named[kind], kind)]
    return reduce(or_, parts)


def _parts(condition: Condition, name: str, kind: Kind) -> list[Expr]:
    """The comparisons with the values of one kind; a document has a value of one kind at most."""
    from lancedb.expr import col

    column = col(name)
    values = [value for value in _values(condition) if _same_family(value, kind)]
    if condition.operator == "in":
        return [column.isin([_fitting(value, kind) for value in values])] if values else []
    if not values:
        # A value of another kind is another value; a missing one is none, and satisfies nothing.
        return [column.eq(column)] if condition.operator == "!=" else []
    return [_COMPARE[condition.operator](column, _fitting(values[0], kind))]


def _fitting(value: Scalar, kind: Kind) -> Any:
    """A whole number as a decimal one for a column of those; the other way round LanceDB compares as numbers."""
    return float(value) if kind == "decimal" and isinstance(value, int) else value


def _values(condition: Condition) -> tuple[Scalar, ...]:
    return condition.value if isinstance(condition.value, tuple) else (condition.value,)


def _same_family(value: Scalar, kind: Kind) -> bool:
    return _family(value) == _FAMILY[kind]


def _family(value: Scalar) -> str:
    kind = kind_of(value)
    return "" if kind is None else _FAMILY[kind]


def _known(column: str, kinds: Kinds) -> Sequence[Kind]:
    if column not in kinds:
        known = ", ".join(repr(name) for name in (*OWN, *kinds))
        raise FilterError(f"no document has a column {column!r}; known are {known}")
    return kinds[column]


def _check_families(column: str, there: Sequence[Kind], values: Sequence[Scalar]) -> None:
    families = list(dict.fromkeys(_FAMILY[kind] for kind in there))
    for value in values:
        if _family(value) not in families:
            known = " and ".join(f"{family}s" for family in families)
            hint = ' (a number or true in quotes is a text: "2020")' if "text" in families else ""
            raise FilterError(
                f"the column {column!r} holds {known}; it cannot be compared with a {_family(value)}{hint}"
            )


def _check_text(column: str, values: Sequence[Scalar]) -> None:
    for text in (column, *values):
        if isinstance(text, str):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise FilterError(
                    f"the condition on {column!r} holds half a character (a lone surrogate); clean it"
                ) from error
