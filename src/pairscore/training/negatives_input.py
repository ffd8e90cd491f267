"""Judged pairs as the search for negatives reads them: one by one, from a file of pairs or from a BEIR folder."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pairscore.config import DEFAULT_MAX_CHARS
from pairscore.errors import DataFileError, InputError, InputFileError
from pairscore.evaluation.beir import CollectionFiles, find_files, read_queries
from pairscore.evaluation.trec_files import read_qrels
from pairscore.files import FileFormat, format_of, open_reader
from pairscore.files.base import Broken, Row
from pairscore.files.columns import find_pair_columns, require_column
from pairscore.road.tokenization import check_text

__all__ = ["Judgement", "PairFile", "judgements_of_file", "judgements_of_folder", "train_files"]

# What files of labelled pairs call these columns. Not "score": that may be what a model said.
_LABELS: Final = ("label", "labels", "relevant", "relevance", "grade", "is_duplicate", "target")
_QUERY_IDS: Final = ("query_id", "query-id", "qid", "question_id")
_DOCUMENT_IDS: Final = ("document_id", "doc_id", "docid", "passage_id", "pid", "corpus-id")
_TRUTHS: Final = (0.0, 1.0)
_TRAIN: Final = "train"
_OTHER_PARTS: Final = frozenset({"dev", "validation", "valid", "test"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One query, one document, and what people said of them.

    Attributes:
        name: what reports call the query: its id, or the place where it stands.
        query: the query's text.
        document_id: the document's id in the index; None where the file has none.
        document: its text; None where it has to be read from the index.
        is_positive: whether it belongs to the query. One that is judged above 0 and is no positive is half of one:
            it is neither trained on nor taken as a negative.
    """

    name: str
    query: str
    document_id: str | None
    document: str | None
    is_positive: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PairFile:
    """A file of judged pairs, and which of its columns is what; None finds a column by its usual names.

    Attributes:
        path: csv, tsv, jsonl or parquet; ``-`` is standard input.
        file_format: its format, where its ending does not tell.
        query: the column of the queries.
        document: the column of the documents.
        label: the column of the labels; where a file has none, every pair is a positive.
        document_id: the column of the documents' ids in the index.
        positive_from: the lowest label of a positive; None for labels that are 0 or 1.
        max_chars: characters that one text may have.
    """

    path: str
    file_format: FileFormat | None = None
    query: str | None = None
    document: str | None = None
    label: str | None = None
    document_id: str | None = None
    positive_from: float | None = None
    max_chars: int = DEFAULT_MAX_CHARS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    query: str
    document: str
    label: str | None
    query_id: str | None
    document_id: str | None


def judgements_of_file(file: PairFile) -> Iterator[Judgement]:
    """The judged pairs of a file, one at a time in memory; those that are judged 0 are left out.

    Raises:
        InputFileError: the file is missing or cannot be read.
        DataFileError: a row is broken, a column is missing, or a label makes no sense; the message names the line.
        SettingError: the file's ending does not tell its format.
    """
    kind = format_of(file.path, otherwise=file.file_format)
    with closing(open_reader(file.path, kind)) as reader:
        columns: _Columns | None = None
        for record in reader.rows():
            place = f"{reader.name}, {reader.unit} {record.number}"
            if isinstance(record, Broken):
                raise DataFileError(f"{place}: {record.reason}")
            if columns is None:
                names = reader.columns or tuple(record.values)
                columns = _find_columns(names, file, name=reader.name)
            judgement = _judgement(record, columns, file, place=place, unit=reader.unit)
            if judgement is not None:
                yield judgement


def train_files(folder: Path, *, split: str | None = None) -> CollectionFiles:
    """The files of a BEIR folder to find negatives for: those of its part ``train``, unless another one is asked for.

    Raises:
        InputFileError: there is no such folder, or it has no such part. Dev and test are never taken unasked, because
            what is measured on must not be trained on.
    """
    if split is not None:
        return find_files(folder, split=split)
    try:
        return find_files(folder, split=_TRAIN)
    except InputFileError as error:
        files = find_files(folder)
        if _OTHER_PARTS & set(re.split(r"[._-]", files.qrels.name)):
            error.add_note(
                "what is measured on must not be trained on; if it is meant all the same, name the part with --split"
            )
            raise
        return files


def judgements_of_folder(
    folder: Path, *, split: str | None = None, positive_from: float | None = None
) -> Iterator[Judgement]:
    """The judged pairs of a BEIR folder; the documents' texts have to be read from the index.

    Args:
        folder: corpus, queries and qrels, as `pairscore.evaluation.beir` has them.
        split: the part; None takes ``train``.
        positive_from: the lowest grade of a positive; None takes 1.

    Raises:
        InputFileError: a file is missing or cannot be read.
        DataFileError: a line is broken.
        EmptyInputError: a file is empty.
    """
    files = train_files(folder, split=split)
    grades = read_qrels(files.qrels)
    queries = read_queries(files.queries, wanted=grades)
    least = 1.0 if positive_from is None else positive_from
    for query_id, text in queries.items():
        for document_id, grade in grades[query_id].items():
            if grade > 0 or grade >= least:
                yield Judgement(
                    name=query_id,
                    query=text,
                    document_id=document_id,
                    document=None,
                    is_positive=grade >= least,
                )


def _find_columns(names: Sequence[str], file: PairFile, *, name: str) -> _Columns:
    pair = find_pair_columns(names, query=file.query, document=file.document, name=name)
    for wanted, option in ((file.label, "--label-column"), (file.document_id, "--id-column")):
        if wanted is not None:
            require_column(names, wanted, option=option, name=name)
    spelled = {column.strip().casefold(): column for column in reversed(names)}

    def usual(known: Sequence[str]) -> str | None:
        return next((spelled[one] for one in known if one in spelled), None)

    return _Columns(
        query=pair.query,
        document=pair.document,
        label=file.label or usual(_LABELS),
        query_id=usual(_QUERY_IDS),
        document_id=file.document_id or usual(_DOCUMENT_IDS),
    )


def _judgement(
    row: Row, columns: _Columns, file: PairFile, *, place: str, unit: str
) -> Judgement | None:
    label = 1.0
    if columns.label is not None:
        label = _label(row.values, columns.label, file.positive_from, place=place)
    is_positive = label >= (1.0 if file.positive_from is None else file.positive_from)
    if label <= 0.0 and not is_positive:
        return None
    return Judgement(
        name=_id(row.values, columns.query_id) or f"{unit} {row.number}",
        query=_text(row.values, columns.query, place=place, max_chars=file.max_chars),
        document_id=_id(row.values, columns.document_id),
        document=_text(row.values, columns.document, place=place, max_chars=file.max_chars),
        is_positive=is_positive,
    )


def _id(values: Mapping[str, Any], column: str | None) -> str | None:
    value = None if column is None else values.get(column)
    if value is None or not str(value).strip():
        return None
    return str(value).strip()


def _text(values: Mapping[str, Any], column: str, *, place: str, max_chars: int) -> str:
    value = values.get(column)
    if not isinstance(value, str):
        kind = "missing" if value is None else f"of the type {type(value).__name__}"
        raise DataFileError(f"{place}: {column!r} is {kind}; write it as a string")
    if not value.strip():
        raise DataFileError(f"{place}: {column!r} is empty; write a text, or leave the row out")
    try:
        check_text(value, max_chars=max_chars)
    except InputError as error:
        raise DataFileError(f"{place}: {column!r}: {error}") from error
    return value


def _label(
    values: Mapping[str, Any], column: str, positive_from: float | None, *, place: str
) -> float:
    value = values.get(column)
    try:
        label = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        label = math.nan
    if not math.isfinite(label):
        raise DataFileError(
            f"{place}: {column!r} is not a finite number; write 1 for a positive, 0 for none"
        )
    if positive_from is None and label not in _TRUTHS:
        raise DataFileError(
            f"{place}: {column!r} is {label:g}; a label is 0 or 1. Of graded labels say from which one on a pair is a "
            "positive, such as --positive-from 2"
        )
    return label
