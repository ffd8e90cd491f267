"""The same pairs scored by cross-encoder, bi-encoder and BM25: quality with intervals, gaps, tests, times.

Rankings of candidates are compared in `pairscore.evaluation.compare_rankings`. Nothing here needs more than numpy, so
that the built-in examples work without an extra.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.errors import InputError
from pairscore.evaluation.compare_advice import advise
from pairscore.evaluation.compare_examples import EXAMPLES
from pairscore.evaluation.compare_parts import (
    CompareOptions,
    Labels,
    Models,
    Progress,
    compared_of,
    numbered,
    reliability_in,
    rows_are,
    rows_of,
    systems_of,
    with_holm,
)
from pairscore.evaluation.compare_records import Compared, Comparison, Estimate, Pairwise, Speed
from pairscore.evaluation.compare_systems import Advance, Cost, Scored, System, speed_of, timed
from pairscore.evaluation.datasets import ScoredPairs, scored_pairs
from pairscore.evaluation.significance import (
    Correlation,
    correlation,
    correlation_difference,
    correlation_interval,
)

__all__ = ["check_related", "compare_examples", "compare_pairs"]

DoubleArray: TypeAlias = npt.NDArray[np.float64]

_MAX_TIMED: Final = 40
_ON_MODELS: Final = (
    "A relevance model (MS MARCO) says whether the second text answers the first, which is not the same as being alike; "
    "for likeness, compare a similarity model (STS)."
)
_ON_SCALES: Final = (
    "A gap of logits is wider than one of cosines because the scale is; standard deviations and AUC say which system "
    "tells the pairs apart, and nine pairs say little."
)
_SAID: Final[Mapping[Correlation, str]] = {
    "auc": "AUC",
    "spearman": "Spearman",
    "pearson": "Pearson",
}
# Of a graded scale, the part from which on pairs count as related where nobody says it.
_UPPER_FIFTH: Final = 0.8


def compare_examples(models: Models, *, options: CompareOptions, progress: Progress) -> Comparison:
    """Compare on the built-in examples; some seconds, and too few pairs to recommend anything."""
    data = scored_pairs(
        [(example.first, example.second) for example in EXAMPLES],
        [float(example.related) for example in EXAMPLES],
        name="built-in examples",
    )
    found = compare_pairs(
        data, models, options=replace(options, positive_from=None), progress=progress
    )
    return replace(found, notes=(*found.notes, _ON_MODELS, _ON_SCALES))


def compare_pairs(
    data: ScoredPairs, models: Models, *, options: CompareOptions, progress: Progress
) -> Comparison:
    """Compare on labelled pairs: AUC of binary grades, Spearman and Pearson of graded ones.

    Args:
        data: the pairs.
        models: what is compared.
        options: how.
        progress: opens a bar for so many pairs.

    Raises:
        InputError: a pair cannot be scored, or all grades count as related, or none.
        BackendError: a model failed.
    """
    lowest = check_related(data, options)
    seconds = [second for _, second in data.pairs]
    with progress(len(data) * (1 + (models.bi is not None) + models.bm25)) as advance:
        systems = systems_of(
            models,
            collection=list(dict.fromkeys(seconds)),
            whose="the second texts of all pairs",
        )
        results = [_scored(system, data, advance=advance) for system in systems]
    kinds: tuple[Correlation, ...] = ("auc",) if data.kind == "binary" else ("spearman", "pearson")
    speeds = _speeds(results, data, price_per_hour=options.price_per_hour)
    labels = _labels(data, lowest=lowest)
    compared = [
        compared_of(
            result.system,
            result.scored,
            labels,
            measures=_measures(result.scored.scores, data.grades, kinds),
            speed=speed,
        )
        for result, speed in zip(results, speeds, strict=True)
    ]
    pairwise = _pairwise(compared, data.grades, kinds[0])
    return Comparison(
        name=data.name,
        kind="pairs",
        num_pairs=len(data),
        num_queries=len(np.unique(labels.groups)),
        main_measure=_SAID[kinds[0]],
        related_means="label 1" if data.kind == "binary" else f"grade {lowest:g} and up",
        related=labels.related,
        known=labels.known,
        systems=tuple(compared),
        pairwise=pairwise,
        reliability=reliability_in(results[0].scored, labels),
        rows=rows_of(compared, labels),
        rows_are=rows_are(len(data)),
        advice=advise(
            compared,
            measure=_SAID[kinds[0]],
            pairwise=pairwise,
            depths=(),
            num_queries=len(data),
        ),
    )


def check_related(data: ScoredPairs, options: CompareOptions) -> float:
    """The lowest grade of related pairs, before anything is scored.

    Raises:
        InputError: all pairs are then related, or none.
    """
    lowest = options.positive_from
    if lowest is None:
        lowest = 1.0 if data.kind == "binary" else _UPPER_FIFTH * float(data.grades.max())
    num_related = int((data.grades >= lowest).sum())
    if not 0 < num_related < len(data):
        raise InputError(
            f"{num_related:,} of {len(data):,} pairs have a grade of {lowest:g} or more, and the grades go from "
            f"{data.grades.min():g} to {data.grades.max():g}; choose the lowest grade of related pairs between them "
            "with positive_from"
        )
    return lowest


@dataclass(frozen=True, kw_only=True, slots=True)
class _Result:
    system: System
    scored: Scored
    cost: Cost


def _scored(system: System, data: ScoredPairs, *, advance: Advance) -> _Result:
    """All pairs at once; a first pair outside the clock pays for what is done only once."""
    system.score_pairs(data.pairs[:1], advance=lambda _: None)
    scored, cost = timed(lambda: system.score_pairs(data.pairs, advance=advance))
    return _Result(system=system, scored=scored, cost=cost)


def _speeds(
    results: Sequence[_Result], data: ScoredPairs, *, price_per_hour: float | None
) -> list[Speed]:
    """Latency of single pairs, in turn; CPU and price of pairs by the thousand, as they were scored together."""
    places = np.unique(np.linspace(0, len(data) - 1, _MAX_TIMED).astype(int)).tolist()
    costs: list[list[Cost]] = [[] for _ in results]
    for place in places:
        alone = data.pairs[place : place + 1]
        for of_system, result in zip(costs, results, strict=True):
            of_system.append(_alone(result.system, alone))
    thousand = 1000.0 / len(data)
    return [
        replace(
            speed,
            cpu_s_per_1000=result.cost.cpu_s * thousand,
            price_per_1000=None
            if price_per_hour is None
            else result.cost.wall_s * thousand * price_per_hour / 3600.0,
        )
        for of_system, result in zip(costs, results, strict=True)
        if (speed := speed_of(of_system, price_per_hour=None)) is not None
    ]


def _alone(system: System, pair: Sequence[tuple[str, str]]) -> Cost:
    return timed(lambda: system.score_pairs(pair, advance=lambda _: None))[1]


def _measures(
    scores: DoubleArray, grades: DoubleArray, kinds: Sequence[Correlation]
) -> dict[str, Estimate]:
    return {
        _SAID[kind]: Estimate(
            value=correlation(scores, grades, kind=kind),
            interval=correlation_interval(scores, grades, kind=kind),
        )
        for kind in kinds
    }


def _labels(data: ScoredPairs, *, lowest: float) -> Labels:
    return Labels(
        pairs=data.pairs,
        grades=data.grades,
        related=data.grades >= lowest,
        known=np.ones(len(data), dtype=np.bool_),
        groups=numbered([first for first, _ in data.pairs]),
    )


def _pairwise(
    compared: Sequence[Compared], grades: DoubleArray, kind: Correlation
) -> tuple[Pairwise, ...]:
    return with_holm(
        [
            Pairwise(
                first=one.name,
                second=other.name,
                measure=_SAID[kind],
                difference=correlation_difference(one.scores, other.scores, grades, kind=kind),
                adjusted_p=math.nan,
            )
            for one, other in combinations(compared, 2)
        ]
    )
