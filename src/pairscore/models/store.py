"""The models that are on this machine: pull one, list them, remove one.

The hub cache is shared with other programs, so only a model that was asked for by name is ever removed from it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pairscore.errors import (
    ModelCorruptError,
    ModelNotFoundError,
    ModelOfflineError,
    ModelUnsupportedError,
    OutputFileError,
)
from pairscore.models import hub
from pairscore.models.catalog import CatalogEntry, list_models
from pairscore.models.facts import read_facts
from pairscore.models.files import (
    KINDS,
    ModelFiles,
    WeightsKind,
    choose,
    file_sha256,
    kind_of_file,
    names_in,
    only,
)
from pairscore.models.manifest import MANIFEST, Manifest, write_manifest
from pairscore.models.naming import DEFAULT_REVISION, Asked, parse
from pairscore.models.refusals import refuse_file
from pairscore.models.resolve import files_of_snapshot, is_bundled, resolve

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo, CachedRevisionInfo, HFCacheInfo

__all__ = [
    "Copy",
    "Pulled",
    "bundled_copy",
    "cached_copies",
    "num_bytes_in",
    "progress_bars",
    "pull",
    "remove",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """What a pull brought.

    Attributes:
        files: verified, in the hub cache, in the package or in the folder that was named.
        num_bytes: of all files of the model there.
        is_fresh: False if the hub could not be asked and the cache had the model.
    """

    files: ModelFiles
    num_bytes: int
    is_fresh: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A model that is on this machine.

    Attributes:
        name: the hub id, or the name of a bundled model.
        place: ``package`` or ``hub cache``.
        folder: where its files lie.
        revision: the commit, or what the manifest of a bundled model says.
        refs: the branches and tags that mean this commit, as the cache knows them.
        num_bytes: of its files.
        weights: the names of the files of weights that a backend can open.
    """

    name: str
    place: Literal["package", "hub cache"]
    folder: Path
    revision: str
    refs: tuple[str, ...]
    num_bytes: int
    weights: tuple[str, ...]

    @property
    def kinds(self) -> tuple[WeightsKind, ...]:
        """The kinds of weights that are found without naming a file."""
        return tuple(kind for kind in KINDS if choose(self.weights, kind) is not None)


def pull(
    name: str,
    *,
    revision: str | None = None,
    kinds: Collection[WeightsKind] | None = None,
    to: Path | None = None,
) -> Pulled:
    """Fetch a model, as the hub has it now, and verify it.

    Args:
        name: as for `resolve`.
        revision: branch, tag or commit.
        kinds: of weights; of several, what the hub has of each; None takes one, ONNX first.
        to: a folder that does not exist yet, or is empty; it can be copied to another machine and given as a
            model's name there. None takes the hub cache.

    Raises:
        ModelNotFoundError: the hub has no such model or revision.
        ModelOfflineError: it cannot be fetched, and is not in the hub cache.
        ModelCorruptError: what came is not what the hub says.
        ModelUnsupportedError: it has no weights that may be opened, or is a folder already.
        OutputFileError: the folder is not empty, or cannot be made.
    """
    asked = parse(name, revision=revision)
    if asked.file is not None:
        refuse_file(asked.file, kind=only(kinds))
    if asked.is_folder:
        raise ModelUnsupportedError(
            f"{asked.name!r} is a folder on this machine already: there is nothing to fetch; copy it as it is"
        )
    if is_bundled(asked):
        return _pull_bundled(name, kinds=kinds, to=to)
    if to is not None:
        return _pull_to(asked, to, kinds=kinds)
    snapshot, is_fresh = _newest(asked, kinds)
    files = files_of_snapshot(asked, snapshot)
    return Pulled(files=files, num_bytes=num_bytes_in(files.folder), is_fresh=is_fresh)


@contextmanager
def progress_bars(*, shown: bool) -> Iterator[None]:
    """Let the hub's client draw its bars on standard error, or not; left as it was found."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # its documented home
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    if not shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if not shown and not before:
            enable_progress_bars()


def cached_copies() -> tuple[Copy, ...]:
    """The cross-encoders and bi-encoders in the hub cache, by name; empty if there is no cache."""
    copies = [
        _copy(repo, revision)
        for repo in _repos()
        for revision in repo.revisions
        if _is_ours(revision.snapshot_path)
    ]
    return tuple(sorted(copies, key=lambda copy: (copy.name.casefold(), copy.revision)))


def bundled_copy(entry: CatalogEntry) -> Copy:
    """A bundled model, as a copy on this machine; it is verified on the way."""
    files = resolve(entry.name)
    return Copy(
        name=entry.name,
        place="package",
        folder=files.folder,
        revision=files.revision or "",
        refs=(),
        num_bytes=num_bytes_in(files.folder),
        weights=_openable(files.folder),
    )


def remove(name: str, *, revision: str | None = None, dry_run: bool = False) -> tuple[Copy, ...]:
    """Delete a model from the hub cache: all its revisions, or the one that is named.

    Args:
        name: a catalogue name, or a hub id.
        revision: branch, tag or commit.
        dry_run: only say what would go.

    Returns:
        What is, or would be, gone.

    Raises:
        ModelUnsupportedError: a bundled model, or a folder.
        ModelNotFoundError: the cache holds no such model or revision.
    """
    asked = parse(name, revision=revision)
    if asked.is_folder:
        raise ModelUnsupportedError(
            f"{asked.name!r} is a folder, not a model in the hub cache; delete it yourself if it is yours"
        )
    ids = asked.entry.hub_ids if asked.entry else (asked.hub_id,)
    doomed = [
        (repo, found)
        for repo in _repos()
        if repo.repo_id in ids
        for found in repo.revisions
        if asked.revision in (None, found.commit_hash, *found.refs)
    ]
    if not doomed:
        raise _nothing_to_remove(asked)
    # Read now, because afterwards there is nothing to read.
    copies = tuple(_copy(repo, found) for repo, found in doomed)
    if not dry_run:
        commits = [found.commit_hash for _, found in doomed]
        _scan().delete_revisions(*commits).execute()
        for _, found in doomed:
            record = hub.record_of(found.snapshot_path)
            if record is not None:
                record.unlink(missing_ok=True)
    return copies


def num_bytes_in(folder: Path) -> int:
    """The bytes of all files of a model's folder."""
    return sum((folder / name).stat().st_size for name in names_in(folder))


def _newest(asked: Asked, kinds: Collection[WeightsKind] | None) -> tuple[hub.Snapshot, bool]:
    """What the hub has now; without the hub, what the cache has."""
    try:
        return hub.fetch(asked, kinds=kinds), True
    except ModelOfflineError:
        snapshot = hub.cached(asked, kinds=kinds)
        if snapshot is None:
            raise
        return snapshot, False


def _pull_bundled(name: str, *, kinds: Collection[WeightsKind] | None, to: Path | None) -> Pulled:
    files = resolve(name, kind=only(kinds))
    if to is None:
        return Pulled(files=files, num_bytes=num_bytes_in(files.folder), is_fresh=True)
    with _new_folder(to) as place:
        for inside in names_in(files.folder):
            (place / inside).parent.mkdir(exist_ok=True)
            shutil.copyfile(files.folder / inside, place / inside)
    return _pulled_to(to, parse(name), is_fresh=True)


def _pull_to(asked: Asked, to: Path, *, kinds: Collection[WeightsKind] | None) -> Pulled:
    with _new_folder(to) as place:
        try:
            hub.fetch(asked, kinds=kinds, folder=place)
            is_fresh = True
        except ModelOfflineError:
            _copy_cached(asked, place, kinds=kinds)
            is_fresh = False
        # The hub's own notes on the download.
        shutil.rmtree(place / ".cache", ignore_errors=True)
    return _pulled_to(to, asked, is_fresh=is_fresh)


def _pulled_to(to: Path, asked: Asked, *, is_fresh: bool) -> Pulled:
    """Read again from where it lies now: what is reported is what was written."""
    files = resolve(to if asked.file is None else f"{to}:{asked.file}")
    return Pulled(files=files, num_bytes=num_bytes_in(to), is_fresh=is_fresh)


def _copy_cached(asked: Asked, place: Path, *, kinds: Collection[WeightsKind] | None) -> None:
    """Copy a snapshot out of the cache, and write the manifest that a fetch would have written.

    Raises:
        ModelOfflineError: it is not there.
    """
    snapshot = hub.cached(asked, kinds=kinds)
    if snapshot is None:
        raise hub.offline(asked)
    # Verified before it is copied.
    files_of_snapshot(asked, snapshot)
    sha256s = {}
    for name in hub.files_of(snapshot):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(snapshot.folder / name, place / name)
        sha256s[name] = file_sha256(place / name)
    manifest = Manifest(
        sha256s=sha256s,
        revision=snapshot.commit,
        requested_revision=asked.revision or DEFAULT_REVISION,
        name=asked.hub_id,
    )
    write_manifest(place / MANIFEST, manifest)


@contextmanager
def _new_folder(to: Path) -> Iterator[Path]:
    """A place beside the folder that becomes the folder at the end: half a model never lies there."""
    try:
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise OutputFileError(f"{to} exists and is not an empty folder; give a new one")
        to.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    except OSError as error:
        raise OutputFileError(f"{to} cannot be written: {error.strerror or error}") from error
    try:
        yield place
        # mkdtemp's folder is its owner's alone; a model may be read by whoever may read its parent.
        place.chmod(0o755)
        place.replace(to)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _repos() -> list[CachedRepoInfo]:
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = _scan().repos
    except CacheNotFound:
        return []
    return [repo for repo in repos if repo.repo_type == "model"]


def _scan() -> HFCacheInfo:
    from huggingface_hub import constants, scan_cache_dir

    return scan_cache_dir(constants.HF_HUB_CACHE)


def _copy(repo: CachedRepoInfo, revision: CachedRevisionInfo) -> Copy:
    return Copy(
        name=repo.repo_id,
        place="hub cache",
        folder=revision.snapshot_path,
        revision=revision.commit_hash,
        refs=tuple(sorted(revision.refs)),
        num_bytes=revision.size_on_disk,
        weights=_openable(revision.snapshot_path),
    )


def _openable(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(name for name in names_in(folder) if kind_of_file(name) is not None))


def _is_ours(folder: Path) -> bool:
    """Whether a snapshot is of a cross-encoder or a bi-encoder; a cache holds all sorts of others."""
    try:
        facts = read_facts(folder)
    except ModelCorruptError:
        return False
    return facts.architecture.endswith("ForSequenceClassification") or facts.is_bi_encoder


def _nothing_to_remove(asked: Asked) -> ModelNotFoundError | ModelUnsupportedError:
    if is_bundled(asked):
        return ModelUnsupportedError(
            f"{asked.name!r} is inside the package and goes with it: pip uninstall pairscore"
        )
    at = f" at {asked.revision!r}" if asked.revision else ""
    known = ", ".join(entry.name for entry in list_models() if entry.bundled)
    return ModelNotFoundError(
        f"the hub cache holds no model {asked.hub_id!r}{at}; `pairscore models list` shows what it holds "
        f"(bundled, and never removed: {known})"
    )
