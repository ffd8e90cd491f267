"""Scores that were computed once are kept on disk, so that the same evaluation is instant the second time.

One SQLite file in the user's cache folder holds values by key. A key is a hash that names the model, how it
reads, and the texts; neither texts nor names are kept. A cache stops no evaluation: a file that is broken is made
anew, and where none can be used nothing is kept, and `problem` says why.

What was put is there after a kill -9 (SQLite's write-ahead log), several processes may use the file at once, and
it does not grow without end: above `max_bytes` of entries the oldest leave.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from pairscore.closing import Closing
from pairscore.errors import SettingError
from pairscore.models.places import cache_folder

__all__ = ["DEFAULT_MAX_BYTES", "ScoreCache", "cache_file"]

DEFAULT_MAX_BYTES: Final = 1 << 30
"""About ten million scores."""

_LEAST_BYTES: Final = 1 << 20
# Another layout of the file, or of what is kept in it, must have another name.
_FILE: Final = "scores-1.sqlite"
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS kept (place INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL)
"""
# How many keys stand in one question; SQLite allows more than ten thousand.
_ASKED_AT_ONCE: Final = 1000
# How long one process waits for another that is writing.
_WAIT_S: Final = 30.0
# The part of the entries that leaves when there is no more room: one in five.
_LEAVING: Final = 5

_Result = TypeVar("_Result")


def cache_file() -> Path:
    """Where scores are kept for this user; it need not be there."""
    return cache_folder() / _FILE


class ScoreCache(Closing):
    """Values by key, on disk. Threads and processes may share the file.

    Args:
        path: the file; None is the user's, `cache_file()`.
        max_bytes: the most bytes of entries.

    Attributes:
        path: the file.
        problem: why nothing is kept; empty as long as it works.

    Raises:
        SettingError: `max_bytes` is below a megabyte.
    """

    def __init__(self, path: Path | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        if max_bytes < _LEAST_BYTES:
            raise SettingError(
                f"the score cache's max_bytes is {max_bytes:,}; it must be at least {_LEAST_BYTES:,}"
            )
        self.path = cache_file() if path is None else path
        self.problem = ""
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._file: sqlite3.Connection | None = None
        try:
            self._file = _opened(self.path)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What is known, in the order of the keys; None where nothing is."""
        nothing: dict[bytes, bytes] = {}
        found = self._guarded(lambda file: _read(file, keys), otherwise=nothing)
        return [found.get(key) for key in keys]

    def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep values, in one transaction; they are on disk when this returns, or `problem` says why not."""
        self._guarded(lambda file: _write(file, entries, max_bytes=self._max_bytes), otherwise=None)

    def clear(self) -> int:
        """Forget everything and give the disk its room back; the number of entries that there were."""
        return self._guarded(_clear, otherwise=0)

    def __len__(self) -> int:
        return self._guarded(_count, otherwise=0)

    def close(self) -> None:
        """Let go of the file; afterwards nothing is found and nothing kept. A second call does nothing."""
        with self._lock:
            self._let_go()

    def _guarded(
        self, work: Callable[[sqlite3.Connection], _Result], *, otherwise: _Result
    ) -> _Result:
        with self._lock:
            if self._file is None:
                return otherwise
            try:
                return work(self._file)
            except (sqlite3.Error, OSError) as error:
                self._let_go()
                self._give_up(error)
                return otherwise

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _give_up(self, error: Exception) -> None:
        self.problem = f"scores are not kept: {self.path} cannot be used ({error})"
        if _is_broken(error):
            # The next evaluation begins a new one.
            _remove(self.path)


def _opened(path: Path) -> sqlite3.Connection:
    """The file, made anew where it is there and no such file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connected(path)
    except sqlite3.DatabaseError as error:
        if not _is_broken(error):
            raise
        _remove(path)
        return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    # The lock above keeps threads apart; transactions are ours to begin.
    file = sqlite3.connect(path, timeout=_WAIT_S, check_same_thread=False, isolation_level=None)
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute(_TABLE)
    except BaseException:
        file.close()
        raise
    return file


def _is_broken(error: Exception) -> bool:
    """Whether the file is at fault, and not a lock, the disk or the rights to it."""
    return getattr(error, "sqlite_errorcode", None) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _read(file: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for start in range(0, len(keys), _ASKED_AT_ONCE):
        asked = keys[start : start + _ASKED_AT_ONCE]
        places = ",".join("?" * len(asked))
        # Only question marks are put together.
        question = f"SELECT key, value FROM kept WHERE key IN ({places})"  # noqa: S608
        found.update(file.execute(question, asked).fetchall())
    return found


def _write(
    file: sqlite3.Connection, entries: Sequence[tuple[bytes, bytes]], *, max_bytes: int
) -> None:
    with file:
        file.execute("BEGIN IMMEDIATE")
        file.executemany("INSERT OR REPLACE INTO kept (key, value) VALUES (?, ?)", entries)
        while _num_bytes(file) > max_bytes:
            _drop_oldest(file)


def _drop_oldest(file: sqlite3.Connection) -> None:
    num_leaving = -(-_count(file) // _LEAVING)
    file.execute(
        "DELETE FROM kept WHERE place IN (SELECT place FROM kept ORDER BY place LIMIT ?)",
        (num_leaving,),
    )


def _num_bytes(file: sqlite3.Connection) -> int:
    """What the entries take; pages that are free again are used by the next ones."""
    pages, free, size = (
        int(file.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _count(file: sqlite3.Connection) -> int:
    return int(file.execute("SELECT count(*) FROM kept").fetchone()[0])


def _clear(file: sqlite3.Connection) -> int:
    num_entries = _count(file)
    with file:
        file.execute("DELETE FROM kept")
    file.execute("VACUUM")
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return num_entries
