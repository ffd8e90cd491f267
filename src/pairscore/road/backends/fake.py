"""A model without weights, for tests of everything around the model: ours and our users'.

Its logit is the share of the document's distinct tokens that the query has too, stretched to -8 .. 8.
So a document that repeats the query wins, the same pair always scores the same, and nothing is loaded.
"""

from __future__ import annotations

import time

import numpy as np

from pairscore.values import Batch, FloatArray, IntArray

__all__ = ["FakeBackend"]

_REACH = 8.0


class FakeBackend:
    """Scores by overlap of tokens, and fails on demand.

    Args:
        delay_s: seconds that each micro-batch takes.
        error: raised by every run, if given.
        logit: the logit of every pair, if given; NaN is allowed, to see it refused.
    """

    def __init__(
        self,
        *,
        delay_s: float = 0.0,
        error: Exception | None = None,
        logit: float | None = None,
    ) -> None:
        self._delay_s = delay_s
        self._error = error
        self._logit = logit
        self.num_runs = 0
        self.closed = False

    @property
    def name(self) -> str:
        """``fake``."""
        return "fake"

    def run(self, batch: Batch) -> FloatArray:
        """The logits of one micro-batch, shape (num_pairs,), float32."""
        self.num_runs += 1
        if self._delay_s:
            time.sleep(self._delay_s)
        if self._error is not None:
            raise self._error
        if self._logit is not None:
            return np.full(batch.num_pairs, self._logit, dtype=np.float32)
        rows = zip(batch.ids, batch.attention_mask, batch.type_ids, strict=True)
        return np.asarray([_overlap(*row) for row in rows], dtype=np.float32)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def _overlap(ids: IntArray, mask: IntArray, types: IntArray) -> float:
    query = set(ids[(mask == 1) & (types == 0)].tolist())
    # Every template ends in a separator, which is no word of the document.
    document = set(ids[(mask == 1) & (types == 1)][:-1].tolist())
    share = len(query & document) / max(1, len(document))
    return _REACH * (2.0 * share - 1.0)
