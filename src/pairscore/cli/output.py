"""How the command line speaks: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from pairscore.errors import LimitError

__all__ = [
    "fail",
    "for_shell",
    "note",
    "note_json",
    "print_json",
    "print_table",
    "say",
    "table_width",
]

_PIPE_WIDTH = 160


def say(text: str) -> None:
    """Print a result."""
    print(_printable(text))


def note(text: str) -> None:
    """Tell the person something that is not a result."""
    print(text, file=sys.stderr)


def fail(text: str) -> None:
    """Tell what went wrong."""
    print(f"pairscore: error: {text}", file=sys.stderr)


def for_shell(error: Exception) -> str:
    """An error's message, with a limit's option spelled as a flag."""
    message = str(error)
    if isinstance(error, LimitError):
        return message.replace(error.option, f"--{error.option.replace('_', '-')}")
    return message


def print_json(value: Any) -> None:
    """Print a result for machines."""
    print(_as_json(value, sys.stdout))


def note_json(value: Any) -> None:
    """Tell a machine something that is not a result."""
    print(_as_json(value, sys.stderr), file=sys.stderr)


def _as_json(value: Any, file: TextIO) -> str:
    """One line; plain ASCII where the file cannot take more."""
    unicode = (file.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, ensure_ascii=not unicode, allow_nan=False)


def _printable(text: str) -> str:
    """Terminals that are not UTF-8 get escapes instead of an error."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def table_width() -> int:
    """Columns that a table may take; in a pipe as many as it needs, because nobody's screen ends there."""
    # Not rich's own idea of a terminal, which FORCE_COLOR makes of a pipe.
    if not sys.stdout.isatty():
        return _PIPE_WIDTH
    from rich.console import Console

    return Console().width


def print_table(table: Any) -> None:
    """Print a rich table."""
    from rich.console import Console

    Console(width=table_width()).print(table)
