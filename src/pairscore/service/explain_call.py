"""One explanation over HTTP: its pairs, round by round, on the server's own engine.

All rounds go to the same copy of the model, also if it is reloaded meanwhile: logits of two copies have no difference.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from starlette.requests import Request

from pairscore.engine.core import Engine
from pairscore.engine.records import Answer, Timing
from pairscore.errors import DeadlineError
from pairscore.explaining.measuring import Question, Round, Steps, steps
from pairscore.explaining.reading import read_of
from pairscore.explaining.records import Explanation, UnitKind
from pairscore.retrieval.reranking import joined_scores
from pairscore.road.tokenization import Pair
from pairscore.service import answering
from pairscore.service.fleet_member import Member
from pairscore.service.parts import Parts
from pairscore.service.waiting import watched
from pairscore.values import Scores

__all__ = ["ExplainAsk", "ExplainCall"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainAsk:
    """What a request wants.

    Attributes:
        pair: what is to be explained.
        units: what is left out of its second text.
        max_pairs: pairs that the model may read.
        limit_s: seconds in which the answer is of use, from now; None for no limit.
    """

    pair: Pair
    units: UnitKind
    max_pairs: int
    limit_s: float | None


class ExplainCall:
    """One explanation under way.

    Args:
        request: whose whole body has been read.
        parts: of the app.
        member: the model.
    """

    def __init__(self, request: Request, parts: Parts, member: Member) -> None:
        self._request = request
        self._parts = parts
        self._member = member
        self._begin = time.perf_counter()
        self._answers: list[Answer] = []

    async def answer(self, ask: ExplainAsk) -> tuple[Explanation, Answer]:
        """Explain; told to everybody who counts: traces, the log, the key's quota.

        Raises:
            ClientDisconnect: nobody waits any more; what was under way is cancelled.
            Refusal: the model cannot be loaded now, or has several labels.
            PairscoreError: the pair cannot be scored, or not in time.
        """
        state = self._request.state
        found = await watched(self._request, self._explained(ask))
        answer = self._together()
        state.outcome, state.answer = "ok", answer
        state.span.answer(answer)
        return found, answer

    async def _explained(self, ask: ExplainAsk) -> Explanation:
        fleet = self._parts.runtime.fleet
        async with fleet.using(self._member, timeout_s=ask.limit_s) as engine:
            # What a model that was not in memory puts out is known only now.
            answering.check_labels(self._member)
            # On threads, because a long text takes a while to part.
            read = await asyncio.to_thread(read_of, engine.road.tokenizer, ask.pair)
            question = Question(pair=ask.pair, read=read, units=ask.units, max_pairs=ask.max_pairs)
            course = steps(question)
            found = await asyncio.to_thread(_next, course, None)
            while isinstance(found, Round):
                scores = await self._scored(engine, found, ask)
                found = await asyncio.to_thread(_next, course, scores)
        return found

    async def _scored(self, engine: Engine, asked: Round, ask: ExplainAsk) -> Scores:
        answer = await engine.score(asked.pairs, deadline_s=self._left(ask))
        # As the server calls the model.
        answer = replace(answer, scores=replace(answer.scores, model=self._member.name))
        self._answers.append(answer)
        answering.charge(self._request, self._parts, answer)
        return answer.scores

    def _left(self, ask: ExplainAsk) -> float | None:
        """Seconds that are left.

        Raises:
            DeadlineError: there are none.
        """
        if ask.limit_s is None:
            return None
        left_s = self._begin + ask.limit_s - time.perf_counter()
        if left_s <= 0:
            raise DeadlineError(
                f"no explanation within {ask.limit_s:g} s; give the request more time, or lower max_pairs"
            )
        return left_s

    def _together(self) -> Answer:
        """All rounds as one answer, for the log and the trace."""
        timings = [answer.timing for answer in self._answers]
        return Answer(
            scores=joined_scores([answer.scores for answer in self._answers]),
            timing=Timing(
                tokenize_s=sum(timing.tokenize_s for timing in timings),
                queue_s=sum(timing.queue_s for timing in timings),
                inference_s=sum(timing.inference_s for timing in timings),
                total_s=time.perf_counter() - self._begin,
            ),
            num_cached=sum(answer.num_cached for answer in self._answers),
            num_shared=sum(answer.num_shared for answer in self._answers),
        )


def _next(course: Steps, scores: Scores | None) -> Round | Explanation:
    """The next round, or the end; no `StopIteration` may leave a thread."""
    try:
        return next(course) if scores is None else course.send(scores)
    except StopIteration as ended:
        explanation: Explanation = ended.value
        return explanation
