"""What `pairscore calibrate` prints: the measures before and after, warnings, and where the calibration went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairscore.cli import output

if TYPE_CHECKING:
    from pairscore.evaluation.calibration import Fitted
    from pairscore.models.calibration import Calibration

__all__ = ["Told", "report"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What there is to tell.

    Attributes:
        calibration: what was written.
        fitted: the same with its reliability and warnings.
        target: where it was written.
        beside: whether it is found there by itself.
    """

    calibration: Calibration
    fitted: Fitted
    target: Path
    beside: bool


def report(told: Told, *, as_json: bool, quiet: bool) -> None:
    """Print the measures, as a table or as JSON; warnings and where it went as notes."""
    calibration, fitted = told.calibration, told.fitted
    if as_json:
        output.print_json(
            {
                **calibration.as_json(),
                "reliability": {
                    "before": [asdict(part) for part in fitted.before],
                    "after": [asdict(part) for part in fitted.after],
                },
                "warnings": list(fitted.warnings),
                "output": str(told.target),
            }
        )
    else:
        _print_table(calibration)
    if quiet:
        return
    for warning in fitted.warnings:
        output.note(f"warning: {warning}")
    for line in _notes(told):
        output.note(line)


def _print_table(calibration: Calibration) -> None:
    # Here, because machines ask for JSON and rich takes a while to import.
    from rich import box
    from rich.table import Table

    measured = calibration.measured
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measure")
    for heading in ("before", "after"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, before, after in _lines(calibration):
        table.add_row(name, before, after)
    output.print_table(table)
    output.say(f"method       {calibration.method}: {_said(calibration)}")
    output.say(f"held out     {measured.num_folds} folds of whole queries")


def _lines(calibration: Calibration) -> Sequence[tuple[str, str, str]]:
    measured = calibration.measured
    before, after = measured.before, measured.after
    auc = f"{measured.auc:.4f}"
    return (
        (f"ECE ({measured.num_bins} bins of equal mass)", f"{before.ece:.4f}", f"{after.ece:.4f}"),
        ("Brier score", f"{before.brier:.4f}", f"{after.brier:.4f}"),
        ("log loss", f"{before.log_loss:.4f}", f"{after.log_loss:.4f}"),
        ("AUC of the logits (unchanged)", auc, auc),
    )


def _said(calibration: Calibration) -> str:
    parameters: dict[str, Any] = asdict(calibration.curve)
    if calibration.method == "platt":
        return f"sigmoid({parameters['slope']:.4f} * logit + {parameters['intercept']:.4f})"
    return f"a line through {len(parameters['logits'])} points"


def _notes(told: Told) -> Sequence[str]:
    origin = told.calibration.origin
    use = (
        "found there by itself when the model is loaded"
        if told.beside
        else f"use it with --calibration {told.target}"
    )
    fitted_on = f"{origin.num_pairs:,} pairs of {origin.num_queries:,} queries, {origin.num_positives:,} positive"
    return f"{fitted_on}; model {origin.model}", f"written to {told.target}; {use}"
