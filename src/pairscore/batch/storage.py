"""Where a job reads and writes: folders of this machine, and whatever `pyarrow.fs` opens by its URL.

A place is a local path or a URL such as ``s3://bucket/folder``; a URL keeps its query (``?endpoint_override=…``), which
belongs to the store and not to the file. A file is written whole or not at all.
"""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast
from urllib.parse import quote

from pairscore.errors import InputFileError, MissingExtraError, OutputFileError, SettingError

__all__ = ["Entry", "Located", "PyarrowStore", "Store", "child", "is_url", "locate"]

_BUFFER_BYTES: Final = 1 << 20
# Where a file appears at once when it is complete; elsewhere it is written beside its place and moved.
_PUTS_WHOLE: Final = frozenset({"s3", "gcs", "abfs"})
# Not by `urlsplit`: a secret key has slashes, and ends the host's part for it. What a colon begins may be a port, too,
# but not with S3, where a bucket is in the host's place.
_PASSWORD: Final = re.compile(r"(s3://|[\w+.-]+://(?![^/?@]*:\d+/))[^/?@]*:[^?]*@")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file of a listing.

    Attributes:
        name: below the folder that was listed, with ``/``.
        num_bytes: its size.
        version: what changes where the file does.
    """

    name: str
    num_bytes: int
    version: str


class Store(Protocol):
    """A place for files, by paths of its own."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; it can seek.

        Raises:
            InputFileError: it is missing, or may not be read.
        """
        ...

    def entry(self, path: str) -> Entry | None:
        """A file's size and version; None if there is no such file."""
        ...

    def listing(self, folder: str, *, recursive: bool = False) -> Iterator[Entry]:
        """The files of a folder, in no order; none where there is no such folder."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file, at once for whoever looks; folders are made.

        Raises:
            OutputFileError: it cannot be written.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file; it may be gone already.

        Raises:
            OutputFileError: it cannot be removed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Located:
    """A place: the store, and the path inside it."""

    store: Store
    path: str

    def below(self, name: str) -> str:
        """The path of a file of this folder."""
        return f"{self.path.rstrip('/')}/{name}" if self.path else name


def is_url(place: str) -> bool:
    """Whether a place is a URL; a Windows drive is none."""
    return "://" in place


def child(place: str, name: str) -> str:
    """The place of a file below a folder's place."""
    if not is_url(place):
        return str(Path(place) / name)
    folder, mark, query = place.partition("?")
    return f"{folder.rstrip('/')}/{quote(name)}{mark}{query}"


def locate(place: str) -> Located:
    """The store of a place.

    Raises:
        MissingExtraError: it is a URL, and pyarrow is not installed.
        SettingError: nothing opens such a URL, or there is a password in it.
    """
    return _of_url(place) if is_url(place) else Located(_LOCAL, place)


# A client of a store has its own connections; one for each look at a file would be slow.
@lru_cache(maxsize=64)
def _of_url(url: str) -> Located:
    try:
        from pyarrow import fs
    except ImportError as error:
        raise MissingExtraError(feature="files behind URLs", extra="parquet") from error
    _refuse_password(url)
    try:
        store, path = fs.FileSystem.from_uri(url)
    except (ValueError, OSError, NotImplementedError) as error:
        raise SettingError(
            f"{url!r} cannot be opened: {error}; known are s3://, gs://, abfss://, hdfs:// and file:// "
            "(written as pyarrow's file systems have them), and local paths"
        ) from error
    return Located(PyarrowStore(store), path)


def _refuse_password(url: str) -> None:
    """The URL of an input is kept beside the results, and every user of a machine can read its commands."""
    found = _PASSWORD.match(url)
    if found:
        raise SettingError(
            f"there is a password in {found[1]}...@{url[found.end() :].partition('?')[0]}; leave it out, and give keys "
            "as the store's own clients have them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


class LocalStore:
    """This machine's own files."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        try:
            return Path(path).open("rb")
        except OSError as error:
            raise _unreadable(path, error) from error

    def entry(self, path: str) -> Entry | None:
        """A file's size and its time of change."""
        file = Path(path)
        return _local_entry(file, name=file.name) if file.is_file() else None

    def listing(self, folder: str, *, recursive: bool = False) -> Iterator[Entry]:
        """The files of a folder."""
        top = Path(folder)
        for place, folders, names in os.walk(top, followlinks=True):
            if not recursive:
                folders.clear()
            for name in names:
                file = Path(place) / name
                yield _local_entry(file, name=file.relative_to(top).as_posix())

    def write(self, path: str, content: bytes) -> None:
        """Write beside the place, hand it to the disk, and rename."""
        target = Path(path)
        beside = target.with_name(_beside(target.name))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise _unwritable(path, error) from error

    def remove(self, path: str) -> None:
        """Remove a file."""
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error


_LOCAL: Final = LocalStore()


class PyarrowStore:
    """What a `pyarrow.fs.FileSystem` reaches."""

    def __init__(self, files: Any) -> None:
        self._files = files

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        try:
            file = self._files.open_input_file(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        return cast("BinaryIO", io.BufferedReader(file, buffer_size=_BUFFER_BYTES))

    def entry(self, path: str) -> Entry | None:
        """A file's size and its time of change."""
        try:
            info = self._files.get_file_info(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        return _entry(info, name=info.base_name) if info.is_file else None

    def listing(self, folder: str, *, recursive: bool = False) -> Iterator[Entry]:
        """The files of a folder."""
        from pyarrow import fs

        selector = fs.FileSelector(folder, allow_not_found=True, recursive=recursive)
        try:
            found = self._files.get_file_info(selector)
        except OSError as error:
            raise _unreadable(folder, error) from error
        top = len(folder.rstrip("/")) + 1 if folder else 0
        for info in found:
            if info.is_file:
                yield _entry(info, name=info.path[top:])

    def write(self, path: str, content: bytes) -> None:
        """Put it where a put is whole; elsewhere write beside the place, and move."""
        whole = self._files.type_name in _PUTS_WHOLE
        folder, _, name = path.rpartition("/")
        beside = f"{folder}/{_beside(name)}" if folder else _beside(name)
        target = path if whole else beside
        try:
            if folder and not whole:
                self._files.create_dir(folder, recursive=True)
            with self._files.open_output_stream(target) as stream:
                stream.write(content)
            if not whole:
                self._files.move(target, path)
        except OSError as error:
            with suppress(OSError):
                self._files.delete_file(target)
            raise _unwritable(path, error) from error

    def remove(self, path: str) -> None:
        """Remove a file."""
        try:
            self._files.delete_file(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unwritable(path, error) from error


def _local_entry(file: Path, *, name: str) -> Entry:
    found = file.stat()
    return Entry(name=name, num_bytes=found.st_size, version=str(found.st_mtime_ns))


def _entry(info: Any, *, name: str) -> Entry:
    version = "" if info.mtime_ns is None else str(info.mtime_ns)
    return Entry(name=name, num_bytes=info.size or 0, version=version)


def _beside(name: str) -> str:
    """A name that readers of folders pass over."""
    return f".{name}.{uuid.uuid4().hex}.tmp"


def _unreadable(path: str, error: OSError) -> InputFileError:
    return InputFileError(
        f"{path!r} cannot be read: {error.strerror or error}; check the path, and that it may be read"
    )


def _unwritable(path: str, error: OSError) -> OutputFileError:
    return OutputFileError(
        f"{path!r} cannot be written: {error.strerror or error}; make room or give another folder with --output, "
        "and go on with --resume"
    )
