"""Files that are replaced whole: a reader finds the old one or the new one, and nothing between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside a file; what is written there takes the file's place when the block ends without an error.

    After an error nothing is left beside the file, and the file is as it was. The folder must be there. Two threads
    must not replace the same file at once; two processes may, and the later one stays.

    Raises:
        OSError: the file cannot be replaced.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        yield half
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
