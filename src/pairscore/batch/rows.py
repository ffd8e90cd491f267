"""From a row of a file to the texts in it, or to the reason why it has none that can be scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pairscore.batch.columns import AddedColumns
from pairscore.errors import InputError, SettingError
from pairscore.files.base import Broken, Record, Row
from pairscore.files.columns import PairColumns, find_list_columns, find_pair_columns

__all__ = ["Item", "RowCheck", "RowRules", "has_already"]


@dataclass(frozen=True, slots=True)
class Item:
    """A row that can be scored: one pair, or a query and its candidates.

    Attributes:
        row: as it was read.
        query: the first text.
        documents: the second text, or each of the list.
    """

    row: Row
    query: str
    documents: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowRules:
    """What a row must be.

    Attributes:
        task: ``score`` for two texts, ``rank`` for a query and a list of documents.
        query_column: the column of the first text; None finds it by its name.
        document_column: the column of the second text, or of the list; None finds it by its name.
        added: our own columns, which no row may have.
        max_chars: characters that one text may have.
        keeps_keys: whether the output takes rows that each have keys of their own.
    """

    task: Literal["score", "rank"] = "score"
    query_column: str | None = None
    document_column: str | None = None
    added: AddedColumns
    max_chars: int
    keeps_keys: bool


class RowCheck:
    """The rows of one file, one by one; which columns are read is decided once, on the first that can be read.

    Args:
        rules: what a row must be.
        name: the file, as messages call it.
        declared: the columns that the file declares; empty where each row brings its own.
        first: the columns of the file's first row, where that is known already.
        told: how an error about a text is spelled.

    Attributes:
        columns: all columns; those of the first row where the file declares none.
        found: the two that are read; None until one row could be read.
    """

    def __init__(
        self,
        rules: RowRules,
        *,
        name: str,
        declared: Sequence[str],
        first: Sequence[str] = (),
        told: Callable[[Exception], str] = str,
    ) -> None:
        self._rules = rules
        self._name = name
        self._declared = tuple(declared)
        self._told = told
        self._added = rules.added.types()
        self.columns: tuple[str, ...] = ()
        self.found: PairColumns | None = None
        if declared or first:
            self._decide(tuple(declared or first))

    def check(self, record: Record) -> Item | Broken:
        """The texts of a row, or what is wrong with it.

        Raises:
            DataFileError: the file has no such columns.
            SettingError: it has one of our own already.
        """
        if isinstance(record, Broken):
            return record
        if self.found is None:
            self._decide(tuple(record.values))
        wrong = self._unwritable(record.values)
        if wrong is not None:
            return Broken(record.number, wrong)
        return self._item(record)

    def _decide(self, columns: tuple[str, ...]) -> None:
        rules = self._rules
        find = find_pair_columns if rules.task == "score" else find_list_columns
        self.columns = columns
        self.found = find(
            columns, query=rules.query_column, document=rules.document_column, name=self._name
        )
        kept = columns if rules.task == "score" else set(columns) - {self.found.document}
        for column in self._added:
            if column in kept:
                raise has_already(self._name, column)

    def _unwritable(self, values: Mapping[str, Any]) -> str | None:
        """A row of its own shape, which only JSON lines can have."""
        if self._declared:
            return None
        read = self.found.document if self.found and self._rules.task == "rank" else None
        clash = next((name for name in self._added if name in values and name != read), None)
        if clash is not None:
            return f"has a key {clash!r} already; choose another name for ours with --score-column"
        if self._rules.keeps_keys:
            return None
        extra = next((key for key in values if key not in self.columns), None)
        if extra is not None:
            return f"has a key {extra!r} that the first row has not; write .jsonl, which keeps it"
        return None

    def _item(self, row: Row) -> Item | Broken:
        assert self.found is not None  # noqa: S101 - `check` decided
        values, found = row.values, self.found
        wrong = self._wrong_cell(values, found.query, self._wrong_text)
        text = self._wrong_text if self._rules.task == "score" else self._wrong_list
        wrong = wrong or self._wrong_cell(values, found.document, text)
        if wrong is not None:
            return Broken(row.number, wrong)
        second = values[found.document]
        return Item(
            row, values[found.query], (second,) if isinstance(second, str) else tuple(second)
        )

    def _wrong_cell(
        self, values: Mapping[str, Any], column: str, wrong: Callable[[Any, str], str | None]
    ) -> str | None:
        if column not in values:
            return f"has no {column!r}; it has {', '.join(map(repr, values)) or 'nothing'}"
        return wrong(values[column], repr(column))

    def _wrong_text(self, text: Any, where: str) -> str | None:
        # Here, because it brings the tokenizer's runtime.
        from pairscore.road.tokenization import check_text

        if text is None:
            return f"has no text in {where} (null)"
        if not isinstance(text, str):
            return f"{where} is of the type {type(text).__name__}, not a text: write it as a string"
        try:
            check_text(text, max_chars=self._rules.max_chars)
        except InputError as error:
            return f"{where}: {self._told(error)}"
        return None

    def _wrong_list(self, texts: Any, where: str) -> str | None:
        if texts is None:
            return f"has no documents in {where} (null)"
        if not isinstance(texts, list):
            kind = type(texts).__name__
            return (
                f"{where} is of the type {kind}, not a list of texts: write it as a list of strings"
            )
        if not texts:
            return f"has no documents in {where} (an empty list)"
        for place, text in enumerate(texts):
            wrong = self._wrong_text(text, f"{where}[{place}]")
            if wrong is not None:
                return wrong
        return None


def has_already(name: str, column: str) -> SettingError:
    """The refusal of a file that has one of our columns."""
    return SettingError(
        f"{name} has a column {column!r} already; choose another name for ours with --score-column"
    )
