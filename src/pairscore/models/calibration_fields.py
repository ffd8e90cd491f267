"""Reading the fields of a JSON file that people may have edited: each is of its kind, or the error names it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final

from pairscore.errors import ModelCorruptError

__all__ = ["Fields"]

_SHA256: Final = re.compile("[0-9a-f]{64}")


class Fields:
    """The fields of one JSON object.

    Args:
        content: what was read.
        path: of its file, for messages.
        place: where in the file it stands, with a point behind it; empty for the whole.

    Raises:
        ModelCorruptError: it is no object; each method raises the same for a field.
    """

    def __init__(self, content: Any, *, path: Path, place: str) -> None:
        self._path = path
        self._place = place
        if not isinstance(content, dict):
            raise self._broken(place.removesuffix(".") or "the file", "no JSON object")
        self._content: dict[str, Any] = content

    def wrong(self, name: str, what: str) -> ModelCorruptError:
        """The error to raise for a field whose value makes no sense."""
        return self._broken(f"{self._place}{name}", what)

    def part(self, name: str) -> Fields:
        """An object in this one."""
        return Fields(self._get(name), path=self._path, place=f"{self._place}{name}.")

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self._get(name)
        if not isinstance(value, str) or not value:
            raise self.wrong(name, "no text")
        return value

    def text_or_none(self, name: str) -> str | None:
        """A text, or null."""
        return None if self._get(name) is None else self.text(name)

    def sha256(self, name: str) -> str:
        """A sha256, in hexadecimal."""
        value = self.text(name)
        if not _SHA256.fullmatch(value):
            raise self.wrong(name, "no sha256 (64 hexadecimal digits)")
        return value

    def whole(self, name: str, *, least: int) -> int:
        """A whole number, not below `least`."""
        value = self._get(name)
        # True is an int too.
        if type(value) is not int or value < least:
            raise self.wrong(name, f"no whole number from {least} up")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        return self._number(self._get(name), name)

    def number_or_none(self, name: str) -> float | None:
        """A finite number, or null."""
        return None if self._get(name) is None else self.number(name)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        values = self._get(name)
        if not isinstance(values, list):
            raise self.wrong(name, "no list")
        return tuple(self._number(value, f"{name}[{i}]") for i, value in enumerate(values))

    def _get(self, name: str) -> Any:
        if name not in self._content:
            raise self.wrong(name, "missing")
        return self._content[name]

    def _number(self, value: Any, name: str) -> float:
        if type(value) not in (int, float):
            raise self.wrong(name, "no number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.wrong(name, "no finite number")
        return number

    def _broken(self, name: str, what: str) -> ModelCorruptError:
        return ModelCorruptError(
            f"{self._path} is no calibration: {name} is {what}; remove it, or make it again with "
            "`pairscore calibrate`"
        )
