"""What is read from an index's table: the nearest, the matching, and documents by their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pairscore.retrieval import index_upkeep
from pairscore.retrieval.base import Candidate, Document, Filter
from pairscore.retrieval.lance_filter import expression, ids_expression
from pairscore.retrieval.lance_rows import document_of
from pairscore.retrieval.lance_schema import FIELDS, FULL_TEXT, VECTOR, kinds_in
from pairscore.values import FloatArray

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["chunks", "first_known", "matching", "nearest", "stored"]

_IDS_AT_ONCE = 1000


def nearest(table: Table, vector: FloatArray, *, limit: int, where: Filter) -> list[Candidate]:
    """By cosine, best first; the scores are exact, also where the vector index rounds."""
    query: Any = table.search(vector, vector_column_name=VECTOR, query_type="vector")
    query = query.distance_type("cosine").refine_factor(1)
    # More partitions than these only where a filter leaves too few documents in them.
    query = query.minimum_nprobes(index_upkeep.NUM_PROBES).maximum_nprobes(0)
    rows = _rows(_filtered(query, where, table), limit=limit, score="_distance")
    return _ranked(rows, [1.0 - row["_distance"] for row in rows])


def matching(table: Table, text: str, *, limit: int, where: Filter) -> list[Candidate]:
    """By BM25, best first; a word that the query repeats counts once."""
    from lancedb import query as lance  # of an extra

    match_query: Any = lance.MatchQuery  # its defaults are hidden from type checkers
    # LanceDB would search for each repetition anew: of 10,000 words that takes ten times as long, and finds no better.
    words = " ".join(dict.fromkeys(text.lower().split()))
    # An object, and not a string, in which quotes and signs would mean something.
    query = table.search(match_query(words, FULL_TEXT), query_type="fts")
    rows = _rows(_filtered(query, where, table), limit=limit, score="_score")
    return _ranked(rows, [row["_score"] for row in rows])


def stored(table: Table, ids: Sequence[str]) -> list[Document]:
    """Documents by their ids, in that order; those that are not there are left out."""
    found: dict[str, Document] = {}
    for some in chunks(ids):
        query = table.search().where(ids_expression(some)).select(list(FIELDS)).limit(len(some))
        found |= {row["id"]: document_of(row) for row in query.to_arrow().to_pylist()}
    return [found[one] for one in ids if one in found]


def first_known(table: Table, ids: Sequence[str]) -> str | None:
    """One of these ids that is there; None if none is."""
    for some in chunks(ids):
        query = table.search().where(ids_expression(some)).select(["id"]).limit(1)
        known: list[str] = query.to_arrow()["id"].to_pylist()
        if known:
            return known[0]
    return None


def chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    """No more ids at once than an expression should hold."""
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield list(ids[start : start + _IDS_AT_ONCE])


def _filtered(query: Any, where: Filter, table: Table) -> Any:
    made = expression(where, kinds_in(table.schema.names)) if where else None
    return query if made is None else query.where(made, prefilter=True)


def _rows(query: Any, *, limit: int, score: str) -> list[dict[str, Any]]:
    query = query.select([*FIELDS, score]).with_row_id(True).limit(limit)  # noqa: FBT003 - LanceDB's own
    rows: list[dict[str, Any]] = query.to_arrow().to_pylist()
    return rows


def _ranked(rows: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> list[Candidate]:
    """Best first; equal ones in the order in which they were added."""
    order = sorted(range(len(rows)), key=lambda row: (-scores[row], rows[row]["_rowid"]))
    return [Candidate(document=document_of(rows[row]), score=scores[row]) for row in order]
