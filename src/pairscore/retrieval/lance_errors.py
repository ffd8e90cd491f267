"""What LanceDB raises, in our words: it has one error for everything, and the reason is in its text."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pairscore.errors import (
    IndexBusyError,
    IndexCorruptError,
    OutputFileError,
    PairscoreError,
    SearchIndexError,
)

__all__ = ["reading", "writing"]

_FULL: Final = re.compile(
    r"no space left|os error 28\b|disk quota|os error 122\b|enospc", re.IGNORECASE
)
_CONFLICT: Final = re.compile(
    r"commit conflict|concurrent|too many retries|retryable", re.IGNORECASE
)
_DENIED: Final = re.compile(r"permission denied|read-only file|os error (13|30)\b", re.IGNORECASE)
_BROKEN: Final = re.compile(
    r"not found|corrupt|invalid|unexpected|end of file|magic|decode|out of range|os error 2\b|failed to",
    re.IGNORECASE,
)
_MAX_CHARS: Final = 300


@contextmanager
def reading(place: str) -> Iterator[None]:
    """A block that reads the index.

    Raises:
        IndexCorruptError: its files are missing or broken.
        SearchIndexError: it cannot be read for another reason.
    """
    try:
        yield
    except PairscoreError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(place, error) from error


@contextmanager
def writing(place: str) -> Iterator[None]:
    """A block that writes to the index; what it has not finished does not count.

    Raises:
        OutputFileError: the disk is full, or may not be written.
        IndexBusyError: somebody else wrote at the same time.
        SearchIndexError: it failed for another reason.
    """
    try:
        yield
    except PairscoreError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        text = str(error)
        if getattr(error, "errno", None) == errno.ENOSPC or _FULL.search(text):
            raise OutputFileError(
                f"the disk is full, or its quota is: the index {place!r} could not be written. It can still be read, and "
                "all that was written before is there; make room and do the same again"
            ) from error
        if _DENIED.search(text):
            raise OutputFileError(
                f"the index {place!r} may not be written: {_short(error)}; change its permissions, or copy it"
            ) from error
        if _CONFLICT.search(text):
            raise IndexBusyError(
                f"somebody else wrote to the index {place!r} at the same time; nothing was written: try it again"
            ) from error
        raise _unreadable(place, error) from error


def _unreadable(place: str, error: Exception) -> SearchIndexError:
    if isinstance(error, FileNotFoundError) or _BROKEN.search(str(error)):
        return IndexCorruptError(
            f"the files of the index {place!r} are missing or broken: {_short(error)}; restore them from a copy, open an "
            "earlier version of the index, or build it again"
        )
    return SearchIndexError(f"the index {place!r} cannot be used: {_short(error)}")


def _short(error: Exception) -> str:
    """The first line, without the places in LanceDB's own source."""
    text = re.sub(r",? ?/[^ ]*\.rs:\d+(:\d+)?", "", str(error).strip().split("\n")[0])
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}…"
