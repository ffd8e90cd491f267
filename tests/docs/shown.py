"""Whether what a page shows below a command is what comes: words as they are, numbers nearly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["difference", "other_shape"]

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*\d)")
_ELLIPSES = ("...", "…")
# Of another machine, or of another moment.
_UNITS = re.compile(
    r"^\s*(?:ms|s|minutes?|hours?|seconds?|%|MB|GB|MiB|GiB|pairs/s|texts/s|tokens/s|documents/s)\b"
)
_RELATIVE = 0.02
_ABSOLUTE = 0.06


def difference(shown: str, printed: str) -> str | None:
    """The first line of a page that did not come, or None.

    A line of dots stands for any number of lines, dots at a line's end for its rest. A number may differ by a few
    hundredths or by 2 %, one with a unit of time, memory or speed by anything. White space and the lines that tables
    are drawn with do not count.
    """
    wanted, found = _lines(shown), _lines(printed)
    at = 0
    for number, line in enumerate(wanted):
        if line in _ELLIPSES:
            continue
        loose = number > 0 and wanted[number - 1] in _ELLIPSES
        if (place := _place(line, found[at:], loose=loose)) is None:
            return f"the page shows\n  {line}\nand this came\n  " + "\n  ".join(found[at : at + 8])
        at += place + 1
    if at < len(found) and not (wanted and wanted[-1] in _ELLIPSES):
        return "the page does not show\n  " + "\n  ".join(found[at : at + 8])
    return None


def other_shape(shown: Any, printed: Any, *, at: str = "the answer") -> str | None:
    """Where an answer that a page explains has other keys, or values of another kind, than one that came; or None.

    Of a list the first entries are compared; null and an empty list say nothing of what may stand there.
    """
    if shown is None or printed is None or shown == [] or printed == []:
        return None
    if isinstance(shown, dict) and isinstance(printed, dict):
        if odd := sorted(shown.keys() ^ printed.keys()):
            return f"{at} has {odd} only on the page, or only in truth"
        found = (other_shape(shown[key], printed[key], at=f"{at}.{key}") for key in shown)
        return next((wrong for wrong in found if wrong), None)
    if isinstance(shown, list) and isinstance(printed, list):
        return other_shape(shown[0], printed[0], at=f"{at}[0]")
    kinds = [float if type(value) is int else type(value) for value in (shown, printed)]
    return None if kinds[0] is kinds[1] else f"{at} is {shown!r} on the page, and {printed!r} came"


def _place(line: str, found: Sequence[str], *, loose: bool) -> int | None:
    """Which of the lines that came it is; the first one, unless lines were left out before it."""
    for place, other in enumerate(found if loose else found[:1]):
        if _alike(line, other):
            return place
    return None


def _lines(text: str) -> list[str]:
    plain = re.sub(r"[\u2500-\u257f|+-]{2,}|[\u2500-\u257f]", " ", text)
    return [" ".join(line.split()) for line in plain.splitlines() if line.strip()]


def _alike(shown: str, printed: str) -> bool:
    for dots in _ELLIPSES:
        if shown.endswith(dots):
            shown = shown.removesuffix(dots).rstrip()
            cut = len(_parts(shown)[0])
            return _same(shown, printed, num_parts=cut)
    return _same(shown, printed)


def _same(shown: str, printed: str, *, num_parts: int | None = None) -> bool:
    (texts, numbers), (other_texts, other_numbers) = _parts(shown), _parts(printed)
    if num_parts is None and len(texts) != len(other_texts):
        return False
    if len(other_texts) < len(texts):
        return False
    last = len(texts) - 1
    for place, text in enumerate(texts):
        other = other_texts[place]
        whole = num_parts is None or place < last
        if not (other == text if whole else other.startswith(text)):
            return False
    return all(
        _UNITS.match(texts[place + 1]) is not None or _close(one, other)
        for place, (one, other) in enumerate(zip(numbers, other_numbers, strict=False))
    )


def _parts(line: str) -> tuple[list[str], list[float]]:
    """What stands between the numbers of a line, and the numbers."""
    numbers = [float(found.replace(",", "")) for found in _NUMBER.findall(line)]
    return [" ".join(part.split()) for part in _NUMBER.split(line)], numbers


def _close(one: float, other: float) -> bool:
    if one.is_integer() and other.is_integer():
        return one == other
    return abs(one - other) <= max(_ABSOLUTE, _RELATIVE * abs(one))
