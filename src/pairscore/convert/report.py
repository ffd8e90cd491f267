"""The parity report: what was measured of a conversion, as a record for machines and as a page for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pairscore.convert.in_turn import InTurn
from pairscore.convert.machine import Machine
from pairscore.convert.parity import Parity
from pairscore.convert.parity_texts import ParityTexts
from pairscore.convert.thresholds import Check, Numbers
from pairscore.convert.vectors import VectorParity

__all__ = ["PAGE", "RECORD", "Report", "Section", "Side", "page", "record", "sections", "write"]

RECORD: Final = "parity.json"
PAGE: Final = "PARITY.md"
_FORMAT: Final = 1
_MB: Final = 1e6
_SAID: Final = {
    "min_cosine": ("cosine of a text's two vectors, mean", "at least"),
    "min_worst_cosine": ("cosine of the worst text's", "at least"),
    "min_neighbours": ("ten nearest neighbours in common", "at least"),
    "min_spearman": ("Spearman correlation", "at least"),
    "min_top_overlap": ("overlap of the ten best", "at least"),
    "max_flipped": ("neighbours that swapped", "at most"),
    "max_ndcg_loss": ("loss of nDCG@10", "at most"),
    "max_difference": ("largest difference of the logit", "at most"),
    "min_label_agreement": ("same label", "at least"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two models that were compared.

    Attributes:
        name: what it is, in words.
        backend: what ran it.
        sha256: of its weights.
        num_bytes: of its weights on the disk.
        peak_rss_bytes: the most memory that a process of its own held; None if nobody knows.
    """

    name: str
    backend: str
    sha256: str
    num_bytes: int
    peak_rss_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that is said of one comparison; it holds no text.

    Attributes:
        model: the name of the model.
        revision: of the model's files; None if unknown.
        conversion: what was asked for, as the manifest has it; empty for two folders that were there.
        reference: the side that is right by definition.
        converted: the side that is judged.
        numbers: of the coarser side, which decided the default thresholds.
        texts: what both scored.
        parity: how close their logits are; of a bi-encoder, the similarities of each pair's two vectors.
        speed: how fast they are.
        machine: where it was measured.
        measured_at: when, ISO 8601, UTC.
        checks: the thresholds, and which were passed.
        notes: what a reader must know.
        accepted: whether a failed threshold was accepted by whoever converted.
        vectors: how close a bi-encoder's vectors are; None for a cross-encoder.
    """

    model: str
    revision: str | None
    conversion: Mapping[str, Any]
    reference: Side
    converted: Side
    numbers: Numbers
    texts: ParityTexts
    parity: Parity
    speed: InTurn
    machine: Machine
    measured_at: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    accepted: bool = False
    vectors: VectorParity | None = None

    @property
    def unit(self) -> str:
        """What is counted where speed is measured."""
        return "pairs" if self.vectors is None else "texts"

    @property
    def failed(self) -> tuple[Check, ...]:
        """The thresholds that do not hold."""
        return tuple(check for check in self.checks if check.passed is False)

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.failed:
            return "Passed: every threshold that could be measured holds."
        what = "; ".join(_failure(check) for check in self.failed)
        return f"Failed: {what}." + (" Accepted all the same." if self.accepted else "")


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the page.

    Attributes:
        title: what stands above it.
        columns: its headings; the first column is text, the others are numbers or short words.
        rows: its cells.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)


def record(report: Report) -> dict[str, Any]:
    """The report as JSON values; what is not defined (NaN) is null. It holds no text."""
    speed = report.speed
    value = {
        "format": _FORMAT,
        "model": report.model,
        "revision": report.revision,
        "measured_at": report.measured_at,
        "conversion": dict(report.conversion),
        "passed": not report.failed,
        "accepted": report.accepted,
        "checks": [asdict(check) for check in report.checks],
        "thresholds_for": report.numbers,
        "reference": {**asdict(report.reference), f"{report.unit}_per_s": speed.reference_rate},
        "converted": {**asdict(report.converted), f"{report.unit}_per_s": speed.converted_rate},
        "speed": {
            "ratio": speed.ratio,
            "ratio_range": list(speed.ratio_range),
            "rounds": [
                {
                    f"num_{report.unit}": item.num_items,
                    "reference_s": item.reference_s,
                    "converted_s": item.converted_s,
                }
                for item in speed.rounds
            ],
        },
        "parity": {**asdict(report.parity), "flipped": report.parity.flipped},
        **({} if report.vectors is None else {"vectors": asdict(report.vectors)}),
        "texts": {
            "name": report.texts.name,
            "sha256": report.texts.sha256,
            "num_pairs": report.texts.num_pairs,
            "num_available": report.texts.num_available,
            "num_queries": len(report.texts.queries),
            "num_truncated": speed.num_truncated,
            "mean_tokens": speed.mean_tokens,
            "note": report.texts.note,
        },
        "machine": asdict(report.machine),
        "notes": list(report.notes),
    }
    plain = _plain(value)
    assert isinstance(plain, dict)  # noqa: S101 - a mapping stays one
    return plain


def write(report: Report, folder: Path) -> None:
    """Put the report beside the model's files, in both forms."""
    text = json.dumps(record(report), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RECORD).write_text(f"{text}\n", encoding="utf-8")
    (folder / PAGE).write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The report in Markdown."""
    parts = [f"# Parity of {report.model}", report.verdict]
    parts += [f"## {section.title}\n\n{_table(section)}" for section in sections(report)]
    notes = [*report.notes, *([f"The texts: {report.texts.note}."] if report.texts.note else [])]
    if notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in notes))
    parts.append(
        f"Measured at {report.measured_at} by pairscore {report.machine.versions['pairscore']}; "
        f"`{RECORD}` holds the same for machines."
    )
    return "\n\n".join(parts) + "\n"


def sections(report: Report) -> tuple[Section, ...]:
    """The tables of the page, in its order."""
    if report.vectors is None:
        near = [_closeness(report.parity, "Converted against reference", "logit")]
    else:
        pairs = _closeness(report.parity, "Similarities of query and document", "similarity")
        near = [_vectors(report.vectors), pairs]
    return (_thresholds(report), *near, _sides(report), _where(report))


def _thresholds(report: Report) -> Section:
    section = Section("Thresholds", ("", "threshold", "measured", ""))
    for check in report.checks:
        said, bound = _SAID[check.name]
        passed = {True: "passed", False: "FAILED", None: "not measured"}[check.passed]
        section.rows.append((said, f"{bound} {check.limit:g}", _number(check.value), passed))
    return section


def _vectors(vectors: VectorParity) -> Section:
    section = Section("Converted vectors against the reference's", ("", ""))
    rows = section.rows
    rows += [
        ("texts, numbers in a vector", f"{vectors.num_texts:,}, {vectors.dimension:,}"),
        ("cosine of a text's two vectors, mean", _number(vectors.cosine)),
        ("99 of 100 texts have at least", _number(vectors.p1_cosine)),
        ("the worst text has", _number(vectors.worst_cosine)),
    ]
    if vectors.spearman is not None:
        rows += [
            (
                f"Spearman of the similarities of each with each ({vectors.num_compared:,} texts)",
                _number(vectors.spearman),
            ),
            (
                "difference of a similarity, mean; largest",
                f"{_number(vectors.mean_difference)}; {_number(vectors.largest_difference)}",
            ),
        ]
    if vectors.neighbours is not None:
        shares = f"{vectors.neighbours:.1%}; {vectors.worst_neighbours:.0%}"
        rows.append(("ten nearest neighbours in common; worst text", shares))
    return section


def _closeness(parity: Parity, title: str, output: str) -> Section:
    section = Section(title, ("", ""))
    rows = section.rows
    rows += [
        ("pairs, queries", f"{parity.num_pairs:,}, {parity.num_queries:,}"),
        ("Spearman, Pearson", f"{_number(parity.spearman)}, {_number(parity.pearson)}"),
        (f"mean difference of the {output}", _number(parity.mean_difference)),
        ("99 of 100 differ by at most", _number(parity.p99_difference)),
        ("largest difference", _number(parity.largest_difference)),
        (
            f"standard deviation of the reference's {output}",
            _number(parity.deviation),
        ),
    ]
    if parity.top_overlap is not None:
        rows.append(
            (
                f"ten best in common ({parity.num_ranked:,} queries); worst query",
                f"{parity.top_overlap:.1%}; {parity.worst_overlap:.0%}",
            )
        )
    if parity.flips is not None and parity.flipped is not None:
        said = f"neighbours more than {parity.margin:.3f} apart, down to rank 10: swapped"
        rows.append(
            (
                said,
                f"{parity.flips.num_flipped:,} of {parity.flips.num_neighbours:,} ({parity.flipped:.2%})",
            )
        )
    if parity.reference_ndcg is not None:
        rows += [
            (
                f"nDCG@10 of the reference ({parity.num_judged:,} judged queries)",
                _number(parity.reference_ndcg),
            ),
            ("nDCG@10 of the converted model", _number(parity.converted_ndcg)),
            (
                "loss, and its standard error",
                f"{_number(parity.ndcg_loss)}, {_number(parity.ndcg_error)}",
            ),
        ]
    if parity.label_agreement is not None:
        rows.append(("pairs with the same label", f"{parity.label_agreement:.2%}"))
    return section


def _sides(report: Report) -> Section:
    speed, one, other = report.speed, report.reference, report.converted
    low, high = speed.ratio_range
    return Section(
        "Speed and size",
        ("", "reference", "converted"),
        [
            ("what", one.name, other.name),
            ("backend", one.backend, other.backend),
            (
                f"{report.unit}/s, in turn",
                f"{speed.reference_rate:.1f}",
                f"{speed.converted_rate:.1f}",
            ),
            (
                f"ratio, median of {len(speed.rounds)} rounds; slowest to fastest",
                "1",
                f"{speed.ratio:.2f}; {low:.2f} to {high:.2f}",
            ),
            ("weights on the disk", _megabytes(one.num_bytes), _megabytes(other.num_bytes)),
            (
                "peak memory of a process",
                _megabytes(one.peak_rss_bytes),
                _megabytes(other.peak_rss_bytes),
            ),
            ("sha256 of the weights", one.sha256[:16], other.sha256[:16]),
        ],
    )


def _where(report: Report) -> Section:
    texts, machine = report.texts, report.machine
    share = (
        f"{texts.num_pairs:,} of {texts.num_available:,} pairs"
        if texts.num_available > texts.num_pairs
        else f"{texts.num_pairs:,} pairs"
    )
    if report.vectors is not None:
        share = f"{report.vectors.num_texts:,} texts of {share}"
    asked = _said_way(report.conversion)
    rows = [
        ("texts", f"{texts.name}: {share}, {report.speed.mean_tokens:.0f} tokens on average"),
        ("cut to fit the model", f"{report.speed.num_truncated:,} {report.unit}"),
        ("CPU", f"{machine.cpu}, {machine.num_cores} cores"),
        ("instruction sets", ", ".join(machine.flags) or "none of note"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in machine.versions.items())),
    ]
    if report.revision:
        rows.insert(0, ("revision", report.revision))
    if asked:
        rows.insert(0, ("asked for", asked))
    return Section("What was measured where", ("", ""), list(rows))


def _said_way(conversion: Mapping[str, Any]) -> str:
    """What was asked for, in words; what is off or nothing is not said."""
    names = {"reduced_range": "reduced range", "num_calibration_pairs": "calibration pairs:"}
    said = [str(conversion["to"])] if conversion else []
    for key, value in conversion.items():
        if key in ("to", "precision") or value in (None, False, 0):
            continue
        name = names.get(key, key.replace("_", " "))
        said.append(name if value is True else f"{name} {value}")
    return ", ".join(said)


def _table(section: Section) -> str:
    head = "| " + " | ".join(section.columns) + " |"
    rule = "|" + "---|" * len(section.columns)
    rows = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in section.rows
    ]
    return "\n".join([head, rule, *rows])


def _failure(check: Check) -> str:
    said, bound = _SAID[check.name]
    return f"{said} is {_number(check.value)}, {bound} {check.limit:g} is asked for"


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    if math.isnan(value):
        return "not defined"
    # Next to 1 the digits that tell are those of the distance to it.
    return f"{value:.6f}" if abs(value) > 0.99 and abs(value) < 1 else f"{value:.4g}"  # noqa: PLR2004


def _megabytes(value: int | None) -> str:
    return "not measured" if value is None else f"{value / _MB:,.1f} MB"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
