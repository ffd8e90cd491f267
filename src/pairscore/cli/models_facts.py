"""What `pairscore models` says of a model, as plain values for JSON and for lines of text."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from pairscore.models.files import ModelFiles, WeightsKind
    from pairscore.models.store import Copy

__all__ = ["copy_facts", "files_facts", "megabytes", "shown_facts"]

# A backend, the weights it reads, and the library without which it does not run.
_BACKENDS: Final[tuple[tuple[str, WeightsKind, str], ...]] = (
    ("onnx", "onnx", "onnxruntime"),
    ("openvino", "onnx", "openvino"),
    ("torch", "safetensors", "torch"),
)
_MEGABYTE = 1_000_000


def megabytes(num_bytes: int) -> str:
    """A size for people."""
    return f"{num_bytes / _MEGABYTE:,.1f} MB"


def copy_facts(copy: Copy) -> dict[str, Any]:
    """A model in the package or in the hub cache."""
    return {
        "place": copy.place,
        "folder": str(copy.folder),
        "revision": copy.revision,
        "refs": list(copy.refs),
        "num_bytes": copy.num_bytes,
        "weights": list(copy.weights),
        "backends": _runnable(copy.kinds),
    }


def files_facts(files: ModelFiles) -> dict[str, Any]:
    """Where a model's files lie, and which they are exactly."""
    from pairscore.models.files import KINDS
    from pairscore.models.store import num_bytes_in

    kinds = [kind for kind in KINDS if files.weights_of(kind) is not None]
    weights = [files.weights_of(kind) for kind in kinds]
    return {
        "name": files.name,
        "source": files.source,
        "folder": str(files.folder),
        "revision": files.revision,
        "requested_revision": files.requested_revision,
        "weights": [files.relative(path) for path in weights if path is not None],
        "sha256": files.sha256,
        "num_bytes": num_bytes_in(files.folder),
        "backends": _runnable(kinds),
    }


def shown_facts(files: ModelFiles) -> dict[str, Any]:
    """All that `show` says: what the numbers mean, the licence, and the files.

    Raises:
        ModelError: the model's own files say nothing that can be used.
    """
    from pairscore.models.facts import read_facts
    from pairscore.models.licences import licence_of

    facts = files_facts(files)
    backends = facts.pop("backends")
    meaning = _encoder_facts if read_facts(files.folder).is_bi_encoder else _scoring_facts
    return {
        "name": facts.pop("name"),
        **meaning(files),
        "licence": licence_of(files),
        **facts,
        "backends": backends,
        "not_installed": [name for name in backends if not _is_installed(name)],
    }


def _scoring_facts(files: ModelFiles) -> dict[str, Any]:
    """What a cross-encoder's scores mean."""
    from pairscore.models.card import read_card

    card = read_card(files)
    return {
        "task": card.task,
        "scale": card.scale,
        "labels": list(card.labels),
        "max_length": card.max_length,
        "prompts": dict(card.prompts),
        "default_prompt": card.default_prompt,
    }


def _encoder_facts(files: ModelFiles) -> dict[str, Any]:
    """How a bi-encoder makes vectors, and how they are compared."""
    from pairscore.models.encoder_card import read_encoder_card

    card = read_encoder_card(files)
    return {
        "task": "embedding",
        "dimension": card.dimension,
        "pooling": card.pooling,
        "normalized": card.normalize,
        "similarity": card.similarity,
        "max_length": card.max_length,
        "prompts": dict(card.prompts),
        "default_prompt": card.default_prompt,
    }


def _runnable(kinds: Collection[WeightsKind]) -> list[str]:
    return [name for name, kind, _ in _BACKENDS if kind in kinds]


def _is_installed(backend: str) -> bool:
    """Whether the library is here; it is looked for, and not loaded."""
    return any(find_spec(library) for name, _, library in _BACKENDS if name == backend)
