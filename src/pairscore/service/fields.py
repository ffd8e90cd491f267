"""What a setting is made of: its name in each place, its heading, its checks, and what may be shown of its value."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, cast, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

__all__ = [
    "ANY_CASE",
    "ENV_PREFIX",
    "MIB",
    "SEVERAL",
    "WHOLE",
    "YEAR_S",
    "Panel",
    "Seconds",
    "Setting",
    "declare",
    "describe",
    "flag",
    "option",
    "refuse_unprintable",
    "table",
    "url",
    "variable",
]

ENV_PREFIX: Final = "PAIRSCORE_"
MIB: Final = 1024 * 1024
YEAR_S: Final = 365 * 86_400.0
"""The longest time that can be set, in seconds: locks and sockets refuse to wait for much longer."""

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Greedy, because a password may hold an @ itself.
_PASSWORD: Final = re.compile(r"(?<=://)([^:@/]*):.*(?=@)")
_BEFORE_HOST: Final = re.compile(r"(?<=://).*(?=@)")
_QUERY_SECRET: Final = re.compile(r"((?:password|secret|token|key)\w*=)[^&#]+", re.IGNORECASE)
_IN_FILE: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
}


class Panel(StrEnum):
    """The headings under which settings stand."""

    MODEL = "Model"
    SEARCH = "Search"
    SERVER = "Server"
    LIMITS = "Limits"
    LOAD = "Load"
    WORKERS = "Workers"
    HEALTH = "Health"
    ACCESS = "Access"
    CACHE = "Score cache"
    TRACING = "Tracing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting as people see it: in the help, in the documentation, in a file.

    Attributes:
        name: the field, and the key in a file.
        kind: what a file must hold: a bool, an int, a float or a str.
        choices: the only values that it can have; empty if there are more than a few.
        default: its value if nobody gives one.
        panel: the heading under which it stands.
        metavar: what stands for its value.
        text: what it is for, in a sentence or two.
        otherwise: what holds without it, in words.
        secret: whether its value is never shown.
        several: whether it may be given more than once, and is a list in a file.
    """

    name: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    panel: Panel
    metavar: str
    text: str
    otherwise: str
    secret: bool
    several: bool = False

    @property
    def in_file(self) -> str:
        """What a file must hold, in words."""
        return _IN_FILE[self.kind] + (", or a list of them" if self.several else "")

    def fits(self, value: Any) -> bool:
        """Whether a value out of a file is of the right kind."""
        if self.several and isinstance(value, list):
            return bool(value) and all(type(entry) is self.kind for entry in value)
        # By its exact type, because true is an int too.
        return type(value) is self.kind or (self.kind is float and type(value) is int)

    def told(self, value: Any, reason: str, *, file: Path | None = None) -> str:
        """The form of every message about one setting: the value, what is wrong, and how to set it."""
        place = f"in {file}: " if file else ""
        return f"{place}{self.name} is {self.shown(value)!r}; {reason}; set it with {option(self.name)}"

    def shown(self, value: Any) -> Any:
        """What may be shown of a value: no key, and no password in a URL."""
        if self.secret:
            return "***"
        if not isinstance(value, str):
            return value
        if self.metavar == "PLACE":
            # A folder, or an address with a key before the host.
            return _BEFORE_HOST.sub("***", value)
        return _masked(value) if self.metavar == "URL" else value


def flag(name: str) -> str:
    """A setting's flag of `pairscore serve`."""
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    """A setting's environment variable."""
    return ENV_PREFIX + name.upper()


def option(name: str) -> str:
    """How an operator gives a setting: the flag and the variable."""
    return f"{flag(name)} / {variable(name)}"


def declare(
    panel: Panel,
    text: str,
    *,
    metavar: str = "",
    default: Any = None,
    otherwise: str = "",
    **more: Any,
) -> Any:
    """A field of the settings' model, for `describe` to read.

    Args:
        panel: the heading under which it stands.
        text: what it is for.
        metavar: what stands for its value; empty for a yes or no.
        default: its value if nobody gives one.
        otherwise: what holds without it; empty where the default says so itself.
        more: whatever else pydantic's `Field` takes.
    """
    shown: JsonDict = {"panel": panel, "metavar": metavar, "otherwise": otherwise}
    return Field(default=default, description=text, json_schema_extra=shown, **more)


def describe(name: str, field: FieldInfo) -> Setting:
    """What a field that `declare` made says of itself."""
    shown = cast("dict[str, str]", field.json_schema_extra)
    # A field that may be left out has its values beside None.
    kinds_of = (field.annotation, *get_args(field.annotation))
    values = next((get_args(kind) for kind in kinds_of if get_origin(kind) is Literal), ())
    kinds: set[Any] = {type(value) for value in values} or {
        _bare(kind) for kind in (field.annotation, *get_args(field.annotation))
    }
    choices = tuple(str(value) for value in values)
    one_of = f" One of {', '.join(choices[:-1])} or {choices[-1]}." if choices else ""
    return Setting(
        name=name,
        kind=next((kind for kind in (bool, int, float) if kind in kinds), str),
        choices=choices,
        default=field.default,
        panel=Panel(shown["panel"]),
        metavar=shown["metavar"],
        text=f"{field.description}{one_of}",
        otherwise=shown["otherwise"] or _in_words(field.default, unit=shown["metavar"]),
        secret=SecretStr in kinds,
        several=any(get_origin(kind) is tuple for kind in kinds),
    )


def _bare(kind: Any) -> Any:
    """A kind without what pydantic was told of it: one behind an `or None` still has it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _in_words(value: Any, *, unit: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if unit == "BYTES" and value % MIB == 0:
        return f"{value // MIB:,} MiB"
    if isinstance(value, float):
        return f"{value:,g}"
    return f"{value:,}" if isinstance(value, int) and unit != "PORT" else str(value)


def table(settings: Iterable[Setting]) -> str:
    """Settings as Markdown: a heading and a table for each panel."""
    parts = []
    for panel, members in itertools.groupby(settings, key=lambda setting: setting.panel):
        head = f"### {panel}\n\n| flag | variable | default | |\n|---|---|---|---|"
        parts.append("\n".join([head, *(_row(setting) for setting in members)]))
    return "\n\n".join(parts) + "\n"


def _row(setting: Setting) -> str:
    flags = [f"`{flag(setting.name)}`"]
    if setting.kind is bool:
        flags.append(f"`{flag(f'no_{setting.name}')}`")
    cells = (", ".join(flags), f"`{variable(setting.name)}`", setting.otherwise, setting.text)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _masked(text: str) -> str:
    if "://" not in text:
        # No URL, so nobody knows what stands before the @.
        return f"***@{text.rpartition('@')[2]}" if "@" in text else text
    return _QUERY_SECRET.sub(r"\1***", _PASSWORD.sub(r"\1:***", text))


def refuse_unprintable(value: Any) -> Any:
    """For every field: no text that is empty, or that neither a file nor a log could hold."""
    if isinstance(value, list | tuple):
        for entry in value:
            refuse_unprintable(entry)
    if value == "":
        raise PydanticCustomError("empty", "it is empty; leave it out instead")
    if isinstance(value, str) and _UNPRINTABLE.search(value):
        raise PydanticCustomError(
            "unprintable", "it holds a control character, or a byte that is not UTF-8"
        )
    return value


def url(*schemes: str) -> AfterValidator:
    """For a field that is a URL with one of these schemes, and a place to go to."""

    def check(text: str) -> str:
        if not _is_url(text, schemes):
            raise PydanticCustomError(
                "url",
                "it should be a URL that begins with {beginnings}",
                {"beginnings": " or ".join(f"{scheme}://" for scheme in schemes)},
            )
        return text

    return AfterValidator(check)


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        # A port that is none is told when it is asked for.
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    # A socket of this machine has a path where others have a host.
    place = parts.path if parts.scheme == "unix" else host
    return parts.scheme in schemes and bool(place) and " " not in text


def _lowered(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _several(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    if not parts:
        raise PydanticCustomError("empty", "it names nothing; leave it out instead")
    return parts


SEVERAL: Final = BeforeValidator(_several)
"""For a field that may be given more than once: one text holds them all, separated by commas."""

ANY_CASE: Final = BeforeValidator(_lowered)
"""For a field with few choices: INFO is info."""

WHOLE: Final = BeforeValidator(_whole)
"""For a field with a choice of numbers, which flags and variables give as texts."""

Seconds: TypeAlias = Annotated[float, Field(gt=0, le=YEAR_S)]
