"""The files of a judged collection: which ones a folder has, and reading queries and documents.

======================  ===============================================================================
file                    what it holds
======================  ===============================================================================
corpus.jsonl            one document a line: ``_id`` (or ``docid``, ``id``, ``doc_id``), ``text`` and perhaps
                        ``title``; or corpus.tsv: id, text
queries.jsonl           one query a line: ``_id`` and ``text``; or queries.tsv: id, text
qrels/*.tsv, qrels*     judgements
run*                    first rankings; may be absent
======================  ===============================================================================

BEIR puts the part of a collection into the name of a qrels file (``qrels/test.tsv``); a flat folder may have it
in every name (``queries.test.tsv``, ``run.bm25.test.tsv``). Any file may be packed (``.gz``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pairscore.errors import DataFileError, EmptyInputError, InputFileError
from pairscore.evaluation.lines import half_character, json_objects, numbered_lines, place, shown
from pairscore.evaluation.trec_files import is_header
from pairscore.retrieval.base import Document

__all__ = [
    "DEFAULT_SPLIT",
    "CollectionFiles",
    "find_files",
    "iter_documents",
    "read_documents",
    "read_queries",
    "run_name",
]

DEFAULT_SPLIT: Final = "test"
"""The part of a collection that is taken where there are several and none is asked for."""

_IDS: Final = ("_id", "docid", "id", "doc_id")
_QRELS: Final = ("qrels/*.tsv", "qrels/*.txt", "qrels*.tsv", "qrels*.txt")
_QUERIES: Final = ("queries*.jsonl", "queries*.tsv")
_CORPUS: Final = ("corpus.jsonl", "corpus.tsv")
_RUNS: Final = ("run*.tsv", "run*.txt", "run*.trec", "run*.run")
_JSON: Final = frozenset({".jsonl", ".ndjson", ".json"})
# Parts of names that name a part of a collection.
_SPLITS: Final = frozenset({"train", "dev", "validation", "valid", "test"})


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionFiles:
    """The files that make up a judged collection.

    Attributes:
        qrels: the judgements.
        queries: the queries' texts.
        corpus: the documents.
        runs: first rankings, BM25's first; may be empty.
    """

    qrels: Path
    queries: Path
    corpus: Path
    runs: tuple[Path, ...] = ()


def find_files(folder: Path, *, split: str | None = None) -> CollectionFiles:
    """Find the files of a collection in its folder.

    Args:
        folder: BEIR's, or a flat one as the module's table has it.
        split: the part of the collection; None takes ``test`` where there is one.

    Raises:
        InputFileError: there is no such folder, a file is missing, or has no such part.
    """
    if not folder.is_dir():
        raise InputFileError(
            f"{str(folder)!r} is no folder; give one with corpus, queries and qrels"
        )
    qrels = _one(folder, _QRELS, split, what="qrels")
    part = split or next(iter(_parts(qrels) & _SPLITS), None)
    return CollectionFiles(
        qrels=qrels,
        queries=_one(folder, _QUERIES, part, what="queries", may_lack_split=True),
        corpus=_one(folder, _CORPUS, None, what="corpus.jsonl"),
        runs=_runs(folder, part),
    )


def run_name(path: Path) -> str:
    """A run's name from its file's: ``bm25`` of ``run.bm25.test.tsv``."""
    parts = [part for part in path.name.removesuffix(".gz").split(".")[:-1] if part != "run"]
    if len(parts) > 1 and parts[-1] in _SPLITS:
        parts = parts[:-1]
    return ".".join(parts) or "run"


def read_queries(path: Path, *, wanted: Container[str] | None = None) -> dict[str, str]:
    """Queries by id, in the file's order.

    Args:
        path: JSON lines, or two columns with a tab between them.
        wanted: ids to keep; None keeps all.

    Raises:
        InputFileError: the file is missing or cannot be read.
        DataFileError: a line is broken, or an id is there twice.
        EmptyInputError: the file is empty.
    """
    queries: dict[str, str] = {}
    num_lines = 0
    for number, query_id, _, text in _entries(path):
        num_lines += 1
        if wanted is not None and query_id not in wanted:
            continue
        _refuse_twice(query_id, queries, path, number)
        if not text.strip():
            raise DataFileError(
                f"{place(path, number)}: the query {shown(query_id)} has no text; write it, or leave it out"
            )
        queries[query_id] = text
    if not num_lines:
        raise EmptyInputError(f"{path} holds no query; give at least one line")
    return queries


def read_documents(path: Path, *, wanted: Container[str] | None = None) -> dict[str, Document]:
    """Documents by id; of a corpus of millions only the wanted ones are kept.

    Args:
        path: JSON lines, or two columns with a tab between them.
        wanted: ids to keep; None keeps all.

    Raises:
        InputFileError: the file is missing or cannot be read.
        DataFileError: a line is broken, or a wanted id is there twice.
        EmptyInputError: the file is empty.
    """
    documents: dict[str, Document] = {}
    num_lines = 0
    for number, document_id, title, text in _entries(path):
        num_lines += 1
        if wanted is None or document_id in wanted:
            _refuse_twice(document_id, documents, path, number)
            documents[document_id] = Document(id=document_id, title=title, text=text)
    if not num_lines:
        raise EmptyInputError(f"{path} holds no document; give at least one line")
    return documents


def iter_documents(path: Path) -> Iterator[Document]:
    """All documents in the file's order, one at a time in memory; duplicate ids are not looked for.

    Raises:
        InputFileError, DataFileError: as `read_documents`.
    """
    for _, document_id, title, text in _entries(path):
        yield Document(id=document_id, title=title, text=text)


def _entries(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line, id, title and text of each entry."""
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind not in _JSON:
        yield from _two_columns(path)
        return
    for number, record in json_objects(path):
        where = place(path, number)
        yield number, _id(record, where), _string(record, "title", where), _text(record, where)


def _two_columns(path: Path) -> Iterator[tuple[int, str, str, str]]:
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if number == 1 and (is_header(1, fields) or fields[0].casefold() in _IDS):
            continue
        if len(fields) != 2:  # noqa: PLR2004 - an id and a text
            raise DataFileError(
                f"{place(path, number)}: {len(fields)} columns; each line has an id, one tab and a text "
                "(a text that holds tabs needs JSON lines)"
            )
        if not fields[0].strip():
            raise DataFileError(f"{place(path, number)}: the id is empty; write one before the tab")
        yield number, fields[0].strip(), "", fields[1]


def _id(record: Mapping[str, Any], where: str) -> str:
    for key in _IDS:
        value = record.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value)
    raise DataFileError(
        f"{where}: no id; write a string or a whole number under one of {', '.join(_IDS)}"
    )


def _text(record: Mapping[str, Any], where: str) -> str:
    if not isinstance(record.get("text"), str):
        raise DataFileError(f"{where}: 'text' must be a string; write the text there")
    return _string(record, "text", where)


def _string(record: Mapping[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataFileError(
            f"{where}: {key!r} is of the type {type(value).__name__}; write a string"
        )
    if half_character(value):
        raise DataFileError(
            f"{where}: {key!r} holds half a character (a lone surrogate, \\ud800 to \\udfff); clean it"
        )
    return value


def _refuse_twice(name: str, found: Container[str], path: Path, number: int) -> None:
    if name in found:
        raise DataFileError(
            f"{place(path, number)}: the id {shown(name)} is there a second time; give each entry its own"
        )


def _runs(folder: Path, split: str | None) -> tuple[Path, ...]:
    """The runs of this part, or those whose names name no part."""
    found = _matching(folder, _RUNS)
    of_split = [path for path in found if split is not None and split in _parts(path)]
    chosen = of_split or [path for path in found if not _parts(path) & _SPLITS]
    return tuple(sorted(chosen, key=_preference("")))


def _one(
    folder: Path,
    patterns: Sequence[str],
    split: str | None,
    *,
    what: str,
    may_lack_split: bool = False,
) -> Path:
    found = _matching(folder, patterns)
    if not found:
        raise InputFileError(
            f"{str(folder)!r} has no {what}; looked for {', '.join(patterns)}: give a BEIR folder, or "
            "corpus.jsonl, queries.tsv, qrels.tsv and a run"
        )
    of_split = [path for path in found if split is not None and split in _parts(path)]
    if split is not None and not of_split and not may_lack_split:
        names = ", ".join(sorted(path.name for path in found))
        raise InputFileError(
            f"{str(folder)!r} has no {what} of the part {split!r}; there are {names}"
        )
    return min(of_split or found, key=_preference(split or DEFAULT_SPLIT))


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    packed = [f"{pattern}.gz" for pattern in patterns]
    found = [path for pattern in (*patterns, *packed) for path in folder.glob(pattern)]
    return [path for path in found if path.is_file()]


def _preference(split: str) -> Callable[[Path], tuple[bool, bool, str]]:
    return lambda path: (split not in _parts(path), "bm25" not in path.name, path.name)


def _parts(path: Path) -> set[str]:
    return set(re.split(r"[._-]", path.name))
