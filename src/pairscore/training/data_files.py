"""Reading training data: csv, tsv, jsonl and parquet files, folders of such parts, and BEIR folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from pairscore.errors import DataFileError, EmptyInputError, InputFileError
from pairscore.files.base import Broken, Row
from pairscore.training.data import (
    DataKind,
    LabelKind,
    LabelledPair,
    TrainingData,
    TrainingRow,
    row_labels,
    training_data,
)
from pairscore.training.data_beir import DEFAULT_DEPTH, is_collection, read_collection
from pairscore.training.data_checks import check_data
from pairscore.training.data_columns import Layout, TrainingColumns, find_layout
from pairscore.training.data_labels import LabelReader
from pairscore.training.data_rows import RowMaker
from pairscore.training.data_shapes import as_kind
from pairscore.training.data_tables import Table, open_table

__all__ = ["read_training"]

_ENDINGS: Final = (".jsonl", ".parquet", ".tsv", ".csv", ".ndjson", ".pq")
_DEFAULT_PART: Final = "train"


def read_training(  # noqa: PLR0913 - what a file may need to be understood
    path: Path | str,
    *,
    kind: DataKind | None = None,
    labels: LabelKind | None = None,
    query_column: str | None = None,
    document_column: str | None = None,
    negative_column: str | None = None,
    label_column: str | None = None,
    label_names: Sequence[str] = (),
    max_label: float | None = None,
    split: str | None = None,
    run_depth: int = DEFAULT_DEPTH,
) -> TrainingData:
    """Read labelled pairs, triplets or lists, and check every row.

    Args:
        path: a .csv, .tsv, .jsonl or .parquet file, a folder with such a file for each part (``train.tsv``), or a
            BEIR folder.
        kind: what the rows shall be; None takes what the columns hold. Pairs are gathered to lists by their query,
            and lists and triplets without margins taken apart to pairs, where that is asked.
        labels: what the labels are; None reads it off the values and the column's name.
        query_column: the first text's column; None finds each column by its usual names.
        document_column: the second text's; of triplets the positive's, of lists that of the documents.
        negative_column: of triplets the negative's.
        label_column: the label's; of triplets the margin's, of lists that of the labels.
        label_names: of classes, their names in the order of their numbers; empty knows those of NLI.
        max_label: of grades the upper end of the scale; None takes 1 where no grade is above it, else the greatest
            grade, rounded up.
        split: of a folder, the part to read; None takes ``train``.
        run_depth: of a BEIR folder's run, the ranks that become negatives.

    Returns:
        The data, with `TrainingData.notes` on what was left out or assumed.

    Raises:
        InputFileError: there is no such file or part, or its ending says no known format.
        DataFileError: a row is broken, a label is wrong, or all are the same; the message names the line.
        EmptyInputError: there is no row.
        SettingError: two options do not go together.
        MissingExtraError: the file's format needs an extra.
    """
    path = Path(path)
    wanted = TrainingColumns(
        query=query_column, document=document_column, negative=negative_column, label=label_column
    )
    asked = _Asked(
        labels=labels, names=tuple(label_names), max_label=max_label, wanted=wanted, kind=kind
    )
    if path.is_dir() and is_collection(path):
        data = read_collection(path, split=split, labels=labels, depth=run_depth)
        data = data if max_label is None else replace(data, max_label=max_label)
    else:
        data = _read_file(_part(path, split), asked)
    shaped = data if kind is None else as_kind(data, kind)
    check_data(shaped)
    return shaped


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What the caller said about a file."""

    labels: LabelKind | None
    names: tuple[str, ...]
    max_label: float | None
    wanted: TrainingColumns
    kind: DataKind | None


def _part(path: Path, split: str | None) -> Path:
    """The file of a folder's part; a file is its own part."""
    if not path.is_dir():
        if split is not None:
            raise InputFileError(
                f"the part {split!r} was asked for, and {str(path)!r} is no folder of parts; give a folder, or no split"
            )
        return path
    part = split or _DEFAULT_PART
    for ending in _ENDINGS:
        if (path / f"{part}{ending}").is_file():
            return path / f"{part}{ending}"
    raise InputFileError(
        f"{str(path)!r} holds no part {part!r}: neither {part}{', '.join(_ENDINGS)} nor corpus, queries and qrels; "
        "give a file, or name another part with split"
    )


def _read_file(path: Path, asked: _Asked) -> TrainingData:
    with closing(open_table(path)) as table:
        rows = _rows(table, path)
        first = next(rows, None)
        if first is None:
            raise EmptyInputError(f"{path} holds no row of training data; give at least one")
        layout = find_layout(
            table.columns or tuple(first.values),
            first.values,
            wanted=asked.wanted,
            labels=asked.labels,
            name=str(path),
        )
        reader = LabelReader(
            asked=_labels_asked(layout, asked, path),
            names=asked.names,
            column=", ".join(layout.labels) or "label",
        )
        maker = RowMaker(layout, reader)
        made = (
            maker.row(row.values, f"{path}, {table.unit} {row.number}")
            for row in chain((first,), rows)
        )
        kept = [row for row in made if row is not None]
    return _finished(kept, layout=layout, reader=reader, asked=asked, path=path)


def _rows(table: Table, path: Path) -> Iterator[Row]:
    for record in table.rows():
        if isinstance(record, Broken):
            raise DataFileError(f"{path}, {table.unit} {record.number}: {record.reason}")
        yield record


def _labels_asked(layout: Layout, asked: _Asked, path: Path) -> LabelKind | None:
    """What the labels are said to be, by the caller or by what the columns are called."""
    if layout.kind == "triplets":
        possible: tuple[LabelKind, ...] = ("teacher",) if layout.labels else ("none",)
    elif layout.negatives:
        possible = ("binary",)
    elif not layout.labels:
        possible = ("none",)
    else:
        teacher: LabelKind | None = "teacher" if layout.from_teacher else None
        return asked.labels or teacher
    if asked.labels not in {None, *possible}:
        raise DataFileError(
            f"{path} holds {layout.kind} whose labels are {possible[0]}, not {asked.labels}; "
            f"leave labels out, or give columns of the other kind"
        )
    return possible[0]


def _finished(
    rows: list[TrainingRow], *, layout: Layout, reader: LabelReader, asked: _Asked, path: Path
) -> TrainingData:
    labels, names, renumbered = reader.finished()
    if labels == "binary" and asked.labels is None and (asked.max_label or 1.0) > 1.0:
        labels = "graded"
    if labels == "graded" and asked.labels is None and _are_numbered_classes(rows, layout):
        labels, names = "classes", tuple(map(str, range(int(max(map(_label, rows))) + 1)))
    if renumbered:
        rows = [
            replace(row, label=renumbered[row.label]) if isinstance(row, LabelledPair) else row
            for row in rows
        ]
    data = training_data(
        rows,
        name=path.name,
        kind=layout.kind,
        labels=labels,
        label_names=names,
        max_label=asked.max_label if labels == "graded" else None,
    )
    return replace(data, notes=tuple(_notes(data, layout=layout, reader=reader, asked=asked)))


def _are_numbered_classes(rows: Sequence[TrainingRow], layout: Layout) -> bool:
    """Whole numbers beside a premise and a hypothesis are classes: 2 is not twice 1."""
    columns = (layout.query.strip().casefold(), layout.document.strip().casefold())
    return columns == ("premise", "hypothesis") and all(_label(row).is_integer() for row in rows)


def _label(row: TrainingRow) -> float:
    return max(row_labels(row))


def _notes(
    data: TrainingData, *, layout: Layout, reader: LabelReader, asked: _Asked
) -> Iterator[str]:
    if layout.not_read is not None and layout.labels:
        yield (
            f"the labels are {layout.labels[0]!r}; {layout.not_read!r} is there too and was not read "
            "(name one of them as label_column)"
        )
    if reader.num_undecided:
        yield f"{reader.num_undecided:,} rows whose label says that there is none ('-' or -1): left out"
    if data.labels == "graded" and asked.max_label is None and (data.max_label or 1.0) > 1.0:
        yield f"the grades are taken to go from 0 to {data.max_label:g}; another end is said with max_label"
    if data.labels == "classes" and not asked.names and data.label_names[0] == "0":
        yield f"the classes are numbered 0 to {len(data.label_names) - 1}; give their names as label_names"
    if data.labels == "teacher" and data.kind == "triplets":
        yield f"the margins are a teacher's, from {' and '.join(map(repr, layout.labels))}; labels = none leaves them out"
    if data.labels == "none" and data.kind == "pairs":
        unread = layout.not_read is not None
        column = f"{layout.not_read!r} is not read" if unread else "no column of labels"
        yield f"{column}: each pair is taken for a positive"
