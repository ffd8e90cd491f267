"""What goes in and out of the engine: its limits, its answers, its state, and who is told of events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pairscore.engine.turns import Turns
from pairscore.errors import (
    ClosedError,
    DeadlineError,
    InputError,
    OverloadError,
    SettingError,
)
from pairscore.values import Scores

__all__ = [
    "Answer",
    "BatchReport",
    "EngineConfig",
    "EngineState",
    "Observer",
    "Outcome",
    "Timing",
    "closed",
    "outcome_of",
]

Outcome: TypeAlias = Literal[
    "ok", "invalid", "error", "cancelled", "overload", "deadline", "closed"
]
"""How a request ended; each one ends exactly once. ``invalid``: a text that cannot be scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """The limits of one engine.

    Attributes:
        max_queue_tokens: tokens that may wait or run at once; a request that comes to an empty queue
            is taken however large it is.
        timeout_s: the deadline of a request that brings none; None gives it none.
        run_timeout_s: seconds after which a micro-batch counts as hung and its worker is replaced.
        grace_s: seconds that `close` waits for what was admitted.
        canary_interval_s: seconds between two canaries, each a pair scored to see that scoring works.
        turns: shared with other engines on the machine, so that all together run no more than one would.
    """

    max_queue_tokens: int = 262_144
    timeout_s: float | None = None
    run_timeout_s: float = 30.0
    grace_s: float = 30.0
    canary_interval_s: float = 10.0
    turns: Turns | None = None

    def __post_init__(self) -> None:
        if self.max_queue_tokens < 1:
            raise SettingError(
                f"max_queue_tokens is {self.max_queue_tokens}; it must be at least 1"
            )
        for name in ("run_timeout_s", "canary_interval_s"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} is {getattr(self, name)!r}; it must be above 0")
        if not self.grace_s >= 0:
            raise SettingError(f"grace_s is {self.grace_s!r}; it must not be below 0")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise SettingError(f"timeout_s is {self.timeout_s!r}; it must be above 0, or None")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Where the seconds of one request went, by the wall clock.

    Attributes:
        tokenize_s: looking into the cache and tokenizing.
        queue_s: from then until its first micro-batch began.
        inference_s: from then until its last micro-batch ended; other requests' may lie between.
        total_s: from `score` to its answer.
    """

    tokenize_s: float
    queue_s: float
    inference_s: float
    total_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The scores of one request, and how they came about.

    Attributes:
        scores: in the order of the pairs.
        timing: where the time went.
        num_cached: pairs whose score came out of the cache.
        num_shared: pairs that another one, of this request or of another, was already waiting for.
    """

    scores: Scores
    timing: Timing
    num_cached: int
    num_shared: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReport:
    """One micro-batch that the model ran.

    Attributes:
        num_pairs: rows.
        num_tokens: real tokens.
        num_padded_tokens: longest x count.
        seconds: how long the model took.
        num_threads: threads it was given.
    """

    num_pairs: int
    num_tokens: int
    num_padded_tokens: int
    seconds: float
    num_threads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineState:
    """What an operator asks: is it alive, and how much waits?

    Attributes:
        running: between `start` and `close`.
        num_workers: threads that can take a micro-batch now; a dead one is replaced at once.
        num_requests: requests that are not answered yet.
        queue_tokens: tokens that wait or run.
        waiting_pairs: pairs that wait.
        stalled_s: seconds since a micro-batch ended or began, if anything waits; else 0.
        canary_age_s: seconds since a canary gave the right score; infinity before the first.
        tokens_per_s: padded tokens that all workers together run a second, lately; 0 before it is known.
    """

    running: bool
    num_workers: int
    num_requests: int
    queue_tokens: int
    waiting_pairs: int
    stalled_s: float
    canary_age_s: float
    tokens_per_s: float


class Observer:
    """Is told what happens; does nothing unless a subclass says so.

    Methods are called from several threads, must return at once and must not raise.
    """

    def tokenized(self, *, num_pairs: int, seconds: float) -> None:
        """Pairs were looked up and tokenized."""

    def ran(self, report: BatchReport) -> None:
        """The model ran a micro-batch."""

    def ended(self, outcome: Outcome, *, answer: Answer | None = None) -> None:
        """A request ended; `answer` is there when it ended well."""

    def replaced_worker(self, reason: Literal["died", "hung"]) -> None:
        """A worker was given up and another one took its place."""

    def split(self) -> None:
        """A micro-batch ran out of memory and was halved."""


def outcome_of(error: BaseException) -> Outcome:
    """How a request ended that ended with this error."""
    kinds: tuple[tuple[type[BaseException], Outcome], ...] = (
        (InputError, "invalid"),
        (asyncio.CancelledError, "cancelled"),
        (OverloadError, "overload"),
        (DeadlineError, "deadline"),
        (ClosedError, "closed"),
    )
    return next((outcome for kind, outcome in kinds if isinstance(error, kind)), "error")


def closed() -> ClosedError:
    """What everybody is told who comes, or still waits, when the engine has ended."""
    return ClosedError(
        "the engine is closed, or closing; send the request to another one, or again later"
    )
