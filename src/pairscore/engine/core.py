"""`Engine`: many callers on one event loop, one model, nothing blocked, nothing lost.

A request is looked up in the cache, admitted, tokenized, left to the workers, and answered; every one
ends exactly once: with its scores, or with an error, a cancel, an overload, a deadline or a shutdown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from pairscore.cache.base import CachedScore, ScoreCache
from pairscore.config import Chunking, Truncation
from pairscore.engine import canary
from pairscore.engine.admission import Admission
from pairscore.engine.canary import Canary
from pairscore.engine.delivery import Delivery
from pairscore.engine.preparing import Manner, Preparer, Request
from pairscore.engine.records import (
    Answer,
    EngineConfig,
    EngineState,
    Observer,
    Outcome,
    Timing,
    closed,
    outcome_of,
)
from pairscore.engine.scheduler import Entry, Missing, Scheduler, Ticket, empty_logits
from pairscore.engine.workers import Workers
from pairscore.errors import DeadlineError, SettingError
from pairscore.road.road import Road
from pairscore.road.tokenization import Pair, check_pairs
from pairscore.values import Encoded, FloatArray

__all__ = ["Engine", "outcome_of"]

_log = logging.getLogger("pairscore.engine")

_WATCH_S: Final = 1.0


class Engine:
    """Scores pairs for any number of callers on one event loop.

    Use it as ``async with Engine(road) as engine``. It does not own the road: who opened it closes it.

    Args:
        road: the model; its config says the budget and the number of workers.
        config: the limits.
        cache: where scores are kept; None keeps none. Closed with the engine. A model with several labels keeps none.
        observer: is told what happens.
    """

    def __init__(
        self,
        road: Road,
        *,
        config: EngineConfig | None = None,
        cache: ScoreCache | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.road = road
        self.config = config or EngineConfig()
        # What is cached is one number a pair.
        self._cache = None if road.card.labels else cache
        self._observer = observer or Observer()
        self._preparer = Preparer(road, cache=self._cache)
        self._scheduler = Scheduler(budget=road.config.budget, num_workers=road.config.workers)
        self._num_requests = 0
        self._running = False
        self._ended = False
        self._canary = Canary()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the workers, and score some pairs, so that the first caller finds everything warm.

        Raises:
            BackendError: the model cannot score.
        """
        self._delivery = Delivery(
            asyncio.get_running_loop(),
            observer=self._observer,
            scored=self._keep,
            unsettled=self._unsettle,
        )
        self._workers = Workers(
            self._scheduler,
            run_batch=self._run_batch,
            events=self._delivery,
            num_workers=self.road.config.workers,
            min_sample=self.road.config.budget // 4,
            turns=self.config.turns,
        )
        self._admission = Admission(
            max_tokens=self.config.max_queue_tokens,
            queued=lambda: self._scheduler.queue_tokens,
            tokens_per_s=lambda: self._workers.tokens_per_s,
        )
        self._empty = asyncio.Event()
        self._empty.set()
        self._look_now = asyncio.Event()
        self._workers.start()
        self._running = True
        try:
            await self._sing()
            await self._warm_up()
        except BaseException:
            await self.close()
            raise
        for coroutine in (self._watch(), self._sing_for_ever()):
            self._spawn(coroutine)

    async def close(self) -> None:
        """Refuse what is new, finish what was admitted within `grace_s`, end the rest with an error.

        A second call does nothing.
        """
        if not self._running:
            return
        self._running = False
        try:
            async with asyncio.timeout(self.config.grace_s):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("%d requests were not finished in time", self._num_requests)
        self._ended = True
        self._delivery.fail_all(closed())
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._workers.close)
        self._preparer.close()
        if self._cache is not None:
            await self._cache.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def score(
        self,
        pairs: Iterable[Any],
        *,
        deadline_s: float | None = None,
        priority: int = 0,
        truncation: Truncation | None = None,
        chunking: Chunking | None = None,
    ) -> Answer:
        """Score pairs; cancelling the call frees what has not begun.

        Args:
            pairs: (query, document) pairs, any number.
            deadline_s: seconds from now in which the answer is of use; None takes the config's.
            priority: requests with a lower number go first; those with the same share the machine.
            truncation: how the texts are cut; None cuts as the road does.
            chunking: how long documents are read in windows; None cuts them.

        Raises:
            InputError: a pair cannot be scored.
            OverloadError: the queue is full.
            DeadlineError: there was, or would have been, no answer in time.
            BackendError: the model failed.
            ClosedError: the engine is closed, or closing.
            SettingError: `deadline_s` makes no sense.
        """
        timeout = self.config.timeout_s if deadline_s is None else deadline_s
        if timeout is not None and not timeout > 0:
            raise SettingError(f"deadline_s is {deadline_s!r}; it must be above 0, or None")
        outcome: Outcome = "error"
        answer = None
        try:
            answer = await self._in_time(
                check_pairs(pairs),
                timeout=timeout,
                priority=priority,
                manner=Manner(truncation=truncation or Truncation(), chunking=chunking),
            )
            outcome = "ok"
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            self._observer.ended(outcome, answer=answer)
        return answer

    def state(self) -> EngineState:
        """How it is now; any thread may ask."""
        waiting = self._scheduler.num_waiting
        now = time.monotonic()
        return EngineState(
            running=self._running,
            num_workers=self._workers.num_alive if self._running else 0,
            num_requests=self._num_requests,
            queue_tokens=self._admission.num_tokens if self._running else 0,
            waiting_pairs=waiting,
            stalled_s=now - self._workers.last_progress_s if waiting else 0.0,
            canary_age_s=self._canary.age_s,
            tokens_per_s=self._workers.tokens_per_s if self._running else 0.0,
        )

    async def _in_time(
        self,
        pairs: list[Pair],
        *,
        timeout: float | None,  # noqa: ASYNC109 - passed on to asyncio.timeout
        priority: int,
        manner: Manner | None = None,
    ) -> Answer:
        if not self._running:
            raise closed()
        self._num_requests += 1
        self._empty.clear()
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self._answer(pairs, timeout=timeout, priority=priority, manner=manner)
        except TimeoutError as error:
            if isinstance(error, DeadlineError) or not limit.expired():
                raise
            raise DeadlineError(
                f"no answer within {timeout:g} s; give the request more time, send fewer pairs, "
                "or come back when less waits"
            ) from None
        finally:
            self._num_requests -= 1
            if not self._num_requests:
                self._empty.set()

    async def _answer(
        self,
        pairs: list[Pair],
        *,
        timeout: float | None,  # noqa: ASYNC109 - the scheduler is told the deadline
        priority: int,
        manner: Manner | None,
    ) -> Answer:
        begin = time.monotonic()
        # Nobody but the canary leaves it open: it must be scored whatever is known or waits.
        is_canary = manner is None
        manner = manner or Manner()
        with self._admission.reserved(self._preparer.guess(pairs, manner)):
            request = await self._preparer.look_up(pairs, manner=manner, use_cache=not is_canary)
        ticket = Ticket(
            priority=priority,
            deadline=None if timeout is None else begin + timeout,
            logits=empty_logits(request.num_places, num_labels=len(self.road.card.labels)),
            positions=request.positions,
        )
        prepared = begin
        if request.missing:
            with self._admission.reserved(0 if is_canary else self._preparer.estimate(request)):
                missing = await self._preparer.encode(request)
            prepared = time.monotonic()
            self._observer.tokenized(num_pairs=len(missing), seconds=prepared - begin)
            await self._run(ticket, missing)
        for pair, known in request.known.items():
            ticket.fill(pair, known.logit)
        return self._finished(request, ticket, begin=begin, prepared=prepared)

    async def _run(self, ticket: Ticket, missing: Sequence[Missing]) -> None:
        """Leave the pairs to the workers until they have their logits; free them if we are cancelled."""
        if self._ended:
            raise closed()
        done = self._delivery.expect(ticket)
        try:
            with self._workers.condition:
                self._scheduler.submit(ticket, missing)
                self._workers.condition.notify_all()
            await done
        finally:
            self._delivery.forget(ticket)
            with self._workers.condition:
                self._scheduler.drop(ticket)

    def _finished(
        self, request: Request, ticket: Ticket, *, begin: float, prepared: float
    ) -> Answer:
        end = time.monotonic()
        begun = prepared if ticket.begun_s is None else ticket.begun_s
        ended = begun if ticket.ended_s is None else ticket.ended_s
        return Answer(
            scores=self._preparer.scores(request, ticket.logits),
            timing=Timing(
                tokenize_s=prepared - begin,
                # A pair that was running already began before this request came.
                queue_s=max(0.0, begun - prepared),
                inference_s=max(0.0, ended - max(begun, prepared)),
                total_s=end - begin,
            ),
            num_cached=request.num_cached,
            num_shared=request.num_repeated + ticket.num_shared,
        )

    def _run_batch(self, encoded: Sequence[Encoded], *, num_threads: int) -> FloatArray:
        return self.road.run(encoded, np.arange(len(encoded)), num_threads=num_threads)

    def _keep(self, entries: Sequence[Entry], logits: FloatArray) -> None:
        """Put scores into the cache; nobody waits for that."""
        if self._cache is None or self._ended:
            return
        kept = [
            (
                entry.pair.cache_key,
                CachedScore(logit, entry.num_tokens, entry.pair.encoded.truncated),
            )
            for entry, logit in zip(entries, logits.tolist(), strict=True)
            if entry.pair.cache_key is not None
        ]
        if kept:
            self._spawn(self._cache.put_many(kept))

    def _unsettle(self) -> None:
        """A worker was replaced: not ready until the canary has sung again, and it is asked to at once."""
        self._canary.doubt()
        self._look_now.set()

    async def _watch(self) -> None:
        """Give up workers that hang."""
        timeout = self.config.run_timeout_s
        while True:
            await asyncio.sleep(min(_WATCH_S, timeout / 4))
            if self._workers.replace_hung(run_timeout_s=timeout):
                _log.error("a micro-batch ran for more than %g s; its worker was replaced", timeout)

    async def _sing_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self.config.canary_interval_s):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()
            # The model may raise anything, and the canary must go on asking.
            (result,) = await asyncio.gather(self._sing(), return_exceptions=True)
            if isinstance(result, Exception):
                _log.error("the canary was not scored: %s: %s", type(result).__name__, result)

    async def _warm_up(self) -> None:
        """Let every worker run, so that memory is there and the speed is known."""
        config = self.road.config
        await self._in_time(
            canary.choir(config.budget * config.workers),
            timeout=self.config.run_timeout_s,
            priority=canary.PRIORITY,
        )

    async def _sing(self) -> None:
        """Score the canary.

        Raises:
            BackendError: not as it was scored first, or not at all.
        """
        answer = await self._in_time(
            [canary.PAIR],
            timeout=self.config.run_timeout_s,
            priority=canary.PRIORITY,
        )
        self._canary.heard(float(answer.scores.logits.flat[0]))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
