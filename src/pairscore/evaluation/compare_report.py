"""A comparison as JSON values, and as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import resources
from string import Template
from typing import Any, Final

from pairscore import __version__
from pairscore.evaluation.compare_plots import Picture
from pairscore.evaluation.compare_records import Compared, Comparison
from pairscore.evaluation.compare_tables import Section, sections

__all__ = ["as_json", "html_page", "summary"]

_FORMAT: Final = 1
_TEMPLATE: Final = "compare_report.html"
# An interval behind a value is set smaller.
_INTERVAL: Final = re.compile(r" (\[-?[\d.]+, -?[\d.]+\])$")


def summary(comparison: Comparison) -> str:
    """How much was compared, in a line."""
    queries = "queries" if comparison.kind == "rankings" else "distinct first texts"
    related = int((comparison.related & comparison.known).sum())
    return (
        f"{comparison.num_pairs:,} pairs, {comparison.num_queries:,} {queries}, {related:,} related "
        f"({comparison.related_means})"
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values; what is not defined (NaN) is null. Scores of all pairs are left out."""
    value = {
        "format": _FORMAT,
        "version": __version__,
        "data": comparison.name,
        "kind": comparison.kind,
        "num_pairs": comparison.num_pairs,
        "num_queries": comparison.num_queries,
        "main_measure": comparison.main_measure,
        "related_means": comparison.related_means,
        "systems": [_system(system) for system in comparison.systems],
        "tests": [asdict(test) for test in comparison.pairwise],
        "num_candidates": [asdict(depth) for depth in comparison.depths],
        "reliability": None if comparison.reliability is None else asdict(comparison.reliability),
        "side_by_side": {
            "pairs": [asdict(row) for row in comparison.rows],
            "are": comparison.rows_are,
        },
        "recommendation": asdict(comparison.advice),
        "notes": list(comparison.notes),
    }
    plain = _plain(value)
    assert isinstance(plain, dict)  # noqa: S101 - a mapping stays one
    return plain


def html_page(comparison: Comparison, pictures: Sequence[Picture]) -> str:
    """The whole page. Everything that comes from data or models is escaped.

    Args:
        comparison: what was found.
        pictures: are put in as SVG.
    """
    template = Template(
        resources.files("pairscore.evaluation").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    )
    name = html.escape(comparison.name)
    parts = [_advice(comparison)]
    parts += [_table(section) for section in sections(comparison)]
    parts[2:2] = [_figure(picture) for picture in pictures]
    parts.append(_notes(comparison))
    when = datetime.now(UTC).date().isoformat()
    return template.substitute(
        title=f"{name}: cross-encoder, bi-encoder and BM25 compared",
        heading=f"{name}: cross-encoder, bi-encoder and BM25 compared",
        summary=html.escape(summary(comparison)),
        body="\n".join(part for part in parts if part),
        footer=f"Made by pairscore {html.escape(__version__)} compare, {when}.",
    )


def _advice(comparison: Comparison) -> str:
    sentences = "".join(f"<p>{html.escape(said)}</p>" for said in comparison.advice.sentences)
    return f'<section class="advice"><h2>Recommendation</h2>{sentences}</section>'


def _table(section: Section) -> str:
    head = "".join(
        f'<th scope="col" class="{_class(place, section)}">{html.escape(column)}</th>'
        for place, column in enumerate(section.columns)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td class="{_class(place, section)}">{_cell(cell)}</td>'
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in section.rows
    )
    note = f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
    return (
        f"<section><h2>{html.escape(section.title)}</h2>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{note}</section>"
    )


def _class(place: int, section: Section) -> str:
    if place < section.num_wide:
        return "wide"
    return "text" if place < section.num_texts else "number"


def _cell(cell: str) -> str:
    return _INTERVAL.sub(r' <span class="interval">\1</span>', html.escape(cell))


def _figure(picture: Picture) -> str:
    said = html.escape(picture.says, quote=True)
    svg = picture.svg().replace("<svg", f'<svg role="img" aria-label="{said}"', 1)
    return (
        f"<section><h2>{html.escape(picture.title)}</h2><figure>{svg}"
        f'<figcaption class="note">{html.escape(picture.says)}</figcaption></figure></section>'
    )


def _notes(comparison: Comparison) -> str:
    if not comparison.notes:
        return ""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in comparison.notes)
    return f"<section><h2>Notes</h2><ul>{items}</ul></section>"


def _system(system: Compared) -> dict[str, Any]:
    """One system without its scores, which may be millions; the gap with its value."""
    return {
        "name": system.name,
        "detail": system.detail,
        "scale": system.scale,
        "measures": {name: asdict(value) for name, value in system.measures.items()},
        "gap": None if system.gap is None else {**asdict(system.gap), "value": system.gap.value},
        "speed": None if system.speed is None else asdict(system.speed),
        "prepared_s": system.prepared_s,
        "threshold": None if system.threshold is None else asdict(system.threshold),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
