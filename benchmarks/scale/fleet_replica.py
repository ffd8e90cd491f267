"""One replica in simulated time: the service's own admission, planning and scheduler around a model that only takes time.

What decides is not imitated: `pairscore.engine.Scheduler` and `Admission` are plain data, and used as they are. Only
threads, HTTP, the tokenizer and the model are stood in for, by the seconds that they take.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
import simpy

from pairscore.engine.admission import Admission
from pairscore.engine.scheduler import Missing, Run, Scheduler, Ticket, empty_logits
from pairscore.errors import OverloadError
from pairscore.road.planning import plan
from pairscore.values import Encoded
from scale.fleet_host import Host
from scale.fleet_times import ServiceTimes

__all__ = ["End", "Limits", "Replica"]

End: TypeAlias = Literal["answered", "refused", "late"]
"""How a request ends: 200, 429, or 504."""

Steps: TypeAlias = Generator[simpy.Event, Any, Any]
# As `engine/preparing.py` and `engine/workers.py` have them.
_TOKENIZER_THREADS = 2
_HOPE = 1.25
_numbers = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """A replica's settings, with the service's defaults.

    Attributes:
        num_workers: micro-batches at once.
        budget: padded tokens of a micro-batch.
        max_queue_tokens: tokens that may wait or run; more is refused.
        timeout_s: how long a request may take.
    """

    num_workers: int = 1
    budget: int = 512
    max_queue_tokens: int = 262_144
    timeout_s: float = 60.0


class Replica:
    """Scores requests one micro-batch after the other; `num_open` is what the load balancer counts.

    Args:
        env: the simulated time.
        host: where it runs, perhaps beside others.
        times: what its work takes.
        limits: its settings.
        dice: for the noise.
    """

    def __init__(
        self,
        env: simpy.Environment,
        host: Host,
        *,
        times: ServiceTimes,
        limits: Limits,
        dice: random.Random,
    ) -> None:
        self._env, self._host, self._times, self._limits = env, host, times, limits
        self._dice = dice
        self._scheduler = Scheduler(budget=limits.budget, num_workers=limits.num_workers)
        self._admission = Admission(
            max_tokens=limits.max_queue_tokens,
            queued=lambda: self._scheduler.queue_tokens,
            tokens_per_s=self._tokens_per_s,
        )
        self._loop = simpy.Resource(env, capacity=1)
        self._tokenizers = simpy.Resource(env, capacity=_TOKENIZER_THREADS)
        self._waiting: dict[Ticket, simpy.Event] = {}
        self._idle: list[simpy.Event] = []
        self.num_open = 0
        self.busy_s = 0.0
        """Seconds of its workers together in which they ran a micro-batch."""
        self.worked_until_s = 0.0
        for _ in range(limits.num_workers):
            env.process(self._worker())

    def score(self, lengths: Sequence[int]) -> Steps:
        """One request from the load balancer to its answer; says how it ended."""
        self.num_open += 1
        half_s = self._times.request_s / 2
        yield from self._turn(self._loop, half_s)
        end: End = yield from self._score(lengths)
        yield from self._turn(self._loop, half_s)
        self.num_open -= 1
        return end

    def _score(self, lengths: Sequence[int]) -> Steps:
        deadline = self._env.now + self._limits.timeout_s
        num_tokens = sum(lengths)
        try:
            with self._admission.reserved(num_tokens):
                yield from self._turn(self._tokenizers, self._times.tokenize_s * num_tokens)
        except OverloadError:
            return "refused"
        ticket, missing = _prepared(lengths, budget=self._limits.budget, deadline=deadline)
        done = self._waiting[ticket] = self._env.event()
        self._scheduler.submit(ticket, missing)
        self._wake()
        yield done | self._env.timeout(max(0.0, deadline - self._env.now))
        self._waiting.pop(ticket, None)
        if done.triggered:
            return done.value
        self._scheduler.drop(ticket)
        return "late"

    def _turn(self, resource: simpy.Resource, seconds: float) -> Steps:
        """So much work on the one event loop, or on one of the tokenizer's threads."""
        if seconds <= 0:
            return
        with resource.request() as turn:
            yield turn
            yield self._host.work(seconds)

    def _worker(self) -> Steps:
        while True:
            choice = self._scheduler.take(
                now=self._env.now,
                tokens_per_s=self._tokens_per_s() * _HOPE,
                lone_threads=self._limits.num_workers if self._times.lone < 1 else 1,
            )
            for ticket in choice.late:
                self._answer(ticket, "late")
            if choice.run is not None:
                yield from self._run(choice.run)
            elif not choice.late:
                idle = self._env.event()
                self._idle.append(idle)
                yield idle

    def _run(self, run: Run) -> Steps:
        longest = max(entry.num_tokens for entry in run.entries)
        seconds = self._times.run_s(run.num_padded_tokens, longest)
        seconds *= self._times.noise_at(self._dice.random())
        if run.num_threads > 1:
            seconds *= self._times.lone
        begun = self._env.now
        yield self._host.work(seconds, width=run.num_threads)
        self.busy_s += (self._env.now - begun) * run.num_threads
        self.worked_until_s = self._env.now
        complete = self._scheduler.finish(run.entries, np.zeros(len(run.entries), np.float32))
        self._scheduler.over(run)
        for ticket in complete:
            self._answer(ticket, "answered")
        self._wake()

    def _answer(self, ticket: Ticket, end: End) -> None:
        done = self._waiting.pop(ticket, None)
        if done is not None:
            done.succeed(end)

    def _wake(self) -> None:
        idle, self._idle = self._idle, []
        for event in idle:
            event.succeed()

    def _tokens_per_s(self) -> float:
        """What all workers do at most, as the replica knows it from its runs."""
        budget, workers = self._limits.budget, self._limits.num_workers
        return workers * budget / self._times.run_s(budget, min(budget, 128))


def _prepared(
    lengths: Sequence[int], *, budget: int, deadline: float
) -> tuple[Ticket, list[Missing]]:
    """As `Preparer.encode` does it: each pair costs what its micro-batch is padded to."""
    costs = [0] * len(lengths)
    for batch in plan(lengths, budget=budget).batches:
        for position in batch:
            costs[position] = lengths[batch[0]]
    # No pair comes twice: what is asked again is the cache's, and is not simulated.
    keys = [("", str(next(_numbers))) for _ in lengths]
    ticket = Ticket(
        priority=0,
        deadline=deadline,
        logits=empty_logits(len(lengths)),
        positions={key: [place] for place, key in enumerate(keys)},
    )
    missing = [
        Missing(key, _encoded(length), cost)
        for key, length, cost in zip(keys, lengths, costs, strict=True)
    ]
    return ticket, missing


@cache
def _encoded(num_tokens: int) -> Encoded:
    ids = np.zeros(num_tokens, dtype=np.int64)
    return Encoded(ids=ids, type_ids=ids, truncated=False)
