"""What may run a model here: the backends that are installed, the weights it has for them, the devices they see."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias

from pairscore.errors import PairscoreError
from pairscore.models.files import ModelFiles, WeightsKind
from pairscore.road.backends.installed import BackendFacts, installed

__all__ = ["Candidate", "FilesOf", "RealName", "Skipped", "candidates_of"]

RealName: TypeAlias = Literal["onnx", "torch", "openvino"]

_READS: Final = MappingProxyType[RealName, WeightsKind](
    {"onnx": "onnx", "torch": "safetensors", "openvino": "onnx"}
)


class FilesOf(Protocol):
    """Finds a model's files with weights of one kind."""

    def __call__(self, *, kind: WeightsKind) -> ModelFiles: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What may run the model: a backend, where it runs, and the files that it reads."""

    backend: RealName
    device: str
    files: ModelFiles

    @property
    def title(self) -> str:
        """For messages, such as ``torch on cuda:0``."""
        return f"{self.backend} on {self.device}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """What was not chosen because it cannot be, or should not.

    Attributes:
        backend, device: which; None is every device.
        reason: why.
        disagrees: whether it gave other logits: one of the files of weights is then not what it should be.
    """

    backend: RealName
    device: str | None
    reason: str
    disagrees: bool = False

    @property
    def sentence(self) -> str:
        """For messages, such as ``torch: not installed``."""
        where = "" if self.device is None else f" on {self.device}"
        return f"{self.backend}{where}: {self.reason}"


def candidates_of(
    files: ModelFiles,
    *,
    files_of: FilesOf,
    device: str | None,
    skipped: list[Skipped],
) -> list[Candidate]:
    """What may run a model, in the order of the backends' names in the documentation.

    Args:
        files: the model's, with the weights that come first.
        files_of: the same with weights of another kind; raises `ModelError` where they cannot be used.
        device: the only one that is wanted; None is the CPU, and the first GPU that a backend sees.
        skipped: what cannot run it is added here.
    """
    by_kind = _files_by_kind(files, files_of, skipped)
    # Asking a library where it can run imports it: only those that could be chosen are asked.
    wanted = [name for name, kind in _READS.items() if kind in by_kind]
    found: list[Candidate] = []
    for facts in installed(ask_devices=True, only=wanted):
        if facts.installed:
            read = by_kind[_READS[facts.name]]
            found += [
                Candidate(backend=facts.name, device=one, files=read)
                for one in _devices(facts, device)
            ]
        else:
            skipped.append(Skipped(backend=facts.name, device=None, reason=facts.why_not or ""))
    return found


def _files_by_kind(
    files: ModelFiles, files_of: FilesOf, skipped: list[Skipped]
) -> dict[WeightsKind, ModelFiles]:
    found: dict[WeightsKind, ModelFiles] = {}
    failed: dict[WeightsKind, str] = {}
    for name, kind in _READS.items():
        if kind not in found and kind not in failed:
            weights = files.weights_of(kind)
            try:
                if weights is None:
                    failed[kind] = f"the model has no {kind} weights here"
                else:
                    found[kind] = files if weights == files.weights else files_of(kind=kind)
            except PairscoreError as error:
                failed[kind] = str(error)
        if kind in failed:
            skipped.append(Skipped(backend=name, device=None, reason=failed[kind]))
    return found


def _devices(facts: BackendFacts, wanted: str | None) -> tuple[str, ...]:
    if wanted is not None:
        return (wanted,)
    there = facts.devices or ("cpu",)
    gpu = next((device for device in there if device.startswith("cuda")), None)
    return ("cpu",) if gpu is None else ("cpu", gpu)
