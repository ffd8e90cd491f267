"""What came of a distillation, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pairscore.cli import output

if TYPE_CHECKING:
    from pairscore.training.distil_report import DistilReport
    from pairscore.training.distillation import Distilled

__all__ = ["as_json_of", "print_report"]


def as_json_of(found: Distilled) -> dict[str, Any]:
    """What came of it, for machines."""
    from pairscore.training.distil_report import record

    return {**record(found.report), "output": str(found.folder)}


def print_report(report: DistilReport) -> None:
    """What came of it, for people."""
    from pairscore.training.distil_report import rows

    told = rows(report)
    width = max(len(name) for name, _ in told)
    for name, value in told:
        output.say(f"{name.ljust(width)}  {value}")
    for note in report.notes:
        output.say(f"\nnote: {note}")
