"""Which columns hold the two texts of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pairscore.errors import DataFileError

__all__ = ["PairColumns", "find_list_columns", "find_pair_columns", "require_column"]

# What files of pairs call their two columns; the first couple that is there is taken.
_KNOWN = (
    ("query", "document"),
    ("query", "passage"),
    ("query", "text"),
    ("query", "doc"),
    ("question", "answer"),
    ("question", "passage"),
    ("question", "context"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("anchor", "positive"),
    ("a", "b"),
)


# What files of queries with their candidates call the two.
_QUERIES = ("query", "question", "anchor", "q")
_LISTS = ("documents", "passages", "candidates", "contexts", "texts", "answers", "docs")


@dataclass(frozen=True, kw_only=True, slots=True)
class PairColumns:
    """The names of the two columns, as the file spells them.

    Attributes:
        query: the column of the first text.
        document: the column of the second text.
    """

    query: str
    document: str


def find_pair_columns(
    columns: Sequence[str], *, query: str | None, document: str | None, name: str
) -> PairColumns:
    """The two columns: as asked for, else by the names that files of pairs commonly use.

    Args:
        columns: the file's columns.
        query: what the caller named, if anything.
        document: the same for the second text.
        name: the file, for messages.

    Raises:
        DataFileError: a named column is not there, or none of the common names is.
    """
    spelled = _spelled(columns, query=query, document=document, name=name)
    for first, second in _KNOWN:
        found_query = query if query is not None else spelled.get(first)
        found_document = document if document is not None else spelled.get(second)
        if found_query is not None and found_document is not None and found_query != found_document:
            return PairColumns(query=found_query, document=found_document)
    raise DataFileError(
        f"{name} has no columns with the usual names of a pair, such as query and document; "
        f"it has {_listed(columns)}: name the two with --query-column and --document-column "
        "(the first line of a csv or tsv file must name the columns)"
    )


def find_list_columns(
    columns: Sequence[str], *, query: str | None, document: str | None, name: str
) -> PairColumns:
    """The column of the query and that of its candidates: as asked for, else by the usual names.

    Args:
        columns: the file's columns.
        query: what the caller named, if anything.
        document: the same for the list of documents.
        name: the file, for messages.

    Raises:
        DataFileError: a named column is not there, or none of the usual names is.
    """
    spelled = _spelled(columns, query=query, document=document, name=name)
    first = query or next((spelled[one] for one in _QUERIES if one in spelled), None)
    second = document or next((spelled[one] for one in _LISTS if one in spelled), None)
    if first is not None and second is not None and first != second:
        return PairColumns(query=first, document=second)
    missing = "query" if first is None else "list of documents"
    close = get_close_matches("query" if first is None else "documents", columns, n=1)
    hint = f" (is it {close[0]!r}?)" if close else ""
    raise DataFileError(
        f"{name} has no column with a usual name for the {missing}{hint}; it has "
        f"{_listed(columns)}: name the two with --query-column and --document-column"
    )


def _spelled(
    columns: Sequence[str], *, query: str | None, document: str | None, name: str
) -> dict[str, str]:
    """The columns by their names without case and spaces; what the caller named must be among them."""
    for wanted, option in ((query, "--query-column"), (document, "--document-column")):
        if wanted is not None:
            require_column(columns, wanted, option=option, name=name)
    return {column.strip().casefold(): column for column in reversed(columns)}


def require_column(columns: Sequence[str], wanted: str, *, option: str, name: str) -> None:
    """Refuse a column that is not there.

    Raises:
        DataFileError: it is not; the message lists those that are.
    """
    if wanted in columns:
        return
    close = get_close_matches(wanted, columns, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise DataFileError(
        f"{name} has no column {wanted!r}{hint}; it has {_listed(columns)}: name one of them with {option}"
    )


def _listed(columns: Sequence[str]) -> str:
    most, longest = 20, 40
    shown = [
        column if len(column) <= longest else f"{column[:longest]}…" for column in columns[:most]
    ]
    more = f" and {len(columns) - most} more" if len(columns) > most else ""
    return (", ".join(repr(column) for column in shown) or "no column") + more
