"""What models weigh, and how the memory of one that was closed goes back to the machine."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import Final

from pairscore.models.resolve import ModelFiles

__all__ = ["give_back", "keep_one_heap", "resident_bytes", "weights_bytes"]

_STATM: Final = Path("/proc/self/statm")
# Of glibc's malloc.h.
_M_ARENA_MAX: Final = -8


def resident_bytes() -> int | None:
    """What this process holds in memory; None where the system does not say."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def weights_bytes(files: ModelFiles) -> int:
    """What a model's weights take on disk: every file of them."""
    return sum(path.stat().st_size for path in files.weight_files)


def keep_one_heap() -> None:
    """Make all threads allocate from one heap from now on; for a process that loads and frees models.

    The C library gives threads heaps of their own, up to eight for each core. A model that is loaded by one thread and
    run by others leaves pieces in all of them, and a heap shrinks only as far as its last piece.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    # Only glibc has it.
    except (AttributeError, OSError, TypeError):
        return


def give_back() -> None:
    """Return what is free to the system.

    An engine is a ring of objects that only the garbage collector undoes, and the C library keeps what was freed
    for the next one who asks: without this a closed model stays in the process' resident memory.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    # Only glibc has it.
    except (AttributeError, OSError, TypeError):
        return
