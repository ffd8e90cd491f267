"""What `pairscore compare` prints: its tables, and what to do about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pairscore.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairscore.evaluation.compare_records import Comparison
    from pairscore.evaluation.compare_tables import Section

__all__ = ["print_comparison", "report"]

_WIDEST: Final = 48


def report(comparison: Comparison, *, written: Sequence[Path], as_json: bool, quiet: bool) -> None:
    """Print the comparison, as tables or as JSON; notes and what was written go to standard error."""
    if as_json:
        from pairscore.evaluation.compare_report import as_json as values

        output.print_json({**values(comparison), "files": [str(path) for path in written]})
    else:
        print_comparison(comparison)
    if quiet:
        return
    if not as_json:
        for note in comparison.notes:
            output.note(f"note: {note}")
    for path in written:
        output.note(f"written: {path}")


def print_comparison(comparison: Comparison) -> None:
    """The tables and the recommendation; texts of users' pairs only where all pairs are shown."""
    from pairscore.evaluation.compare_report import summary
    from pairscore.evaluation.compare_tables import sections

    output.say(f"{comparison.name}: {summary(comparison)}")
    few = len(comparison.rows) == comparison.num_pairs
    for section in sections(comparison):
        if few or not section.num_wide:
            _print_section(section)
    output.say("")
    output.say("Recommendation")
    for sentence in comparison.advice.sentences:
        output.say(f"  {sentence}")


def _print_section(section: Section) -> None:
    # Here, because machines ask for JSON and rich takes a while to import.
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(section.columns):
        table.add_column(column, justify="left" if place < section.num_texts else "right")
    for row in _short(section).rows:
        # As Text, because a cell's brackets would be read as markup.
        table.add_row(*(Text(cell) for cell in row))
    output.say("")
    output.say(section.title)
    output.print_table(table)
    if section.note:
        output.say(section.note)


def _short(section: Section) -> Section:
    rows = tuple(
        tuple(
            f"{cell[: _WIDEST - 1]}…" if place < section.num_wide and len(cell) > _WIDEST else cell
            for place, cell in enumerate(row)
        )
        for row in section.rows
    )
    return replace(section, rows=rows)
