"""`SearchPipeline`: retrieve, fuse, rerank; the whole road of a query, for one caller or for many threads.

The first stage (`first_stage.py`) and the second (`reranking.py`) are apart, so that a service can drive each its own way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pairscore.closing import Closing
from pairscore.errors import SettingError
from pairscore.retrieval.base import Encoder, Filter, Retriever
from pairscore.retrieval.blending import check_blend
from pairscore.retrieval.first_stage import FirstStage
from pairscore.retrieval.reranking import Reranker, TimedReranker, arranged, pairs_of
from pairscore.retrieval.results import SearchMode, SearchResult
from pairscore.values import Threshold

__all__ = ["DEFAULT_CANDIDATES", "DEFAULT_TOP_K", "SearchPipeline"]

DEFAULT_TOP_K: Final = 10
DEFAULT_CANDIDATES: Final = 100
_MS: Final = 1000.0


class SearchPipeline(Closing):
    """Finds documents: candidates by vectors and by words, the best of them in the order of a cross-encoder.

    Any number of threads may share one. It owns none of its parts: who opened them closes them.

    Args:
        retriever: where documents are found, such as a `SearchIndex`.
        encoder: makes the query's vector, such as a `BiEncoder`, the one that the index was built with; None finds by
            words only.
        reranker: reads the best candidates, such as a `CrossEncoder`; None leaves them in the first stage's order.
        clock: seconds, for deadlines and times.

    Raises:
        SettingError: nothing can be found with these parts, or the cross-encoder has several labels.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        encoder: Encoder | None = None,
        reranker: Reranker | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._reranker = None if reranker is None else TimedReranker(reranker, clock=clock)
        self.first_stage = FirstStage(retriever, encoder=encoder, clock=clock)

    @property
    def modes(self) -> tuple[SearchMode, ...]:
        """How candidates can be found, the best way first."""
        return self.first_stage.modes

    def search(  # noqa: PLR0913 - what may be said of one search
        self,
        query: str,
        *,
        top_k: int = DEFAULT_TOP_K,
        num_candidates: int = DEFAULT_CANDIDATES,
        mode: SearchMode | None = None,
        where: Filter = (),
        deadline_ms: float | None = None,
        min_score: float | Threshold | None = None,
        rerank: bool = True,
        blend: float = 0.0,
    ) -> SearchResult:
        """The best documents for a query.

        The first stage is always finished. Then the cross-encoder reads the best `num_candidates`, the best first, as far
        as the time reaches that `deadline_ms` leaves; what it had no time for stands behind what it read, in the first
        stage's order and with that stage's scores, and the result is `partial`. A deadline that is over when the first
        stage ends gives that stage's order; it is no error, because that order is there.

        Args:
            query: what is looked for.
            top_k: how many documents to return.
            num_candidates: how many the cross-encoder reads; with more than that in `top_k`, the rest follows unread.
            mode: ``hybrid``, ``dense`` or ``bm25``; None takes the first of these that can be done here.
            where: conditions on the documents, such as `parse_conditions` makes.
            deadline_ms: milliseconds from now after which nothing more is reranked; None sets no limit.
            min_score: the lowest score to return, on the cross-encoder's scale if there is one, else on the first stage's.
            rerank: False leaves the first stage's order.
            blend: how much the first stage's scores count in the order of what is reranked, from 0, not at all, to 1. A
                hit's score stays the cross-encoder's. Try it where the cross-encoder was trained on other texts than
                yours, and measure: `pairscore evaluate --blend` does.

        Returns:
            Hits, best first; none if nothing was found.

        Raises:
            EmptyInputError: the query is empty.
            InputError: it cannot be scored, or a condition cannot be held against the documents (`FilterError`).
            SearchIndexError: the index cannot be read.
            SettingError: an option makes no sense, or the index has no such mode.
            ScaleError: `min_score` is on another scale.
            BackendError: a model failed.
        """
        begin = self._clock()
        _check(top_k=top_k, num_candidates=num_candidates, deadline_ms=deadline_ms)
        blend = check_blend(blend)
        late = None if deadline_ms is None else begin + deadline_ms / _MS
        limit = max(top_k, num_candidates)
        found = self.first_stage.find(query, limit=limit, mode=mode, where=where)
        best = found.candidates[:num_candidates]
        retrieved = self._clock()
        reranker = self._reranker if rerank else None
        scores = None if reranker is None else reranker.score(pairs_of(query, best), late=late)
        hits = arranged(
            found.candidates,
            scores,
            retrieval_scale=found.scale,
            rerank_scale=None if reranker is None else reranker.scale,
            top_k=top_k,
            min_score=min_score,
            blend=blend,
        )
        end = self._clock()
        num_reranked = 0 if scores is None else len(scores)
        return SearchResult(
            hits=hits,
            timings=replace(
                found.timings,
                rerank=0.0 if reranker is None else (end - retrieved) * _MS,
                total=(end - begin) * _MS,
            ),
            mode=found.mode,
            num_candidates=len(found.candidates),
            num_reranked=num_reranked,
            num_truncated=0 if scores is None else scores.num_truncated,
            partial=reranker is not None and num_reranked < len(best),
            model=None if reranker is None else reranker.name,
            blend=0.0 if reranker is None else blend,
        )

    def close(self) -> None:
        """End the threads of the first stage; its parts stay open. A second call does nothing."""
        self.first_stage.close()


def _check(*, top_k: int, num_candidates: int, deadline_ms: float | None) -> None:
    for name, value in (("top_k", top_k), ("num_candidates", num_candidates)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SettingError(f"{name} is {value!r}; it must be a whole number of at least 1")
    if deadline_ms is not None and not deadline_ms > 0:
        raise SettingError(f"deadline_ms is {deadline_ms!r}; it must be above 0, or None")
