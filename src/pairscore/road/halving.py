"""Run micro-batches; where memory runs out, their halves, and smaller ones from then on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pairscore.errors import OutOfMemoryError
from pairscore.values import Encoded, FloatArray, IntArray

__all__ = ["Halving"]


class Running(Protocol):
    """Of a road, of pairs or of texts, what is needed."""

    def run(self, encoded: Sequence[Encoded], positions: IntArray) -> FloatArray: ...


class Halving:
    """A road's `run`, for a driver that has no scheduler of its own.

    What did not fit is remembered for as long as this lives, so that it is not tried again and again. Threads
    may share it: of two that run out of memory at once either may be remembered, and the next one mends it.

    Args:
        road: of pairs, or of texts.
        unit: what it runs, for messages.
    """

    def __init__(self, road: Running, *, unit: str = "pair") -> None:
        self._road = road
        self._unit = unit
        self.max_tokens = sys.maxsize
        """Padded tokens (longest x count) that a micro-batch may have; a single pair is tried whatever it has."""

    def run(self, encoded: Sequence[Encoded], positions: IntArray) -> FloatArray:
        """The logits of the pairs at these positions, as `Road.run` gives them.

        Raises:
            BackendError: as `Road.run`.
            NonFiniteScoreError: as `Road.run`.
            OutOfMemoryError: a single pair does not fit.
        """
        num_tokens = len(positions) * max(encoded[i].num_tokens for i in positions)
        if len(positions) == 1 or num_tokens <= self.max_tokens:
            try:
                return self._road.run(encoded, positions)
            except (OutOfMemoryError, MemoryError) as error:
                if len(positions) == 1:
                    raise _single(self._unit, num_tokens) from error
            # The error is gone here, and with it the frames that held what did not fit.
            self.max_tokens = min(self.max_tokens, num_tokens // 2)
        half = len(positions) // 2
        return np.concatenate(
            [self.run(encoded, positions[:half]), self.run(encoded, positions[half:])]
        )


def _single(unit: str, num_tokens: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"out of memory on a single {unit} of {num_tokens} tokens; lower max_length or num_workers, "
        "or give the process more memory"
    )
