"""What keeps an index quick: its word, vector and id indices, fewer and larger files, no old versions.

Search is right without any of it: what an index does not know yet is searched row by row.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from pairscore.retrieval.lance_schema import FULL_TEXT, VECTOR

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["MIN_INDEXED_VECTORS", "NUM_PROBES", "compact", "make_indices", "unindexed"]

MIN_INDEXED_VECTORS: Final = 10_000
"""Below it every vector is compared: exact, and as quick."""
NUM_PROBES: Final = 20
"""Partitions of the vector index that a query looks into; more where a filter leaves too few documents."""

_VECTORS_A_PARTITION: Final = 8192
# At none at all LanceDB gives a Python warning; what it warns of is said where the option is.
_LEAST_S: Final = 0.001
_WORKERS: Final = 1
_MEMORY_MIB: Final = 256


def make_indices(table: Table) -> None:
    """Make those that are missing: of words and of ids, also while there is no document yet."""
    from lancedb.index import BTree

    there = _indexed(table)
    if FULL_TEXT not in there:
        _index_words(table)
    if "id" not in there:
        table.create_index("id", config=BTree())


def compact(table: Table, *, keep_s: float, alone: bool) -> None:
    """Take new rows into the indices, join small files, forget old versions.

    Args:
        table: the table.
        keep_s: seconds for which a version that is no longer the newest is kept, for those who still read it.
        alone: nobody else can be writing, so what no version knows was left behind by a writer that died.
    """
    make_indices(table)
    names = _indexed(table)
    if _is_outgrown(table, names[FULL_TEXT]):
        _index_words(table)
    renewed = _needs_vectors(table, names.get(VECTOR))
    if renewed and VECTOR in names:
        # Or what it does not know would first be added to it; until there is another one every vector is compared.
        table.drop_index(names[VECTOR])
    table.optimize(
        cleanup_older_than=timedelta(seconds=max(keep_s, _LEAST_S)), delete_unverified=alone
    )
    if renewed:
        _index_vectors(table)


def unindexed(table: Table) -> int:
    """Documents that a search has to look at one by one, because an index does not know them."""
    return max((_num_unindexed(table, name) for name in _indexed(table).values()), default=0)


def _needs_vectors(table: Table, name: str | None) -> bool:
    """Whether to make the vector index anew: better partitions than by adding, and quicker."""
    if VECTOR not in table.schema.names or table.count_rows() < MIN_INDEXED_VECTORS:
        return False
    return name is None or _is_outgrown(table, name)


def _index_words(table: Table) -> None:
    from lancedb.index import FTS

    # Chosen on SciFact's training queries (docs/experiments.md). Stop words stay: a query of nothing else finds, too.
    config = FTS(
        base_tokenizer="simple",
        lower_case=True,
        stem=True,
        remove_stop_words=False,
        ascii_folding=True,
        with_position=False,
        memory_limit=_MEMORY_MIB,
        num_workers=_WORKERS,
    )
    table.create_index(FULL_TEXT, config=config, replace=True)


def _index_vectors(table: Table) -> None:
    from lancedb.index import IvfSq

    # Of those that LanceDB offers it is the quickest to build by far, and as quick to search (docs/experiments.md).
    partitions = max(1, table.count_rows() // _VECTORS_A_PARTITION)
    config = IvfSq(distance_type="cosine", num_partitions=partitions)
    table.create_index(VECTOR, config=config, replace=True)


def _indexed(table: Table) -> dict[str, str]:
    """The columns that have an index, and its name."""
    return {index.columns[0]: index.name for index in table.list_indices()}


def _is_outgrown(table: Table, name: str) -> bool:
    """Most rows are new to an index."""
    statistics = table.index_stats(name)
    return statistics is not None and statistics.num_unindexed_rows > statistics.num_indexed_rows


def _num_unindexed(table: Table, name: str) -> int:
    statistics = table.index_stats(name)
    return 0 if statistics is None else statistics.num_unindexed_rows
