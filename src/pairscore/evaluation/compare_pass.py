"""One pass over the candidates of all queries: every system scores them, query by query in turn, on the clock.

The cross-encoder scores the best 10 first, then those up to rank 20, and so on: so one pass says what every number of
candidates gives and takes. In parts it is a little slower than at once, so the times of many candidates are rather too
long than too short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.evaluation.compare_candidates import Candidates, FirstStage
from pairscore.evaluation.compare_parts import Models, Progress, systems_of
from pairscore.evaluation.compare_systems import (
    CROSS_ENCODER,
    Advance,
    Cost,
    Scored,
    System,
    timed,
)
from pairscore.evaluation.datasets import Judged

__all__ = ["DEPTHS", "Passed", "score_in_turn"]

DoubleArray: TypeAlias = npt.NDArray[np.float64]

DEPTHS: Final = (10, 20, 50, 100, 200, 500)
"""Numbers of candidates that are tried, as far as there are so many."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Passed:
    """One system's scores of all candidates.

    `parts` are its scores query by query, `costs` what each query took, and `until` what each query took
    until so many candidates were scored, by their number.
    """

    system: System
    parts: tuple[DoubleArray, ...]
    probabilities: DoubleArray | None
    costs: tuple[Cost, ...]
    until: Mapping[int, tuple[Cost, ...]]
    prepared_s: float

    @property
    def scored(self) -> Scored:
        """All queries' scores in one list."""
        return Scored(scores=np.concatenate(self.parts), probabilities=self.probabilities)


def score_in_turn(
    first: FirstStage, judged: Judged, models: Models, *, progress: Progress
) -> list[Passed]:
    """Every system's scores of every query's candidates, the cross-encoder's first.

    Args:
        first: the candidates.
        judged: their collection, whose words BM25 counts.
        models: what is compared.
        progress: opens a bar for so many texts and pairs.

    Raises:
        InputError: a pair cannot be scored.
        BackendError: a model failed.
    """
    collection = [document.full_text for document in judged.documents.values()]
    systems = systems_of(models, collection=collection, whose=first.collection)
    texts = [text for query in first.queries for text in query.texts]
    depths = _edges(first.deepest)
    with progress(2 * len(systems) * len(texts)) as advance:
        prepared = [_prepare(system, texts, advance=advance) for system in systems]
        _warm_up(systems, first.queries[0])
        found = [
            [
                _one_query(system, query, _cuts(system, depths), advance=advance)
                for system in systems
            ]
            for query in first.queries
        ]
    return [
        _passed(system, [of_query[place] for of_query in found], prepared_s=prepared[place])
        for place, system in enumerate(systems)
    ]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _OneQuery:
    scores: DoubleArray
    probabilities: DoubleArray | None
    until: Mapping[int, Cost]


def _one_query(
    system: System, query: Candidates, cuts: Sequence[int], *, advance: Advance
) -> _OneQuery:
    """Score a query's candidates in parts that end at the cuts, each on the clock."""
    parts: list[Scored] = []
    until: dict[int, Cost] = {}
    spent = Cost()
    for start, end in pairwise((0, *cuts)):
        texts = query.texts[start:end]
        if texts:
            scored, cost = timed(_work(system, query.query, texts))
            parts.append(scored)
            spent += cost
            advance(len(texts))
        until[end] = spent
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return _OneQuery(
        scores=np.concatenate([part.scores for part in parts]),
        probabilities=np.concatenate(probabilities) if probabilities else None,
        until=until,
    )


def _work(system: System, query: str, texts: Sequence[str]) -> Callable[[], Scored]:
    return lambda: system.score(query, texts)


def _passed(system: System, found: Sequence[_OneQuery], *, prepared_s: float) -> Passed:
    cuts = tuple(found[0].until)
    probabilities = [one.probabilities for one in found if one.probabilities is not None]
    return Passed(
        system=system,
        parts=tuple(one.scores for one in found),
        probabilities=np.concatenate(probabilities) if probabilities else None,
        costs=tuple(one.until[cuts[-1]] for one in found),
        until={cut: tuple(one.until[cut] for one in found) for cut in cuts},
        prepared_s=prepared_s,
    )


def _prepare(system: System, texts: Sequence[str], *, advance: Advance) -> float:
    def work() -> Scored:
        system.prepare(texts, advance=advance)
        return Scored(scores=np.empty(0))

    return timed(work)[1].wall_s


def _warm_up(systems: Sequence[System], query: Candidates) -> None:
    """The first call of a model pays for what no later one does."""
    for system in systems:
        system.score(query.query, query.texts[:2])


def _edges(deepest: int) -> tuple[int, ...]:
    return (*(depth for depth in DEPTHS if depth < deepest), deepest)


def _cuts(system: System, depths: tuple[int, ...]) -> tuple[int, ...]:
    """Only the cross-encoder reads more when it has more candidates."""
    return depths if system.name == CROSS_ENCODER else depths[-1:]
