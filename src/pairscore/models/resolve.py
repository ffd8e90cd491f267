"""From a name to a verified local folder: bundled, folder, hub cache, hub, in that order.

No file that could run code is ever asked for: the hub is asked for ONNX or safetensors, JSON and nothing else.
The network is touched only for a hub id that is not in the hub cache.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pairscore.errors import (
    ModelCorruptError,
    ModelNotFoundError,
    ModelOfflineError,
    ModelUnsupportedError,
)
from pairscore.models.catalog import DEFAULT_MODEL, CatalogEntry, find, list_models

__all__ = ["MANIFEST", "ModelFiles", "WeightsKind", "check_name", "file_sha256", "resolve"]

MANIFEST = "manifest.json"
WeightsKind: TypeAlias = Literal["onnx", "safetensors"]
_PLACES: Final[dict[WeightsKind, tuple[str, ...]]] = {
    "onnx": ("model.onnx", "onnx/model.onnx"),
    "safetensors": ("model.safetensors",),
}
_HUB_PATTERNS: Final[dict[WeightsKind, tuple[str, ...]]] = {
    "onnx": ("*.json", "model.onnx*", "onnx/model.onnx*"),
    "safetensors": ("*.json", "model.safetensors"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """A model's files on this machine.

    Attributes:
        name: the name under which results are reported.
        folder: where the files lie.
        weights: the file of the kind that was asked for.
        source: where the folder came from.
        revision: the commit of the hub's repository, or the manifest's revision; None if unknown.
        known_sha256: of the weights, as the manifest says and as was verified; None without a manifest.
    """

    name: str
    folder: Path
    weights: Path
    source: Literal["bundled", "folder", "hub"]
    revision: str | None
    known_sha256: str | None = None

    @property
    def sha256(self) -> str:
        """The sha256 of the weights; computed now if the manifest does not say it."""
        return self.known_sha256 or file_sha256(self.weights)


def resolve(
    name_or_path: str | Path | None = None,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    kind: WeightsKind = "onnx",
) -> ModelFiles:
    """Find a model's files, and check them against their manifest where they have one.

    Args:
        name_or_path: a catalogue name, a folder, a hub id or ``hub-id@revision``; None is the default.
        revision: branch, tag or commit on the hub; the hub cache's answer is kept until it changes.
        local_files_only: never touch the network.
        kind: of weights: what the backend that will run them reads.

    Raises:
        ModelNotFoundError: nothing is known by that name.
        ModelOfflineError: it would have to be fetched, and cannot be.
        ModelCorruptError: a file is missing or its sha256 is not the manifest's.
        ModelUnsupportedError: the folder holds no weights of that kind.
    """
    name = str(name_or_path) if name_or_path is not None else DEFAULT_MODEL
    if name and Path(name).is_dir():
        return _local(
            Path(name),
            name=Path(name).resolve().name,
            source="folder",
            revision=revision,
            kind=kind,
        )
    name, _, pinned = name.partition("@")
    entry = find(name)
    if entry is not None and entry.bundled and not (revision or pinned):
        return _local(
            _bundled_folder(entry), name=entry.name, source="bundled", revision=None, kind=kind
        )
    hub_id = entry.hub_ids[0] if entry is not None else name
    _refuse_unknown(hub_id)
    folder = _hub_folder(
        hub_id, revision=revision or pinned or None, local_files_only=local_files_only, kind=kind
    )
    name = entry.name if entry else hub_id
    return _local(folder, name=name, source="hub", revision=folder.name, kind=kind)


def check_name(name_or_path: str | Path) -> None:
    """Refuse what can be no model, without looking for it: no folder, no known name, no hub id.

    Raises:
        ModelNotFoundError: nothing can be known by that name.
    """
    name, _, _ = str(name_or_path).partition("@")
    if not Path(name_or_path).is_dir() and find(name) is None:
        _refuse_unknown(name)


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bundled_folder(entry: CatalogEntry) -> Path:
    return Path(str(resources.files("pairscore.models") / "bundled" / entry.name))


def _local(
    folder: Path,
    *,
    name: str,
    source: Literal["bundled", "folder", "hub"],
    revision: str | None,
    kind: WeightsKind,
) -> ModelFiles:
    manifest = _verify(folder, required=source == "bundled")
    for place in _PLACES[kind]:
        if (folder / place).is_file():
            return ModelFiles(
                name=name,
                folder=folder,
                weights=folder / place,
                source=source,
                revision=revision or manifest.revision,
                known_sha256=manifest.sha256s.get(place),
            )
    if kind == "safetensors":
        raise ModelUnsupportedError(
            f"{folder} holds no {' or '.join(_PLACES[kind])}, which the torch backend runs; "
            "use backend='onnx', or download the model's safetensors"
        )
    raise ModelUnsupportedError(
        f"{folder} holds no {' or '.join(_PLACES[kind])}; export the model to ONNX first, for example "
        f"with: optimum-cli export onnx --model {name} --task text-classification OUTPUT_FOLDER"
    )


@dataclass(frozen=True, slots=True)
class _Manifest:
    revision: str | None
    sha256s: dict[str, str]


def _verify(folder: Path, *, required: bool) -> _Manifest:
    """Compare each file with the manifest's sha256; returns what the manifest says."""
    path = folder / MANIFEST
    if not path.is_file():
        if required:
            raise ModelCorruptError(f"{path} is missing; reinstall pairscore to restore the model")
        return _Manifest(None, {})
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): str(sha256) for name, sha256 in dict(manifest["files"]).items()}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelCorruptError(
            f"{path} is not a readable manifest ({error}); restore the model's folder"
        ) from error
    for name, expected in files.items():
        _verify_file(folder / name, expected)
    return _Manifest(manifest.get("revision") or None, files)


def _verify_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ModelCorruptError(f"{path} is missing; reinstall or copy the model again")
    actual = file_sha256(path)
    if actual != expected:
        raise ModelCorruptError(
            f"{path} is corrupt: its sha256 is {actual}, the manifest says {expected}; "
            "reinstall or copy the model again"
        )


def _refuse_unknown(name: str) -> None:
    """Anything that can be neither a folder nor a hub id (owner/name) is a misspelt name."""
    owner, slash, repository = name.partition("/")
    if slash and owner and repository and "/" not in repository and not name.startswith((".", "~")):
        return
    known = ", ".join(entry.name for entry in list_models())
    raise ModelNotFoundError(
        f"no model is called {name!r} and no folder of that name exists; "
        f"known names: {known}; or give a folder, or a hub id such as cross-encoder/NAME"
    )


def _hub_folder(
    hub_id: str, *, revision: str | None, local_files_only: bool, kind: WeightsKind
) -> Path:
    """The hub cache first, so that a start never waits for the network in vain."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    patterns = list(_HUB_PATTERNS[kind])
    try:
        cached = Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=patterns, local_files_only=True
            )
        )
        if any((cached / place).is_file() for place in _PLACES[kind]):
            return cached
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise ModelNotFoundError(f"{hub_id!r} is not a hub id: {error}") from error
    if local_files_only:
        raise _offline(hub_id)
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelNotFoundError(
            f"the hub knows no model {hub_id!r}{f' at {revision!r}' if revision else ''}; "
            "check the spelling, and log in if it is private"
        ) from error
    # OSError: with the network closed the HTTP client's own connection errors come through.
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise _offline(hub_id) from error


def _offline(hub_id: str) -> ModelOfflineError:
    return ModelOfflineError(
        f"{hub_id!r} is not in the hub cache and the hub cannot be reached; on a machine with network "
        f"run: hf download {hub_id} (then copy the cache, or the folder, here), "
        f"or use the bundled model {DEFAULT_MODEL!r}, which needs no network"
    )
