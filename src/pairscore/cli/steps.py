"""Work in steps on one terminal line: each step's bar takes the place of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pairscore.cli import progress
from pairscore.cli.progress import Bars
from pairscore.cli.stage import Stage, Unit

__all__ = ["Steps", "steps"]


class Steps:
    """The bars of the step that is going on: its own, and below it that of a part of it, if one is under way.

    Args:
        bars: where they are drawn.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._name = ""
        self._stages: list[Stage] = []

    def begin(self, name: str) -> None:
        """The next step, of which nobody knows yet how long it is."""
        self.end()
        self._name = name
        self._stages = [self._bars.begin(name, unit="", extent=None)]

    def move(self, done: int, total: int, *, unit: Unit, text: str = "") -> None:
        """The step is further; counted in another unit, a part of it is.

        Args:
            done: units that are done.
            total: units that there are.
            unit: what is counted.
            text: what else is to be said at this moment.
        """
        if self._stages and not self._stages[0].unit:
            self.end()
        stage = self._stage(unit, done, total)
        stage.text = text
        self._bars.move(stage, done, done)

    def tell(self, text: str) -> None:
        """A line above the bars, which stays."""
        self._bars.tell(text)

    def end(self) -> None:
        """No step is going on."""
        while self._stages:
            self._bars.end(self._stages.pop())

    def _stage(self, unit: Unit, done: int, total: int) -> Stage:
        # A part is over when the step goes on, or when it begins again.
        while self._stages and self._stages[-1].unit != unit and len(self._stages) > 1:
            self._bars.end(self._stages.pop())
        last = self._stages[-1] if self._stages else None
        if last is not None and last.unit == unit and done >= last.num_done:
            return last
        if last is not None and last.unit == unit:
            self._bars.end(self._stages.pop())
        made = self._bars.begin(self._name, unit=unit, extent=total, position=done, num_done=done)
        self._stages.append(made)
        return made


@contextmanager
def steps(*, shown: bool) -> Iterator[Steps | None]:
    """The steps of some work; None where there is no terminal to show them on.

    Args:
        shown: False to draw nothing at all.
    """
    with progress.opened(shown=shown) as bars:
        if bars is None:
            yield None
            return
        line = Steps(bars)
        try:
            yield line
        finally:
            line.end()
