"""Where an index lies, and its table in LanceDB: made, opened, and told apart from what was left half made."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from pairscore.errors import (
    IndexCorruptError,
    IndexNotFoundError,
    MissingExtraError,
    OutputFileError,
    SettingError,
)
from pairscore.retrieval.lance_errors import reading, writing
from pairscore.retrieval.lance_schema import TABLE

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.db import DBConnection
    from lancedb.table import Table

__all__ = ["Place", "check_out", "create_table", "open_table"]

_REMOTE: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_REMOTE_FRESH_S: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an index lies.

    Attributes:
        uri: what LanceDB is given, and what messages say.
        folder: the same on this machine; None for an address elsewhere.
        storage_options: for LanceDB, untouched: credentials, regions, endpoints.
    """

    uri: str
    folder: Path | None
    storage_options: Mapping[str, str] | None = None

    @classmethod
    def of(cls, uri: str | Path, storage_options: Mapping[str, str] | None = None) -> Place:
        """A path, or an address such as ``s3://bucket/index``, which is LanceDB's to understand."""
        text = str(uri)
        if text.lower().startswith("file://"):
            text = unquote(urlsplit(text).path)
        if _REMOTE.match(text):
            return cls(uri=text, folder=None, storage_options=storage_options)
        folder = Path(text).expanduser().absolute()
        return cls(uri=str(folder), folder=folder, storage_options=storage_options)

    @property
    def table_folder(self) -> Path | None:
        """The folder of the table, on this machine."""
        return None if self.folder is None else self.folder / f"{TABLE}.lance"

    def num_bytes(self) -> int | None:
        """What the index takes on this machine's disk; None for one elsewhere."""
        if self.folder is None:
            return None
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


def create_table(place: Place, schema: pa.Schema) -> Table:
    """Make an empty table.

    Raises:
        OutputFileError: there is an index already, or the place may not be written to.
        MissingExtraError: LanceDB is not installed.
    """
    lancedb = _require_lancedb()
    if _is_there(place):
        raise OutputFileError(
            f"there is an index in {place.uri!r} already; open it, give another folder, or remove it first"
        )
    _clear_half_made(place)
    with writing(place.uri):
        return _connect(lancedb, place).create_table(TABLE, schema=schema)


def open_table(place: Place) -> Table:
    """Open the table.

    Raises:
        IndexNotFoundError: there is none.
        IndexCorruptError: it is half made, or broken.
        MissingExtraError: LanceDB is not installed.
    """
    lancedb = _require_lancedb()
    # LanceDB would make the folder.
    if not _is_there(place):
        raise IndexNotFoundError(
            f"there is no search index in {place.uri!r}; check the path, or make one with: pairscore index build"
        )
    if place.table_folder is not None and not _has_version(place.table_folder):
        raise IndexCorruptError(
            f"the index {place.uri!r} has documents and no record of its versions; restore the folder from a copy, or "
            "remove it and build the index again"
        )
    with reading(place.uri):
        return _connect(lancedb, place).open_table(TABLE)


def check_out(table: Table, version: int, *, place: Place) -> None:
    """Go to an earlier version, and stay there.

    Raises:
        SettingError: there is no such version.
    """
    known = [int(one["version"]) for one in table.list_versions()]
    if version not in known:
        raise SettingError(
            f"the index {place.uri!r} has no version {version}; it has {min(known)} to {max(known)}"
        )
    with reading(place.uri):
        table.checkout(version)


def _is_there(place: Place) -> bool:
    folder = place.table_folder
    if folder is None:
        with reading(place.uri):
            return TABLE in _connect(_require_lancedb(), place).list_tables().tables
    # A table begins to exist with its first version. Where its making was interrupted before, nothing was lost.
    return folder.is_dir() and (_has_version(folder) or any(folder.rglob("*.lance")))


def _has_version(folder: Path) -> bool:
    return any((folder / "_versions").glob("*.manifest"))


def _clear_half_made(place: Place) -> None:
    if place.table_folder is not None and place.table_folder.is_dir():
        with writing(place.uri):
            shutil.rmtree(place.table_folder)


def _connect(lancedb: ModuleType, place: Place) -> DBConnection:
    # A reader sees what others wrote at its next search; far away that question costs a round trip, so not each time.
    fresh_s = _REMOTE_FRESH_S if place.folder is None else 0.0
    options = None if place.storage_options is None else dict(place.storage_options)
    connection: DBConnection = lancedb.connect(
        place.uri,
        storage_options=options,
        read_consistency_interval=timedelta(seconds=fresh_s),
    )
    return connection


def _require_lancedb() -> ModuleType:
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtraError(feature="a search index", extra="retrieval") from error
    module: ModuleType = lancedb
    return module
