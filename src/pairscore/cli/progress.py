"""How far a piece of work is: bars on a terminal, with a rate and the time that is left, once it takes long enough.

Work that is over within two seconds draws nothing. A pipe, `--quiet` and a terminal that cannot move its cursor
(TERM=dumb) get no bar; NO_COLOR takes the colours, and leaves the bar.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TypeAlias

from pairscore.cli.stage import Stage, Unit

if TYPE_CHECKING:
    from pairscore.cli.bars import Drawing

__all__ = ["Advance", "Bars", "opened", "progress", "stages", "waiting"]

Advance: TypeAlias = Callable[[float, int], None]
"""Called with the position in the input and the number of units that are done."""

# Before that a bar is a flicker.
_DELAY_S = 2.0
# By then it is known whether it will take that long.
_GLANCE_S = 0.5


class Bars:
    """The bars of the work that is going on; they appear when it takes long enough, and go when it is over."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []
        self._drawing: Drawing | None = None
        self._is_over = False
        # The clock's thread lets the bars appear, the worker moves them.
        self._lock = threading.RLock()
        self._timer = threading.Timer(_DELAY_S, self._appear)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if _DELAY_S > 0:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._is_over = True
            if self._drawing is not None:
                self._drawing.stop(self._stages)

    def begin(
        self,
        name: str,
        *,
        unit: Unit,
        extent: float | None,
        position: float = 0.0,
        num_done: float = 0.0,
    ) -> Stage:
        """A bar more."""
        stage = Stage(name=name, unit=unit, extent=extent)
        stage.begin(position=position, num_done=num_done)
        with self._lock:
            self._stages.append(stage)
        self._moved(stage)
        return stage

    def move(self, stage: Stage, position: float, num_done: float) -> None:
        """A bar is further than it was."""
        stage.position, stage.num_done = position, num_done
        self._moved(stage)

    def end(self, stage: Stage) -> None:
        """A bar less."""
        with self._lock:
            self._stages.remove(stage)
            if self._drawing is not None:
                self._drawing.show(self._stages)

    def tell(self, text: str) -> None:
        """A line above the bars, which stays."""
        with self._lock:
            if self._drawing is not None:
                self._drawing.tell(text)
                return
        print(text, file=sys.stderr)

    def _moved(self, stage: Stage) -> None:
        with self._lock:
            if self._drawing is not None:
                self._drawing.show(self._stages)
        if self._drawing is None and _takes_long(stage):
            self._appear()

    def _appear(self) -> None:
        # Here, because rich takes a while to import, and quick work needs none of it.
        from pairscore.cli.bars import drawing

        with self._lock:
            if self._is_over or self._drawing is not None:
                return
            self._drawing = drawing()
            self._drawing.start(self._stages)


# One terminal has room for one set of bars: what begins inside is a bar more of it.
_shown: list[Bars] = []


@contextmanager
def opened(*, shown: bool) -> Iterator[Bars | None]:
    """The bars, or None where there are none to draw.

    Args:
        shown: False to draw nothing at all.
    """
    if not (shown and sys.stderr.isatty()):
        yield None
    elif _shown:
        yield _shown[-1]
    else:
        with Bars() as bars:
            _shown.append(bars)
            try:
                yield bars
            finally:
                _shown.pop()


@contextmanager
def progress(
    extent: float | None, *, shown: bool, unit: Unit = "rows", name: str = ""
) -> Iterator[Advance]:
    """One bar on standard error, where that is a terminal.

    Args:
        extent: the end of the input, in the unit of its positions; None if nobody knows.
        shown: False to draw nothing at all.
        unit: what is counted.
        name: what is done.
    """
    with opened(shown=shown) as bars:
        if bars is None:
            yield lambda _position, _num_done: None
            return
        stage = bars.begin(name, unit=unit, extent=extent)
        try:
            yield lambda position, num_done: bars.move(stage, position, num_done)
        finally:
            bars.end(stage)


@contextmanager
def stages(
    named: Mapping[str, tuple[str, Unit]], *, shown: bool
) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage of the work, from when it begins; they stay until all is done.

    Args:
        named: what each stage does, and what it counts.
        shown: False to draw nothing at all.
    """
    with opened(shown=shown) as bars:
        if bars is None:
            yield lambda _stage, _done, _total: None
            return
        begun: dict[str, Stage] = {}

        def move(stage: str, done: int, total: int) -> None:
            if stage not in begun:
                name, unit = named[stage]
                begun[stage] = bars.begin(
                    name, unit=unit, extent=total, position=done, num_done=done
                )
                return
            begun[stage].extent = total
            bars.move(begun[stage], done, done)

        try:
            yield move
        finally:
            for stage in begun.values():
                bars.end(stage)


@contextmanager
def waiting(name: str, *, shown: bool) -> Iterator[None]:
    """A bar for what nobody can measure: it says what is done, and for how long by now."""
    with progress(None, shown=shown, unit="", name=name):
        yield


def _takes_long(stage: Stage) -> bool:
    """Whether it took two seconds, or is going to."""
    if stage.elapsed_s >= _DELAY_S:
        return True
    left = stage.left_s
    return left is not None and stage.elapsed_s >= _GLANCE_S and stage.elapsed_s + left >= _DELAY_S
