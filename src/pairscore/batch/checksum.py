"""A number that says which rows were read: the same in whatever order they were, and in however many turns."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

__all__ = ["MODULUS", "row_checksum", "total"]

MODULUS: Final = 1 << 64
_BROKEN: Final = -1


def row_checksum(source: int, row: int, query: str, documents: Sequence[str]) -> int:
    """64 bits of one row: which file, which row of it, and the texts.

    Args:
        source: which of the job's files, counted from 0.
        row: which row of that file, counted from 0.
        query: the first text; of a broken row empty.
        documents: the second text, or all of a list; of a broken row empty.
    """
    state = blake2b(struct.pack("<qqq", source, row, len(documents) or _BROKEN), digest_size=8)
    for text in (query, *documents):
        content = text.encode("utf-8")
        # With its length, so that no two rows look alike by where a text ends.
        state.update(struct.pack("<q", len(content)))
        state.update(content)
    return int.from_bytes(state.digest(), "little")


def total(checksums: Iterable[int]) -> int:
    """Of many rows, or of many blocks."""
    return sum(checksums) % MODULUS
