"""Measuring a model on labelled data: rankings before and after reranking, and scores of pairs.

A ranking is reranked as a search would do it: the best `depth` documents of each query are scored by the
cross-encoder and ordered by that (by its logits, which no sigmoid has rounded together), or by a blend of that and of
the ranking's own scores; the others stand
behind them in the order in which they were found, and so do those whose texts the corpus lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from pairscore.errors import EmptyInputError, SettingError
from pairscore.evaluation.cached import Advance, CachedCrossEncoder, Pair
from pairscore.evaluation.datasets import Judged
from pairscore.evaluation.rankings import (
    DEFAULT_MEASURES,
    Measured,
    measure_run,
    measures_named,
)
from pairscore.evaluation.runs import Ranking, Run, ranking_of
from pairscore.retrieval.blending import blended, check_blend

__all__ = [
    "DEFAULT_DEPTH",
    "Evaluation",
    "RankingOptions",
    "RunReport",
    "evaluate_runs",
    "num_pairs_to_score",
    "rerank",
]

DEFAULT_DEPTH: Final = 100
"""Documents of a query that are reranked, where nothing else is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankingOptions:
    """How rankings are reranked and measured.

    Attributes:
        depth: documents of each query that are reranked.
        measures: names in ir-measures' syntax.
        min_grade: the lowest grade that is relevant, for measures that do not say it themselves; None is 1.
        blend: how much a ranking's own scores count in the order of what is reranked, as `retrieval.blending` says.
    """

    depth: int = DEFAULT_DEPTH
    measures: Sequence[str] = DEFAULT_MEASURES
    min_grade: int | None = None
    blend: float = 0.0

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise SettingError(
                f"the depth is {self.depth}; rerank at least 1 document of each query"
            )
        check_blend(self.blend)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunReport:
    """One run, before and after reranking.

    Attributes:
        before: the run as it was given, whole.
        quality: its measures by name.
        after: the run with its best documents reranked; None if nothing was to be reranked.
        quality_after: its measures by name; empty if nothing was to be reranked.
        num_reranked: documents that were scored.
        num_truncated: those of them that were too long for the model and cut.
    """

    before: Run
    quality: Mapping[str, Measured]
    after: Run | None = None
    quality_after: Mapping[str, Measured] = field(default_factory=dict)
    num_reranked: int = 0
    num_truncated: int = 0

    @property
    def name(self) -> str:
        """The run's name."""
        return self.before.name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evaluation:
    """A judged collection, measured.

    Attributes:
        judged: what it was measured on.
        runs: a report for each run, in their order.
        measures: names of what was measured, in the order asked for.
        depth: documents of each query that were reranked.
        model: the cross-encoder's name; None if nothing was reranked.
        blend: how much a ranking's own scores counted in the order of what was reranked.
    """

    judged: Judged
    runs: tuple[RunReport, ...]
    measures: tuple[str, ...]
    depth: int
    model: str | None = None
    blend: float = 0.0


def evaluate_runs(
    judged: Judged,
    scorer: CachedCrossEncoder | None,
    options: RankingOptions | None = None,
    *,
    advance: Advance = lambda _: None,
) -> Evaluation:
    """Measure the runs of a collection, and what reranking makes of them.

    Args:
        judged: the collection; its documents reach as deep as the depth.
        scorer: the cross-encoder; None measures the runs as they are.
        options: how deep, and what is measured.
        advance: told of pairs that were scored; pairs that several runs share are scored once.

    Raises:
        EmptyInputError: there is no run, or no candidate with a text.
        SettingError: a measure is not known.
        InputError, BackendError: a pair cannot be scored, or the model failed.
    """
    chosen = options or RankingOptions()
    measures = measures_named(chosen.measures, min_grade=chosen.min_grade)
    if not judged.runs:
        raise EmptyInputError(
            f"{judged.name} has no run to measure; give one, or a bi-encoder that searches the corpus"
        )
    runs = list(judged.runs.values())
    reranked: list[_Reranked] | None = None
    if scorer is not None:
        reranked = _rerank_all(judged, runs, scorer, chosen, advance=advance)
    reports = []
    for place, run in enumerate(runs):
        report = RunReport(before=run, quality=measure_run(run, judged.qrels, measures))
        if reranked is not None:
            after = reranked[place]
            report = replace(
                report,
                after=after.run,
                quality_after=measure_run(after.run, judged.qrels, measures),
                num_reranked=after.num_reranked,
                num_truncated=after.num_truncated,
            )
        reports.append(report)
    return Evaluation(
        judged=judged,
        runs=tuple(reports),
        measures=tuple(measures),
        depth=chosen.depth,
        model=None if scorer is None else scorer.name,
        blend=0.0 if scorer is None else chosen.blend,
    )


def rerank(
    judged: Judged,
    run: Run,
    scorer: CachedCrossEncoder,
    *,
    depth: int = DEFAULT_DEPTH,
    advance: Advance = lambda _: None,
) -> Run:
    """The run with the best `depth` documents of each query in the cross-encoder's order.

    Raises:
        EmptyInputError: no candidate has a text.
        InputError, BackendError: as `evaluate_runs`.
    """
    (done,) = _rerank_all(judged, [run], scorer, RankingOptions(depth=depth), advance=advance)
    return done.run


def num_pairs_to_score(judged: Judged, *, depth: int) -> int:
    """How many different pairs reranking all runs of a collection takes."""
    return len(set(_pairs(judged, judged.runs.values(), depth=depth)))


@dataclass(frozen=True, slots=True, eq=False)
class _Reranked:
    run: Run
    num_reranked: int
    num_truncated: int


def _rerank_all(
    judged: Judged,
    runs: Sequence[Run],
    scorer: CachedCrossEncoder,
    options: RankingOptions,
    *,
    advance: Advance,
) -> list[_Reranked]:
    pairs = list(dict.fromkeys(_pairs(judged, runs, depth=options.depth)))
    if not pairs:
        raise EmptyInputError(
            f"{judged.name}: no candidate of any query has a text, and so nothing can be reranked"
        )
    scored = scorer.score(pairs, advance=advance)
    logits = dict(zip(pairs, scored.logits.tolist(), strict=True))
    cut = {pair for pair, truncated in zip(pairs, scored.truncated, strict=True) if truncated}
    return [_rearranged(judged, run, logits, cut, options) for run in runs]


def _pairs(judged: Judged, runs: Iterable[Run], *, depth: int) -> Iterator[Pair]:
    for run in runs:
        for query_id, ranking in run.rankings.items():
            for document_id in ranking.document_ids[:depth]:
                if document_id in judged.documents:
                    yield _pair(judged, query_id, document_id)


def _pair(judged: Judged, query_id: str, document_id: str) -> Pair:
    return judged.queries[query_id], judged.documents[document_id].full_text


def _rearranged(
    judged: Judged,
    run: Run,
    logits: Mapping[Pair, float],
    cut: set[Pair],
    options: RankingOptions,
) -> _Reranked:
    rankings, num_reranked, num_truncated = {}, 0, 0
    for query_id, ranking in run.rankings.items():
        known = {
            document_id: _pair(judged, query_id, document_id)
            for document_id in ranking.document_ids[: options.depth]
            if document_id in judged.documents
        }
        keys = [logits[pair] for pair in known.values()]
        if options.blend:
            own = dict(zip(ranking.document_ids, ranking.scores, strict=True))
            first = [own[document_id] for document_id in known]
            keys = blended(first, keys, blend=options.blend).tolist()
        best = ranking_of(tuple(known), keys)
        rankings[query_id] = _with_rest(best, ranking)
        num_reranked += len(known)
        num_truncated += sum(pair in cut for pair in known.values())
    return _Reranked(replace(run, rankings=rankings), num_reranked, num_truncated)


def _with_rest(best: Ranking, first: Ranking) -> Ranking:
    """What was not scored stands behind what was, in its own order, with scores that fall by one each."""
    done = set(best.document_ids)
    rest = tuple(name for name in first.document_ids if name not in done)
    lowest = float(best.scores[-1]) if len(best) else 0.0
    below = lowest - np.arange(1, len(rest) + 1, dtype=np.float64)
    scores = np.concatenate([best.scores, below.astype(np.float32)])
    return Ranking(best.document_ids + rest, scores)
