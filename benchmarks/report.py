"""How results are shown: a table for people, one JSON line for machines, a file to keep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from texts import ROOT

__all__ = ["Target", "finish", "show_table", "show_targets"]

_WIDTH = 118
_CONSOLE = Console(width=_WIDTH, highlight=False, soft_wrap=False)


@dataclass(frozen=True, slots=True)
class Target:
    """One promise and what was measured.

    Attributes:
        name: what was promised.
        goal: the number promised.
        value: the number measured; None if it was not.
        at_least: whether more is better.
        unit: printed behind both numbers.
        note: why it was not measured, or how to read it.
    """

    name: str
    goal: float
    value: float | None
    at_least: bool
    unit: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the promise is kept; None if nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def record(self) -> dict[str, Any]:
        """As the JSON line has it."""
        return {**asdict(self), "met": self.met}


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    _CONSOLE.print(table)


def show_targets(targets: Sequence[Target]) -> None:
    """Print what was promised beside what was measured."""
    words = {True: "met", False: "NOT MET", None: "not measured"}
    table = Table(title="Targets", title_justify="left", title_style="bold")
    for column in ("target", "goal", "measured", "", "note"):
        table.add_column(column, overflow="fold")
    for target in targets:
        sign = ">=" if target.at_least else "<="
        value = "-" if target.value is None else f"{_short(target.value)}{target.unit}"
        goal = f"{sign} {_short(target.goal)}{target.unit}"
        table.add_row(target.name, goal, value, words[target.met], target.note)
    _CONSOLE.print(table)


def finish(record: dict[str, Any], *, save: str | None) -> None:
    """Keep the record in `benchmarks/results/` if asked to, and print it as the last line."""
    if save:
        path = ROOT / "benchmarks" / "results" / f"{Path(save).stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(f"kept in {path.relative_to(ROOT)}")
    print(json.dumps(record))


def _short(value: float) -> str:
    return f"{value:.4g}"
