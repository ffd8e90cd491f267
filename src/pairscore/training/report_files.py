"""The report of a training as files: a record for machines and a page for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pairscore.errors import DataFileError, OutputFileError
from pairscore.evaluation.significance import Difference, Interval
from pairscore.replacing import replacing
from pairscore.training.report import ALPHA, MeasureReport, PartReport, TrainingReport

__all__ = ["PAGE", "RECORD", "measure_rows", "page", "read", "record", "table", "write"]

RECORD: Final = "report.json"
PAGE: Final = "REPORT.md"
_FORMAT: Final = 1
_SMALLEST_P: Final = 0.001


def record(report: TrainingReport) -> dict[str, Any]:
    """The report as JSON values; what is not defined (NaN) is null. It holds no text of the data."""
    value = {"format": _FORMAT, "alpha": ALPHA, "forgot": report.forgot, **asdict(report)}
    plain = _plain(value)
    assert isinstance(plain, dict)  # noqa: S101 - a mapping stays one
    return plain


def write(report: TrainingReport, folder: Path) -> None:
    """Write both files into a folder.

    Raises:
        OutputFileError: one cannot be written.
    """
    text = json.dumps(record(report), indent=1, ensure_ascii=False, allow_nan=False)
    for name, content in ((RECORD, f"{text}\n"), (PAGE, page(report))):
        path = folder / name
        try:
            with replacing(path) as half:
                half.write_text(content, encoding="utf-8")
        except OSError as error:
            raise OutputFileError(
                f"{str(path)!r} cannot be written: {error.strerror or error}"
            ) from error


def read(folder: Path) -> TrainingReport | None:
    """The report that was written into a folder; None if there is none.

    Raises:
        DataFileError: it is broken, or of another version's form.
    """
    path = folder / RECORD
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != _FORMAT:
            raise ValueError(f"its form is {value['format']}; this version reads {_FORMAT}")  # noqa: TRY301
        parts = tuple(_read_part(part) for part in value["parts"])
        known = {name: value[name] for name in ("base", "model", "measured_at", "version")}
        return TrainingReport(**known, parts=parts, notes=tuple(value["notes"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFileError(
            f"{str(path)!r} is no report of a training ({error}); measure again"
        ) from error


def page(report: TrainingReport) -> str:
    """The report in Markdown."""
    parts = [
        f"# What training changed: {report.model}",
        f"Before: {report.base}. After: {report.model}.",
        "\n".join(f"- **{part.name}** ({part.role}): {part.verdict}" for part in report.parts),
    ]
    parts += [_part(part) for part in report.parts]
    parts.append(
        "## How to read it\n\n" + "\n".join(f"- {note}" for note in (*_WAYS, *report.notes))
    )
    parts.append(
        f"Measured at {report.measured_at} by pairscore {report.version}; `{RECORD}` holds the same for machines."
    )
    return "\n\n".join(parts) + "\n"


_WAYS: Final = (
    "Intervals are of 95 %, by bootstrap; whole queries are drawn again, because pairs of one query are alike.",
    (
        "Before and after are compared pair by pair. p of a mean is Fisher's randomisation test, of another measure "
        "that of the bootstrap interval of the difference."
    ),
    (
        "A verdict is about the first measure of each part, with p adjusted for the number of parts (Holm) and "
        f"{ALPHA:g} as the limit. The p of the other measures is not adjusted."
    ),
    (
        "F1 and accuracy of two classes use thresholds that were chosen on other queries; ece_calibrated and "
        "brier_calibrated use a curve that was fitted on other queries."
    ),
)


def measure_rows(part: PartReport) -> list[tuple[str, ...]]:
    """A row of cells for each measure: name, before, after, change, p."""
    return [
        (
            measure.name if measure.higher_is_better else f"{measure.name} (lower is better)",
            _value(measure.before, measure.before_interval),
            _value(measure.after, measure.after_interval),
            _change(measure.change),
            _p(measure.change),
        )
        for measure in part.measures
    ]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    head = "| " + " | ".join(columns) + " |"
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(columns), *lines])


def _part(part: PartReport) -> str:
    what = (
        f"{part.num_pairs:,} pairs of {part.num_queries:,} queries, measured by {part.evaluator}; "
        f"sha256 of the data `{part.sha256}`."
    )
    said = [
        f"## {part.name} ({part.role})",
        what,
        table(("measure", "before", "after", "change", "p"), measure_rows(part)),
    ]
    order = [_order(measure) for measure in part.measures if measure.order_before is not None]
    if order:
        head = ("measure", "order of the file", "change to it", "p")
        said.append(table(head, order))
    if part.threshold is not None:
        said.append(
            f"Best F1 of the trained model: pairs from a logit of {part.threshold:.4f} count as positive."
        )
    return "\n\n".join(said)


def _order(measure: MeasureReport) -> tuple[str, ...]:
    return (
        measure.name,
        _value(measure.order_before, None),
        _change(measure.order_change),
        _p(measure.order_change),
    )


def _value(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "not measured"
    if interval is None or math.isnan(interval.low):
        return f"{value:.4f}"
    return f"{value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _change(change: Difference | None) -> str:
    if change is None:
        return "not measured"
    low, high = change.interval.low, change.interval.high
    if math.isnan(low):
        return f"{change.value:+.4f}"
    return f"{change.value:+.4f} ({low:+.4f} to {high:+.4f})"


def _p(change: Difference | None) -> str:
    if change is None or math.isnan(change.p):
        return "not measured"
    return f"below {_SMALLEST_P:g}" if change.p < _SMALLEST_P else f"{change.p:.3f}"


def _read_part(value: Mapping[str, Any]) -> PartReport:
    return PartReport(**{**value, "measures": tuple(map(_read_measure, value["measures"]))})


def _read_measure(value: Mapping[str, Any]) -> MeasureReport:
    intervals = {
        name: _read_interval(value[name]) for name in ("before_interval", "after_interval")
    }
    changes = {name: _read_change(value[name]) for name in ("change", "order_change")}
    return MeasureReport(**{**value, **intervals, **changes})


def _read_change(value: Mapping[str, Any] | None) -> Difference | None:
    if value is None:
        return None
    interval = _read_interval(value["interval"])
    p = math.nan if value["p"] is None else float(value["p"])
    return Difference(float(value["value"]), interval or Interval(math.nan, math.nan), p)


def _read_interval(value: Mapping[str, Any] | None) -> Interval | None:
    if value is None:
        return None
    ends = [math.nan if value[end] is None else float(value[end]) for end in ("low", "high")]
    return Interval(*ends)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
