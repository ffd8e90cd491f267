"""One side of a comparison: which weights, what runs them, and in which numbers they compute."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypedDict

from pairscore.bi_encoder import BiEncoder
from pairscore.convert.pooling import is_encoder
from pairscore.convert.thresholds import Numbers
from pairscore.cross_encoder import CrossEncoder
from pairscore.models.files import ModelFiles, kind_of_file
from pairscore.road.backends.base import DType
from pairscore.road.road import BackendName

__all__ = ["Subject", "has_torch", "numbers_of", "open_encoder", "open_subject", "subject_of"]

_INT8_OPERATORS: Final = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QAttention",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A model that is compared.

    Attributes:
        model: its folder, and behind a colon its file of weights.
        backend: the name of the backend that runs it, on the CPU.
        skip_checks: names of load-time checks that are not made.
        is_encoder: whether it is a bi-encoder, which makes vectors and no logits.
    """

    model: str
    backend: BackendName
    skip_checks: Collection[str] = ()
    is_encoder: bool = False


class _How(TypedDict):
    """What both kinds of model are told."""

    backend: BackendName
    device: str | None
    dtype: DType | None
    skip_checks: Collection[str]
    local_files_only: bool


def subject_of(files: ModelFiles, *, skip_checks: Collection[str] = ()) -> Subject:
    """A model by its files: safetensors run on torch, everything else on ONNX Runtime."""
    return Subject(
        model=f"{files.folder}:{files.relative(files.weights)}",
        backend="torch" if kind_of_file(files.weights.name) == "safetensors" else "onnx",
        skip_checks=tuple(skip_checks),
        is_encoder=is_encoder(files),
    )


def open_encoder(subject: Subject) -> BiEncoder:
    """Load a bi-encoder, as any user would.

    Raises:
        ModelError: it cannot be used.
        MissingExtraError: its backend is not installed.
    """
    return BiEncoder(subject.model, **_how(subject))


def open_subject(subject: Subject) -> CrossEncoder:
    """Load a cross-encoder, as any user would.

    Raises:
        ModelError: it cannot be used.
        MissingExtraError: its backend is not installed.
    """
    return CrossEncoder(subject.model, **_how(subject))


def _how(subject: Subject) -> _How:
    torch = subject.backend == "torch"
    return {
        "backend": subject.backend,
        # Named, because on a machine with a GPU torch would prefer that, and half precision.
        "device": "cpu" if torch else None,
        "dtype": "float32" if torch else None,
        "skip_checks": subject.skip_checks,
        "local_files_only": True,
    }


def numbers_of(weights: Path) -> Numbers:
    """In which numbers weights are multiplied: ``int8`` if an ONNX graph quantizes anything."""
    if kind_of_file(weights.name) != "onnx":
        return "float32"
    # Here, because it belongs to an extra.
    import onnx

    graph = onnx.load(str(weights), load_external_data=False).graph
    return "int8" if any(node.op_type in _INT8_OPERATORS for node in graph.node) else "float32"


def has_torch() -> bool:
    """Whether the torch backend could run; nothing is imported."""
    return find_spec("torch") is not None and find_spec("transformers") is not None
