"""Score a file of pairs as a stream: read some rows, score them, write them, and hold no more than those.

Whatever ends the work - the end of the input, a broken row, a signal, a full disk - the output holds
whole rows in the input's order, and the message says how many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pairscore import files
from pairscore.cli import output, progress
from pairscore.cli.interrupt import Stopped, Stopping
from pairscore.errors import (
    DataFileError,
    EmptyInputError,
    InputError,
    PairscoreError,
    SettingError,
)
from pairscore.files import FileFormat, places
from pairscore.files.base import Broken, Reader, Record, Row, Writer
from pairscore.files.columns import PairColumns, find_pair_columns

if TYPE_CHECKING:
    from pairscore.config import Chunking
    from pairscore.cross_encoder import CrossEncoder
    from pairscore.values import Scores

__all__ = ["FileJob", "Outcome", "score_file"]

# What is scored between two writes. More would lose more work when it is stopped;
# it does not depend on the machine's speed, so that a second run gives the same file.
_CHUNK_ROWS = 512
_CHUNK_CHARS = 1 << 23
_MAX_REPORTED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class FileJob:
    """What to score and where to put it.

    Attributes:
        source: path of the input, ``-`` for standard input.
        source_format: its format.
        target: path of the output, ``-`` for standard output.
        target_format: its format.
        query_column: the column of the first text; None finds it by its name.
        document_column: the column of the second text; None finds it by its name.
        score_column: the name of the score's column.
        skip_broken: count broken rows instead of stopping at the first.
        overwrite: replace an output that exists.
        max_chars: characters that one text may have.
        batch_size: the most pairs of a micro-batch.
        chunking: how long documents are read in windows; None cuts them.
        show_progress: draw a bar, on a terminal.
    """

    source: str
    source_format: FileFormat
    target: str
    target_format: FileFormat
    query_column: str | None = None
    document_column: str | None = None
    score_column: str = "score"
    skip_broken: bool = False
    overwrite: bool = False
    max_chars: int
    batch_size: int | None = None
    chunking: Chunking | None = None
    show_progress: bool = False

    @property
    def added(self) -> dict[str, type]:
        """Our columns and their types; with a score column of another name, all three take it over."""
        window = ("start", "end", "num_windows") if self.chunking is not None else ()
        return {
            self.score_column: float,
            self.named("probability"): float,
            self.named("truncated"): bool,
            **{self.named(column): int for column in window},
        }

    def added_for(self, labels: Sequence[str]) -> dict[str, type]:
        """The same for a model with these labels: the likeliest one's name, and a probability for each."""
        if not labels:
            return self.added
        shares = {self.named(f"probability_{label}"): float for label in labels}
        return {**self.added, self.named("label"): str, **shares}

    def named(self, column: str) -> str:
        """One of our columns, under the name that it has in the output."""
        return column if self.score_column == "score" else f"{self.score_column}_{column}"


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What was done; filled while the work goes on.

    Attributes:
        num_rows: rows that were scored and written.
        num_truncated: rows of which a text was cut.
        num_limited: rows whose document has more windows than it may.
        num_skipped: broken rows.
        skipped: the first of them, with place and reason.
        columns: the two columns that were read.
        model: the name of the model.
        scale: what the scores mean.
        calibration: the method that made the probabilities; None for none.
        elapsed_s: how long it took, loading included.
        stopped: the number of the signal that ended it early; None for the end of the input.
    """

    num_rows: int = 0
    num_truncated: int = 0
    num_limited: int = 0
    num_skipped: int = 0
    skipped: list[str] = field(default_factory=list)
    columns: PairColumns | None = None
    model: str = ""
    scale: str = ""
    calibration: str | None = None
    elapsed_s: float = 0.0
    stopped: int | None = None


def score_file(job: FileJob, open_encoder: Callable[[], CrossEncoder]) -> Outcome:
    """Score every row of a file.

    Args:
        job: what and where to.
        open_encoder: loads the model; called only when the first rows were read and are in order.

    Raises:
        DataFileError: the input or the output is not usable; what was done before is kept.
        EmptyInputError: there was no row to score.
        PairscoreError: whatever loading or running the model raises.
    """
    places.check_target(job.target, source=job.source, overwrite=job.overwrite)
    started = time.monotonic()
    outcome = Outcome()
    with (
        closing(files.open_reader(job.source, job.source_format)) as reader,
        Stopping() as stopping,
    ):
        chunks = _chunks(_Intake(reader, job, outcome).pairs())
        first = next(chunks, None)
        if first is None:
            raise _nothing(reader, outcome)
        run = _Run(job, reader, outcome, stopping)
        with open_encoder() as encoder:
            run.work(encoder, first, chunks)
    outcome.elapsed_s = time.monotonic() - started
    return outcome


@dataclass(frozen=True, slots=True)
class _Item:
    row: Row
    pair: tuple[str, str]


class _Intake:
    """The rows of the input with their pairs; a broken one ends the work or is counted."""

    def __init__(self, reader: Reader, job: FileJob, outcome: Outcome) -> None:
        self._reader = reader
        self._job = job
        self._outcome = outcome
        self._found: PairColumns | None = None
        self._columns: tuple[str, ...] = ()

    def pairs(self) -> Iterator[_Item]:
        """The rows that can be scored, in order."""
        for record in self._reader.rows():
            item = self._item(record)
            if isinstance(item, _Item):
                yield item
            elif self._job.skip_broken:
                self._count(item)
            else:
                raise DataFileError(
                    f"{self._reader.name}, {self._place(item)}; repair it, or go on without such rows "
                    "with --on-error skip"
                )

    def _item(self, record: Record) -> _Item | Broken:
        if isinstance(record, Broken):
            return record
        columns = self._columns_from(record)
        wrong = self._unwritable(record)
        if wrong is not None:
            return Broken(record.number, wrong)
        texts = []
        for column in (columns.query, columns.document):
            wrong = self._wrong_text(record.values, column)
            if wrong is not None:
                return Broken(record.number, wrong)
            texts.append(str(record.values[column]))
        return _Item(record, (texts[0], texts[1]))

    def _columns_from(self, row: Row) -> PairColumns:
        """Which columns to read: decided once, on the first row that can be read."""
        if self._found is None:
            self._columns = self._reader.columns or tuple(row.values)
            self._found = find_pair_columns(
                self._columns,
                query=self._job.query_column,
                document=self._job.document_column,
                name=self._reader.name,
            )
            self._outcome.columns = self._found
            for column in self._job.added:
                if column in self._columns:
                    raise _has_already(self._reader.name, column)
        return self._found

    def _unwritable(self, row: Row) -> str | None:
        """A row of its own shape, which only JSON lines can have."""
        if self._reader.columns:
            return None
        clash = next((column for column in self._job.added if column in row.values), None)
        if clash is not None:
            return f"has a key {clash!r} already; choose another name for ours with --score-column"
        if self._job.target_format is FileFormat.JSONL:
            return None
        extra = next((key for key in row.values if key not in self._columns), None)
        if extra is not None:
            return f"has a key {extra!r} that the first row has not; write .jsonl, which keeps it"
        return None

    def _wrong_text(self, values: Mapping[str, Any], column: str) -> str | None:
        # Here, because it brings the tokenizer's runtime.
        from pairscore.road.tokenization import check_text

        if column not in values:
            return f"has no {column!r}; it has {', '.join(map(repr, values)) or 'nothing'}"
        text = values[column]
        if text is None:
            return f"has no text in {column!r} (null)"
        if not isinstance(text, str):
            return (
                f"{column!r} is of the type {type(text).__name__}, not a text: write it as a string"
            )
        try:
            check_text(text, max_chars=self._job.max_chars)
        except InputError as error:
            return f"{column!r}: {output.for_shell(error)}"
        return None

    def _count(self, broken: Broken) -> None:
        self._outcome.num_skipped += 1
        if len(self._outcome.skipped) < _MAX_REPORTED:
            self._outcome.skipped.append(self._place(broken))

    def _place(self, broken: Broken) -> str:
        return f"{self._reader.unit} {broken.number}: {broken.reason}"


class _Run:
    """The loop over the chunks, which keeps what is done whatever happens."""

    def __init__(self, job: FileJob, reader: Reader, outcome: Outcome, stopping: Stopping) -> None:
        self._job = job
        self._reader = reader
        self._outcome = outcome
        self._stopping = stopping
        self._writer: Writer | None = None
        self._added = job.added

    def work(
        self, encoder: CrossEncoder, first: list[_Item], others: Iterator[list[_Item]]
    ) -> None:
        """Score and write, until the end or a signal."""
        with progress.progress(
            self._reader.extent, shown=self._job.show_progress, unit="pairs"
        ) as advance:
            try:
                chunk: list[_Item] | None = first
                while chunk is not None:
                    self._one(encoder, chunk)
                    advance(self._reader.position(), self._outcome.num_rows)
                    chunk = next(others, None)
            except Stopped as stop:
                self._outcome.stopped = stop.number
            except PairscoreError as error:
                if self._outcome.num_rows:
                    error.add_note(f"{kept(self._outcome, self._job.target)}.")
                raise
            finally:
                self._stopping.hold()
                if self._writer is not None:
                    self._writer.close()

    def _one(self, encoder: CrossEncoder, chunk: list[_Item]) -> None:
        scores = encoder.score(
            [item.pair for item in chunk],
            batch_size=self._job.batch_size,
            chunking=self._job.chunking,
        )
        with self._stopping.held():
            if self._writer is None:
                self._added = self._job.added_for(scores.labels)
                self._writer = self._open(chunk[0].row)
            self._writer.write(_scored(chunk, scores, tuple(self._added)))
            self._outcome.num_rows += len(chunk)
            self._outcome.num_truncated += scores.num_truncated
            if scores.windows is not None:
                self._outcome.num_limited += scores.windows.num_limited
            self._outcome.model = scores.model
            self._outcome.scale = scores.scale
            self._outcome.calibration = scores.calibration

    def _open(self, row: Row) -> Writer:
        """Only now, so that an output is neither made nor replaced before there is something for it."""
        columns = self._reader.columns or tuple(row.values)
        clash = next((column for column in self._added if column in columns), None)
        if clash is not None:
            raise _has_already(self._reader.name, clash)
        return files.open_writer(
            self._job.target,
            self._job.target_format,
            columns=columns,
            added=self._added,
            schema=self._reader.schema,
            overwrite=self._job.overwrite,
        )


def kept(outcome: Outcome, target: str) -> str:
    """What a person who was interrupted wants to know."""
    rows = "row is" if outcome.num_rows == 1 else "rows are"
    return f"{outcome.num_rows:,} {rows} done and kept in {places.said(target, reading=False)}"


def _chunks(items: Iterator[_Item]) -> Iterator[list[_Item]]:
    """Chunks bounded in rows and characters; an error comes behind the rows that were read before it."""
    chunk: list[_Item] = []
    num_chars = 0
    try:
        for item in items:
            chunk.append(item)
            num_chars += len(item.pair[0]) + len(item.pair[1])
            if len(chunk) >= _CHUNK_ROWS or num_chars >= _CHUNK_CHARS:
                yield chunk
                chunk, num_chars = [], 0
    except DataFileError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _has_already(name: str, column: str) -> SettingError:
    return SettingError(
        f"{name} has a column {column!r} already; choose another name for ours with --score-column"
    )


def _scored(chunk: list[_Item], scores: Scores, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {**item.row.values, **dict(zip(names, _values(scores, position), strict=True))}
        for position, item in enumerate(chunk)
    ]


def _values(scores: Scores, position: int) -> tuple[Any, ...]:
    """In the order of the columns."""
    best = scores.best(position)
    values: tuple[Any, ...] = (best.score, best.probability, bool(scores.truncated[position]))
    if scores.windows is not None:
        values += (*scores.windows.span(position), int(scores.windows.num_windows[position]))
    return values if best.label is None else (*values, best.label, *scores.named(position).values())


def _nothing(reader: Reader, outcome: Outcome) -> EmptyInputError:
    if outcome.num_skipped:
        return EmptyInputError(
            f"{reader.name} has no row that can be scored: all {outcome.num_skipped:,} are broken, "
            f"the first one at {outcome.skipped[0]}"
        )
    return EmptyInputError(f"{reader.name} holds no pair to score; give at least one row")
