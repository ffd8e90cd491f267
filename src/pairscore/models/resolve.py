"""From a name to a verified local folder: bundled, folder, hub cache, hub, in that order.

The network is touched only for a hub id that is not in the hub cache. No file that could run code is ever asked
for or opened: the weights are ONNX or safetensors.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from pairscore.errors import ModelCorruptError, ModelUnsupportedError
from pairscore.models import hub
from pairscore.models.catalog import DEFAULT_MODEL, CatalogEntry
from pairscore.models.files import (
    KINDS,
    ModelFiles,
    Source,
    WeightsKind,
    choose,
    combined_sha256,
    file_sha256,
    kind_of_file,
    names_in,
    parts_of,
)
from pairscore.models.manifest import MANIFEST, Manifest, read_manifest, verify
from pairscore.models.naming import DEFAULT_REVISION, Asked, check_name, parse
from pairscore.models.refusals import no_weights, refuse_code, refuse_file

__all__ = [
    "MANIFEST",
    "RUN_FILE",
    "ModelFiles",
    "WeightsKind",
    "check_name",
    "file_sha256",
    "files_of_snapshot",
    "is_bundled",
    "resolve",
]

RUN_FILE: Final = "run.json"
"""What a folder holds that a run of training made."""
_RUN_MODELS: Final = ("model", "best")  # converted for serving, and the float32 weights of that


def resolve(
    name_or_path: str | Path | None = None,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    kind: WeightsKind | None = None,
) -> ModelFiles:
    """Find a model's files, and compare them with their sha256s where those are known.

    Args:
        name_or_path: a catalogue name, a folder (a run of training stands for its model), a hub id or
            ``hub-id@revision``; behind it may stand which weights of the model, as in
            ``hub-id:onnx/model_O4.onnx``; None is the default.
        revision: branch, tag or commit on the hub; the hub cache's answer is kept until it is pulled again.
        local_files_only: never touch the network.
        kind: of weights: what the backend that will run them reads; None takes what there is, ONNX first.

    Raises:
        ModelNotFoundError: nothing is known by that name.
        ModelOfflineError: it would have to be fetched, and cannot be.
        ModelCorruptError: a file is missing or its sha256 is another one.
        ModelUnsupportedError: it has no weights of that kind, only a pickle, or needs code of its own.
    """
    asked = parse(DEFAULT_MODEL if name_or_path is None else name_or_path, revision=revision)
    if asked.file is not None:
        refuse_file(asked.file, kind=kind)
    if asked.is_folder:
        return _in_folder(asked, Path(asked.name), source="folder", kind=kind)
    entry = asked.entry
    if entry is not None and is_bundled(asked):
        return _in_folder(asked, _bundled_folder(entry), source="bundled", kind=kind)
    kinds = None if kind is None else (kind,)
    snapshot = hub.cached(asked, kinds=kinds)
    if snapshot is None:
        if local_files_only:
            raise hub.offline(asked, "the network may not be used (local_files_only)")
        snapshot = hub.fetch(asked, kinds=kinds)
    return files_of_snapshot(asked, snapshot)


def is_bundled(asked: Asked) -> bool:
    """Whether the weights inside the package are meant; a revision, or a file of a hub id, means the hub's."""
    entry = asked.entry
    of_hub = asked.revision is not None or (asked.file is not None and "/" in asked.name)
    return entry is not None and entry.bundled and not of_hub


def files_of_snapshot(asked: Asked, snapshot: hub.Snapshot) -> ModelFiles:
    """The verified files of a snapshot in the hub cache, with the first of its weights.

    Raises:
        ModelCorruptError: a file is not what it was when it was fetched.
        ModelUnsupportedError: it needs code of its own.
    """
    folder, names = snapshot.folder, names_in(snapshot.folder)
    weights = snapshot.weights[0]
    refuse_code(folder, names, kind=kind_of_file(weights) or "safetensors", where=str(folder))
    parts = parts_of(weights, names, folder=folder)
    place = hub.record_of(folder)
    record = (read_manifest(place) if place is not None else None) or Manifest()
    # What only the hub's own names say; a record of ours knows the same, and of the small files too.
    by_hub = {name: sha256 for name in parts if (sha256 := hub.hub_sha256(folder / name))}
    manifest = Manifest(sha256s={**by_hub, **record.sha256s})
    verify(
        folder,
        manifest,
        weight_files=parts,
        remedy=f"fetch it again: pairscore models remove {asked.hub_id}, then pairscore models pull {asked.hub_id}",
    )
    name = asked.entry.name if asked.entry else asked.hub_id
    return ModelFiles(
        name=asked.with_file(name),
        folder=folder,
        weights=folder / weights,
        source="hub",
        revision=snapshot.commit,
        known_sha256=_known(manifest, parts),
        requested_revision=asked.revision or DEFAULT_REVISION,
    )


def _bundled_folder(entry: CatalogEntry) -> Path:
    return Path(str(resources.files("pairscore.models") / "bundled" / entry.name))


def _in_folder(
    asked: Asked, folder: Path, *, source: Source, kind: WeightsKind | None
) -> ModelFiles:
    bundled = source == "bundled"
    own_name = asked.entry.name if bundled and asked.entry else folder.resolve().name
    folder = _model_of_run(folder, asked, kind)
    manifest = read_manifest(folder / MANIFEST)
    if manifest is None and bundled:
        raise ModelCorruptError(
            f"{folder / MANIFEST} is missing; reinstall pairscore to restore the model"
        )
    manifest = manifest or Manifest()
    names = names_in(folder)
    weights = _weights(asked, names, kind)
    parts = () if weights is None else parts_of(weights, names, folder=folder)
    # First, because a half-copied folder should hear what is missing, not that it has no weights.
    verify(folder, manifest, weight_files=parts, remedy="reinstall or copy the model again")
    if weights is None:
        raise _missing(asked, folder, names, manifest, kind)
    refuse_code(folder, names, kind=kind_of_file(weights) or "safetensors", where=str(folder))
    _refuse_half(folder, parts)
    return ModelFiles(
        name=asked.with_file(own_name),
        folder=folder,
        weights=folder / weights,
        source=source,
        revision=(asked.revision if not bundled else None) or manifest.revision,
        known_sha256=_known(manifest, parts),
        requested_revision=manifest.requested_revision,
    )


def _model_of_run(folder: Path, asked: Asked, kind: WeightsKind | None) -> Path:
    """The folder in which a run of training keeps the model that is meant; any other folder is its own."""
    if not (folder / RUN_FILE).is_file():
        return folder
    parts = [folder / part for part in _RUN_MODELS if (folder / part / "config.json").is_file()]
    if not parts:
        raise ModelUnsupportedError(
            f"{folder} is a run of training that has no model yet; go on with it: "
            f"pairscore train {folder} --resume"
        )
    fitting = (part for part in parts if _weights(asked, names_in(part), kind) is not None)
    return next(fitting, parts[0])


def _weights(asked: Asked, names: frozenset[str], kind: WeightsKind | None) -> str | None:
    if asked.file is not None:
        return asked.file if asked.file in names else None
    found = (choose(names, one) for one in KINDS if kind in (None, one))
    return next((name for name in found if name is not None), None)


def _missing(
    asked: Asked,
    folder: Path,
    names: frozenset[str],
    manifest: Manifest,
    kind: WeightsKind | None,
) -> ModelCorruptError | ModelUnsupportedError:
    """The error for a folder without the weights: it lost them, or it never had them."""
    lost = _weights(asked, frozenset(manifest.sha256s), kind)
    if lost is not None:
        return ModelCorruptError(f"{folder / lost} is missing; reinstall or copy the model again")
    if asked.file is not None:
        weights = sorted(name for name in names if kind_of_file(name) is not None)
        return ModelUnsupportedError(
            f"{folder} holds no {asked.file}; its weights are: {', '.join(weights) or 'none'}"
        )
    return no_weights(names, kind=kind, where=str(folder), name=asked.name)


def _refuse_half(folder: Path, parts: tuple[str, ...]) -> None:
    for name in parts:
        if not (folder / name).is_file():
            raise ModelCorruptError(
                f"{folder / name} is missing, a shard of the weights; copy or download the model again"
            )


def _known(manifest: Manifest, parts: tuple[str, ...]) -> str | None:
    """The sha256 of verified weights, if that of each part is known."""
    if not all(name in manifest.sha256s for name in parts):
        return None
    return combined_sha256({name: manifest.sha256s[name] for name in parts})
