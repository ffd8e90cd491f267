"""What came of a distillation, as a record for machines and as a page for people. It holds no text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pairscore.convert.machine import Machine
from pairscore.training.distil_data import DistilLoss
from pairscore.training.distil_measure import MEASURE, Kept, Quality
from pairscore.training.distil_scores import Combine
from pairscore.training.report_files import table

__all__ = ["PAGE", "RECORD", "DistilReport", "Side", "page", "record", "rows", "section", "write"]

RECORD: Final = "distil.json"
"""The record's file in the run folder."""
PAGE: Final = "DISTIL.md"
"""The page's file in the run folder."""

_FORMAT: Final = 1
_MB: Final = 1e6
_SMALLEST_P: Final = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A teacher, or the student.

    Attributes:
        name: of the model.
        sha256: of its weights.
        num_layers: as its config says; None where it does not.
        num_bytes: of its weights on the disk.
        num_truncated: of a teacher, pairs of which a text was cut when it scored them.
    """

    name: str
    sha256: str
    num_layers: int | None
    num_bytes: int
    num_truncated: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DistilReport:
    """Everything that is said of one distillation.

    Attributes:
        teachers: whose logits were learned, the first one's scale.
        combine: how several became one target; None of one.
        student: what came of it, as it is served.
        layers: of the model that it was made from, the layers that it kept; empty if it was a model already.
        made_from: the model that it was made from.
        loss: what was made small.
        hidden_states: whether its layers' states were learned besides.
        data: the name of the pairs.
        data_sha256: of their texts.
        num_pairs: pairs that the teachers scored.
        num_train, num_dev, num_held_out: rows that were learned from, chosen by, and left for this report.
        kept: teacher and student on held-out pairs.
        quality: on a judged collection; None where none was given.
        machine: where it was measured.
        measured_at: when, ISO 8601, UTC.
        notes: what a reader must know.
    """

    teachers: tuple[Side, ...]
    combine: Combine | None
    student: Side
    layers: tuple[int, ...]
    made_from: str
    loss: DistilLoss
    hidden_states: bool
    data: str
    data_sha256: str
    num_pairs: int
    num_train: int
    num_dev: int
    num_held_out: int
    kept: Kept
    quality: Quality | None
    machine: Machine
    measured_at: str
    notes: tuple[str, ...] = field(default=())


def record(report: DistilReport) -> dict[str, Any]:
    """The report as JSON values; what is not defined (NaN) is null."""
    kept, quality = report.kept, report.quality
    speed = kept.speed
    named = (
        *("combine", "layers", "made_from", "loss", "hidden_states"),
        *("data", "data_sha256", "num_pairs", "num_train", "num_dev", "num_held_out"),
        *("measured_at", "notes"),
    )
    value: dict[str, Any] = {
        "format": _FORMAT,
        "teachers": [asdict(side) for side in report.teachers],
        "student": asdict(report.student),
        **{name: getattr(report, name) for name in named},
        "held_out": asdict(kept.parity),
        "speed": {
            "teacher_pairs_per_s": speed.reference_rate,
            "student_pairs_per_s": speed.converted_rate,
            "ratio": speed.ratio,
            "ratio_range": speed.ratio_range,
            "mean_tokens": speed.mean_tokens,
        },
        "quality": None
        if quality is None
        else {
            **asdict(quality),
            "measure": MEASURE,
            "kept_percent": quality.kept_percent,
            "gain_kept_percent": quality.gain_kept_percent,
        },
        "machine": asdict(report.machine),
    }
    return {name: _plain(item) for name, item in value.items()}


def write(report: DistilReport, folder: Path) -> None:
    """Put the report into a folder, in both forms."""
    text = json.dumps(record(report), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RECORD).write_text(f"{text}\n", encoding="utf-8")
    (folder / PAGE).write_text(page(report), encoding="utf-8")


def rows(report: DistilReport) -> list[tuple[str, str]]:
    """What there is to tell, a name and a value each, the most important first."""
    return [*_quality_rows(report.quality), *_kept_rows(report.kept), *_size_rows(report)]


def page(report: DistilReport) -> str:
    """The report in Markdown."""
    names = ", ".join(side.name for side in report.teachers)
    parts = [f"# {report.student.name}, distilled from {names}", section(report)]
    versions = report.machine.versions
    parts.append(
        f"Measured at {report.measured_at} by pairscore {versions['pairscore']} on {report.machine.cpu}; "
        f"`{RECORD}` holds the same for machines."
    )
    return "\n\n".join(parts) + "\n"


def section(report: DistilReport) -> str:
    """What the page says below its title; the model card says it too."""
    parts = [_origin(report), table(("what", "value"), rows(report))]
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    return "\n\n".join(parts)


def _origin(report: DistilReport) -> str:
    if report.layers:
        made = f"layers {', '.join(map(str, report.layers))} (from 0) of {report.made_from}"
    else:
        made = report.made_from
    states = " and the hidden states" if report.hidden_states else ""
    joined = ""
    if report.combine is not None:
        joined = f" The target is the mean of the teachers' {report.combine} logits."
    return (
        f"The student began as {made}, and learned the logits{states} of {report.num_pairs:,} pairs of "
        f"{report.data} ({report.loss}): {report.num_train:,} rows, {report.num_dev:,} to choose the checkpoint by. "
        f"What follows was measured on {report.num_held_out:,} other rows, of other queries.{joined}"
    )


def _quality_rows(quality: Quality | None) -> list[tuple[str, str]]:
    if quality is None:
        return []
    low, high = quality.difference.interval.low, quality.difference.interval.high
    found = [
        ("quality kept", f"{quality.kept_percent:.1f} % of {MEASURE}"),
        ("gain over the first ranking kept", _percent(quality.gain_kept_percent)),
        (f"{MEASURE} on {quality.collection}, {quality.run}", f"{quality.before:.4f}"),
    ]
    found += [
        (f"{MEASURE}, teacher {name}", f"{value:.4f}") for name, value in quality.teachers.items()
    ]
    return [
        *found,
        (f"{MEASURE}, student", f"{quality.student:.4f}"),
        (
            "student less teacher (95 % interval)",
            f"{quality.difference.value:+.4f} ({low:+.4f} to {high:+.4f}), p {_p(quality.difference.p)}",
        ),
    ]


def _kept_rows(kept: Kept) -> list[tuple[str, str]]:
    parity, speed = kept.parity, kept.speed
    slowest, fastest = speed.ratio_range
    found = [
        ("Spearman to the teacher, held out", _number(parity.spearman)),
        ("largest difference of the logit", f"{parity.largest_difference:.3f}"),
        (
            "mean difference of the logit",
            f"{parity.mean_difference:.3f} (the teacher's own deviation: {parity.deviation:.3f})",
        ),
    ]
    if parity.top_overlap is not None:
        found.append(("overlap of the best, mean of the queries", f"{parity.top_overlap:.3f}"))
    return [
        *found,
        ("teacher, pairs/s", f"{speed.reference_rate:,.1f}"),
        ("student, pairs/s", f"{speed.converted_rate:,.1f}"),
        (
            "speed gained",
            f"{speed.ratio:.2f} times ({slowest:.2f} to {fastest:.2f}), {speed.mean_tokens:.0f} tokens a pair",
        ),
    ]


def _size_rows(report: DistilReport) -> list[tuple[str, str]]:
    sides: Sequence[tuple[str, Side]] = [
        *((f"weights of the teacher {side.name}", side) for side in report.teachers),
        ("weights of the student", report.student),
    ]
    return [
        (
            name,
            f"{_layers(side)}{side.num_bytes / _MB:,.1f} MB",
        )
        for name, side in sides
    ]


def _layers(side: Side) -> str:
    return "" if side.num_layers is None else f"{side.num_layers} layers, "


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.4f}"


def _percent(value: float) -> str:
    return "not defined: the teacher gains nothing" if math.isnan(value) else f"{value:.1f} %"


def _p(value: float) -> str:
    return f"below {_SMALLEST_P:g}" if value < _SMALLEST_P else f"= {value:.3f}"


def _plain(value: Any) -> Any:
    """JSON values: no NaN, no tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
