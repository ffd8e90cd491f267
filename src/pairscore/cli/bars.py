"""Bars drawn with rich, which is imported when the first one appears."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from pairscore.cli.stage import Stage

__all__ = ["Drawing", "drawing"]

_BAR_WIDTH = 16


class Drawing(Protocol):
    """What draws bars; called from two threads, never from both at once."""

    def start(self, stages: Sequence[Stage]) -> None:
        """Begin to draw these."""

    def show(self, stages: Sequence[Stage]) -> None:
        """Draw these, as they are now."""

    def tell(self, text: str) -> None:
        """Print a line above the bars, which stays."""

    def stop(self, stages: Sequence[Stage]) -> None:
        """Take the bars away."""


def drawing() -> Drawing:
    """What draws on this terminal."""
    console = Console(stderr=True)
    if console.is_dumb_terminal:
        return _Nothing()
    # No colour system is no style at all: neither colours nor bold.
    return _Rich(Console(stderr=True, color_system=None) if console.no_color else console)


class _Nothing:
    """On a terminal that cannot move its cursor."""

    def start(self, stages: Sequence[Stage]) -> None:
        pass

    def show(self, stages: Sequence[Stage]) -> None:
        pass

    def tell(self, text: str) -> None:
        print(text, file=sys.stderr)

    def stop(self, stages: Sequence[Stage]) -> None:
        pass


class _Facts(ProgressColumn):
    """The numbers beside a bar, counted anew each time that it is drawn."""

    # The clock goes on between two moves.
    max_refresh = 0.2

    def render(self, task: Task) -> Text:
        return Text(task.fields["stage"].facts())


class _Rich:
    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            # A file's own brackets are no markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR_WIDTH),
            # One line a bar, also on a narrow terminal.
            _Facts(table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            # What is printed meanwhile goes above the bars, unless it goes to a file.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._tasks: dict[int, tuple[Stage, TaskID]] = {}

    def start(self, stages: Sequence[Stage]) -> None:
        self.show(stages)
        self._progress.start()

    def show(self, stages: Sequence[Stage]) -> None:
        there = {id(stage) for stage in stages}
        for key in [key for key in self._tasks if key not in there]:
            self._progress.remove_task(self._tasks.pop(key)[1])
        for stage in stages:
            if id(stage) not in self._tasks:
                made = self._progress.add_task(stage.name, total=None, stage=stage)
                self._tasks[id(stage)] = (stage, made)
            self._progress.update(self._tasks[id(stage)][1], **_where(stage))

    def tell(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self, stages: Sequence[Stage]) -> None:
        self.show(stages)
        self._progress.stop()


def _where(stage: Stage) -> dict[str, Any]:
    return {"total": stage.extent, "completed": stage.position, "description": stage.name}
