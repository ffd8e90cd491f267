"""What runs next: the queue of an engine, as plain data; it knows no thread, no clock and no model.

Order between requests is that of the Fair Sojourn Protocol (Friedman and Henderson, "Fairness and
efficiency in web server protocols", SIGMETRICS 2003): serve first what would be finished first if all
requests shared the machine equally. A request of one pair passes one of a thousand, the thousand
are never later than they would be under equal shares, and requests of like size go in order of arrival.

A micro-batch begins with the longest waiting pair of the request whose turn it is, and is filled up to
the budget with pairs of nearly the same length, whoever asked for them: little is padded, and no room is wasted.
Equal pairs that wait at the same time are one entry, run once.

Nothing here is thread-safe: `engine.workers` holds the lock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal, TypeAlias

import numpy as np

from pairscore.road.planning import MAX_PADDING
from pairscore.values import Encoded, FloatArray

__all__ = ["Choice", "Entry", "Missing", "Run", "Scheduler", "Ticket", "empty_logits"]

Key: TypeAlias = tuple[str, str]

_MAX_GHOSTS: Final = 256


@dataclass(frozen=True, slots=True)
class Missing:
    """One distinct pair of a request whose score has to be computed.

    Attributes:
        key: the pair.
        reading: names how its texts were cut; equal pairs that were cut alike are one.
        encoded: the pair, tokenized.
        cost: padded tokens that the queue counts for it.
        cache_key: under which its score is kept; None keeps it nowhere.
    """

    key: Key
    encoded: Encoded
    cost: int
    reading: str = ""
    cache_key: bytes | None = None

    @property
    def identity(self) -> tuple[Key, str]:
        """Of equal identities, equal logits."""
        return self.key, self.reading


@dataclass(eq=False, slots=True)
class Entry:
    """One distinct pair that somebody waits for; `waiters` are the requests that want it."""

    pair: Missing
    waiters: list[Ticket] = field(default_factory=list)
    state: Literal["waiting", "running", "over"] = "waiting"

    @property
    def num_tokens(self) -> int:
        """Real tokens."""
        return self.pair.encoded.num_tokens

    @property
    def cost(self) -> int:
        """Padded tokens that the queue counts for it."""
        return self.pair.cost


@dataclass(eq=False, slots=True)
class Ticket:
    """One admitted request.

    Attributes:
        priority: requests with a lower number go first.
        deadline: on the caller's clock; None for never.
        logits: filled in as they come, float32, shape (num_pairs,), or (num_pairs, num_labels).
        positions: where each distinct pair stands in the request.
        num_shared: pairs that were run for somebody else, or earlier in the request.
        tag: virtual time at which it would be finished under equal shares.
        cost: padded tokens that it still waits for.
        pending: entries that are not over.
        begun_s: when its first micro-batch began, on the caller's clock.
        ended_s: when its last one ended.
    """

    priority: int
    deadline: float | None
    logits: FloatArray
    positions: dict[Key, list[int]]
    num_shared: int = 0
    tag: float = 0.0
    cost: int = 0
    pending: set[Entry] = field(default_factory=set)
    order: deque[Entry] = field(default_factory=deque)
    begun_s: float | None = None
    ended_s: float | None = None

    @property
    def done(self) -> bool:
        """Whether every pair has its logit."""
        return not self.pending

    def fill(self, key: Key, logit: float | Sequence[float]) -> None:
        """Write a logit, or one for each label, wherever the pair stands."""
        for position in self.positions[key]:
            self.logits[position] = logit


@dataclass(frozen=True, eq=False, slots=True)
class Run:
    """A micro-batch to run.

    Attributes:
        entries: its pairs.
        num_threads: threads that may work on it; with more than one, nothing else is started meanwhile.
        lone: whether nothing else ran or waited when it began.
    """

    entries: tuple[Entry, ...]
    num_threads: int
    lone: bool = False

    @property
    def num_tokens(self) -> int:
        """Real tokens."""
        return sum(entry.num_tokens for entry in self.entries)

    @property
    def num_padded_tokens(self) -> int:
        """Longest x count."""
        return len(self.entries) * max(entry.num_tokens for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Choice:
    """What `take` decided.

    Attributes:
        run: what to run; None if nothing may start now.
        late: requests whose turn came when they could no longer be finished in time; they are dropped.
    """

    run: Run | None
    late: tuple[Ticket, ...] = ()


class Scheduler:
    """Waiting pairs, and whose turn it is.

    Args:
        budget: padded tokens of a micro-batch; a longer pair runs alone.
        num_workers: micro-batches that run at once, and threads of one that runs alone.
    """

    def __init__(self, *, budget: int, num_workers: int) -> None:
        self._budget = budget
        self._num_workers = num_workers
        self._entries: dict[tuple[Key, str], Entry] = {}
        self._by_length: dict[int, dict[Entry, None]] = {}
        self._turns: list[tuple[int, float, int, Ticket]] = []
        self._runs: set[Run] = set()
        self._tickets: set[Ticket] = set()
        self._virtual = 0.0
        self._serial = 0
        self._queue_tokens = 0
        self._num_waiting = 0

    @property
    def queue_tokens(self) -> int:
        """Padded tokens that wait or run."""
        return self._queue_tokens

    @property
    def num_waiting(self) -> int:
        """Pairs that wait."""
        return self._num_waiting

    @property
    def runs(self) -> frozenset[Run]:
        """What runs now."""
        return frozenset(self._runs)

    @property
    def tickets(self) -> frozenset[Ticket]:
        """Requests that are not over."""
        return frozenset(self._tickets)

    def submit(self, ticket: Ticket, pairs: Iterable[Missing]) -> None:
        """Let the pairs of a request wait; one that waits already, or runs, is waited for together."""
        for pair in sorted(pairs, key=_length, reverse=True):
            entry = self._entries.get(pair.identity)
            if entry is None:
                entry = self._new_entry(Entry(pair))
            else:
                ticket.num_shared += len(ticket.positions[pair.key])
            entry.waiters.append(ticket)
            ticket.pending.add(entry)
            ticket.order.append(entry)
            ticket.cost += entry.cost
        self._serial += 1
        ticket.tag = self._virtual + ticket.cost
        self._tickets.add(ticket)
        heapq.heappush(self._turns, (ticket.priority, ticket.tag, self._serial, ticket))
        if len(self._turns) > _MAX_GHOSTS + 2 * len(self._tickets):
            # Requests that went away behind others that are still waiting.
            self._turns = [turn for turn in self._turns if turn[-1].order]
            heapq.heapify(self._turns)

    def take(self, *, now: float, tokens_per_s: float, lone_threads: int | None = None) -> Choice:
        """The next micro-batch, which then counts as running.

        Args:
            now: on the clock of the deadlines.
            tokens_per_s: what all workers together may be hoped to do; what cannot even so be finished
                by its deadline is not started.
            lone_threads: threads for a micro-batch that has the machine to itself; None gives it all.
        """
        if any(run.num_threads > 1 for run in self._runs):
            # It has all the cores, and will soon be over.
            return Choice(None)
        late = []
        ticket = self._turn()
        while ticket is not None and _too_late(ticket, now=now, tokens_per_s=tokens_per_s):
            late.append(ticket)
            self.drop(ticket)
            ticket = self._turn()
        run = None
        if ticket is not None:
            entries = self._gather(ticket.order.popleft())
            run = self._start(entries, lone_threads or self._num_workers)
        return Choice(run, tuple(late))

    def _start(self, entries: list[Entry], lone_threads: int) -> Run:
        for entry in entries:
            entry.state = "running"
            self._no_longer_waits(entry)
        alone = not self._runs and self._num_waiting == 0
        run = Run(tuple(entries), num_threads=lone_threads if alone else 1, lone=alone)
        self._runs.add(run)
        # Under equal shares each request gets its part of what is run.
        self._virtual += sum(entry.cost for entry in entries) / max(1, len(self._tickets))
        return run

    def finish(self, entries: Sequence[Entry], logits: FloatArray) -> list[Ticket]:
        """Give logits to whoever waits for them; returns the requests that are now complete."""
        complete = []
        for entry, logit in zip(entries, logits.tolist(), strict=True):
            for ticket in self._end(entry):
                ticket.fill(entry.pair.key, logit)
                ticket.pending.discard(entry)
                ticket.cost -= entry.cost
                if ticket.done:
                    self._tickets.discard(ticket)
                    complete.append(ticket)
        return complete

    def fail(self, entries: Sequence[Entry]) -> list[Ticket]:
        """End entries without a logit; returns the requests that wanted them, which end too."""
        failed = {ticket for entry in entries for ticket in self._end(entry)}
        for ticket in failed:
            self.drop(ticket)
        return list(failed)

    def shrink(self, budget: int) -> None:
        """A micro-batch did not fit into memory: from now on none is larger than this many padded tokens."""
        self._budget = min(self._budget, max(1, budget))

    def over(self, run: Run) -> None:
        """A micro-batch is no longer running."""
        self._runs.discard(run)

    def drop(self, ticket: Ticket) -> None:
        """Forget a request; what only it waited for, and has not begun, is never run."""
        for entry in ticket.pending:
            if ticket in entry.waiters:
                entry.waiters.remove(ticket)
            if not entry.waiters and entry.state == "waiting":
                self._no_longer_waits(entry)
                self._end(entry)
        ticket.pending.clear()
        ticket.order.clear()
        self._tickets.discard(ticket)

    def _new_entry(self, entry: Entry) -> Entry:
        self._entries[entry.pair.identity] = entry
        self._by_length.setdefault(entry.num_tokens, {})[entry] = None
        self._queue_tokens += entry.cost
        self._num_waiting += 1
        return entry

    def _no_longer_waits(self, entry: Entry) -> None:
        length = entry.num_tokens
        del self._by_length[length][entry]
        if not self._by_length[length]:
            del self._by_length[length]
        self._num_waiting -= 1

    def _end(self, entry: Entry) -> list[Ticket]:
        """Take an entry out of the queue; returns who waited. A second call finds nobody."""
        if entry.state == "over":
            return []
        entry.state = "over"
        del self._entries[entry.pair.identity]
        self._queue_tokens -= entry.cost
        waiters, entry.waiters = entry.waiters, []
        return waiters

    def _turn(self) -> Ticket | None:
        """The request whose turn it is, its longest waiting pair in front."""
        while self._turns:
            ticket = self._turns[0][-1]
            while ticket.order and ticket.order[0].state != "waiting":
                ticket.order.popleft()
            if ticket.order:
                return ticket
            heapq.heappop(self._turns)
        return None

    def _gather(self, first: Entry) -> list[Entry]:
        """The first pair and its neighbours of nearly the same length, whoever wants them."""
        chosen = [first]
        longest = shortest = max(1, first.num_tokens)
        for length in _outward(first.num_tokens):
            high, low = max(longest, length), min(shortest, length)
            room = self._budget // high - len(chosen)
            if length not in self._by_length or high - low > MAX_PADDING or room <= 0:
                continue
            others = (entry for entry in self._by_length[length] if entry is not first)
            found = list(islice(others, room))
            if found:
                chosen += found
                longest, shortest = high, low
        return chosen


def _outward(length: int) -> Iterator[int]:
    """A length and those around it, nearest first."""
    yield length
    for distance in range(1, MAX_PADDING + 1):
        yield from (length - distance, length + distance)


def _length(pair: Missing) -> int:
    return pair.encoded.num_tokens


def _too_late(ticket: Ticket, *, now: float, tokens_per_s: float) -> bool:
    if ticket.deadline is None:
        return False
    return now + (ticket.cost / tokens_per_s if tokens_per_s else 0.0) >= ticket.deadline


def empty_logits(num_pairs: int, *, num_labels: int = 0) -> FloatArray:
    """Room for the logits of a request; NaN until they come, so that a gap cannot pass for a score."""
    shape = (num_pairs, num_labels) if num_labels else (num_pairs,)
    return np.full(shape, np.nan, dtype=np.float32)
