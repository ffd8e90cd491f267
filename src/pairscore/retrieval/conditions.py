"""Conditions on documents, as people write them: ``year>=2020``, ``lang=en``, ``tag in a,b``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final, get_args

from pairscore.errors import FilterError
from pairscore.retrieval.base import Condition, Filter, Operator, Scalar

__all__ = ["OPERATORS", "check_condition", "parse_condition", "parse_conditions"]

OPERATORS: Final[tuple[str, ...]] = get_args(Operator)
_FORMS: Final = 'write it as year>=2020, lang=en, lang!="en" or tag in a,b'
# Two characters before one, or >= would be > and a value that begins with =.
_COMPARED: Final = re.compile(
    r"\s*(?P<column>[^<>=!\s]+)\s*(?P<operator>==|!=|<=|>=|=|<|>)(?P<value>.*)", re.DOTALL
)
_LISTED: Final = re.compile(r"\s*(?P<column>[^<>=!\s]+)\s+in\s+(?P<value>.*)", re.DOTALL)
_PART: Final = re.compile(r"""\s*(?P<part>"[^"]*"|'[^']*'|[^,]*?)\s*(?P<more>,|$)""", re.DOTALL)
# No more digits than a column of numbers can hold: longer ones are names.
_WHOLE: Final = re.compile(r"[+-]?(0|[1-9]\d{0,18})", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?((0|[1-9]\d{0,18})(\.\d+)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_MAX_WHOLE: Final = 2**63
_NOTHING: Final = frozenset({"null", "none"})
_WORDS: Final = {"true": True, "false": False}
_ORDERED: Final = frozenset({"<", "<=", ">", ">="})
_SHOWN_CHARS: Final = 80
_COMPARING: Final = ("<", ">", "=", "!")
_QUOTES: Final = ('"', "'")
_MIN_QUOTED: Final = 2


def parse_conditions(written: Iterable[str]) -> Filter:
    """Read conditions that must all hold; see `parse_condition`.

    Raises:
        FilterError: one is none; the message quotes it.
    """
    if isinstance(written, str):
        raise FilterError(f"conditions are a list, also one alone: [{written[:_SHOWN_CHARS]!r}]")
    return tuple(parse_condition(one) for one in written)


def parse_condition(written: str) -> Condition:
    """Read one condition: a column, an operator and a value, spaces around them or not.

    Operators are ``=`` or ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, and ``in`` with values between commas. A value
    that looks like a number is one, ``true`` and ``false`` are what they say, everything else is a text; what stands in
    quotes is a text whatever it looks like.

    Raises:
        FilterError: it is no condition.
    """
    found = _LISTED.fullmatch(written) or _COMPARED.fullmatch(written)
    if found is None:
        raise FilterError(f"{written[:_SHOWN_CHARS]!r} is no condition; {_FORMS}")
    value = found["value"].strip()
    if found.re is _LISTED:
        values = tuple(_value(part, written) for part in _parts(value, written))
        return check_condition(Condition(column=found["column"], operator="in", value=values))
    operator = "==" if found["operator"] == "=" else found["operator"]
    return check_condition(
        Condition(
            column=found["column"],
            operator=operator,  # type: ignore[arg-type] # the pattern lets no other through
            value=_value(value, written),
        )
    )


def check_condition(condition: Condition) -> Condition:
    """Refuse a condition that no document could ever be held against; gives it back.

    Raises:
        FilterError: its column is empty, its operator is not known, or its value is none of those that it takes.
    """
    column, operator, value = condition.column, condition.operator, condition.value
    if not column or not isinstance(column, str):
        raise FilterError("a condition has no column; name a key of the metadata, id or title")
    if operator not in OPERATORS:
        raise FilterError(
            f"the condition on {column!r} has the operator {operator!r}; known are {', '.join(OPERATORS)}"
        )
    if (operator == "in") is not isinstance(value, tuple):
        needs = "several values" if operator == "in" else "one value"
        raise FilterError(
            f"the condition on {column!r} has the operator {operator!r}: give {needs}"
        )
    if value == ():
        raise FilterError(f"the condition on {column!r} has no value; give at least one")
    for one in value if isinstance(value, tuple) else (value,):
        _check_value(column, operator, one)
    return condition


def _check_value(column: str, operator: str, value: Scalar) -> None:
    if value is None:
        raise FilterError(
            f"{column!r} is compared with nothing (null), and a document without a value satisfies no condition; "
            "give a value, or leave the condition out"
        )
    if not isinstance(value, str | int | float):
        raise FilterError(
            f"{column!r} is compared with a {type(value).__name__}; give a text, a number, true or false"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"{column!r} is compared with {value}; give a finite number")
    if isinstance(value, int) and not -_MAX_WHOLE <= value < _MAX_WHOLE:
        raise FilterError(
            f"{column!r} is compared with a number beyond 64 bits; give a smaller one"
        )
    if isinstance(value, bool) and operator in _ORDERED:
        raise FilterError(f"{column!r} is compared by {operator} with {value}; use == or !=")


def _parts(value: str, written: str) -> list[str]:
    """What stands between commas; a comma in quotes is a part of its text."""
    parts, position, more = [], 0, ","
    while more:
        found = _PART.match(value, position)
        if found is None or not found["part"]:
            raise FilterError(
                f"{written[:_SHOWN_CHARS]!r} has an empty value; write values between commas, as in tag in a,b"
            )
        parts.append(found["part"])
        position, more = found.end(), found["more"]
    return parts


def _value(text: str, written: str) -> Scalar:
    if len(text) >= _MIN_QUOTED and text[0] in _QUOTES and text[-1] == text[0]:
        return text[1:-1]
    if text[:1] in _COMPARING:
        raise FilterError(
            f"{written[:_SHOWN_CHARS]!r} has an operator that is none; {_FORMS}; a text that begins so stands in quotes"
        )
    if not text:
        raise FilterError(f'{written[:_SHOWN_CHARS]!r} has no value; {_FORMS}; an empty text is ""')
    lowered = text.lower()
    if lowered in _NOTHING:
        raise FilterError(
            f"{written[:_SHOWN_CHARS]!r} compares with nothing, and a document without a value satisfies no "
            f'condition; for the word itself write "{text}"'
        )
    return _WORDS.get(lowered, _number(text))


def _number(text: str) -> Scalar:
    """A number if it is written as one; 007 and 1_000 are texts."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
