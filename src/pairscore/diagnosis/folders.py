"""The folders that pairscore keeps files in: how much lies there, and whether more can be written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pairscore.models.places import cache_folder, hub_cache

__all__ = ["FolderFacts", "folders"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderFacts:
    """A folder of files that can be made or fetched again.

    Attributes:
        name: what it is for.
        path: where.
        is_there: whether it is there; if not, it is made when it is needed.
        num_bytes: of the files in it.
        is_writable: whether files can be put there, or it can be made.
    """

    name: str
    path: Path
    is_there: bool
    num_bytes: int
    is_writable: bool


def folders(own: Path | None = None) -> tuple[FolderFacts, ...]:
    """The hub cache, and pairscore's own; `own` None is the user's."""
    return (
        _folder("models of the hub", hub_cache()),
        _folder("what was measured", own or cache_folder()),
    )


def _folder(name: str, path: Path) -> FolderFacts:
    # One that is not there yet can be made where its nearest parent can be written.
    nearest = next((place for place in (path, *path.parents) if place.exists()), path)
    return FolderFacts(
        name=name,
        path=path,
        is_there=path.is_dir(),
        num_bytes=_num_bytes(path),
        is_writable=nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK),
    )


def _num_bytes(folder: Path) -> int:
    """The hub cache names one file several times; names count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:
                # Removed meanwhile.
                continue
    return total
