"""An explanation for people: the document in colours on a terminal, tables with signed bars elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from pairscore.cli import output

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from pairscore.explaining.records import Explanation, Unit

__all__ = ["print_explanation"]

_MEANING: Final = {
    "logit": "unbounded, higher is better",
    "unit": "from 0 to 1, higher is more alike",
}
_LEGEND: Final = "blue speaks for the pair, orange against it; what is dim was not read"
_BAR: Final = 12
_MAX_SHOWN: Final = 100
# Ink on ground, the stronger the deeper; it names both, so that it can be read on any terminal. Blue and orange, which
# nearly all people tell apart.
_FOR: Final = ("#000000 on #dbe9f8", "#000000 on #8fbbe8", "bold #ffffff on #1f5fa8")
_AGAINST: Final = ("#000000 on #fbe3cf", "#000000 on #f2b27a", "bold #ffffff on #a04a08")
# For terminals of sixteen colours, which would make all pale ones white.
_FEW_FOR: Final = ("blue", "underline blue", "bold white on blue")
_FEW_AGAINST: Final = ("yellow", "underline yellow", "bold black on yellow")
# Of the strongest unit's contribution, from which part on each of them begins.
_STEPS: Final = (0.05, 0.2, 0.5)


class _Ramps(NamedTuple):
    """Styles, from weak to strong, of what speaks for the pair and of what speaks against it."""

    for_it: tuple[str, ...]
    against: tuple[str, ...]

    def style(self, contribution: float | None, *, most: float) -> str:
        """The side by the hue, the strength by the depth; what is weak beside the strongest has no colour."""
        if contribution is None:
            return "dim"
        share = abs(contribution) / most if most else 0.0
        depth = sum(share >= step for step in _STEPS)
        return (self.for_it if contribution > 0 else self.against)[depth - 1] if depth else ""


def print_explanation(found: Explanation, document: str) -> None:
    """The score, the document, the cost."""
    from rich.console import Console

    _print_score(found)
    console = Console()
    # Not rich's own idea of a terminal, which FORCE_COLOR makes of a pipe.
    if sys.stdout.isatty() and console.color_system is not None and not console.no_color:
        ramps = (
            _Ramps(_FEW_FOR, _FEW_AGAINST)
            if console.color_system == "standard"
            else _Ramps(_FOR, _AGAINST)
        )
        output.print_table(_in_colours(found, document, ramps))
        output.say(_LEGEND)
    else:
        for name, units in (("sentence", found.sentences), ("word", found.words)):
            if units:
                output.print_table(_in_rows(name, units))
    cost = found.cost
    output.say(
        f"cost         {cost.num_pairs:,} pairs, {cost.num_tokens:,} tokens, {cost.elapsed_s:.2f} s"
    )


def _print_score(found: Explanation) -> None:
    calibrated = f" (calibrated: {found.calibration})" if found.calibration else ""
    output.say(f"score        {found.score:.4f}")
    output.say(f"probability  {found.probability:.4f}{calibrated}")
    output.say(f"scale        {found.scale} ({_MEANING[found.scale]})")
    if found.scale != "logit":
        # Contributions are on its scale.
        output.say(f"logit        {found.logit:.4f}")
    output.say(f"model        {found.model}")


def _in_colours(found: Explanation, document: str, ramps: _Ramps) -> Table:
    """A row a sentence, its words coloured by their contributions."""
    from rich.text import Text

    table = _table(("contribution",), last="document")
    most, most_of_words = _strongest(found.sentences), _strongest(found.words)
    for line in found.sentences or _as_one(found.words, document):
        inside = [word for word in found.words if line.start <= word.start < line.end]
        if inside:
            shown = _coloured(document, line, inside, partial(ramps.style, most=most_of_words))
        else:
            style = ramps.style(line.contribution, most=most)
            shown = Text(_on_one_line(line.text), style=style)
        signed = _signed(line.contribution) if found.sentences else ""
        table.add_row(signed, _bar(line.contribution, most), shown)
    return table


def _as_one(words: Sequence[Unit], document: str) -> tuple[Unit, ...]:
    """Where no sentences were wanted, all that holds words is one row."""
    from pairscore.explaining.records import Unit

    if not words:
        return ()
    start, end = words[0].start, words[-1].end
    return (Unit(start=start, end=end, text=document[start:end], contribution=None),)


def _coloured(
    document: str, line: Unit, words: Sequence[Unit], style: Callable[[float | None], str]
) -> Text:
    from rich.text import Text

    shown, place = Text(), line.start
    for word in words:
        shown.append(_on_one_line(document[place : word.start]))
        shown.append(word.text, style=style(word.contribution))
        place = word.end
    return shown.append(_on_one_line(document[place : line.end]))


def _in_rows(name: str, units: Sequence[Unit]) -> Table:
    """A row a unit, with a signed bar."""
    from rich.text import Text

    table = _table(("start", "end", "contribution"), last=name)
    most = _strongest(units)
    for unit in units:
        # Text, because a document's own square brackets are no markup.
        shown = Text(_on_one_line(unit.text))
        shown.truncate(_MAX_SHOWN, overflow="ellipsis")
        contribution = unit.contribution
        table.add_row(
            str(unit.start), str(unit.end), _signed(contribution), _bar(contribution, most), shown
        )
    return table


def _table(numbers: Sequence[str], *, last: str) -> Table:
    """Columns of numbers, one of bars, and one of texts."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(last, overflow="fold")
    return table


def _strongest(units: Sequence[Unit]) -> float:
    return max((abs(unit.contribution or 0.0) for unit in units), default=0.0)


def _signed(contribution: float | None) -> str:
    return "not read" if contribution is None else f"{contribution:+.4f}"


def _bar(contribution: float | None, most: float) -> str:
    """To the left of the middle what speaks against the pair, to the right what speaks for it."""
    if contribution is None:
        return ""
    length = round(_BAR * abs(contribution) / most) if most else 0
    if contribution < 0:
        return f"{'-' * length:>{_BAR}}|"
    return f"{'':{_BAR}}|{'+' * length}"


def _on_one_line(text: str) -> str:
    """Line breaks and tabs as spaces; as many characters as before."""
    return "".join(" " if char.isspace() else char for char in text)
