"""A model's files on this machine: which of them are weights, and what identifies them.

Names inside a model are relative and written with ``/``, as the hub writes them, so that the same rules choose
from a folder and from the hub's list of files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TypeAlias

from pairscore.errors import ModelCorruptError

__all__ = [
    "KINDS",
    "PLACES",
    "ModelFiles",
    "Source",
    "WeightsKind",
    "choose",
    "combined_sha256",
    "file_sha256",
    "is_weights",
    "kind_of_file",
    "names_in",
    "only",
    "parts_of",
]

WeightsKind: TypeAlias = Literal["onnx", "safetensors"]
Source: TypeAlias = Literal["bundled", "folder", "hub"]

KINDS: Final[tuple[WeightsKind, ...]] = ("onnx", "safetensors")
"""The kinds of weights that are read, in the order in which they are preferred."""

PLACES: Final[Mapping[WeightsKind, tuple[str, ...]]] = {
    "onnx": ("model.onnx", "onnx/model.onnx"),
    "safetensors": ("model.safetensors", "model.safetensors.index.json"),
}
"""Where weights are looked for, if nobody names a file; the first that is there is taken."""

_SHARDS: Final = ".safetensors.index.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """A model's files on this machine.

    Attributes:
        name: the name under which results are reported.
        folder: where the files lie.
        weights: the file that a backend opens; of sharded safetensors the ``.index.json``.
        source: where the folder came from.
        revision: the commit of the hub's repository, or the manifest's revision; None if unknown.
        known_sha256: of the weights, as a manifest or the hub says and as was verified; None if nobody says it.
        requested_revision: the branch, tag or commit that was asked for on the hub; None for other sources.
    """

    name: str
    folder: Path
    weights: Path
    source: Source
    revision: str | None
    known_sha256: str | None = None
    requested_revision: str | None = None

    @property
    def sha256(self) -> str:
        """The sha256 of the weights; computed now if nobody says it.

        Of weights in several files (shards, ONNX external data) it is the sha256 of their list, in the
        form that `sha256sum` prints, sorted by name.
        """
        return self.known_sha256 or combined_sha256(
            {self.relative(path): file_sha256(path) for path in self.weight_files}
        )

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Every file that `weights` needs, itself included: shards, or ONNX external data beside it.

        Raises:
            ModelCorruptError: an index of shards cannot be read.
        """
        names = parts_of(self.relative(self.weights), names_in(self.folder), folder=self.folder)
        return tuple(self.folder / name for name in names)

    def relative(self, path: Path) -> str:
        """The name of a file inside the model, with ``/``."""
        return path.relative_to(self.folder).as_posix()

    def weights_of(self, kind: WeightsKind) -> Path | None:
        """The file that a backend of that kind opens; None if the model has none here."""
        if kind_of_file(self.weights.name) == kind:
            return self.weights
        name = choose(names_in(self.folder), kind)
        return None if name is None else self.folder / name


def kind_of_file(name: str) -> WeightsKind | None:
    """The kind of weights that a file's name says it is; None if a backend opens no such file."""
    if name.endswith(".onnx"):
        return "onnx"
    return "safetensors" if name.endswith((".safetensors", _SHARDS)) else None


def is_weights(name: str) -> bool:
    """Whether a file holds weights, or a part of them."""
    return name.endswith((".onnx", ".safetensors")) or _is_external_data(name)


def choose(names: Collection[str], kind: WeightsKind) -> str | None:
    """The weights of that kind among the names of a model's files; None if there are none."""
    return next((place for place in PLACES[kind] if place in names), None)


def only(kinds: Collection[WeightsKind] | None) -> WeightsKind | None:
    """The kind, if there is no other to choose from; else None."""
    return next(iter(kinds)) if kinds and len(kinds) == 1 else None


def names_in(folder: Path) -> frozenset[str]:
    """The files of a folder and of the folders right below it, where models keep their weights."""
    places = [*folder.glob("*"), *folder.glob("*/*")]
    return frozenset(path.relative_to(folder).as_posix() for path in places if path.is_file())


def parts_of(name: str, names: Collection[str], *, folder: Path) -> tuple[str, ...]:
    """The names of all files that the weights of that name need, sorted.

    Args:
        name: the weights: a name inside the model.
        names: of all files that the model has.
        folder: where an index of shards can be read.

    Raises:
        ModelCorruptError: the index of shards cannot be read, or names files elsewhere.
    """
    if name.endswith(_SHARDS):
        return tuple(sorted({name, *_shards(folder / name, name)}))
    beside = (other for other in names if other.startswith(name) and _is_external_data(other))
    return tuple(sorted({name, *beside}))


def _is_external_data(name: str) -> bool:
    # optimum writes model.onnx_data, torch model.onnx.data, transformers.js model.onnx_data_1.
    _, onnx, rest = PurePosixPath(name).name.rpartition(".onnx")
    return bool(onnx) and rest.startswith(("_data", ".data"))


def _shards(path: Path, name: str) -> set[str]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        shards = {str(shard) for shard in dict(index["weight_map"]).values()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelCorruptError(
            f"{path} is not a readable index of shards ({error}); copy or download the model again"
        ) from error
    strange = sorted(shard for shard in shards if "/" in shard or "\\" in shard or not shard)
    if strange or not shards:
        raise ModelCorruptError(
            f"{path} names {strange[0] if strange else 'no file'!r} as a shard; shards lie beside their index: "
            "copy or download the model again"
        )
    return {str(PurePosixPath(name).parent / shard) for shard in shards}


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(sha256s: Mapping[str, str]) -> str:
    """One sha256 for weights in one or several files, by name; that of a single file is its own."""
    if len(sha256s) == 1:
        return next(iter(sha256s.values()))
    lines = "".join(f"{sha256s[name]}  {name}\n" for name in sorted(sha256s))
    return hashlib.sha256(lines.encode()).hexdigest()
