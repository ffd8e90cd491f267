"""Filters as Milvus' boolean expressions: every value and every column is checked and escaped here, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from pairscore.errors import FilterError
from pairscore.retrieval.base import Condition, Filter, Scalar
from pairscore.retrieval.conditions import check_condition

__all__ = ["FIELDS", "KindsOf", "exists", "expression", "ids_expression", "kind_of"]

FIELDS = frozenset({"id", "title"})
"""The document's own columns; every other one is a key of its metadata."""
KindsOf = Callable[[str], AbstractSet[str]]
"""The kinds (`kind_of`) of values that a column of the metadata has."""

# A server takes a key between its quotes as it stands, without escapes, and splits at brackets.
_UNQUOTABLE = re.compile(r'["\'\\\[\]\x00-\x1f\ud800-\udfff]')
# Every other character may stand in a string as it is; these would end it, or are no character.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def expression(where: Filter, *, kinds_of: KindsOf) -> str:
    """A filter as Milvus reads it; empty for no condition.

    Raises:
        FilterError: a column cannot be named in Milvus, or a value cannot be compared with it.
    """
    return " and ".join(_comparison(check_condition(condition), kinds_of) for condition in where)


def ids_expression(ids: Sequence[str]) -> str:
    """The documents with one of these ids."""
    return f"id in [{', '.join(map(_literal, ids))}]"


def exists(column: str) -> str:
    """The documents whose metadata have a column, and not null in it.

    Raises:
        FilterError: Milvus cannot name the column.
    """
    return f"exists {_path(column)}"


def kind_of(value: Scalar) -> str:
    """What a value can be compared with: a text, a number or a truth value; empty for None, which is no value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "truth value"
    return "text" if isinstance(value, str) else "number"


def _comparison(condition: Condition, kinds_of: KindsOf) -> str:
    column, operator, value = condition.column, condition.operator, condition.value
    values = value if isinstance(value, tuple) else (value,)
    own = column in FIELDS
    _check_kinds(column, values, frozenset({"text"}) if own else kinds_of(column))
    place = column if own else _path(column)
    if operator == "in":
        if own:
            return f"{place} in [{', '.join(map(_literal, values))}]"
        # Milvus-lite knows no `in` for a key of JSON.
        return _any_of([f"{place} == {_literal(one)}" for one in values])
    comparison = f"{place} {operator} {_literal(values[0])}"
    # A server counts a document without the key as different.
    return f"({exists(column)} and {comparison})" if operator == "!=" and not own else comparison


def _check_kinds(column: str, values: Sequence[Scalar], kinds: AbstractSet[str]) -> None:
    """Between kinds Milvus compares by rules of its own: there `true` is 1, and no text is more than a number."""
    for kind in map(kind_of, values):
        if kind not in kinds:
            known = " and ".join(f"{one}s" for one in sorted(kinds))
            raise FilterError(f"column {column!r} has {known}; it cannot be compared with a {kind}")


def _path(column: str) -> str:
    if _UNQUOTABLE.search(column):
        raise FilterError(
            f"Milvus cannot filter on a column named {column!r}: the name has a quote, a backslash, a bracket "
            "or a control character; rename the column"
        )
    return f'metadata["{column}"]'


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise FilterError(
                "a text to compare with has half a surrogate pair, which is no character"
            )
        return f'"{value.translate(_ESCAPES)}"'
    return repr(value)


def _any_of(parts: Sequence[str]) -> str:
    """Joined as a balanced tree: a chain would be as deep as the list is long."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_any_of(parts[:middle])} or {_any_of(parts[middle:])})"
