"""One bar's numbers: what is done, how much of it, how quick, and how long it still takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["BYTES", "Rate", "Stage", "Unit", "clock"]

Unit: TypeAlias = str
"""What is counted, in the plural: pairs, rows, documents; empty for nothing but a share."""

BYTES: Final = "MB"
"""The unit of work that is counted in bytes, and shown in megabytes."""

_MEGABYTE: Final = 1_000_000
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


class Rate:
    """How quick it was since it began; what was there already does not count."""

    def __init__(self, done: float) -> None:
        self._first = done
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def per_s(self, done: float) -> float:
        """Units a second; 0 while none is done."""
        elapsed = self.elapsed_s
        return (done - self._first) / elapsed if elapsed > 0 else 0.0


@dataclass(kw_only=True, slots=True, eq=False)
class Stage:
    """One bar: what is done, how much of it, how quick.

    Attributes:
        name: what is done, in a few words; may be empty.
        unit: what is counted.
        extent: the position at the end; None if nobody knows.
        position: how far it is.
        num_done: units that are done.
        text: what else is to be said at this moment.
    """

    name: str
    unit: Unit
    extent: float | None
    position: float = 0.0
    num_done: float = 0.0
    text: str = ""
    _count: Rate | None = None
    _way: Rate | None = None

    def begin(self, *, position: float = 0.0, num_done: float = 0.0) -> None:
        """Start the clock; what is done by now was there before."""
        self._count, self._way = Rate(num_done), Rate(position)
        self.position, self.num_done = position, num_done

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return 0.0 if self._way is None else self._way.elapsed_s

    @property
    def left_s(self) -> float | None:
        """Seconds until the end, if it goes on like that; None if nobody knows."""
        if self.extent is None or self._way is None:
            return None
        speed = self._way.per_s(self.position)
        return (self.extent - self.position) / speed if speed > 0 else None

    def facts(self) -> str:
        """The numbers beside the bar."""
        parts = []
        if self.extent:
            parts.append(f"{100 * min(1.0, self.position / self.extent):3.0f} %")
        if self.unit:
            parts.append(_counted(self.num_done, self.unit))
            per_s = 0.0 if self._count is None else self._count.per_s(self.num_done)
            if per_s > 0:
                parts.append(_rate(per_s, self.unit))
        parts.append(clock(self.elapsed_s))
        if self.left_s is not None:
            parts.append(f"left: {clock(self.left_s)}")
        return "  ".join([*parts, self.text] if self.text else parts)


def clock(seconds: float) -> str:
    """Seconds as a person reads them: 0:07, 12:30, 1:02:03."""
    whole = int(seconds)
    hours, minutes = whole // _HOUR_S, whole % _HOUR_S // _MINUTE_S
    rest = f"{whole % _MINUTE_S:02d}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def _counted(number: float, unit: Unit) -> str:
    return f"{number / _MEGABYTE:,.1f} MB" if unit == BYTES else f"{number:,.0f} {unit}"


def _rate(per_s: float, unit: Unit) -> str:
    return f"{per_s / _MEGABYTE if unit == BYTES else per_s:,.1f} {unit}/s"
