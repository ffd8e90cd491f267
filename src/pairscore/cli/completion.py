"""What the shell offers where a model is named: the catalogue, the hub cache, folders here that hold a model.

Files need nothing: where nothing is offered, the shell offers its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["cached_models", "cross_encoders", "encoders", "models"]

# What tells the shell that a path is being written, which it completes better by itself.
_PATHS = (".", "/", "~")
_MARKS = ("config.json", "run.json")


def models(incomplete: str) -> list[tuple[str, str]]:
    """Every model that can be named, with what it is for."""
    return _offered(incomplete, tasks=("relevance", "similarity", "embedding"))


def cross_encoders(incomplete: str) -> list[tuple[str, str]]:
    """Models that score pairs."""
    return _offered(incomplete, tasks=("relevance", "similarity"))


def encoders(incomplete: str) -> list[tuple[str, str]]:
    """Models that make vectors."""
    return _offered(incomplete, tasks=("embedding",))


def cached_models(incomplete: str) -> list[tuple[str, str]]:
    """Models in the hub cache, which can be removed from it."""
    return list(_begun(incomplete, _cached()))


def _offered(incomplete: str, *, tasks: tuple[str, ...]) -> list[tuple[str, str]]:
    if incomplete.startswith(_PATHS):
        return []
    # Here, because `--help` must not wait for it.
    from pairscore.models.catalog import list_models

    known = ((entry.name, entry.summary) for entry in list_models() if entry.task in tasks)
    return list(_begun(incomplete, [*known, *_cached(), *_folders()]))


def _begun(incomplete: str, offered: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((name, what) for name, what in offered if name.startswith(incomplete))


def _cached() -> list[tuple[str, str]]:
    from pairscore.models.store import cached_copies

    return [
        (name, "in the hub cache") for name in dict.fromkeys(one.name for one in cached_copies())
    ]


def _folders() -> list[tuple[str, str]]:
    """Folders below this one, down to the second level, that hold a model or a run of training."""
    here = Path()
    found = [
        path.parent
        for mark in _MARKS
        for depth in ("*", "*/*")
        for path in here.glob(f"{depth}/{mark}")
    ]
    return [(path.as_posix(), "a folder") for path in sorted(set(found))]
