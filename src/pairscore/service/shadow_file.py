"""A file of JSON lines that grows to a limit, is put aside once, and never harms who writes to it."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pairscore.errors import SettingError
from pairscore.service.fields import option

__all__ = ["LineFile"]

_log = logging.getLogger("pairscore.service")

# Without O_NONBLOCK a pipe that nobody reads would be waited for.
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
_MODE: Final = 0o640


class LineFile:
    """Appends objects as lines of JSON, each one whole and at once; any thread may write.

    Before it would grow beyond its limit it is renamed to FILE.1, in the place of an older one, and begun anew. When
    it can no longer be written, a full disk for one, it is given up with one warning, and nothing is raised.

    Args:
        path: the file; what is in it stays.
        max_bytes: how large it may grow.

    Raises:
        SettingError: it cannot be opened.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        try:
            self._file: int | None = os.open(path, _FLAGS, _MODE)
        except OSError as error:
            raise SettingError(
                f"shadow_file is {str(path)!r}; it cannot be written: {error.strerror or error}; "
                f"set it with {option('shadow_file')}"
            ) from error

    @property
    def is_open(self) -> bool:
        """Whether lines are still written."""
        return self._file is not None

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one line; does nothing once the file was given up or closed."""
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        with self._lock:
            if self._file is None:
                return
            try:
                self._append(self._room_for(self._file, len(line)), line)
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """End it; a second call does nothing."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _room_for(self, file: int, num_bytes: int) -> int:
        size = os.fstat(file).st_size
        if not size or size + num_bytes <= self._max_bytes:
            return file
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        fresh = os.open(self._path, _FLAGS, _MODE)
        os.close(file)
        self._file = fresh
        return fresh

    def _append(self, file: int, line: bytes) -> None:
        written = os.write(file, line)
        if written < len(line):
            # The disk is full in the middle of a line; half a line would break whoever reads the others.
            os.ftruncate(file, max(0, os.fstat(file).st_size - written))
            raise OSError(None, "no room for a whole line")

    def _give_up(self, error: OSError) -> None:
        _log.warning(
            "the shadow's differences are no longer written to %s: %s; make room and start the service again; "
            "requests are answered and the metrics go on",
            self._path,
            error.strerror or error,
        )
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
