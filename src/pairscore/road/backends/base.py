"""The protocol that every backend keeps, and that the contract tests check."""

from __future__ import annotations

from typing import Protocol

from pairscore.values import Batch, FloatArray

__all__ = ["Backend"]


class Backend(Protocol):
    """Runs a model. It knows one `Batch` and nothing of texts, requests or other batches."""

    @property
    def name(self) -> str:
        """A short name for reports, such as ``onnx``."""
        ...

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """The logits of one micro-batch, shape (num_pairs,), float32.

        Many threads may call at once. A row's logit depends on that row alone.

        Args:
            batch: the micro-batch.
            num_threads: threads that may work on it, at most; more than one when the machine is idle.

        Raises:
            BackendError: the model failed.
            OutOfMemoryError: there was not enough memory for this batch.
        """
        ...

    def close(self) -> None:
        """Free what the backend holds; a second call does nothing."""
        ...
