"""Where rows come from and go to: a path, or ``-`` for standard input and output.

Every failure of the operating system is told here in words; a reader that went away (a closed pipe) is not a failure.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from pairscore.errors import InputFileError, OutputFileError, SettingError

__all__ = [
    "STANDARD",
    "Closable",
    "Sink",
    "check_target",
    "close",
    "open_source",
    "open_target",
    "said",
    "size",
]

STANDARD = "-"


class Closable(Protocol):
    """Something with a `close`."""

    def close(self) -> None:
        """Let go."""
        ...


def said(path: str, *, reading: bool) -> str:
    """A path as messages call it."""
    if path != STANDARD:
        return path
    return "standard input" if reading else "standard output"


def open_source(path: str) -> BinaryIO:
    """Open a file for reading.

    Raises:
        InputFileError: it is missing, is a folder, or may not be read.
    """
    if path == STANDARD:
        return sys.stdin.buffer
    try:
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise InputFileError(
            f"there is no file {path!r}; check the path (the current folder is {Path.cwd()})"
        ) from error
    except IsADirectoryError as error:
        raise InputFileError(f"{path!r} is a folder; give one file") from error
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path!r} cannot be read: {_reason(error)}") from error


def size(file: BinaryIO) -> int | None:
    """The bytes of a regular file; None for a pipe, whose end nobody knows."""
    if not file.seekable():
        return None
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    return end or None


def check_target(path: str, *, source: str, overwrite: bool) -> None:
    """Refuse an output that cannot be meant, before any work is done.

    Raises:
        SettingError: it is the input itself.
        OutputFileError: it exists already, is a folder, or its folder is missing.
    """
    if path == STANDARD:
        return
    target = Path(path)
    if source != STANDARD and target.exists() and Path(source).exists() and target.samefile(source):
        raise SettingError(f"input and output are the same file, {path!r}; write to another one")
    if target.is_dir():
        raise OutputFileError(f"{path!r} is a folder; name a file")
    # A device or a named pipe is there to be written to; only a regular file can be lost.
    if target.is_file() and not overwrite:
        raise OutputFileError(
            f"{path!r} exists already; give another name, or allow to replace it with --overwrite"
        )
    if not target.absolute().parent.is_dir():
        raise OutputFileError(
            f"the folder of {path!r} does not exist; make it with: mkdir -p {target.parent}"
        )


def open_target(path: str, *, overwrite: bool) -> Sink:
    """Open a file for writing.

    Raises:
        OutputFileError: it cannot be written, or came into being meanwhile.
    """
    if path == STANDARD:
        return Sink(sys.stdout.buffer, name=said(path, reading=False))
    replaceable = overwrite or (Path(path).exists() and not Path(path).is_file())
    try:
        return Sink(Path(path).open("wb" if replaceable else "xb"), name=path)
    except OSError as error:
        raise OutputFileError(
            f"{path!r} cannot be written: {_reason(error)}; give another name with --output"
        ) from error


class Sink:
    """A binary file whose failures are told in words."""

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        self.name = name
        self.file = file
        self._failed = False

    def write(self, content: bytes) -> None:
        """Write all of it, and hand it to the operating system at once.

        Raises:
            OutputFileError: the disk is full, or the like.
        """
        try:
            self.file.write(content)
            self.file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self.failure(error) from error

    def failure(self, error: Exception) -> OutputFileError:
        """The error to raise where writing failed; from then on `close` is silent about more of it."""
        self._failed = True
        return OutputFileError(f"writing {self.name} failed: {_reason(error)}")

    def close(self) -> None:
        """Close the file, unless it is standard output, which is not ours.

        Raises:
            OutputFileError: the last bytes found no room.
        """
        try:
            close(self.file)
        except BrokenPipeError:
            raise
        except OSError as error:
            # The first failure was told already.
            if not self._failed:
                raise self.failure(error) from error


def close(file: Closable) -> None:
    """Close what is not one of the process's own streams."""
    if file not in (_raw(sys.stdin), _raw(sys.stdout)):
        file.close()


def _raw(stream: object) -> BinaryIO | None:
    return cast("BinaryIO | None", getattr(stream, "buffer", None))


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
