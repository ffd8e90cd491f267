"""One call of many queries: how much of it is under way at a time, how each query ends, what all came to.

Each query takes the way of a request of its own through the engine, a few of them at a time, so that one call shares
the machine with other requests and cannot fill the queue. Lines wait for the client: when it reads slowly, no
further query is begun; when it goes away, all that is left is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.types import Send

from pairscore.engine.core import outcome_of
from pairscore.engine.preparing import guess_tokens
from pairscore.engine.records import Answer, Outcome, Timing
from pairscore.errors import ClosedError, DeadlineError, OverloadError
from pairscore.service import answering, problems
from pairscore.service.dialects import batch
from pairscore.service.dialects.batch import Job, RerankBatchEnd
from pairscore.service.dialects.records import Found, Usage
from pairscore.service.fleet_member import Member
from pairscore.service.parts import Parts
from pairscore.service.waiting import ended_as, until_gone

__all__ = ["Call", "Lines"]

# A proxy that gathers an answer before it passes it on would undo the stream; nginx listens to this.
_UNBUFFERED: Final = {"X-Accel-Buffering": "no"}

# Queries of one call that are under way together: enough to keep the workers busy, few enough to leave others theirs.
_QUERIES: Final = 8
_QUERIES_A_WORKER: Final = 2
# Tokens that a pair may have, where no model says it.
_MAX_LENGTH: Final = 512
# And their tokens: this part of what the queue holds, guessed from their characters as admission does.
_SHARE: Final = 4

# When all queries end like this, the call is told so as a call of one would be, instead of 200 and nothing.
_TURNED_AWAY: Final = (OverloadError, DeadlineError, ClosedError)


@dataclass(slots=True)
class Lines:
    """The way to the client; the answer begins with the first line."""

    send: Send
    headers: Sequence[tuple[bytes, bytes]]
    begun: bool = False

    async def write(self, line: bytes, *, last: bool = False) -> None:
        """Send one line; it waits until the client has read what was sent before."""
        if not self.begun:
            self.begun = True
            start = {"type": "http.response.start", "status": 200, "headers": list(self.headers)}
            await self.send(start)
        await self.send({"type": "http.response.body", "body": line, "more_body": not last})


class _Pace:
    """How much of one call is under way at a time; one task enters.

    Args:
        max_queries: queries under way.
        max_tokens: their tokens; a query that has more runs alone.
    """

    def __init__(self, *, max_queries: int, max_tokens: int) -> None:
        self._max_queries = max_queries
        self._max_tokens = max_tokens
        self._tokens: dict[int, int] = {}
        self._left = asyncio.Event()

    async def enter(self, job: Job, *, num_tokens: int) -> None:
        """Wait for room, and take it."""
        while not self._fits(num_tokens):
            self._left.clear()
            await self._left.wait()
        self._tokens[job.index] = num_tokens

    def leave(self, job: Job) -> None:
        """Make room."""
        del self._tokens[job.index]
        self._left.set()

    def _fits(self, num_tokens: int) -> bool:
        if not self._tokens:
            return True
        return (
            len(self._tokens) < self._max_queries
            and sum(self._tokens.values()) + num_tokens <= self._max_tokens
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    """One query that has ended; either `answer` or `error` is there.

    Attributes:
        job: the query.
        line: what the client is told.
        answer: the engine's.
        error: why there is none.
    """

    job: Job
    line: bytes
    answer: Answer | None = None
    error: Exception | None = None


class _Tally:
    """What a call came to: for its last line, the log and the trace."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._answers: list[Answer] = []
        self._failures: Counter[Outcome] = Counter()

    def add(self, ended: _Ended) -> None:
        """One more query."""
        if ended.answer is not None:
            self._answers.append(ended.answer)
        elif ended.error is not None:
            self._failures[outcome_of(ended.error)] += 1

    @property
    def outcome(self) -> Outcome:
        """As most of those ended that failed, if any did."""
        return next((outcome for outcome, _ in self._failures.most_common(1)), "ok")

    def end(self) -> RerankBatchEnd:
        """The last line."""
        num_tokens = sum(int(answer.scores.num_tokens.sum()) for answer in self._answers)
        num_failed = self._failures.total()
        return RerankBatchEnd(
            num_queries=len(self._answers) + num_failed,
            num_failed=num_failed,
            num_truncated=sum(answer.scores.num_truncated for answer in self._answers),
            usage=Usage(prompt_tokens=num_tokens, total_tokens=num_tokens),
            seconds=round(self._seconds, 6),
        )

    def together(self) -> Answer | None:
        """All answers as one; None if there are none."""
        if not self._answers:
            return None
        parts = [answer.scores for answer in self._answers]
        names = ("logits", "scores", "probabilities", "num_tokens", "truncated")
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in names
        }
        return Answer(
            scores=replace(parts[0], windows=None, **columns),
            timing=self._timing(self._answers[0].timing),
            num_cached=sum(answer.num_cached for answer in self._answers),
            num_shared=sum(answer.num_shared for answer in self._answers),
        )

    def _timing(self, first: Timing) -> Timing:
        """What went by before the model began; the rest of the queries wait while others run."""
        total_s = self._seconds
        inference_s = max(0.0, total_s - first.tokenize_s - first.queue_s)
        return replace(first, inference_s=inference_s, total_s=total_s)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._begin


class Call:
    """One call under way.

    Args:
        request: whose whole body has been read.
        parts: of the app.
        jobs: the queries.
        members: the models that they name.
        deadline_s: seconds from now in which the answers are of use; None takes the setting's.

    Raises:
        ModelError: no model is loaded.
    """

    def __init__(
        self,
        request: Request,
        parts: Parts,
        jobs: Iterable[Job],
        *,
        members: Collection[Member],
        deadline_s: float | None,
    ) -> None:
        settings = parts.settings
        # Of a model that is not in memory nothing is known; it is at most somewhat too slow or too quick for it.
        known = [member.facts for member in members if member.facts is not None]
        self._request = request
        self._parts = parts
        # Taken from as they begin, so that what was answered lies in memory no longer.
        self._jobs = deque(jobs)
        self._begin = asyncio.get_running_loop().time()
        self._deadline_s = settings.timeout_s if deadline_s is None else deadline_s
        self._pace = _Pace(
            max_queries=max(
                [_QUERIES, *(_QUERIES_A_WORKER * facts.num_workers for facts in known)]
            ),
            max_tokens=settings.max_queue_tokens // _SHARE,
        )
        self._max_length = max((facts.max_length for facts in known), default=_MAX_LENGTH)
        self._ended: asyncio.Queue[_Ended] = asyncio.Queue()
        self._num_scoring = 0
        self._one_scored = asyncio.Event()
        self._tally = _Tally()
        methods = {facts.calibration for facts in known}
        self.headers = {
            **answering.model_header(", ".join(sorted(member.name for member in members))),
            **answering.calibration_header(methods.pop() if len(methods) == 1 else None),
            **_UNBUFFERED,
        }

    async def answer(self, lines: Lines) -> None:
        """Score all queries and write their lines.

        Raises:
            ClientDisconnect: nobody reads them any more; what was left is cancelled.
            OverloadError: the queue had no room for any query.
            DeadlineError: no query was answered in time.
            ClosedError: the service is shutting down, and no query was answered.
        """
        outcome: Outcome | None = None
        try:
            await until_gone(self._request, self._all(lines))
        except BaseException as error:
            outcome = ended_as(error)
            raise
        finally:
            self._record(outcome or self._tally.outcome)

    def _record(self, outcome: Outcome) -> None:
        state, answer = self._request.state, self._tally.together()
        state.outcome, state.answer = outcome, answer
        if answer is not None:
            state.span.answer(answer)

    async def _all(self, lines: Lines) -> None:
        held: list[_Ended] = []
        async with asyncio.TaskGroup() as tasks:
            num_queries = len(self._jobs)
            tasks.create_task(self._begin_all(tasks))
            for _ in range(num_queries):
                ended = await self._ended.get()
                self._tally.add(ended)
                held.append(ended)
                if lines.begun or not isinstance(ended.error, _TURNED_AWAY):
                    for one in held:
                        await lines.write(one.line)
                    held.clear()
                self._pace.leave(ended.job)
        if not lines.begun:
            raise _heaviest(held)
        await lines.write(batch.line_of(self._tally.end()), last=True)

    async def _begin_all(self, tasks: asyncio.TaskGroup) -> None:
        while self._jobs:
            job = self._jobs[0]
            await self._pace.enter(
                job, num_tokens=guess_tokens(job.ask.pairs, max_length=self._max_length)
            )
            self._jobs.popleft()
            tasks.create_task(self._one(job))

    async def _one(self, job: Job) -> None:
        request_id: str = self._request.state.request_id
        answer: Answer | None = None
        after: BackgroundTask | None = None
        try:
            answer = await self._in_time(job)
            answering.charge(self._request, self._parts, answer)
            found = Found(
                ask=job.ask, answer=answer, request_id=request_id, created=int(time.time())
            )
            write = partial(batch.answer_line, job, found)
            line = await answering.written(len(job.ask.pairs), write)
            after = answering.for_shadow(self._request, self._parts, found, part=f":{job.index}")
        # This query's door: whatever is wrong with it, the others are answered.
        except Exception as error:  # noqa: BLE001
            problems.log_failure(error, request_id=request_id)
            fault = problems.fault_of(error, request_id=request_id)
            ended = _Ended(job=job, line=batch.fault_line(job, fault), error=error)
        else:
            ended = _Ended(job=job, line=line, answer=answer)
        self._ended.put_nowait(ended)
        if after is not None:
            await after()

    async def _in_time(self, job: Job) -> Answer:
        limit_s = _least(self._deadline_s, job.ask.deadline_ms)
        if limit_s is None:
            return await self._with_room(job, None)
        late = self._begin + limit_s
        try:
            async with asyncio.timeout_at(late) as limit:
                return await self._with_room(job, late)
        except TimeoutError as error:
            if not (limit.expired() or isinstance(error, DeadlineError)):
                raise
            raise DeadlineError(
                f"this query was not answered within {limit_s:g} s from the beginning of the call; give the "
                "call more time with deadline_ms, send fewer queries at once, or come back when less waits"
            ) from None

    async def _with_room(self, job: Job, late: float | None) -> Answer:
        """The engine's answer; a query for which others of its own call leave no room waits for one of them."""
        while True:
            put_off = False
            self._num_scoring += 1
            try:
                return await answering.scoring(self._parts, job.ask, deadline_s=_until(late))
            except OverloadError:
                put_off = self._num_scoring > 1
                if not put_off:
                    raise
            finally:
                self._num_scoring -= 1
                if not put_off:
                    self._one_scored.set()
                    self._one_scored = asyncio.Event()
            await self._one_scored.wait()


def _least(deadline_s: float | None, deadline_ms: int | None) -> float | None:
    given = [deadline_s, None if deadline_ms is None else deadline_ms / 1000]
    return min((seconds for seconds in given if seconds is not None), default=None)


def _until(late: float | None) -> float | None:
    """Seconds that are left.

    Raises:
        DeadlineError: there are none.
    """
    if late is None:
        return None
    left_s = late - asyncio.get_running_loop().time()
    if not left_s > 0:
        raise DeadlineError("the deadline has passed")
    return left_s


def _heaviest(held: Iterable[_Ended]) -> Exception:
    """Of the errors of all queries the one that a client should heed: the shutdown, or the longest wait."""
    errors = [ended.error for ended in held if ended.error is not None]

    def weight(error: Exception) -> tuple[bool, float]:
        return isinstance(error, ClosedError), getattr(error, "retry_after_s", 0.0)

    return max(errors, key=weight)
