"""Candidates to run a model, each loaded, asked for the same logits, and timed in turn on the same micro-batches.

A candidate is a backend, a device and the weights that it reads there. In turn, because a machine is never equally
quick for two seconds: whatever slows one round slows all of them.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pairscore.config import RoadConfig
from pairscore.errors import BackendError, PairscoreError
from pairscore.models.card import Card
from pairscore.road import machine
from pairscore.road.backends.base import Backend, BackendOptions, preferred_layout
from pairscore.road.backends.numbers import numbers_of_graph
from pairscore.road.backends.opening import open_backend
from pairscore.road.canaries import CANARIES
from pairscore.road.candidates import Candidate, Skipped
from pairscore.road.rate import rate
from pairscore.road.tokenization import PairTokenizer
from pairscore.values import Batch, Encoded, FloatArray

__all__ = [
    "LOADING",
    "NUM_TOKENS",
    "Tried",
    "batch_of",
    "load",
    "loaded",
    "logits_of",
    "numbers_of",
    "probe_pairs",
    "speeds_of",
]

NUM_TOKENS: Final = 96
"""Of a pair that is timed: as long as an MS MARCO passage with its query."""

LOADING: Final = (PairscoreError, ImportError, OSError, RuntimeError, MemoryError)
"""What loading may end in: a model that does not fit, or a library that is broken."""

_ROUNDS: Final = 3
_ROUND_S: Final = 0.15
_NUM_CANARIES: Final = 3
# Weights, and about as much again while they are read and packed.
_ROOM: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A candidate that is loaded, and in which numbers it computes."""

    candidate: Candidate
    backend: Backend
    numbers: str


def load(candidate: Candidate, *, card: Card, options: BackendOptions) -> Tried:
    """Load one.

    Raises:
        PairscoreError: it cannot run the model.
        ImportError, OSError, RuntimeError, MemoryError: its library fails.
    """
    there = BackendOptions(device=candidate.device, dtype=options.dtype)
    backend = open_backend(candidate.backend, candidate.files, card=card, options=there)
    numbers = numbers_of(backend, candidate.files.weights)
    return Tried(candidate=candidate, backend=backend, numbers=numbers)


@contextmanager
def loaded(
    candidates: Sequence[Candidate], *, card: Card, options: BackendOptions, skipped: list[Skipped]
) -> Iterator[list[Tried]]:
    """Load all that can be; what does not is added to `skipped`. Those left in the list at the end are closed."""
    tried: list[Tried] = []
    try:
        for candidate in candidates:
            reason = _no_room(candidate) if tried else None
            if reason is None:
                try:
                    tried.append(load(candidate, card=card, options=options))
                    continue
                except LOADING as error:
                    reason = str(error) or type(error).__name__
            skipped.append(_skipped(candidate, reason))
        yield tried
    finally:
        for one in tried:
            one.backend.close()


def probe_pairs(tokenizer: PairTokenizer) -> list[Encoded]:
    """A few pairs that any candidate can be asked for."""
    canaries = CANARIES[:_NUM_CANARIES]
    return tokenizer.encode([(c.query, text) for c in canaries for text in (c.good, c.bad)])


def logits_of(tried: Tried, pairs: Sequence[Encoded]) -> FloatArray:
    """The logits of the pairs, one after the other, so that padding plays no part; shape (num_logits,).

    Raises:
        BackendError: it fails on one.
    """
    rows = [tried.backend.run(batch_of([pair])).ravel() for pair in pairs]
    return np.concatenate(rows)


def batch_of(pairs: Sequence[Encoded]) -> Batch:
    """A micro-batch of pairs of one length."""
    ids = np.stack([pair.ids for pair in pairs]).astype(np.int64)
    types = np.stack([pair.type_ids for pair in pairs]).astype(np.int64)
    return Batch(ids=ids, attention_mask=np.ones_like(ids), type_ids=types)


def speeds_of(
    tried: Sequence[Tried],
    pairs: Sequence[Encoded],
    *,
    config: RoadConfig,
    max_length: int,
    skipped: list[Skipped],
) -> dict[str, float]:
    """Tokens a second of each by its title, median of short rounds taken in turn, each in the layout that it prefers.

    One that fails is added to `skipped` and has no speed.
    """
    rounds: dict[str, list[float]] = {one.candidate.title: [] for one in tried}
    batches = {one.candidate.title: _timed_batch(one, pairs, config, max_length) for one in tried}
    failed: set[str] = set()
    # The first round is for warming up, and counts for nobody.
    for number, one in itertools.product(range(_ROUNDS + 1), tried):
        title = one.candidate.title
        if title in failed:
            continue
        batch, num_workers = batches[title]
        try:
            if number == 0:
                one.backend.run(batch)
            else:
                rounds[title].append(_speed(one.backend, batch, num_workers))
        except (BackendError, MemoryError) as error:
            failed.add(title)
            skipped.append(_skipped(one.candidate, f"fails when it is timed: {error}"))
    return {title: statistics.median(of) for title, of in rounds.items() if title not in failed}


def _speed(backend: Backend, batch: Batch, num_workers: int) -> float:
    def run() -> float:
        backend.run(batch)
        return batch.ids.size

    return rate(run, num_workers=num_workers, seconds=_ROUND_S)


def _timed_batch(
    tried: Tried, pairs: Sequence[Encoded], config: RoadConfig, max_length: int
) -> tuple[Batch, int]:
    """As many pairs of one length as its budget holds, and its number of workers."""
    layout = preferred_layout(tried.backend)
    settled = config.settled(budget=layout.budget, num_workers=layout.num_workers)
    num_tokens = min(NUM_TOKENS, max_length)
    chosen = itertools.islice(itertools.cycle(pairs), max(1, settled.budget // num_tokens))
    return batch_of([_stretched(pair, num_tokens) for pair in chosen]), settled.workers


def _stretched(pair: Encoded, num_tokens: int) -> Encoded:
    """The pair's tokens again and again; what they say does not matter for the time."""
    return Encoded(
        ids=np.resize(pair.ids, num_tokens),
        type_ids=np.resize(pair.type_ids, num_tokens),
        truncated=False,
    )


def numbers_of(backend: Backend, weights: Path) -> str:
    """The numbers that a backend computes in: those of its file, or of its name where that says more."""
    name, _, more = backend.name.partition("-")
    if name == "torch":
        return more or "float32"
    # An IR of OpenVINO's own, which may be quantized.
    return "unknown" if more else numbers_of_graph(weights)


def _no_room(candidate: Candidate) -> str | None:
    """Why it is not loaded beside the others; None if there is room."""
    available = machine.memory().available
    needed = _ROOM * sum(path.stat().st_size for path in candidate.files.weight_files)
    if available is None or needed <= available:
        return None
    return f"not tried: beside the others it may take {needed / 1e6:,.0f} MB, and {available / 1e6:,.0f} MB are free"


def _skipped(candidate: Candidate, reason: str) -> Skipped:
    return Skipped(backend=candidate.backend, device=candidate.device, reason=reason)
