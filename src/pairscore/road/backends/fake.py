"""A model without weights, for tests of everything around the model: ours and our users'.

Its logit is the share of the document's distinct tokens that the query has too, stretched to -8 .. 8.
So a document that repeats the query wins, the same pair always scores the same, and nothing is loaded.
For a bi-encoder it counts tokens, and throws each one's count on a direction of its own, made of its id: texts that
share words are near, others are nearly at right angles.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt

from pairscore.errors import OutOfMemoryError
from pairscore.values import Batch, FloatArray, IntArray

__all__ = ["FakeBackend"]

_REACH = 8.0
_NUM_SPECIAL = 2


class FakeBackend:
    """Scores by overlap of tokens, and fails on demand; what it does may be changed while it runs.

    Attributes:
        delay_s: seconds that each micro-batch takes.
        error: raised by every run, if given; a `BaseException` that is no `Exception` ends the thread.
        logit: the logit of every pair, if given; NaN is allowed, to see it refused.
        poison: a token id; a pair that holds it gets NaN.
        num_missing: logits that each run leaves out.
        max_tokens: padded tokens beyond which a run says that memory ran out.
        gate: an event that each run waits for, if given: a run hangs until it is set.
        num_labels: columns of the logits, for a model with several labels; each later one is nearer to zero.
        dimension: numbers in a vector, for a bi-encoder; with 0 it scores pairs.
        num_runs: runs so far.
        batches: shape of each micro-batch so far, (num_pairs, longest), and the threads it was given.
        closed: whether it was closed.
    """

    def __init__(  # noqa: PLR0913 - one for each way to fail
        self,
        *,
        delay_s: float = 0.0,
        error: BaseException | None = None,
        logit: float | None = None,
        poison: int | None = None,
        num_missing: int = 0,
        max_tokens: int | None = None,
        gate: threading.Event | None = None,
        num_labels: int = 0,
        dimension: int = 0,
    ) -> None:
        self.delay_s = delay_s
        self.error = error
        self.logit = logit
        self.poison = poison
        self.num_missing = num_missing
        self.max_tokens = max_tokens
        self.gate = gate
        self.num_labels = num_labels
        self.dimension = dimension
        self.num_runs = 0
        self.batches: list[tuple[int, int, int]] = []
        self.closed = False

    @property
    def name(self) -> str:
        """``fake``."""
        return "fake"

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """What `Backend.run` says."""
        self.num_runs += 1
        self.batches.append((*batch.ids.shape, num_threads))
        if self.gate is not None:
            self.gate.wait()
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        if self.max_tokens is not None and batch.ids.size > self.max_tokens:
            raise OutOfMemoryError(f"a micro-batch of {batch.ids.size} tokens is too much")
        made = self._vectors(batch) if self.dimension else self._logits(batch)
        return made[: batch.num_pairs - self.num_missing]

    def _logits(self, batch: Batch) -> FloatArray:
        if self.logit is not None:
            return np.full(batch.num_pairs, self.logit, dtype=np.float32)
        rows = zip(batch.ids, batch.attention_mask, batch.type_ids, strict=True)
        logits = np.asarray([_overlap(*row) for row in rows], dtype=np.float32)
        if self.poison is not None:
            logits[(batch.ids == self.poison).any(axis=1)] = np.nan
        if self.num_labels:
            # All different, so that a column that was mistaken for another shows.
            return np.stack([logits / (1 + column) for column in range(self.num_labels)], axis=1)
        return logits

    def _vectors(self, batch: Batch) -> FloatArray:
        rows = zip(batch.ids, batch.attention_mask, strict=True)
        made = np.stack([_counted(ids[mask == 1], self.dimension) for ids, mask in rows])
        if self.poison is not None:
            made[(batch.ids == self.poison).any(axis=1)] = np.nan
        return made

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def _overlap(ids: IntArray, mask: IntArray, types: IntArray) -> float:
    query = set(ids[(mask == 1) & (types == 0)].tolist())
    # Every template ends in a separator, which is no word of the document.
    document = set(ids[(mask == 1) & (types == 1)][:-1].tolist())
    share = len(query & document) / max(1, len(document))
    return _REACH * (2.0 * share - 1.0)


def _counted(tokens: IntArray, dimension: int) -> FloatArray:
    # Every template begins and ends with a token that all texts have.
    own = tokens[1:-1] if len(tokens) > _NUM_SPECIAL else tokens
    directions = _mixed(own[:, None] * dimension + np.arange(dimension)) & np.uint64(1)
    return np.asarray((2.0 * directions - 1.0).sum(axis=0), dtype=np.float32)


def _mixed(numbers: IntArray) -> npt.NDArray[np.uint64]:
    """The finalizer of splitmix64: numbers that lie beside each other share no bits."""
    mixed = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
