"""A folder in which long work is kept as it is done, so that a run that was killed goes on where it stopped.

Each stage is a file of records of one size, and beside it a key: what its content depends on. Records are only ever
appended. A stage whose key is another one begins anew; a record that was half written when the process was killed is
cut off. So a second run with, say, another threshold computes nothing again that does not depend on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from pairscore.closing import Closing
from pairscore.errors import OutputFileError

__all__ = ["Stage", "WorkFolder"]

_FORMAT: Final = 1
_LOCK: Final = "lock"
_ENDINGS: Final = (".json", ".json.new", ".records")


class Stage:
    """The records of one stage.

    Args:
        path: the file, without its ending.
        key: what the content depends on, as JSON.
        dtype: of one record.
    """

    def __init__(self, path: Path, *, key: Mapping[str, Any], dtype: npt.DTypeLike) -> None:
        self._records = path.with_name(f"{path.name}.records")
        self._key_file = path.with_name(f"{path.name}.json")
        self._dtype = np.dtype(dtype)
        self._key = {"format": _FORMAT, "dtype": str(self._dtype), **key}
        if self._kept_key() != self._key:
            self._begin()
        else:
            self._cut()

    def __len__(self) -> int:
        """How many records there are."""
        return self._records.stat().st_size // self._dtype.itemsize

    def append(self, records: npt.NDArray[Any]) -> None:
        """Put records behind those that are there; they outlive the process when this returns.

        Raises:
            OSError: the disk is full, or the like; what was there before is kept.
        """
        with self._records.open("ab") as file:
            file.write(np.ascontiguousarray(records, dtype=self._dtype.base).tobytes())

    def truncate(self, num_records: int) -> None:
        """Forget the records behind the first `num_records`."""
        os.truncate(self._records, num_records * self._dtype.itemsize)

    def read(self) -> npt.NDArray[Any]:
        """All records, in memory."""
        return np.fromfile(self._records, dtype=self._dtype)

    def mapped(self) -> npt.NDArray[Any]:
        """All records, as a map of the file that takes no memory of its own."""
        if not len(self):
            return np.empty(0, dtype=self._dtype)
        return np.memmap(self._records, dtype=self._dtype, mode="r", shape=(len(self),))

    def _kept_key(self) -> Any:
        try:
            return json.loads(self._key_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _begin(self) -> None:
        # In this order, so that a key never stands beside records that were made for another one.
        self._key_file.unlink(missing_ok=True)
        self._records.write_bytes(b"")
        new = self._key_file.with_name(f"{self._key_file.name}.new")
        new.write_text(json.dumps(self._key), encoding="utf-8")
        new.replace(self._key_file)

    def _cut(self) -> None:
        self._records.touch()
        self.truncate(len(self))


class WorkFolder(Closing):
    """The folder of one run; it is made if it is not there, and belongs to one process at a time.

    Raises:
        OutputFileError: it cannot be made or written, or another process works in it.
    """

    def __init__(self, path: Path) -> None:
        # Here, because Windows has none, and must be able to import the package.
        import fcntl

        self._path = path
        with _told(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock: IO[str] = (path / _LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise OutputFileError(
                f"another process works in {str(path)!r}; wait for it, or name another folder with --work"
            ) from error

    def close(self) -> None:
        """Let the next process in; a second call does nothing."""
        self._lock.close()

    def stage(self, name: str, *, key: Mapping[str, Any], dtype: npt.DTypeLike) -> Stage:
        """Open a stage, with the records that are there already if they were made for the same key."""
        with _told(self._path):
            return Stage(self._path / name, key=key, dtype=dtype)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block in which an error of the disk is told in words."""
        with _told(self._path):
            yield

    def remove(self) -> None:
        """Take away what stages left, and the folder itself if nothing else is in it."""
        for path in self._path.iterdir():
            if path.name == _LOCK or path.name.endswith(_ENDINGS):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self._path.rmdir()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFileError(
            f"the work folder {str(path)!r} cannot be written: {error.strerror or error}; make room, or name another "
            "one with --work"
        ) from error
