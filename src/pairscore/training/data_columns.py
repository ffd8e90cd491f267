"""Which columns of a file hold training data, and what kind of rows they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pairscore.errors import DataFileError
from pairscore.files.columns import find_pair_columns, require_column
from pairscore.training.data import DataKind, LabelKind

__all__ = ["Layout", "TrainingColumns", "find_layout"]

_QUERIES: Final = (
    "query", "question", "anchor", "sentence", "text", "premise", "text_a", "text1", "sentence1", "question1", "a",
)  # fmt: skip
_DOCUMENTS: Final = ("documents", "docs", "passages", "candidates", "texts")
_POSITIVES: Final = ("positive", "positives", "pos")
_NEGATIVES: Final = ("negative", "negatives", "neg")
_LABELS: Final = (
    "label", "labels", "relevance", "relevant", "grade", "grades", "is_duplicate", "gold_label", "target",
)  # fmt: skip
# Where people's grades are looked for and no better name is there: STS-B's "score", and its like.
_GRADES: Final = ("similarity", "similarity_score", "relatedness_score", "score", "scores", "gold")
_TEACHERS: Final = (
    "teacher_score", "teacher_scores", "teacher_logit", "teacher_logits", "teacher", "logit", "logits",
)  # fmt: skip
_MARGINS: Final = ("margin", "teacher_margin")
_TWO_SCORES: Final = (
    ("positive_logit", "negative_logit"), ("positive_score", "negative_score"), ("pos_score", "neg_score"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingColumns:
    """What the caller named; None finds a column by the names that such files commonly use.

    Attributes:
        query: the first text's.
        document: the second text's; of triplets the positive's, of lists that of the documents.
        negative: of triplets the negative's.
        label: the label's; of triplets the margin's, of lists that of the labels.
    """

    query: str | None = None
    document: str | None = None
    negative: str | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The columns of a file, as it spells them.

    Attributes:
        kind: what each row is; a row with positives and negatives is a list.
        query: the first text's.
        document: the second text's, the positive's or positives', or the documents'.
        negatives: columns of negatives; empty where documents have labels.
        labels: the label's, the labels', the margin's, or the two scores that make a margin; empty without.
        from_teacher: the labels' column says by its name that a model gave them.
        not_read: another column of labels that is there, for a note.
    """

    kind: DataKind
    query: str
    document: str
    negatives: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    from_teacher: bool = False
    not_read: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """A file's columns, found by name whatever their case."""

    name: str
    columns: tuple[str, ...]
    first: Mapping[str, Any]

    def named(self, names: Sequence[str]) -> str | None:
        spelled = {column.strip().casefold(): column for column in reversed(self.columns)}
        return next((spelled[name] for name in names if name in spelled), None)

    def asked(self, wanted: str | None, names: Sequence[str], *, option: str) -> str | None:
        if wanted is None:
            return self.named(names)
        require_column(self.columns, wanted, option=option, name=self.name)
        return wanted

    def holds_list(self, column: str | None) -> bool:
        return column is not None and isinstance(self.first.get(column), list | tuple)


def find_layout(
    columns: Sequence[str],
    first: Mapping[str, Any],
    *,
    wanted: TrainingColumns,
    labels: LabelKind | None,
    name: str,
) -> Layout:
    """What the columns are.

    Args:
        columns: the file's.
        first: the first row's values: they tell a column of texts from one of lists.
        wanted: what the caller named.
        labels: what the labels are, if the caller said so: ``none`` looks for no label, ``teacher`` for one that a
            model gave.
        name: the file, for messages.

    Raises:
        DataFileError: a named column is not there, or no usual name is; the message lists those that are.
    """
    table = _Table(name=name, columns=tuple(columns), first=first)
    return (
        _documents(table, wanted, labels)
        or _with_negatives(table, wanted, labels)
        or _pairs(table, wanted, labels)
    )


def _documents(table: _Table, wanted: TrainingColumns, labels: LabelKind | None) -> Layout | None:
    """Lists: a column of documents and one of labels."""
    document = wanted.document if wanted.document is not None else table.named(_DOCUMENTS)
    if not table.holds_list(document) or document is None or _negatives(table, wanted):
        return None
    # Lists are nothing without labels; that they were not wanted is told when all is read.
    layout = _labelled(table, wanted, None if labels == "none" else labels)
    if not layout.labels:
        raise DataFileError(
            f"{table.name} has lists of documents and no column of their labels, such as labels or scores; it has "
            f"{', '.join(map(repr, table.columns))}: name it as label_column"
        )
    return Layout(
        kind="lists",
        query=_query(table, wanted),
        document=document,
        labels=layout.labels,
        from_teacher=layout.from_teacher,
        not_read=layout.not_read,
    )


def _with_negatives(
    table: _Table, wanted: TrainingColumns, labels: LabelKind | None
) -> Layout | None:
    """Triplets; or lists, where a query has many negatives or many positives."""
    negatives = _negatives(table, wanted)
    positive = table.asked(wanted.document, _POSITIVES, option="document_column")
    if not negatives or positive is None:
        return None
    many = len(negatives) > 1 or table.holds_list(negatives[0]) or table.holds_list(positive)
    query = _query(table, wanted)
    if many:
        return Layout(kind="lists", query=query, document=positive, negatives=negatives)
    return Layout(
        kind="triplets",
        query=query,
        document=positive,
        negatives=negatives,
        labels=() if labels == "none" else _margins(table, wanted),
    )


def _pairs(table: _Table, wanted: TrainingColumns, labels: LabelKind | None) -> Layout:
    found = find_pair_columns(
        table.columns, query=wanted.query, document=wanted.document, name=table.name
    )
    layout = _labelled(table, wanted, labels)
    return Layout(
        kind="pairs",
        query=found.query,
        document=found.document,
        labels=layout.labels,
        from_teacher=layout.from_teacher,
        not_read=layout.not_read,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Labelled:
    """The column of labels, and what its name says."""

    labels: tuple[str, ...] = ()
    from_teacher: bool = False
    not_read: str | None = None


def _labelled(table: _Table, wanted: TrainingColumns, labels: LabelKind | None) -> _Labelled:
    if labels == "none":
        return _Labelled(not_read=table.named((*_LABELS, *_GRADES, *_TEACHERS)))
    if wanted.label is not None:
        require_column(table.columns, wanted.label, option="label_column", name=table.name)
        return _Labelled(labels=(wanted.label,), from_teacher=_is_teachers(wanted.label))
    people = table.named((*_LABELS, *_GRADES))
    teacher = table.named(_TEACHERS)
    first, second = (teacher, people) if labels == "teacher" else (people, teacher)
    chosen = first or second
    if chosen is None and labels is not None:
        raise DataFileError(
            f"{table.name} has no column with the usual name of a label, such as label or score; it has "
            f"{', '.join(map(repr, table.columns))}: name it as label_column"
        )
    if chosen is None:
        return _Labelled()
    other = second if first else None
    return _Labelled(
        labels=(chosen,),
        from_teacher=chosen == teacher,
        not_read=None if other == chosen else other,
    )


def _is_teachers(column: str) -> bool:
    return column.strip().casefold() in _TEACHERS


def _query(table: _Table, wanted: TrainingColumns) -> str:
    found = table.asked(wanted.query, _QUERIES, option="query_column")
    if found is None:
        raise DataFileError(
            f"{table.name} has no column with the usual name of a query, such as query or anchor; it has "
            f"{', '.join(map(repr, table.columns))}: name it as query_column"
        )
    return found


def _negatives(table: _Table, wanted: TrainingColumns) -> tuple[str, ...]:
    """One column, or those that are numbered: negative_1, negative_2 and so on."""
    found = table.asked(wanted.negative, _NEGATIVES, option="negative_column")
    if found is not None:
        return (found,)
    numbered = (column for column in table.columns if _is_numbered(column))
    return tuple(sorted(numbered, key=lambda column: int(column.rpartition("_")[2])))


def _is_numbered(column: str) -> bool:
    head, _, number = column.strip().casefold().rpartition("_")
    return head in _NEGATIVES and number.isdecimal()


def _margins(table: _Table, wanted: TrainingColumns) -> tuple[str, ...]:
    if wanted.label is not None:
        require_column(table.columns, wanted.label, option="label_column", name=table.name)
        return (wanted.label,)
    margin = table.named(_MARGINS)
    if margin is not None:
        return (margin,)
    for names in _TWO_SCORES:
        positive, negative = (table.named((name,)) for name in names)
        if positive is not None and negative is not None:
            return positive, negative
    one = table.named(("label", "score"))
    return () if one is None else (one,)
