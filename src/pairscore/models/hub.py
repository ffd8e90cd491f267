"""The hub cache, and the hub behind it: a model's snapshot, pinned to a commit and compared with its sha256s.

The cache is asked first, so that a start never waits for the network in vain. What is fetched is chosen from the
hub's list of files by name: weights of the kinds that are read, JSON, vocabularies, the licence; nothing that
could run.
"""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pairscore.errors import (
    ModelCorruptError,
    ModelError,
    ModelNotFoundError,
    ModelOfflineError,
    ModelUnsupportedError,
)
from pairscore.models.catalog import DEFAULT_MODEL
from pairscore.models.files import (
    KINDS,
    WeightsKind,
    choose,
    file_sha256,
    kind_of_file,
    names_in,
    only,
    parts_of,
)
from pairscore.models.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from pairscore.models.naming import DEFAULT_REVISION, Asked
from pairscore.models.refusals import no_weights, refuse_code

__all__ = ["Snapshot", "cached", "fetch", "files_of", "hub_sha256", "offline", "record_of"]

_SHA256_LENGTH: Final = 64
# What a model needs beside its weights, and what says under which licence it comes.
_DATA: Final = ("*.json", "vocab.txt", "merges.txt", "*.model", "README.md", "LICENSE*")
_NEEDED: Final = ("config.json", "tokenizer.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A model of the hub as it was at one commit.

    Attributes:
        folder: where its files lie.
        commit: of the hub's repository.
        weights: the names of the files of weights that can be opened.
    """

    folder: Path
    commit: str
    weights: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Listing:
    """What the hub says that a commit holds: names, and the sha256s of those files whose sha256 it keeps."""

    commit: str
    names: frozenset[str]
    sha256s: Mapping[str, str] = field(default_factory=dict)


def cached(asked: Asked, *, kinds: Collection[WeightsKind] | None = None) -> Snapshot | None:
    """The snapshot in the hub cache; None if it is not there, or not whole. Touches no network.

    Args:
        asked: a hub id, and a revision or a file of weights.
        kinds: of weights, all of them; None takes one, ONNX first.

    Raises:
        ModelNotFoundError: it cannot be a hub id.
    """
    folder = _in_cache(asked, ["config.json"])
    if folder is None:
        return None
    names = names_in(folder)
    weights = _wanted(names, asked, kinds)
    if not weights or "config.json" not in names:
        return None
    # The hub's list of files, where the cache kept it, knows what else belongs to the weights.
    beside = [pattern for name in weights for pattern in _beside(name)]
    needed = [glob.escape(name) for name in (*_parts(weights, names, folder), *_NEEDED)]
    if _in_cache(asked, [*needed, *beside]) is None:
        return None
    if not all((folder / name).is_file() for name in _parts(weights, names, folder)):
        return None
    return Snapshot(folder=folder, commit=folder.name, weights=weights)


def fetch(
    asked: Asked, *, kinds: Collection[WeightsKind] | None = None, folder: Path | None = None
) -> Snapshot:
    """Fetch a model from the hub: its data, then its weights, each compared with the sha256 that the hub keeps.

    Args:
        asked: a hub id, and a revision or a file of weights.
        kinds: of weights, all of them; None takes one, ONNX first.
        folder: an empty folder for the files; None for the hub cache.

    Raises:
        ModelNotFoundError: the hub has no such model or revision.
        ModelOfflineError: the hub cannot be reached.
        ModelUnsupportedError: it has no weights that may be opened.
        ModelCorruptError: what came is not what the hub says.
    """
    listing = _list(asked)
    weights = _wanted(listing.names, asked, kinds)
    if not weights:
        raise _missing(asked, listing, kinds)
    data = _data(listing.names)
    place = _download(asked, data, listing.commit, folder)
    for name in weights:
        kind = kind_of_file(name) or "safetensors"
        refuse_code(place, listing.names, kind=kind, where=asked.hub_id)
    parts = _parts(weights, listing.names, place)
    _download(asked, list(parts), listing.commit, folder)
    snapshot = Snapshot(folder=place, commit=listing.commit, weights=weights)
    _record(
        asked, snapshot, names=[*data, *parts], sha256s=listing.sha256s, is_cache=folder is None
    )
    return snapshot


def files_of(snapshot: Snapshot) -> tuple[str, ...]:
    """The names of the files that a fetch would have brought; others may have put more into the same cache."""
    names = names_in(snapshot.folder)
    return tuple(sorted({*_data(names), *_parts(snapshot.weights, names, snapshot.folder)}))


def hub_sha256(path: Path) -> str | None:
    """The sha256 that the hub keeps of a large file, which is what its cache calls the file; else None."""
    if not path.is_symlink():
        return None
    name = path.readlink().name
    is_sha256 = len(name) == _SHA256_LENGTH and all(char in "0123456789abcdef" for char in name)
    return name if is_sha256 else None


def record_of(folder: Path) -> Path | None:
    """Where our own record of a snapshot's sha256s lies: in the cache, beside the snapshots and outside of them."""
    if folder.parent.name != "snapshots":
        return None
    return folder.parent.parent / "pairscore" / f"{folder.name}.json"


def offline(asked: Asked, reason: str = "the hub cannot be reached") -> ModelOfflineError:
    """The error for a model that is not here and cannot be fetched."""
    name = asked.hub_id if asked.revision is None else f"{asked.hub_id}@{asked.revision}"
    return ModelOfflineError(
        f"{name!r} is not in the hub cache (or not whole) and cannot be fetched: {reason}; "
        f"on a machine with network run: pairscore models pull {name} --to FOLDER, "
        "copy FOLDER here and give it as the model; "
        f"or use the bundled model {DEFAULT_MODEL!r}, which needs no network"
    )


def _wanted(
    names: Collection[str], asked: Asked, kinds: Collection[WeightsKind] | None
) -> tuple[str, ...]:
    """The weights to open; of a collection of kinds, what there is of each."""
    if asked.file is not None:
        return (asked.file,) if asked.file in names else ()
    found = [name for kind in kinds or KINDS if (name := choose(names, kind)) is not None]
    return tuple(found if kinds else found[:1])


def _missing(
    asked: Asked, listing: _Listing, kinds: Collection[WeightsKind] | None
) -> ModelUnsupportedError:
    where = f"{asked.hub_id} on the hub"
    if asked.file is not None:
        there = sorted(name for name in listing.names if kind_of_file(name) is not None)
        return ModelUnsupportedError(
            f"{where} holds no {asked.file}; its weights are: {', '.join(there) or 'none'}"
        )
    return no_weights(listing.names, kind=only(kinds), where=where, name=asked.name)


def _parts(weights: Collection[str], names: Collection[str], folder: Path) -> tuple[str, ...]:
    every = {part for name in weights for part in parts_of(name, names, folder=folder)}
    return tuple(sorted(every))


def _data(names: Collection[str]) -> list[str]:
    """What is read beside weights; not a manifest of somebody's folder, because ours stands in its place."""
    return [
        name
        for name in names
        if name != MANIFEST and any(fnmatch.fnmatch(name, pattern) for pattern in _DATA)
    ]


def _beside(weights: str) -> list[str]:
    """Patterns of ONNX external data."""
    name = glob.escape(weights)
    return [f"{name}_data*", f"{name}.data*"] if weights.endswith(".onnx") else []


def _in_cache(asked: Asked, patterns: list[str]) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                asked.hub_id,
                revision=asked.revision,
                allow_patterns=patterns,
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ModelNotFoundError(f"{asked.hub_id!r} is not a hub id: {error}") from error


def _list(asked: Asked) -> _Listing:
    from huggingface_hub import HfApi

    with _hub_errors(asked):
        info = HfApi().model_info(asked.hub_id, revision=asked.revision, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings or []}
    sha256s = {name: str(file.lfs.sha256) for name, file in files.items() if file.lfs is not None}
    return _Listing(str(info.sha), frozenset(files), sha256s)


def _download(asked: Asked, names: list[str], commit: str, folder: Path | None) -> Path:
    """Fetch files of that commit, by their exact names."""
    from huggingface_hub import snapshot_download

    # The branch's name, so that the cache notes what it means; a plain folder keeps no such notes.
    options: dict[str, Any] = {"revision": asked.revision}
    if folder is not None:
        options = {"revision": commit, "local_dir": folder}
    with _hub_errors(asked):
        place = Path(
            snapshot_download(
                asked.hub_id, allow_patterns=[glob.escape(name) for name in names], **options
            )
        )
    if folder is None and place.name != commit:
        raise ModelOfflineError(
            f"{asked.hub_id!r} was changed on the hub while it was fetched; fetch it again"
        )
    return place


@contextmanager
def _hub_errors(asked: Asked) -> Iterator[None]:
    """Whatever goes wrong on the way to the hub becomes an error of ours."""
    # HTTPError is the base of its HTTP client's errors, whichever client that is.
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        GatedRepoError,
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise ModelNotFoundError(f"{asked.hub_id!r} is not a hub id: {error}") from error
    except GatedRepoError as error:
        raise ModelNotFoundError(
            f"{asked.hub_id!r} is gated: accept its terms on the hub, then log in with `hf auth login`"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        at = f" at {asked.revision!r}" if asked.revision else ""
        raise ModelNotFoundError(
            f"the hub knows no model {asked.hub_id!r}{at}; "
            "check the spelling, and log in if it is private"
        ) from error
    except OfflineModeIsEnabled as error:
        raise offline(asked, "HF_HUB_OFFLINE closes the network") from error
    # OSError: some HTTP clients' own connection errors come through, and so does a full disk.
    except (HTTPError, OSError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise offline(asked, f"{type(error).__name__}: {first}") from error


def _record(
    asked: Asked,
    snapshot: Snapshot,
    *,
    names: list[str],
    sha256s: Mapping[str, str],
    is_cache: bool,
) -> None:
    """Compare what came with what the hub says, and keep the sha256 of every file."""
    missing = [name for name in names if not (snapshot.folder / name).is_file()]
    if missing:
        raise offline(asked, f"{missing[0]} did not come; fetch it again")
    found = {name: file_sha256(snapshot.folder / name) for name in names}
    for name, sha256 in found.items():
        expected = sha256s.get(name, sha256)
        if sha256 != expected:
            _discard(snapshot.folder / name)
            raise ModelCorruptError(
                f"{name} of {asked.hub_id} came damaged: its sha256 is {sha256}, the hub says {expected}; "
                "it was deleted: fetch it again"
            )
    manifest = Manifest(
        sha256s=found,
        revision=snapshot.commit,
        requested_revision=asked.revision or DEFAULT_REVISION,
        name=asked.hub_id,
    )
    if not is_cache:
        write_manifest(snapshot.folder / MANIFEST, manifest)
        return
    place = record_of(snapshot.folder)
    # A cache that only others may write in has no record of ours; the hub's own sha256s are still compared.
    with suppress(OSError):
        if place is not None:
            write_manifest(place, _joined(place, manifest))


def _joined(place: Path, manifest: Manifest) -> Manifest:
    """With what an earlier fetch of the same commit recorded: its ONNX, say, and now the safetensors."""
    try:
        earlier = read_manifest(place)
    except ModelError:
        return manifest
    if earlier is None or earlier.revision != manifest.revision:
        return manifest
    return Manifest(
        sha256s={**earlier.sha256s, **manifest.sha256s},
        revision=manifest.revision,
        requested_revision=manifest.requested_revision,
        name=manifest.name,
    )


def _discard(path: Path) -> None:
    """Delete a damaged file and what it points to, so that it is fetched again."""
    with suppress(OSError):
        target = path.resolve()
        path.unlink()
        target.unlink(missing_ok=True)
