"""One search over HTTP: the first stage on threads, then the cross-encoder on the server's own engine, as far as time reaches.

Candidates go to the engine in slices (`search_slices.py`), two at a time, so that a deadline loses the last ones only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from starlette.requests import Request

from pairscore.engine.records import Answer, Timing
from pairscore.errors import ClosedError, DeadlineError, OverloadError
from pairscore.retrieval.base import Filter
from pairscore.retrieval.reranking import arranged, joined_scores, pairs_of
from pairscore.retrieval.results import Retrieved, SearchMode, SearchResult
from pairscore.road.tokenization import Pair
from pairscore.service import answering
from pairscore.service.dialects.records import Ask
from pairscore.service.fleet_member import Member
from pairscore.service.parts import Parts
from pairscore.service.search_slices import Slices
from pairscore.service.searcher import Searcher
from pairscore.service.waiting import watched

__all__ = ["SearchAsk", "SearchCall"]

_MS: Final = 1000.0
# Slices of one search that are under way together: while one is delivered the next one keeps the workers busy.
_AT_ONCE: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchAsk:
    """What a request wants.

    Attributes:
        query: what is looked for.
        top_k: how many documents.
        num_candidates: how many the cross-encoder reads.
        mode: how they are found; None takes the best way that there is.
        where: conditions on the documents.
        soft_s: seconds after which no more is reranked; None for no limit.
        is_timed: whether the request itself set that time.
        hard_s: seconds after which nobody waits any more, likewise.
        blend: how much the first stage counts in the order of what is reranked.
    """

    query: str
    top_k: int
    num_candidates: int
    mode: SearchMode | None
    where: Filter
    soft_s: float | None
    is_timed: bool
    hard_s: float | None
    blend: float


class SearchCall:
    """One search under way.

    Args:
        request: whose whole body has been read.
        parts: of the app.
        searcher: the index.
        member: the cross-encoder; None leaves the candidates as they were found.
    """

    def __init__(
        self, request: Request, parts: Parts, *, searcher: Searcher, member: Member | None
    ) -> None:
        self._request = request
        self._parts = parts
        self._searcher = searcher
        self._member = member
        self._begin = time.perf_counter()
        self._answers: list[Answer] = []

    @property
    def num_tokens(self) -> int:
        """Tokens that the cross-encoder read."""
        return sum(int(answer.scores.num_tokens.sum()) for answer in self._answers)

    async def answer(self, ask: SearchAsk) -> SearchResult:
        """Search; told to everybody who counts: traces, the log, the key's quota.

        Raises:
            ClientDisconnect: nobody waits any more; what was under way is cancelled.
            DeadlineError: the first stage took longer than the request may.
            OverloadError: there was no room for the search.
            PairscoreError: it cannot be searched for, or something failed.
        """
        state = self._request.state
        result = await watched(self._request, self._searched(ask))
        state.outcome, state.answer = "ok", self._together()
        self._parts.telemetry.searched(asdict(result.timings), partial=result.partial)
        if state.answer is not None:
            state.span.answer(state.answer)
        return result

    async def _searched(self, ask: SearchAsk) -> SearchResult:
        if self._parts.runtime.draining:
            raise ClosedError("the service is shutting down")
        found = await self._searcher.find(
            ask.query,
            limit=max(ask.top_k, ask.num_candidates),
            mode=ask.mode,
            where=ask.where,
            timeout_s=ask.hard_s,
        )
        retrieved = time.perf_counter()
        best = found.candidates[: ask.num_candidates]
        if self._member is not None and best:
            late = None if ask.soft_s is None else self._begin + ask.soft_s
            slices = Slices(
                pairs_of(ask.query, best), self._member, late=late, is_timed=ask.is_timed
            )
            await self._rerank(slices, self._member, late=late)
        return self._result(found, ask, retrieved=retrieved, num_wanted=len(best))

    async def _rerank(self, slices: Slices, member: Member, *, late: float | None) -> None:
        """Score what can be scored in time; the answers are kept in order."""
        running: deque[asyncio.Task[Answer]] = deque()
        try:
            while True:
                while len(running) < _AT_ONCE and (pairs := slices.take()):
                    running.append(asyncio.create_task(self._scored(pairs, member, late=late)))
                if not running:
                    return
                answer = await running[0]
                running.popleft()
                slices.scored(len(answer.scores))
                self._answers.append(answer)
                answering.charge(self._request, self._parts, answer)
        except DeadlineError:
            # What was scored in time is kept, and the rest stays as it was found.
            pass
        except OverloadError:
            if not self._answers:
                raise
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _scored(self, pairs: Sequence[Pair], member: Member, *, late: float | None) -> Answer:
        left_s = _left(late)
        if left_s is not None and left_s <= 0:
            raise DeadlineError("the deadline has passed")
        ask = Ask(pairs=pairs, model=member.name)
        return await answering.scoring(self._parts, ask, deadline_s=left_s)

    def _result(
        self, found: Retrieved, ask: SearchAsk, *, retrieved: float, num_wanted: int
    ) -> SearchResult:
        scores = (
            joined_scores([answer.scores for answer in self._answers]) if self._answers else None
        )
        num_reranked = 0 if scores is None else len(scores)
        hits = arranged(
            found.candidates,
            scores,
            retrieval_scale=found.scale,
            top_k=ask.top_k,
            blend=ask.blend,
        )
        end = time.perf_counter()
        return SearchResult(
            hits=hits,
            timings=replace(
                found.timings,
                rerank=0.0 if self._member is None else (end - retrieved) * _MS,
                total=(end - self._begin) * _MS,
            ),
            mode=found.mode,
            num_candidates=len(found.candidates),
            num_reranked=num_reranked,
            num_truncated=0 if scores is None else scores.num_truncated,
            partial=self._member is not None and num_reranked < num_wanted,
            model=None if self._member is None else self._member.name,
            blend=0.0 if self._member is None else ask.blend,
        )

    def _together(self) -> Answer | None:
        """All slices as one answer, for the log and the trace; None if nothing was scored."""
        if not self._answers:
            return None
        first = self._answers[0].timing
        total_s = time.perf_counter() - self._begin
        return Answer(
            scores=joined_scores([answer.scores for answer in self._answers]),
            timing=Timing(
                tokenize_s=first.tokenize_s,
                queue_s=first.queue_s,
                inference_s=sum(answer.timing.inference_s for answer in self._answers),
                total_s=total_s,
            ),
            num_cached=sum(answer.num_cached for answer in self._answers),
            num_shared=sum(answer.num_shared for answer in self._answers),
        )


def _left(late: float | None) -> float | None:
    return None if late is None else late - time.perf_counter()
