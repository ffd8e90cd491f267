"""How the command line speaks: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pairscore.errors import LimitError

__all__ = ["Advance", "fail", "for_shell", "note", "print_json", "print_table", "progress", "say"]

_PIPE_WIDTH = 160

Advance = Callable[[int, int], None]
"""Called with the position in the input and the number of rows that are done."""


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
    """Print a result for machines; plain ASCII where standard output cannot take more."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, ensure_ascii=not unicode, allow_nan=False))


@contextmanager
def progress(extent: int | None, *, shown: bool) -> Iterator[Advance]:
    """A progress bar on standard error, where that is a terminal.

    Args:
        extent: the end of the input, in the unit of its positions; None if nobody knows.
        shown: False to draw nothing at all.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda _position, _num_rows: None
        return
    # Here, because a pipe needs no bar and rich takes a while to import.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.fields[num_rows]:,} rows"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("score", total=extent, num_rows=0)
        yield lambda position, num_rows: bar.update(task, completed=position, num_rows=num_rows)


def _printable(text: str) -> str:
    """Terminals that are not UTF-8 get escapes instead of an error."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def table_width() -> int:
    """Columns that a table may take; in a pipe as many as it needs, because nobody's screen ends there."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else _PIPE_WIDTH


def print_table(table: Any) -> None:
    """Print a rich table."""
    from rich.console import Console

    Console(width=table_width()).print(table)
