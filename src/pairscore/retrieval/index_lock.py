"""One writer at a time: a lock on a file in the index's folder, which the system drops when its holder dies."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pairscore.errors import IndexBusyError, OutputFileError

__all__ = ["LOCK_FILE", "WriterLock"]

LOCK_FILE = "writer.lock"
_PAUSE_S = 0.02


class WriterLock:
    """Held by the one who writes to an index; its thread may take it again while it has it.

    Args:
        folder: the index's folder; None where the storage itself keeps writers apart.
        wait_s: how long to wait for another writer.
    """

    def __init__(self, folder: Path | None, *, wait_s: float) -> None:
        self._folder = folder
        self._wait_s = wait_s
        self._thread = threading.RLock()
        self._depth = 0
        self._file: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block in which nobody else writes.

        Raises:
            IndexBusyError: somebody else does, and went on doing so for `wait_s`.
            OutputFileError: the folder may not be written to.
        """
        if not self._thread.acquire(timeout=self._wait_s):
            raise self._busy("another thread of this process")
        try:
            if self._depth == 0:
                self._take()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._give_back()
        finally:
            self._thread.release()

    def _take(self) -> None:
        if self._folder is None:
            return
        try:
            file = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputFileError(
                f"the index {str(self._folder)!r} may not be written: {error.strerror}"
            ) from error
        try:
            self._lock(file)
            # Only for the message of whoever finds it taken; on a full disk it may stay empty.
            with suppress(OSError):
                os.ftruncate(file, 0)
                holder = {"pid": os.getpid(), "host": socket.gethostname()}
                os.pwrite(file, json.dumps(holder).encode(), 0)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def _lock(self, file: int) -> None:
        import fcntl  # not on every system

        end = time.monotonic() + self._wait_s
        while True:
            try:
                # It belongs to the open file: it ends with its process, however that ends.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise self._busy(_holder(file)) from error
                time.sleep(_PAUSE_S)
            else:
                return

    def _give_back(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _busy(self, who: str) -> IndexBusyError:
        return IndexBusyError(
            f"{who} writes to the index{f' {str(self._folder)!r}' if self._folder else ''}, and did so for the "
            f"{self._wait_s:g} s that were waited; wait until it is done, or stop it"
        )


def _holder(file: int) -> str:
    try:
        holder = json.loads(os.pread(file, 4096, 0))
        return f"the process {int(holder['pid'])} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
