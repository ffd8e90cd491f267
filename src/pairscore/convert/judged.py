"""Judged collections as texts to compare on: BEIR's folders, and TREC's files.

======================  ===============================================================================
file                    what it holds
======================  ===============================================================================
corpus.jsonl            one document a line: ``_id`` (or ``docid``, ``id``), ``text`` and perhaps ``title``
queries.jsonl           one query a line: ``_id`` and ``text``; or queries.tsv: id, text
qrels/*.tsv, qrels*     judgements: id of the query, id of the document, grade; or TREC's four columns
run*                    a first ranking, best first: two columns or TREC's six; may be absent
======================  ===============================================================================

Of several files of a kind the one with ``test`` in its name is taken, then the one with ``bm25``, then the first
in alphabetical order. Without a run the candidates of a query are its judged documents and some of the
other queries'.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pairscore.convert.parity_texts import Candidates, ParityTexts, cut_to
from pairscore.errors import DataFileError, EmptyInputError, InputFileError

__all__ = ["read_judged"]

_IDS: Final = ("_id", "docid", "id", "doc_id")
_NUM_WITHOUT_RUN: Final = 50
_QRELS_COLUMNS, _TREC_QRELS_COLUMNS = 3, 4
_TREC_RUN_COLUMNS = 6


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
    if not folder.is_dir():
        raise InputFileError(f"{str(folder)!r} is no folder; give one with corpus, queries, qrels")
    grades = _read_qrels(_one(folder, "qrels/*.tsv", "qrels*.tsv", "qrels*.txt", what="qrels"))
    run = _read_run(_first(folder, ("run*.tsv", "run*.txt", "run*.trec")), grades)
    kept = cut_to(limit, {query_id: len(documents) for query_id, documents in run.entries.items()})
    wanted = {query_id: run.entries[query_id][:count] for query_id, count in kept.items()}
    queries = _read_queries(_one(folder, "queries*.jsonl", "queries*.tsv", what="queries"))
    documents = _read_corpus(_one(folder, "corpus.jsonl", what="corpus.jsonl"), wanted)
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
    documents: Mapping[str, str],
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
                documents=tuple(documents[document_id] for document_id in found),
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


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Grades by query and document; queries without a relevant document are left out, as in trec_eval."""
    grades: dict[str, dict[str, int]] = {}
    for number, fields in _rows(path):
        if len(fields) not in (_QRELS_COLUMNS, _TREC_QRELS_COLUMNS):
            raise DataFileError(
                f"{path}, line {number}: {len(fields)} columns; qrels have three (query, document, grade) "
                "or TREC's four"
            )
        query_id, document_id, grade = fields[0], fields[-2], fields[-1]
        try:
            grades.setdefault(query_id, {})[document_id] = int(grade)
        except ValueError as error:
            if number == 1:
                continue  # BEIR's files name their columns
            raise DataFileError(
                f"{path}, line {number}: the grade {grade!r} is no whole number"
            ) from error
    judged = {query: entry for query, entry in grades.items() if max(entry.values()) > 0}
    if not judged:
        raise EmptyInputError(f"{path} judges no document relevant; nDCG needs one that is")
    return judged


def _read_run(path: Path | None, grades: Mapping[str, Mapping[str, int]]) -> _Run:
    if path is None:
        note = (
            f"there is no first ranking: each query's candidates are its judged documents and other "
            f"queries', {_NUM_WITHOUT_RUN} together; nDCG is that of this list, not of a search"
        )
        return _Run(_without_run(grades), note)
    entries: dict[str, dict[str, None]] = {}
    for number, fields in _rows(path):
        if len(fields) < 2:  # noqa: PLR2004 - the two columns that every run has
            raise DataFileError(
                f"{path}, line {number}: a run has a query and a document in a line"
            )
        document_id = fields[2] if len(fields) == _TREC_RUN_COLUMNS else fields[1]
        if fields[0] in grades:
            entries.setdefault(fields[0], {})[document_id] = None
    if not entries:
        raise EmptyInputError(f"{path} ranks nothing for a query that is judged")
    return _Run({query: list(documents) for query, documents in entries.items()}, "")


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


def _read_queries(path: Path) -> dict[str, str]:
    if path.suffix == ".jsonl":
        return {
            _id(record, path, number): _text(record, path, number)
            for number, record in _objects(path)
        }
    return {fields[0]: fields[1] for _, fields in _rows(path, min_columns=2)}


def _read_corpus(path: Path, wanted: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Only the documents that are wanted: a corpus may have millions."""
    needed = {document for documents in wanted.values() for document in documents}
    documents = {}
    for number, record in _objects(path):
        document_id = _id(record, path, number)
        if document_id in needed:
            title = str(record.get("title") or "")
            documents[document_id] = f"{title} {_text(record, path, number)}".strip()
    return documents


def _id(record: Mapping[str, Any], path: Path, number: int) -> str:
    for key in _IDS:
        if key in record:
            return str(record[key])
    raise DataFileError(f"{path}, line {number}: no id; known names are {', '.join(_IDS)}")


def _text(record: Mapping[str, Any], path: Path, number: int) -> str:
    text = record.get("text")
    if not isinstance(text, str):
        raise DataFileError(f"{path}, line {number}: 'text' must be a string")
    return text


def _objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _lines(path):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataFileError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise DataFileError(f"{path}, line {number}: each line must be one JSON object")
        yield number, record


def _rows(path: Path, *, min_columns: int = 1) -> Iterator[tuple[int, list[str]]]:
    """The columns of each line: by tabs where there are any, else by spaces, as TREC's own files have it."""
    for number, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if len(fields) < min_columns:
            raise DataFileError(f"{path}, line {number}: fewer than {min_columns} columns")
        yield number, fields


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except OSError as error:
        raise InputFileError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataFileError(f"{str(path)!r} is not UTF-8; save it as UTF-8") from error


def _one(folder: Path, *patterns: str, what: str) -> Path:
    found = _first(folder, patterns)
    if found is None:
        raise InputFileError(
            f"{str(folder)!r} has no {what}; looked for {', '.join(patterns)}: give a BEIR folder, or "
            "corpus.jsonl, queries.tsv, qrels.tsv and a run"
        )
    return found


def _first(folder: Path, patterns: Sequence[str]) -> Path | None:
    found = [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    return min(
        found,
        key=lambda path: ("test" not in path.name, "bm25" not in path.name, path.name),
        default=None,
    )
