"""Judged collections as texts to compare on: BEIR's folders, and TREC's files.

Which files a folder has to have, and what may stand in them, is told in `pairscore.evaluation.beir` and
`pairscore.evaluation.trec_files`, which read them. Of several first rankings BM25's is taken, then the first in
alphabetical order. Without a run the candidates of a query are its judged documents and some of the other
queries'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from pairscore.convert.parity_texts import Candidates, ParityTexts, cut_to
from pairscore.errors import EmptyInputError
from pairscore.evaluation.beir import find_files, read_documents, read_queries
from pairscore.evaluation.trec_files import Qrels, read_qrels, read_run
from pairscore.retrieval.base import Document

__all__ = ["read_judged"]

_NUM_WITHOUT_RUN: Final = 50


def read_judged(folder: Path, *, limit: int | None = None) -> ParityTexts:
    """Read a judged collection: the queries that are judged, each with its candidates.

    Args:
        folder: holds the files that the module's table names.
        limit: the most pairs.

    Raises:
        InputFileError: the folder or one of its files is missing, or cannot be read.
        DataFileError: a line is not what it should be, or the files do not belong together.
        SettingError: the limit is below 1.
    """
    files = find_files(folder)
    grades = _relevant(files.qrels)
    run = _first_ranking(next(iter(files.runs), None), grades)
    kept = cut_to(limit, {query_id: len(documents) for query_id, documents in run.entries.items()})
    wanted = {query_id: run.entries[query_id][:count] for query_id, count in kept.items()}
    queries = read_queries(files.queries, wanted=wanted)
    documents = read_documents(
        files.corpus, wanted={document for documents in wanted.values() for document in documents}
    )
    return ParityTexts(
        name=folder.resolve().name,
        queries=_joined(folder, wanted, queries=queries, documents=documents, grades=grades),
        note=run.note,
        num_available=sum(len(documents) for documents in run.entries.values()),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    entries: dict[str, list[str]]
    note: str


def _joined(
    folder: Path,
    wanted: Mapping[str, Sequence[str]],
    *,
    queries: Mapping[str, str],
    documents: Mapping[str, Document],
    grades: Mapping[str, Mapping[str, int]],
) -> tuple[Candidates, ...]:
    joined = []
    for query_id, document_ids in wanted.items():
        found = [document_id for document_id in document_ids if document_id in documents]
        if query_id not in queries or not found:
            continue
        of_query = grades[query_id]
        joined.append(
            Candidates(
                query=queries[query_id],
                documents=tuple(documents[document_id].full_text for document_id in found),
                grades=tuple(of_query.get(document_id, 0) for document_id in found),
                judged=tuple(of_query.values()),
            )
        )
    if not joined:
        raise EmptyInputError(
            f"{str(folder)!r}: no judged query has both its text and a document in corpus.jsonl; "
            "check that the files belong to one collection"
        )
    return tuple(joined)


def _relevant(path: Path) -> Qrels:
    """Grades by query; queries without a relevant document are left out, for no order of theirs is better."""
    grades = read_qrels(path)
    judged = {query: entry for query, entry in grades.items() if max(entry.values()) > 0}
    if not judged:
        raise EmptyInputError(f"{path} judges no document relevant; nDCG needs one that is")
    return judged


def _first_ranking(path: Path | None, grades: Mapping[str, Mapping[str, int]]) -> _Run:
    if path is None:
        note = (
            f"there is no first ranking: each query's candidates are its judged documents and other "
            f"queries', {_NUM_WITHOUT_RUN} together; nDCG is that of this list, not of a search"
        )
        return _Run(_without_run(grades), note)
    run = read_run(path, name=path.name).only(grades)
    if not run.rankings:
        raise EmptyInputError(f"{path} ranks nothing for a query that is judged")
    entries = {query: list(ranking.document_ids) for query, ranking in run.rankings.items()}
    return _Run(entries, "")


def _without_run(grades: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    pool = list(dict.fromkeys(document for entry in grades.values() for document in entry))
    entries = {}
    for place, (query_id, entry) in enumerate(grades.items()):
        num_others = max(0, _NUM_WITHOUT_RUN - len(entry))
        # Each query begins elsewhere in the pool, always at the same place.
        start = place * _NUM_WITHOUT_RUN % len(pool)
        others = (document for document in pool[start:] + pool[:start] if document not in entry)
        # Sorted by id, so that the order of the input does not put the judged ones first.
        entries[query_id] = sorted([*entry, *islice(others, num_others)])
    return entries
