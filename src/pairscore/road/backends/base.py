"""The protocol that every backend keeps, and that the contract tests check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from pairscore.config import DEFAULT_BUDGET
from pairscore.values import Batch, FloatArray

__all__ = [
    "Backend",
    "BackendOptions",
    "DType",
    "Layout",
    "WithPreference",
    "one_column",
    "preferred_layout",
]

DType: TypeAlias = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendOptions:
    """Where a model runs, and in which numbers.

    Attributes:
        device: as torch names it, such as ``cpu`` or ``cuda:1``; None takes what the backend prefers.
        dtype: of weights and activations; None takes the backend's own for the device.
    """

    device: str | None = None
    dtype: DType | None = None


class Backend(Protocol):
    """Runs a model. It knows one `Batch` and nothing of texts, requests or other batches."""

    @property
    def name(self) -> str:
        """A short name for reports, such as ``onnx``."""
        ...

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """The logits of one micro-batch, float32: shape (num_pairs,), or (num_pairs, num_labels) with several labels.

        Of a bi-encoder it is the texts' vectors, pooled and not normalised unless the graph did it: shape
        (num_texts, num_outputs). Many threads may call at once. What a row gives depends on that row alone.

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a backend likes to be fed.

    Attributes:
        budget: padded tokens of a micro-batch (longest x count).
        num_workers: threads that each run one micro-batch; None is one for each core.
        ahead: whether the CPU has time while it runs, so that the next pairs are best tokenized meanwhile.
    """

    budget: int = DEFAULT_BUDGET
    num_workers: int | None = None
    ahead: bool = False


@runtime_checkable
class WithPreference(Protocol):
    """A backend that says how it likes to be fed; whoever makes one of their own need not."""

    @property
    def preferred(self) -> Layout:
        """What is best where nobody chose."""
        ...


def preferred_layout(backend: Backend) -> Layout:
    """What a backend prefers; a core's way, small micro-batches and a worker for each core, if it does not say."""
    return backend.preferred if isinstance(backend, WithPreference) else Layout()


def one_column(logits: FloatArray) -> FloatArray:
    """Logits of shape (num_pairs, num_labels) in the protocol's shape: without the second axis for one label."""
    return logits[:, 0] if logits.shape[1] == 1 else logits
