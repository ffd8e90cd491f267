"""The tables of a comparison, as cells for whoever draws them: the command line and the HTML report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pairscore.evaluation.compare_advice import SIGNIFICANT, milliseconds
from pairscore.evaluation.compare_records import Compared, Comparison, Depth, Estimate, Speed
from pairscore.evaluation.significance import Interval

__all__ = ["NOTHING", "Section", "sections"]

NOTHING: Final = "-"
"""What stands in a cell where there is nothing to say."""
_LEAST_P: Final = 0.0001
_LEAST_S: Final = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A table.

    Attributes:
        title: what stands above it.
        columns: its headings; those in front are texts, the others numbers.
        num_texts: how many are texts.
        rows: its cells.
        note: how to read it; may be empty.
        num_wide: columns, from the left, whose texts may be long.
    """

    title: str
    columns: tuple[str, ...]
    num_texts: int
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    num_wide: int = 0


def sections(comparison: Comparison) -> tuple[Section, ...]:
    """The tables that have something to say, in the order in which a reader wants them."""
    few = len(comparison.rows) == comparison.num_pairs
    made = (
        *((_pairs(comparison),) if few else ()),
        _quality(comparison),
        _gaps(comparison),
        _tests(comparison),
        _depths(comparison),
        _speeds(comparison),
        _thresholds(comparison),
        *(() if few else (_pairs(comparison),)),
    )
    return tuple(section for section in made if section.rows)


def _quality(comparison: Comparison) -> Section:
    names = tuple(dict.fromkeys(name for system in comparison.systems for name in system.measures))
    return Section(
        title="Quality",
        columns=("system", "what", *names),
        num_texts=2,
        rows=tuple(
            (
                system.name,
                system.detail,
                *(_estimate(system.measures.get(name)) for name in names),
            )
            for system in comparison.systems
            if names
        ),
        note="In brackets: 95 % bootstrap intervals.",
    )


def _gaps(comparison: Comparison) -> Section:
    return Section(
        title="Related and unrelated pairs",
        columns=(
            "system",
            "scale",
            "mean related",
            "mean unrelated",
            "gap",
            "in standard deviations",
            "AUC",
        ),
        num_texts=2,
        rows=tuple(
            (
                system.name,
                system.scale,
                _number(system.gap.mean_related),
                _number(system.gap.mean_unrelated),
                _number(system.gap.value),
                _number(system.gap.standardised),
                _number(system.gap.auc),
            )
            for system in comparison.systems
            if system.gap is not None
        ),
        note=_gap_note(comparison),
    )


def _gap_note(comparison: Comparison) -> str:
    gap = next((system.gap for system in comparison.systems if system.gap is not None), None)
    if gap is None:
        return ""
    return (
        f"Related: {comparison.related_means} ({gap.num_related:,} pairs, {gap.num_unrelated:,} unrelated). Means and gaps "
        "are on each system's own scale and cannot be compared down the column; the last two columns can."
    )


def _tests(comparison: Comparison) -> Section:
    return Section(
        title="Is it chance?",
        columns=(
            "first",
            "second",
            "difference",
            "95 % interval",
            "p",
            "p, adjusted",
            "significant",
        ),
        num_texts=2,
        rows=tuple(
            (
                test.first,
                test.second,
                f"{test.difference.value:+.4f}",
                _interval(test.difference.interval),
                _p(test.difference.p),
                _p(test.adjusted_p),
                "yes" if test.adjusted_p < SIGNIFICANT else "no",
            )
            for test in comparison.pairwise
        ),
        note=(
            f"Differences of {comparison.main_measure}, first minus second, paired "
            f"({_test_name(comparison)}); adjusted by Holm for {len(comparison.pairwise)} tests."
        ),
    )


def _test_name(comparison: Comparison) -> str:
    if comparison.kind == "rankings":
        return "Fisher's randomisation test over queries"
    return "bootstrap over pairs"


def _depths(comparison: Comparison) -> Section:
    return Section(
        title="How many candidates to rerank",
        columns=(
            "candidates",
            comparison.main_measure,
            "below the best",
            "p",
            "p50",
            "p95",
            "CPU s / 1,000 queries",
        ),
        num_texts=0,
        rows=tuple(_depth(depth) for depth in comparison.depths),
        note=(
            "0 is the first stage alone. The cross-encoder reads the best so many and the others stay behind them; times "
            "are the cross-encoder's."
        ),
    )


def _depth(depth: Depth) -> tuple[str, ...]:
    below = depth.below_best
    return (
        f"{depth.num_candidates:,}",
        _estimate(depth.quality),
        "best" if below is None else f"{below.value:.4f} {_interval(below.interval)}",
        NOTHING if below is None else _p(below.p),
        *_times(depth.speed),
        NOTHING if depth.speed is None else _amount(depth.speed.cpu_s_per_1000),
    )


def _speeds(comparison: Comparison) -> Section:
    timed = [system for system in comparison.systems if system.speed is not None]
    priced = any(_price(system) is not None for system in timed)
    unit = "queries" if comparison.kind == "rankings" else "pairs"
    return Section(
        title="Time and cost",
        columns=(
            "system",
            f"p50 a {comparison.unit}",
            "p95",
            f"CPU s / 1,000 {unit}",
            *((f"price / 1,000 {unit}",) if priced else ()),
            "once before",
            "timed",
        ),
        num_texts=1,
        rows=tuple(
            (
                system.name,
                *_times(system.speed),
                _amount(system.speed.cpu_s_per_1000),
                *((_amount(_price(system) or 0.0),) if priced else ()),
                f"{system.prepared_s:.3g} s" if system.prepared_s > _LEAST_S else NOTHING,
                f"{system.speed.num_timed:,}",
            )
            for system in timed
            if system.speed is not None
        ),
        note=_speed_note(comparison),
    )


def _speed_note(comparison: Comparison) -> str:
    if comparison.kind == "rankings":
        return (
            "Measured in this run, systems in turn, one query at a time. Once before: encoding documents, counting "
            "their words."
        )
    return "Measured in this run: p50 and p95 of single pairs, systems in turn; CPU time of all pairs scored together."


def _price(system: Compared) -> float | None:
    return None if system.speed is None else system.speed.price_per_1000


def _thresholds(comparison: Comparison) -> Section:
    return Section(
        title="Thresholds",
        columns=("system", "scale", "threshold", "F1", "F1 held out", "precision", "recall"),
        num_texts=2,
        rows=tuple(
            (
                system.name,
                fit.scale,
                f"{fit.value:.4g}",
                f"{fit.f1:.3f}",
                NOTHING if math.isnan(fit.held_out_f1) else f"{fit.held_out_f1:.3f}",
                f"{fit.precision:.3f}",
                f"{fit.recall:.3f}",
            )
            for system in comparison.systems
            if (fit := system.threshold) is not None
        ),
        note=(
            f"The best F1 on these pairs ({comparison.related_means}). Held out: each fifth of the queries judged by a "
            "threshold that was chosen on the others. A threshold holds for its scale and its model alone."
        ),
    )


def _pairs(comparison: Comparison) -> Section:
    names = tuple(system.name for system in comparison.systems)
    scales = {system.name: system.scale for system in comparison.systems}
    return Section(
        title="Side by side",
        columns=(
            "first text",
            "second text",
            *(f"{name} ({scales[name]})" for name in names),
            "label",
        ),
        num_texts=2,
        rows=tuple(
            (
                row.first,
                row.second,
                *(_number(row.scores[name]) for name in names),
                NOTHING if row.grade is None else f"{row.grade:g}",
            )
            for row in comparison.rows
        ),
        note=f"Shown are {comparison.rows_are}. Each column has its own scale.",
        num_wide=2,
    )


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.value):
        return NOTHING
    return f"{estimate.value:.4f} {_interval(estimate.interval)}".strip()


def _interval(interval: Interval) -> str:
    if math.isnan(interval.low):
        return ""
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def _times(speed: Speed | None) -> tuple[str, str]:
    if speed is None:
        return NOTHING, NOTHING
    return milliseconds(speed.p50_ms), milliseconds(speed.p95_ms)


def _amount(value: float) -> str:
    """Three digits of small amounts, whole numbers of large ones."""
    whole = 100.0
    return f"{value:,.0f}" if value >= whole else f"{value:.3g}"


def _number(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.3f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return NOTHING
    return f"< {_LEAST_P:g}" if value < _LEAST_P else f"{value:.4f}"
