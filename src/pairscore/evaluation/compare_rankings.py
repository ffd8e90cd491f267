"""The candidates of judged queries, ordered by their first stage, by bi-encoder, BM25 and cross-encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.errors import SettingError
from pairscore.evaluation.compare_advice import advise
from pairscore.evaluation.compare_candidates import (
    FirstStage,
    first_stage_of,
    labels_of,
)
from pairscore.evaluation.compare_labels import gap_of
from pairscore.evaluation.compare_parts import (
    CompareOptions,
    Labels,
    Models,
    Progress,
    compared_of,
    reliability_in,
    rows_are,
    rows_of,
    with_holm,
)
from pairscore.evaluation.compare_pass import Passed, score_in_turn
from pairscore.evaluation.compare_records import (
    Compared,
    Comparison,
    Depth,
    Estimate,
    Pairwise,
)
from pairscore.evaluation.compare_systems import (
    speed_of,
)
from pairscore.evaluation.datasets import Judged
from pairscore.evaluation.rankings import measure_run, measures_named
from pairscore.evaluation.runs import Ranking, Run
from pairscore.evaluation.significance import Difference, bootstrap_interval, mean_difference

if TYPE_CHECKING:
    from ir_measures import Measure

__all__ = [
    "MAIN_MEASURE",
    "MEASURES",
    "Prepared",
    "candidates_to_compare",
    "compare_rankings",
]

DoubleArray: TypeAlias = npt.NDArray[np.float64]

MAIN_MEASURE: Final = "nDCG@10"
MEASURES: Final = (MAIN_MEASURE, "RR@10", "AP", "R@10")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """Candidates that can be compared: what can be refused was refused.

    Attributes:
        judged: the collection.
        first: the candidates of each query.
        labels: what is known of each candidate.
        measures: what is measured.
        min_grade: the lowest relevant grade.
    """

    judged: Judged
    first: FirstStage
    labels: Labels
    measures: Mapping[str, Measure]
    min_grade: int


def candidates_to_compare(
    judged: Judged, *, run: str | None = None, options: CompareOptions
) -> Prepared:
    """Choose the candidates, and check that there is something to compare, before any model is needed.

    Args:
        judged: the collection; without a run, with its whole corpus.
        run: the name of the run that gives the candidates; None takes the first one, or BM25 over the documents
            where there is none.
        options: how many candidates, and from which grade on they are relevant.

    Raises:
        InputError: no candidate is relevant.
        EmptyInputError: no query has a candidate with a text.
        SettingError: there is no such run, or the lowest relevant grade is no whole number.
        MissingExtraError: ir-measures is not installed.
    """
    min_grade = _min_grade(options)
    measures = measures_named(MEASURES, min_grade=min_grade)
    first = first_stage_of(judged, run=run, num_candidates=options.num_candidates)
    return Prepared(
        judged=judged,
        first=first,
        labels=labels_of(first, judged, min_grade=min_grade),
        measures=measures,
        min_grade=min_grade,
    )


def compare_rankings(
    prepared: Prepared, models: Models, *, options: CompareOptions, progress: Progress
) -> Comparison:
    """Compare on judged queries with candidates.

    Args:
        prepared: what `candidates_to_compare` gave.
        models: what is compared.
        options: how.
        progress: opens a bar for so many texts and pairs.

    Raises:
        InputError: a pair cannot be scored.
        BackendError: a model failed.
    """
    judged, first, labels = prepared.judged, prepared.first, prepared.labels
    ruler = _Ruler(judged=judged, measures=prepared.measures)
    passed = score_in_turn(first, judged, models, progress=progress)
    compared, values = [], []
    for of in passed:
        measured = ruler.measure(first, _reordered(of.parts))
        compared.append(_entry(of, labels, measured, price_per_hour=options.price_per_hour))
        values.append(measured[MAIN_MEASURE])
    if first.is_run:
        measured = ruler.measure(first, None)
        compared.append(_entry_of_run(first, labels, measured))
        values.append(measured[MAIN_MEASURE])
    tests = _pairwise([system.name for system in compared], values)
    depths = _depths(first, passed[0], ruler, price_per_hour=options.price_per_hour)
    return Comparison(
        name=judged.name,
        kind="rankings",
        num_pairs=first.num_pairs,
        num_queries=len(judged.queries),
        main_measure=MAIN_MEASURE,
        related_means=f"grade {prepared.min_grade} and up",
        related=labels.related,
        known=labels.known,
        systems=tuple(compared),
        pairwise=tests,
        depths=depths,
        reliability=reliability_in(passed[0].scored, labels),
        rows=rows_of(compared, labels),
        rows_are=rows_are(first.num_pairs),
        advice=advise(
            compared,
            measure=MAIN_MEASURE,
            pairwise=tests,
            depths=depths,
            num_queries=len(judged.queries),
        ),
        notes=_notes(first, labels, judged),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Ruler:
    """Measures orders of the candidates, over all judged queries."""

    judged: Judged
    measures: Mapping[str, Measure]

    def measure(
        self, first: FirstStage, orders: Sequence[Sequence[int]] | None
    ) -> dict[str, DoubleArray]:
        """Values query by query, by the measure's name; None measures the first stage's own order."""
        rankings = {}
        for place, query in enumerate(first.queries):
            order = range(len(query.ids)) if orders is None else orders[place]
            ids = (*(query.ids[at] for at in order), *query.absent)
            rankings[query.query_id] = Ranking(ids, -np.arange(len(ids), dtype=np.float32))
        run = Run(name="order", rankings=rankings)
        found = measure_run(run, self.judged.qrels, self.measures)
        return {name: measured.values for name, measured in found.items()}


def _reordered(parts: Sequence[DoubleArray], depth: int | None = None) -> list[list[int]]:
    """The best `depth` by their scores, ties and the others in the first stage's order."""
    orders = []
    for scores in parts:
        head = np.argsort(-scores[:depth], kind="stable")
        orders.append([*head.tolist(), *range(len(head), len(scores))])
    return orders


def _entry(
    of: Passed,
    labels: Labels,
    measured: Mapping[str, DoubleArray],
    *,
    price_per_hour: float | None,
) -> Compared:
    entry = compared_of(
        of.system,
        of.scored,
        labels,
        measures=_estimates(measured),
        speed=speed_of(of.costs, price_per_hour=price_per_hour),
    )
    return replace(entry, prepared_s=of.prepared_s)


def _entry_of_run(
    first: FirstStage, labels: Labels, measured: Mapping[str, DoubleArray]
) -> Compared:
    """The run as it came: this comparison did not make it, so it has no times and no threshold."""
    scores = np.concatenate([query.scores for query in first.queries])
    return Compared(
        name=first.name,
        detail=first.detail,
        scale="the run's own",
        scores=scores,
        measures=_estimates(measured),
        gap=gap_of(scores[labels.known], labels.related[labels.known]),
    )


def _estimates(measured: Mapping[str, DoubleArray]) -> dict[str, Estimate]:
    return {name: _estimate(values) for name, values in measured.items()}


def _estimate(values: DoubleArray) -> Estimate:
    return Estimate(value=float(values.mean()), interval=bootstrap_interval(values))


def _pairwise(names: Sequence[str], values: Sequence[DoubleArray]) -> tuple[Pairwise, ...]:
    tests = []
    for one, other in combinations(range(len(names)), 2):
        difference = mean_difference(values[one], values[other])
        tests.append(
            Pairwise(
                first=names[one],
                second=names[other],
                measure=MAIN_MEASURE,
                difference=difference,
                adjusted_p=difference.p,
            )
        )
    return with_holm(tests)


def _depths(
    first: FirstStage, cross: Passed, ruler: _Ruler, *, price_per_hour: float | None
) -> tuple[Depth, ...]:
    """What each number of candidates gives, the first stage alone first."""
    values = {0: ruler.measure(first, None)[MAIN_MEASURE]}
    for depth in cross.until:
        values[depth] = ruler.measure(first, _reordered(cross.parts, depth))[MAIN_MEASURE]
    best = max(values, key=lambda depth: (float(values[depth].mean()), -depth))
    return tuple(
        Depth(
            num_candidates=depth,
            quality=_estimate(of_queries),
            speed=speed_of(cross.until.get(depth, ()), price_per_hour=price_per_hour),
            below_best=_below(values[best], of_queries) if depth != best else None,
        )
        for depth, of_queries in values.items()
    )


def _below(best: DoubleArray, other: DoubleArray) -> Difference:
    return mean_difference(best, other)


def _min_grade(options: CompareOptions) -> int:
    lowest = 1.0 if options.positive_from is None else options.positive_from
    if lowest < 1.0 or lowest != int(lowest):
        raise SettingError(
            f"positive_from is {lowest:g}; the grades of rankings are whole numbers, and the lowest relevant one is at "
            "least 1"
        )
    return int(lowest)


def _notes(first: FirstStage, labels: Labels, judged: Judged) -> tuple[str, ...]:
    asked = sum(len(judged.qrels.get(query, {})) > 0 for query in judged.queries)
    notes = [
        f"Candidates: {first.name}, {first.detail}; {first.num_pairs:,} pairs of {asked:,} judged queries.",
        f"Every measure is an average over all {asked:,} judged queries, as trec_eval -c has it.",
        "Reranking cannot find what the first stage did not: recall is bounded by the candidates.",
        "Times: one query after another, systems in turn, on this machine.",
        "A bi-encoder's documents are encoded before; the cross-encoder reads candidates in parts (10, 20, 50 ...).",
    ]
    if not labels.known.all():
        notes.append(
            f"{int((~labels.known).sum()):,} candidates are not judged: measures count them as not relevant; gaps, "
            "thresholds and reliability leave them out."
        )
    return (*notes, *judged.gaps.sentences)
