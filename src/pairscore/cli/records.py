"""A verb takes records, and the command line shows a flag for each of their fields.

So that verbs that open a model have the same flags, in the same words, and none of them lists them all again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

__all__ = ["with_records"]

_SEVERAL = tuple[str, ...]


def with_records(
    *, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let typer see each record that a verb takes as its fields, which are annotated as options.

    Args:
        without: names of fields that have no flag here, and keep their default.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(verb, include_extras=True)
        records = {
            name: hint
            for name, hint in hints.items()
            if isinstance(hint, type) and is_dataclass(hint)
        }

        def run(**given: Any) -> None:
            made = {
                name: record(**_taken(record, given, without=without))
                for name, record in records.items()
            }
            verb(**given, **made)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(verb).parameters.values():
            record = records.get(parameter.name)
            if record is None:
                annotation = hints[parameter.name]
                parameters.append(parameter.replace(annotation=annotation))
            else:
                parameters += _flags(record, without=without)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__doc__ = verb.__doc__
        return run

    return decorate


def _flags(record: Any, *, without: Collection[str]) -> Iterator[inspect.Parameter]:
    """One for each field of a record, in their order."""
    hints = get_type_hints(record, include_extras=True)
    for field in fields(record):
        if field.name not in without:
            several = _is_several(hints[field.name])
            yield inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if several else field.default,
                annotation=_as_list(hints[field.name]) if several else hints[field.name],
            )


def _is_several(hint: Any) -> bool:
    return get_origin(hint) is Annotated and get_args(hint)[0] == _SEVERAL


def _as_list(hint: Any) -> Any:
    """Typer knows a flag that is given several times as a list; a record holds a tuple."""
    return Annotated[(list[str] | None, *hint.__metadata__)]


def _taken(record: Any, given: dict[str, Any], *, without: Collection[str]) -> dict[str, Any]:
    """The values of a record's fields, taken out of what was given."""
    hints = get_type_hints(record, include_extras=True)
    values = {
        field.name: given.pop(field.name) for field in fields(record) if field.name not in without
    }
    return {
        name: tuple(value or ()) if _is_several(hints[name]) else value
        for name, value in values.items()
    }
