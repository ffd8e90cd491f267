"""The threads that run micro-batches: each takes one, runs it on one thread, hands the logits on.

They run and decide nothing; the scheduler decides and runs nothing. A worker that dies or hangs is given
up and another one takes its place; what it was running ends with an error.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pairscore.engine.records import BatchReport
from pairscore.engine.scheduler import Entry, Run, Scheduler, Ticket
from pairscore.engine.turns import Turn, Turns
from pairscore.engine.width import Width
from pairscore.errors import BackendError, OutOfMemoryError, PairscoreError, WorkerError
from pairscore.values import Encoded, FloatArray

__all__ = ["Events", "RunBatch", "Workers"]

_log = logging.getLogger("pairscore.engine")

# How much one micro-batch moves the running mean of the speed.
_WEIGHT: Final = 0.1
# Deadlines are judged by somewhat more than the mean speed, so that only what is hopeless is given up.
_HOPE: Final = 1.25
_JOIN_S: Final = 5.0


class RunBatch(Protocol):
    """Runs one micro-batch of encoded pairs."""

    def __call__(self, encoded: Sequence[Encoded], *, num_threads: int) -> FloatArray:
        """The logits of these pairs, in order, shape (num_pairs,), float32, all finite."""
        ...


class Events(Protocol):
    """Who is told; called on worker threads, without the lock."""

    def finished(
        self, entries: Sequence[Entry], logits: FloatArray, complete: Sequence[Ticket]
    ) -> None:
        """Entries have their logits, which completed these requests."""

    def failed(self, tickets: Sequence[Ticket], error: Exception) -> None:
        """These requests ended with an error."""

    def late(self, tickets: Sequence[Ticket]) -> None:
        """These requests could no longer be finished in time."""

    def ran(self, report: BatchReport) -> None:
        """The model ran a micro-batch."""

    def split(self) -> None:
        """A micro-batch ran out of memory and was halved."""

    def replaced(self, reason: Literal["died", "hung"]) -> None:
        """A worker was given up and another one took its place."""


@dataclass(eq=False, slots=True)
class _Worker:
    """One thread; `given_up` tells it, if it ever comes back, that nobody waits for it."""

    thread: threading.Thread | None = None
    run: Run | None = None
    begun_s: float = 0.0
    given_up: bool = False
    turn: Turn | None = None


class Workers:
    """Some threads around one scheduler, and the lock that it needs.

    Args:
        scheduler: used under the lock only.
        run_batch: runs the model.
        events: is told what happens.
        num_workers: how many threads.
        min_sample: padded tokens from which on a micro-batch says something of the speed; of a smaller one
            most of the time is not the tokens'.
        turns: shared with other engines: each micro-batch waits for one; None waits for nobody.
    """

    def __init__(  # noqa: PLR0913 - the parts of an engine that meet here
        self,
        scheduler: Scheduler,
        *,
        run_batch: RunBatch,
        events: Events,
        num_workers: int,
        min_sample: int = 1,
        turns: Turns | None = None,
    ) -> None:
        self.condition = threading.Condition()
        self._scheduler = scheduler
        self._run_batch = run_batch
        self._events = events
        self._num_workers = num_workers
        self._min_sample = min_sample
        self._turns = turns
        self._workers: set[_Worker] = set()
        self._serial = itertools.count(1)
        self._closing = False
        self._seconds_per_token = 0.0
        self._width = Width(num_workers)
        self.last_progress_s = time.monotonic()

    @property
    def num_alive(self) -> int:
        """Threads that can take a micro-batch, now or when theirs is over."""
        return len(self._workers)

    @property
    def tokens_per_s(self) -> float:
        """Padded tokens that all workers together run a second, lately; 0 before the first run."""
        return self._num_workers / self._seconds_per_token if self._seconds_per_token else 0.0

    def start(self) -> None:
        """Start the threads."""
        for _ in range(self._num_workers):
            self._add()

    def replace_hung(self, *, run_timeout_s: float) -> int:
        """Give up the workers whose micro-batch takes too long; returns how many."""
        now = time.monotonic()
        with self.condition:
            hung = [
                worker
                for worker in self._workers
                if worker.run is not None and now - worker.begun_s > run_timeout_s
            ]
        for worker in hung:
            self._give_up(
                worker,
                "hung",
                WorkerError(
                    f"a micro-batch ran for more than {run_timeout_s:g} s and was given up; "
                    "send the request again, or raise run_timeout_s if the model is that slow"
                ),
            )
        return len(hung)

    def close(self) -> None:
        """End the threads that are not busy; a busy one ends when its micro-batch does, and is not waited for long."""
        with self.condition:
            self._closing = True
            self.condition.notify_all()
            threads = [worker.thread for worker in self._workers if worker.thread is not None]
        end = time.monotonic() + _JOIN_S
        for thread in threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))

    def _add(self) -> None:
        worker = _Worker()
        # A daemon: a model that hangs must not keep the process from ending.
        worker.thread = threading.Thread(
            target=self._main,
            args=(worker,),
            name=f"pairscore-worker-{next(self._serial)}",
            daemon=True,
        )
        # Started under the lock: whoever finds it among the workers may join it.
        with self.condition:
            self._workers.add(worker)
            worker.thread.start()

    def _main(self, worker: _Worker) -> None:
        """The life of one thread."""
        try:
            while (run := self._next(worker)) is not None:
                self._begin(worker, run)
                self._score(worker, run.entries, num_threads=run.num_threads)
                self._leave(worker)
                with self.condition:
                    worker.run = None
                    self._scheduler.over(run)
                    if run.lone:
                        seconds = self.last_progress_s - worker.begun_s
                        self._width.told(
                            num_threads=run.num_threads,
                            num_tokens=run.num_padded_tokens,
                            seconds=seconds,
                        )
                    self.condition.notify_all()
        # The worker's door: whatever ends this thread, its callers must not wait for ever.
        except BaseException as error:  # noqa: BLE001
            _log.exception("a worker died; another one takes its place")
            told = WorkerError(
                f"the worker that ran the model died ({type(error).__name__}); "
                "another one took its place: send the request again"
            )
            self._give_up(worker, "died", told)

    def _next(self, worker: _Worker) -> Run | None:
        """Wait for a micro-batch; None ends the thread."""
        while True:
            with self.condition:
                if worker.given_up or self._closing:
                    return None
                choice = self._scheduler.take(
                    now=time.monotonic(),
                    tokens_per_s=self.tokens_per_s * _HOPE,
                    lone_threads=self._lone_threads(),
                )
                if choice.run is not None:
                    worker.run = choice.run
                    # It has not begun: who waits for a turn does not hang.
                    worker.begun_s = math.inf
                elif not choice.late:
                    self.condition.wait()
            if choice.late:
                self._events.late(choice.late)
            if choice.run is not None:
                return choice.run

    def _lone_threads(self) -> int:
        """Threads for a micro-batch that is the only one here; another engine may have the other cores."""
        crowded = self._turns is not None and self._turns.busy
        return 1 if crowded else self._width.choose()

    def _begin(self, worker: _Worker, run: Run) -> None:
        """Wait for a turn, and note the time."""
        if self._turns is not None:
            worker.turn = self._turns.enter()
        with self.condition:
            worker.begun_s = self.last_progress_s = time.monotonic()
            for entry in run.entries:
                for ticket in entry.waiters:
                    if ticket.begun_s is None:
                        ticket.begun_s = worker.begun_s

    def _leave(self, worker: _Worker) -> None:
        if self._turns is not None and worker.turn is not None:
            self._turns.leave(worker.turn)

    def _score(self, worker: _Worker, entries: Sequence[Entry], *, num_threads: int) -> None:
        """Run entries as one micro-batch; where that fails, as smaller ones, so that few are hit."""
        try:
            logits = self._run(entries, num_threads=num_threads)
        except (OutOfMemoryError, MemoryError) as error:
            if len(entries) == 1:
                self._fail(worker, entries, _out_of_memory(error))
                return
            # Remembered, so that the next one of this size does not fail first.
            with self.condition:
                self._scheduler.shrink(Run(tuple(entries), num_threads).num_padded_tokens // 2)
            self._events.split()
            half = len(entries) // 2
            parts: list[Sequence[Entry]] = [entries[:half], entries[half:]]
        # The worker's door: what a model raises ends its callers, not the thread.
        except Exception as error:  # noqa: BLE001
            parts = _by_request(entries)
            if len(parts) == 1:
                self._fail(worker, entries, error)
                return
        else:
            self._finish(worker, entries, logits)
            return
        for part in parts:
            self._score(worker, part, num_threads=num_threads)

    def _run(self, entries: Sequence[Entry], *, num_threads: int) -> FloatArray:
        begin = time.monotonic()
        logits = self._run_batch([entry.pair.encoded for entry in entries], num_threads=num_threads)
        seconds = time.monotonic() - begin
        if len(logits) != len(entries):
            raise BackendError(f"the model gave {len(logits)} logits for {len(entries)} pairs")
        run = Run(tuple(entries), num_threads)
        if run.num_padded_tokens >= self._min_sample:
            mean, new = self._seconds_per_token, seconds * num_threads / run.num_padded_tokens
            self._seconds_per_token = mean + _WEIGHT * (new - mean) if mean else new
        self._events.ran(
            BatchReport(
                num_pairs=len(entries),
                num_tokens=run.num_tokens,
                num_padded_tokens=run.num_padded_tokens,
                seconds=seconds,
                num_threads=num_threads,
            )
        )
        return logits

    def _finish(self, worker: _Worker, entries: Sequence[Entry], logits: FloatArray) -> None:
        with self.condition:
            if worker.given_up:
                return
            self.last_progress_s = time.monotonic()
            complete = self._scheduler.finish(entries, logits)
        for ticket in complete:
            ticket.ended_s = self.last_progress_s
        self._events.finished(entries, logits, complete)

    def _fail(self, worker: _Worker, entries: Sequence[Entry], error: Exception) -> None:
        with self.condition:
            if worker.given_up:
                return
            failed = self._scheduler.fail(entries)
        self._events.failed(failed, error)

    def _give_up(self, worker: _Worker, reason: Literal["died", "hung"], error: Exception) -> None:
        with self.condition:
            if worker.given_up:
                return
            worker.given_up = True
            self._workers.discard(worker)
            failed: list[Ticket] = []
            if worker.run is not None:
                failed = self._scheduler.fail(worker.run.entries)
                self._scheduler.over(worker.run)
            closing = self._closing
            self.condition.notify_all()
        # Whatever hangs here must not take the turns of other engines with it.
        self._leave(worker)
        self._events.failed(failed, error)
        if not closing:
            self._events.replaced(reason)
            self._add()


def _by_request(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Entries by the first request that wants them; what nobody wants any more is a group too."""
    groups: dict[Ticket | None, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(next(iter(entry.waiters), None), []).append(entry)
    return list(groups.values())


def _out_of_memory(error: Exception) -> PairscoreError:
    if isinstance(error, OutOfMemoryError):
        return error
    told = OutOfMemoryError(
        "out of memory on a single pair; lower max_length or num_workers, or give the process more memory"
    )
    told.__cause__ = error
    return told
