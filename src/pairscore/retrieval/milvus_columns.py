"""The metadata's columns that a Milvus collection is known to have: its JSON has no schema, so they are learnt from rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from pairscore.errors import FilterError
from pairscore.retrieval.milvus_filter import FIELDS, exists, kind_of

__all__ = ["KnownColumns"]

# Rows that are looked at to learn columns, or the kinds of one.
_SAMPLE: Final = 100
_SHOWN: Final = 20
Sample = Callable[[str, int], Sequence[Mapping[str, Any]]]
"""Rows with their metadata: the expression that they satisfy, and the most of them."""


class KnownColumns:
    """Learns columns and the kinds of their values, and never forgets one; many threads may use it."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._kinds: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def learn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take up the metadata of rows that were read or written."""
        with self._lock:
            for row in rows:
                for key, value in (row["metadata"] or {}).items():
                    if kind := kind_of(value):
                        self._kinds.setdefault(key, set()).add(kind)

    def kinds_of(self, column: str) -> AbstractSet[str]:
        """The kinds of values that a column has; one that was never seen is looked for.

        Raises:
            FilterError: no document has it, or Milvus cannot name it.
        """
        known = self._known(column)
        if not known:
            self.learn(self._sample(exists(column), _SAMPLE))
            known = self._known(column)
        if not known:
            names = (*sorted(FIELDS), *self.names())
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise FilterError(
                f"no document has a column {column!r}; known: {', '.join(names[:_SHOWN])}{more}"
            )
        return known

    def names(self) -> tuple[str, ...]:
        """The metadata's columns that were seen or are in a sample."""
        self.learn(self._sample("", _SAMPLE))
        with self._lock:
            return tuple(sorted(self._kinds))

    def _known(self, column: str) -> AbstractSet[str]:
        with self._lock:
            return frozenset(self._kinds.get(column, ()))
