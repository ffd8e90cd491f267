"""A recipe as TOML: read with line numbers and near matches, and written again."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pairscore.errors import DataFileError, InputFileError, SettingError
from pairscore.training.recipe import Recipe

__all__ = ["differences", "read_recipe", "recipe_toml", "recipe_values"]

_OVERRIDE: Final = "an option"
# TOML has no word for None; where that is not the default, 0 stands for it.
_ZERO_IS_NONE: Final = frozenset({"patience"})
_WORDS: Final = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Key:
    """One key of a recipe, by its dotted name, with the types and values that it may have."""

    types: tuple[type, ...]
    choices: tuple[str, ...]

    @property
    def wanted(self) -> str:
        if self.choices:
            return "one of " + ", ".join(map(repr, self.choices))
        return " or ".join(_WORDS[kind] for kind in self.types)


def read_recipe(path: str | Path | None, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe, with values that stand above the file's.

    Args:
        path: a TOML file: the fields of `Recipe`, those of `data` and `convert` in tables of these names; None
            begins with the defaults.
        overrides: values by dotted name, such as ``{"num_epochs": 1, "data.train": "pairs.csv"}``.

    Raises:
        InputFileError: the file cannot be read.
        DataFileError: it is no TOML.
        SettingError: a key is not known (the nearest one is named), or a value is none for its key; with the line.
    """
    text = "" if path is None else _text(Path(path))
    values: dict[str, Any] = {}
    for name, value in _flat(_parsed(text, path)):
        where = f"{path}, line {_line(text, name)}"
        values[name] = _checked(name, value, where=where)
    for name, value in (overrides or {}).items():
        values[name] = _checked(name, value, where=_OVERRIDE)
    try:
        return _recipe(values)
    except SettingError as error:
        raise _placed(error, text=text, path=path) from error


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """A recipe's values by dotted name, in the order of its fields."""
    found: dict[str, Any] = {}
    for item in fields(recipe):
        value = getattr(recipe, item.name)
        if is_dataclass(value):
            found |= {
                f"{item.name}.{part.name}": getattr(value, part.name) for part in fields(value)
            }
        else:
            found[item.name] = value
    return found


def recipe_toml(recipe: Recipe) -> str:
    """A recipe as a TOML file that `read_recipe` reads back to an equal one; what is None is left out."""
    lines: list[str] = []
    table = ""
    for name, value in recipe_values(recipe).items():
        head, _, key = name.rpartition(".")
        if head != table:
            lines += ["", f"[{head}]"]
            table = head
        if value is None and name in _ZERO_IS_NONE:
            lines.append(f"{key} = 0")
        elif value is not None and value != ():
            lines.append(f"{key} = {_written(value)}")
    return "\n".join(lines) + "\n"


def differences(one: Recipe, other: Recipe) -> tuple[str, ...]:
    """The dotted names of what differs."""
    right = recipe_values(other)
    return tuple(name for name, value in recipe_values(one).items() if right[name] != value)


# --------------------------------------------------------------------------------------------- reading


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputFileError(
            f"the recipe {str(path)!r} cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"the recipe {str(path)!r} is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from error


def _parsed(text: str, path: str | Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its message ends with line and column.
        raise DataFileError(f"the recipe {str(path)!r} is not valid TOML: {error}") from error


def _flat(values: Mapping[str, Any], *, head: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and not head and name in _tables():
            yield from _flat(value, head=f"{name}.")
        else:
            yield f"{head}{name}", value


def _tables() -> dict[str, type]:
    hints: dict[str, type] = get_type_hints(Recipe)
    return {name: kind for name, kind in hints.items() if hasattr(kind, "__dataclass_fields__")}


def _keys() -> dict[str, _Key]:
    tables = _tables()
    found = {
        name: _key(hint) for name, hint in get_type_hints(Recipe).items() if name not in tables
    }
    for head, kind in tables.items():
        found |= {f"{head}.{name}": _key(hint) for name, hint in get_type_hints(kind).items()}
    return found


def _key(hint: Any) -> _Key:
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    parts = tuple(part for part in parts if part is not type(None))
    choices = next((get_args(part) for part in parts if get_origin(part) is Literal), ())
    return _Key(
        types=(str,) if choices else tuple(get_origin(part) or part for part in parts),
        choices=choices,
    )


def _checked(name: str, value: Any, *, where: str) -> Any:
    """A value of its key's type; a whole number stands for a number too."""
    keys = _keys()
    if name not in keys:
        raise SettingError(f"{where}: {_unknown(name, value, keys)}")
    key = keys[name]
    if value is None and where == _OVERRIDE:
        return None
    if tuple in key.types and isinstance(value, list | tuple):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        raise SettingError(f"{where}: {name} is {value!r}; it must be {key.wanted}")
    kind = type(value)
    if float in key.types and kind is int:
        return float(value)
    if kind not in key.types or (key.choices and value not in key.choices):
        raise SettingError(f"{where}: {name} is {value!r}; it must be {key.wanted}")
    return None if value == 0 and name in _ZERO_IS_NONE else value


def _unknown(name: str, value: Any, keys: Mapping[str, _Key]) -> str:
    if name in _tables():
        return f"{name} is {value!r}; it must be a table: [{name}]"
    what = "table" if isinstance(value, dict) else "key"
    known = [*_tables()] if what == "table" else [*keys]
    # A key may be right and stand in the wrong table.
    same = [other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]]
    near = same or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near and what == "key":
        return f"no key is called {name!r}; did you mean {near[0]!r}?"
    return f"no {what} is called {name!r}; known are: {', '.join(known)}"


def _line(text: str, name: str) -> int:
    """The line on which a key stands: in its table, or as a dotted key; 1 if it cannot be told."""
    table, _, key = name.rpartition(".")
    bare = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
    dotted = re.compile(rf"\s*{re.escape(name)}\s*=|\s*\[+\s*{re.escape(name)}\s*[\].]")
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        head = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if dotted.match(line):
            return number
        if head:
            current = head[1]
        elif current == table and bare.match(line):
            return number
    return 1


def _placed(error: SettingError, *, text: str, path: str | Path | None) -> SettingError:
    """An error of a value, with the line of the file on which the value stands, if it stands there."""
    name = str(error).partition(" ")[0]
    if name not in _keys() or path is None:
        return error
    line = _line(text, name)
    stands = name.rpartition(".")[2] in text
    return SettingError(f"{path}, line {line}: {error}") if stands else error


def _recipe(values: Mapping[str, Any]) -> Recipe:
    top = {name: value for name, value in values.items() if "." not in name}
    for head, kind in _tables().items():
        inside = {
            name.partition(".")[2]: value
            for name, value in values.items()
            if name.startswith(f"{head}.")
        }
        top[head] = kind(**inside)
    return Recipe(**top)


# --------------------------------------------------------------------------------------------- writing


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's strings are TOML's basic strings, but for one letter that TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return repr(value)
