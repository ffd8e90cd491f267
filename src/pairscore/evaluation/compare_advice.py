"""What follows from a comparison: which system, how many candidates, which threshold; and when the data does not say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pairscore.evaluation.compare_records import (
    Advice,
    Compared,
    Depth,
    Pairwise,
    Speed,
)
from pairscore.evaluation.compare_systems import CROSS_ENCODER
from pairscore.evaluation.significance import Difference

__all__ = ["MIN_QUERIES", "SIGNIFICANT", "advise", "chosen_depth", "milliseconds"]

MIN_QUERIES: Final = 20
"""Queries, or labelled pairs, below which a test can find next to nothing, and nothing is recommended."""
SIGNIFICANT: Final = 0.05
# A loss that could be this large and go unnoticed is told.
_WORTH_TELLING: Final = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counted:
    number: int
    what: str


def advise(
    systems: Sequence[Compared],
    *,
    measure: str,
    pairwise: Sequence[Pairwise],
    depths: Sequence[Depth],
    num_queries: int,
) -> Advice:
    """Make a recommendation of what was measured.

    Args:
        systems: with their measures.
        measure: the main one; empty without labels.
        pairwise: the tests.
        depths: reranking so many candidates, the first stage first; empty for pairs.
        num_queries: queries, or labelled pairs, that the tests had.
    """
    counted = _Counted(number=num_queries, what="queries" if depths else "labelled pairs")
    enough = bool(measure) and num_queries >= MIN_QUERIES
    best = _best(systems, measure) if enough else None
    chosen = _with_threshold(systems, best)
    threshold = None if chosen is None else chosen.threshold
    of = None if chosen is None else chosen.name
    if best is None:
        sentences = (*(() if enough else _too_few(counted)), *_said(chosen))
        return Advice(threshold=threshold, threshold_of=of, sentences=sentences)
    said = [_system_sentence(best, systems, measure=measure, pairwise=pairwise)]
    depth = chosen_depth(depths)
    if depth is not None:
        said += _depth_sentences(depth, depths, measure=measure, counted=counted)
    return Advice(
        system=best.name,
        num_candidates=None if depth is None else depth.num_candidates,
        threshold=threshold,
        threshold_of=of,
        sentences=(*said, *_said(chosen)),
    )


def chosen_depth(depths: Sequence[Depth]) -> Depth | None:
    """The fewest candidates whose quality is not significantly below the best; None if none were measured.

    The tests are not corrected for being several: each one that finds a loss makes the answer more careful.
    """
    return next(
        (
            depth
            for depth in depths
            if depth.below_best is None
            or depth.below_best.value <= 0.0
            or depth.below_best.p >= SIGNIFICANT
        ),
        None,
    )


def milliseconds(value: float) -> str:
    """Milliseconds for people: three digits, seconds where there are thousands."""
    thousand = 1000.0
    return f"{value / thousand:.3g} s" if value >= thousand else f"{value:.3g} ms"


def _too_few(counted: _Counted) -> tuple[str, ...]:
    said = (
        f"Not enough data to recommend a system or a number of candidates: {counted.number:,} {counted.what}, and "
        f"below {MIN_QUERIES} a test finds next to nothing. Give more labelled data."
    )
    return (said,)


def _best(systems: Sequence[Compared], measure: str) -> Compared | None:
    measured = [
        system
        for system in systems
        if measure in system.measures and not math.isnan(system.measures[measure].value)
    ]
    return max(measured, key=lambda system: system.measures[measure].value, default=None)


def _system_sentence(
    best: Compared,
    systems: Sequence[Compared],
    *,
    measure: str,
    pairwise: Sequence[Pairwise],
) -> str:
    value = best.measures[measure].value
    apart = _against(best, pairwise)
    worse = [name for name, p in apart.items() if p < SIGNIFICANT]
    level = [name for name, p in apart.items() if not p < SIGNIFICANT]
    said = f"Best by {measure}: {best.name} ({best.detail}) with {value:.4f}"
    if worse:
        said += f", significantly above {_and(worse)}"
    if level:
        quickest = _quickest([system for system in systems if system.name in (*level, best.name)])
        said += f"{' but' if worse else ', but'} not above {_and(level)}"
        if quickest is not None and quickest.name != best.name:
            said += f", of which {quickest.name} is the quickest"
    return f"{said} (paired tests, adjusted p below {SIGNIFICANT} counts)."


def _against(best: Compared, pairwise: Sequence[Pairwise]) -> Mapping[str, float]:
    return {
        (test.second if test.first == best.name else test.first): test.adjusted_p
        for test in pairwise
        if best.name in (test.first, test.second)
    }


def _quickest(systems: Sequence[Compared]) -> Compared | None:
    timed = [(system.speed.p50_ms, system) for system in systems if system.speed is not None]
    return min(timed, key=lambda entry: entry[0])[1] if timed else None


def _depth_sentences(
    depth: Depth, depths: Sequence[Depth], *, measure: str, counted: _Counted
) -> Iterator[str]:
    best = max(depths, key=lambda entry: entry.quality.value)
    if depth.num_candidates == 0:
        reranked = max(depths[1:], key=lambda entry: entry.quality.value)
        lost = reranked.below_best
        worse = lost is not None and lost.value > 0.0 and lost.p < SIGNIFICANT
        yield (
            f"Candidates: none. On these {counted.number:,} {counted.what} reranking "
            f"{'makes it worse' if worse else 'is not shown to help'}: {measure} {depth.quality.value:.4f} without it, "
            f"{reranked.quality.value:.4f} with {reranked.num_candidates:,} candidates"
            f"{_apart(lost if worse else depth.below_best)}."
        )
    elif depth is best or depth.below_best is None:
        yield (
            f"Candidates: {depth.num_candidates:,}. {measure} is {depth.quality.value:.4f}{_time(depth.speed)}, and fewer "
            "candidates are significantly worse."
        )
    else:
        yield (
            f"Candidates: {depth.num_candidates:,}, the fewest that are not significantly below the best: {measure} "
            f"{depth.quality.value:.4f}{_time(depth.speed)}, against {best.quality.value:.4f} with "
            f"{best.num_candidates:,}{_time(best.speed)}{_apart(depth.below_best)}."
        )
    below = depth.below_best
    if below is not None and below.interval.high > _WORTH_TELLING:
        yield (
            f"With {counted.number:,} {counted.what} a loss of up to {below.interval.high:.3f} cannot be excluded; "
            "where that matters, take the best number, or label more."
        )
    if depth.num_candidates and best.num_candidates == depths[-1].num_candidates:
        yield (
            f"The best number is the largest that was tried ({best.num_candidates:,}); more candidates may be better "
            "still."
        )


def _apart(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return (
        f" (difference {difference.value:.4f}, 95 % interval {difference.interval.low:.4f} to "
        f"{difference.interval.high:.4f}, p {difference.p:.3f})"
    )


def _time(speed: Speed | None) -> str:
    return "" if speed is None else f" in {milliseconds(speed.p50_ms)} a query (median)"


def _with_threshold(systems: Sequence[Compared], best: Compared | None) -> Compared | None:
    """The best system if it has a threshold, else the cross-encoder, else whichever has the best one."""
    having = [system for system in systems if system.threshold is not None]
    names = (best.name if best is not None else "", CROSS_ENCODER)
    for name in names:
        found = next((system for system in having if system.name == name), None)
        if found is not None:
            return found
    return max(having, key=_f1, default=None)


def _f1(system: Compared) -> float:
    return 0.0 if system.threshold is None else system.threshold.f1


def _said(chosen: Compared | None) -> tuple[str, ...]:
    threshold = None if chosen is None else chosen.threshold
    if chosen is None or threshold is None:
        return (
            "Threshold: not enough data; at least 10 related and 10 unrelated pairs are needed to choose one.",
        )
    held = (
        "too few queries to hold some out"
        if math.isnan(threshold.held_out_f1)
        else f"{threshold.held_out_f1:.3f} on held-out queries"
    )
    said = (
        f"Threshold: {threshold.value:.4g} for the {chosen.name}, on the scale {threshold.scale!r}: F1 {threshold.f1:.3f} "
        f"(precision {threshold.precision:.3f}, recall {threshold.recall:.3f}; {held})."
    )
    return (said,)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
