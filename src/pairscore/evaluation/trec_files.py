"""Reading TREC's files: judgements (qrels) and runs.

=======  ==============================================================================================
file     columns, by tabs or blanks
=======  ==============================================================================================
qrels    query, document, grade (BEIR; its first line names them); or TREC's four: query, iteration,
         document, grade
run      TREC's six: query, Q0, document, rank, score, name; or query, document, rank, score; or query
         and document alone, best first
=======  ==============================================================================================

As trec_eval does, a run is ordered by its scores, and its ranks are not read.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from pairscore.errors import DataFileError, EmptyInputError
from pairscore.evaluation.lines import columns, numbered_lines, place, shown
from pairscore.evaluation.runs import Run, ranking_of

__all__ = ["Qrels", "is_header", "line_of_id", "read_qrels", "read_run"]

Qrels = dict[str, dict[str, int]]
"""Grades by the query's id and the document's."""

# What a first line calls the query's column, where it names the columns.
_HEADS: Final = frozenset(
    {"query-id", "query_id", "queryid", "qid", "query", "topic", "topic_id", "topic-id"}
)
_QRELS_COLUMNS: Final = {3: (1, 2), 4: (2, 3)}
_RUN_COLUMNS: Final = {6: (2, 4), 4: (1, 3), 2: (1, None)}
"""By the number of columns: which one is the document, which one the score."""


def is_header(number: int, fields: list[str]) -> bool:
    """Whether a line is a first one that names the columns."""
    return number == 1 and fields[0].casefold() in _HEADS


def read_qrels(path: Path) -> Qrels:
    """Read judgements, in the file's order.

    Raises:
        InputFileError: the file is missing or cannot be read.
        DataFileError: a line is broken, or judges a document a second time.
        EmptyInputError: it judges nothing.
    """
    grades: Qrels = {}
    for number, line in numbered_lines(path):
        fields = columns(line)
        if is_header(number, fields):
            continue
        where = place(path, number)
        if len(fields) not in _QRELS_COLUMNS:
            raise DataFileError(
                f"{where}: {len(fields)} columns; qrels have three (query, document, grade) "
                "or TREC's four (query, iteration, document, grade), by tabs or blanks"
            )
        document_at, grade_at = _QRELS_COLUMNS[len(fields)]
        query_id, document_id = _ids(fields[0], fields[document_at], where)
        of_query = grades.setdefault(query_id, {})
        if document_id in of_query:
            raise DataFileError(
                f"{where}: the document {shown(document_id)} is judged a second time for the query "
                f"{shown(query_id)}; leave one of the lines out"
            )
        of_query[document_id] = _grade(fields[grade_at], where)
    if not grades:
        raise EmptyInputError(f"{path} judges nothing; give at least one line of qrels")
    return grades


def read_run(path: Path, *, name: str) -> Run:
    """Read a run.

    Args:
        path: the file.
        name: how tables call it.

    Raises:
        InputFileError: the file is missing or cannot be read.
        DataFileError: a line is broken, or ranks a document a second time.
        EmptyInputError: the file is empty.
    """
    found: dict[str, dict[str, float]] = {}
    width = 0
    for number, line in numbered_lines(path):
        fields = columns(line)
        if is_header(number, fields):
            continue
        where = place(path, number)
        width = width or len(fields)
        _check_width(len(fields), width, where)
        document_at, score_at = _RUN_COLUMNS[width]
        query_id, document_id = _ids(fields[0], fields[document_at], where)
        score = 0.0 if score_at is None else _score(fields[score_at], where)
        of_query = found.setdefault(query_id, {})
        if document_id in of_query:
            raise DataFileError(
                f"{where}: the document {shown(document_id)} is ranked a second time for the query "
                f"{shown(query_id)}; leave one of the lines out"
            )
        # Without scores the order of the lines is all there is.
        of_query[document_id] = -float(len(of_query)) if score_at is None else score
    if not found:
        raise EmptyInputError(f"{path} ranks nothing; give at least one line of a run")
    rankings = {
        query_id: ranking_of(tuple(entries), list(entries.values()))
        for query_id, entries in found.items()
    }
    return Run(name=name, rankings=rankings)


def line_of_id(path: Path, wanted: str) -> str:
    """Where an id stands first in a file of qrels or of a run, for a message; empty if nowhere."""
    for number, line in numbered_lines(path):
        if wanted in columns(line):
            return place(path, number)
    return ""


def _check_width(num_columns: int, width: int, where: str) -> None:
    if num_columns not in _RUN_COLUMNS:
        raise DataFileError(
            f"{where}: {num_columns} columns; a run has TREC's six (query, Q0, document, rank, score, name), "
            "four (query, document, rank, score), or two (query, document, best first)"
        )
    if num_columns != width:
        raise DataFileError(
            f"{where}: {num_columns} columns, and {width} in the lines before; give all lines the same"
        )


def _ids(query_id: str, document_id: str, where: str) -> tuple[str, str]:
    if not query_id or not document_id:
        raise DataFileError(f"{where}: an id is empty; each line names a query and a document")
    return query_id, document_id


def _grade(value: str, where: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise DataFileError(
            f"{where}: the grade {shown(value)} is no whole number; write 0 for not relevant, 1 or more for "
            "relevant (a first line with names begins with query-id)"
        ) from error


def _score(value: str, where: str) -> float:
    try:
        score = float(value)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataFileError(f"{where}: the score {shown(value)} is no finite number")
    return score
