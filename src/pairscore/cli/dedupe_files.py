"""The texts of a file for `pairscore dedupe`, and the file that comes of them.

The file is read twice: first for its texts, which are all that is held in memory, then for its rows, as they are
written again with what was found. Between the two it must not change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pairscore import files
from pairscore.cli import output
from pairscore.errors import DataFileError, EmptyInputError, InputError, SettingError
from pairscore.files import FileFormat, places
from pairscore.files.base import Broken, Reader, Record, Row
from pairscore.files.columns import require_column

__all__ = ["TextJob", "Texts", "read_texts", "write_rows"]

_KNOWN: Final = ("text", "sentence", "document", "passage", "question", "query", "content", "body")
_AT_ONCE: Final = 512
_MAX_REPORTED: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TextJob:
    """Which texts are read, and how.

    Attributes:
        source: path of the input.
        source_format: its format; None for one text a line.
        text_column: the column of the text; None finds it by its name.
        id_column: the column that names a row in the result; None for its line.
        skip_broken: count broken rows instead of stopping at the first.
        max_chars: characters that one text may have.
        added: the columns that will be ours, and so must not be there already.
    """

    source: str
    source_format: FileFormat | None
    text_column: str | None
    id_column: str | None
    skip_broken: bool
    max_chars: int
    added: tuple[str, ...] = ()


@dataclass(kw_only=True, slots=True)
class Texts:
    """The texts of a file, in its order.

    Attributes:
        texts: the texts.
        lines: where each stands in the file.
        names: what messages call each: its id, or its line.
        unit: ``line`` or ``row``.
        column: the column that was read; empty for lines.
        num_skipped: broken rows that were left out.
        skipped: the first of them, with place and reason.
    """

    texts: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    unit: str = "line"
    column: str = ""
    num_skipped: int = 0
    skipped: list[str] = field(default_factory=list)


class _Lines:
    """Reads one text a line, as a reader of rows does; blank lines are no texts."""

    unit = "line"
    columns = ("line", "text")
    schema: Any = None
    extent: int | None = None

    def __init__(self, path: str) -> None:
        self.name = path
        self._file = places.open_source(path)

    def position(self) -> int:
        return 0

    def rows(self) -> Iterator[Record]:
        for number, raw in enumerate(self._file, start=1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                yield Broken(number, f"not UTF-8 (byte {error.start + 1}); save the file as UTF-8")
                continue
            if text:
                yield Row(number, {"line": str(number), "text": text})

    def close(self) -> None:
        places.close(self._file)


def _open(job: TextJob) -> Reader:
    return (
        _Lines(job.source)
        if job.source_format is None
        else files.open_reader(job.source, job.source_format)
    )


def read_texts(job: TextJob) -> Texts:
    """Read every text of a file.

    Raises:
        DataFileError: the file or a row cannot be read, or a column is missing; the message names the line.
        EmptyInputError: it holds no text.
        SettingError: it is standard input, which cannot be read twice.
    """
    if job.source == places.STANDARD:
        raise SettingError("standard input cannot be read twice; save it to a file and give that")
    found = Texts()
    with closing(_open(job)) as reader:
        found.unit = reader.unit
        for row, text in _usable(reader, job, found):
            found.texts.append(text)
            found.lines.append(row.number)
            found.names.append(_name(row, job, reader))
    if not found.texts:
        why = f"; all {found.num_skipped:,} rows are broken" if found.num_skipped else ""
        raise EmptyInputError(f"{job.source} holds no text{why}; give at least one")
    return found


def _name(row: Row, job: TextJob, reader: Reader) -> str:
    return (
        f"{reader.unit} {row.number}" if job.id_column is None else str(row.values[job.id_column])
    )


def _usable(reader: Reader, job: TextJob, found: Texts) -> Iterator[tuple[Row, str]]:
    """The rows that have a text; a broken one ends the work or is counted."""
    for record in reader.rows():
        wrong = record.reason if isinstance(record, Broken) else _wrong(record, reader, job, found)
        if wrong is None and isinstance(record, Row):
            yield record, str(record.values[found.column])
            continue
        place = f"{reader.unit} {record.number}: {wrong}"
        if not job.skip_broken:
            raise DataFileError(
                f"{reader.name}, {place}; repair it, or go on without such rows with --on-error skip"
            )
        found.num_skipped += 1
        if len(found.skipped) < _MAX_REPORTED:
            found.skipped.append(place)


def _wrong(row: Row, reader: Reader, job: TextJob, found: Texts) -> str | None:
    # Here, because it brings the tokenizer's runtime.
    from pairscore.road.tokenization import check_text

    if not found.column:
        found.column = _text_column(reader.columns or tuple(row.values), job, reader.name)
    clash = next((column for column in job.added if column in row.values), None)
    if clash is not None:
        return f"has a column {clash!r} already; put something before ours, such as --prefix dup_"
    for column in (found.column, *(() if job.id_column is None else (job.id_column,))):
        if row.values.get(column) is None:
            return f"has no {column!r}"
    text = row.values[found.column]
    if not isinstance(text, str):
        return f"{found.column!r} is of the type {type(text).__name__}, not a text: write it as a string"
    if not text.strip():
        return f"{found.column!r} is empty"
    try:
        check_text(text, max_chars=job.max_chars)
    except InputError as error:
        return f"{found.column!r}: {output.for_shell(error)}"
    return None


def _text_column(columns: Sequence[str], job: TextJob, name: str) -> str:
    if job.id_column is not None:
        require_column(columns, job.id_column, option="--id-column", name=name)
    if job.text_column is not None:
        require_column(columns, job.text_column, option="--text-column", name=name)
        return job.text_column
    spelled = {column.strip().casefold(): column for column in reversed(columns)}
    found = next((spelled[known] for known in _KNOWN if known in spelled), None)
    if found is None and len(columns) == 1:
        found = columns[0]
    if found is None:
        raise DataFileError(
            f"{name} has no column with the usual name of a text, such as text or sentence; "
            f"it has {', '.join(map(repr, columns))}: name it with --text-column"
        )
    return found


def write_rows(
    job: TextJob,
    texts: Texts,
    found: Iterator[Mapping[str, Any] | None],
    *,
    target: str,
    target_format: FileFormat,
    added: Mapping[str, type],
) -> None:
    """Write the rows again, each with what was found of it; the output appears when it is whole.

    Args:
        job: how the rows were read.
        texts: what was read.
        found: for each text our columns, or None to leave its row out.
        target: where to.
        target_format: its format.
        added: our columns, with their types.

    Raises:
        DataFileError: the input is not what it was.
        OutputFileError: the output cannot be written.
    """
    regular = target != places.STANDARD and (Path(target).is_file() or not Path(target).exists())
    draft = f"{target}.part" if regular else target
    try:
        with closing(_open(job)) as reader:
            _write(reader, job, texts, found, path=draft, kind=target_format, added=added)
        if regular:
            Path(draft).replace(target)
    except BaseException:
        if regular:
            with suppress(OSError):
                os.unlink(draft)  # noqa: PTH108 - the same as above, with no second object
        raise


def _write(
    reader: Reader,
    job: TextJob,
    texts: Texts,
    found: Iterator[Mapping[str, Any] | None],
    *,
    path: str,
    kind: FileFormat,
    added: Mapping[str, type],
) -> None:
    rows = _merged(reader, job, texts, found)
    first = next(rows, None)
    columns = reader.columns or tuple(key for key in first or {} if key not in added)
    writer = files.open_writer(
        path, kind, columns=columns, added=added, schema=reader.schema, overwrite=True
    )
    with closing(writer):
        waiting = [] if first is None else [first]
        for row in rows:
            if kind is not FileFormat.JSONL:
                _check_shape(row, columns, added, name=reader.name)
            waiting.append(row)
            if len(waiting) >= _AT_ONCE:
                writer.write(waiting)
                waiting = []
        writer.write(waiting)


def _check_shape(
    row: Mapping[str, Any], columns: Sequence[str], added: Mapping[str, type], *, name: str
) -> None:
    """A row of its own shape, which only JSON lines can have, must not lose a value in silence."""
    extra = next((key for key in row if key not in columns and key not in added), None)
    if extra is not None:
        raise DataFileError(
            f"a row of {name} has a key {extra!r} that the first row has not; write .jsonl, which keeps it"
        )


def _merged(
    reader: Reader, job: TextJob, texts: Texts, found: Iterator[Mapping[str, Any] | None]
) -> Iterator[dict[str, Any]]:
    num_rows = 0
    for row, text in _usable(reader, job, Texts()):
        if num_rows >= len(texts.texts) or texts.texts[num_rows] != text:
            raise _changed(reader, row.number)
        num_rows += 1
        ours = next(found)
        if ours is not None:
            yield {**row.values, **ours}
    if num_rows < len(texts.texts):
        raise _changed(reader, None)


def _changed(reader: Reader, number: int | None) -> DataFileError:
    where = "at its end" if number is None else f"at {reader.unit} {number}"
    return DataFileError(
        f"{reader.name} changed while it was worked on ({where}); run the command again"
    )
