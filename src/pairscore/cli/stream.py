"""Score a file of pairs as a stream: read some rows, score them, write them, and hold no more than those.

Whatever ends the work - the end of the input, a broken row, a signal, a full disk - the output holds
whole rows in the input's order, and the message says how many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pairscore import files
from pairscore.batch.columns import AddedColumns, score_values
from pairscore.batch.rows import Item, RowCheck, RowRules, has_already
from pairscore.cli import output, progress
from pairscore.cli.interrupt import Stopped, Stopping
from pairscore.errors import (
    DataFileError,
    EmptyInputError,
    PairscoreError,
)
from pairscore.files import FileFormat, places
from pairscore.files.base import Broken, Reader, Row, Writer
from pairscore.files.columns import PairColumns

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
    def added(self) -> AddedColumns:
        """Our columns."""
        return AddedColumns(score_column=self.score_column, windows=self.chunking is not None)

    @property
    def rules(self) -> RowRules:
        """What a row must be."""
        return RowRules(
            query_column=self.query_column,
            document_column=self.document_column,
            added=self.added,
            max_chars=self.max_chars,
            keeps_keys=self.target_format is FileFormat.JSONL,
        )


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
        chunks = _chunks(_Intake(reader, job, outcome).items())
        first = next(chunks, None)
        if first is None:
            raise _nothing(reader, outcome)
        run = _Run(job, reader, outcome, stopping)
        with open_encoder() as encoder:
            run.work(encoder, first, chunks)
    outcome.elapsed_s = time.monotonic() - started
    return outcome


class _Intake:
    """The rows of the input with their pairs; a broken one ends the work or is counted."""

    def __init__(self, reader: Reader, job: FileJob, outcome: Outcome) -> None:
        self._reader = reader
        self._job = job
        self._outcome = outcome

    def items(self) -> Iterator[Item]:
        """The rows that can be scored, in order."""
        name, told = self._reader.name, output.for_shell
        check = RowCheck(self._job.rules, name=name, declared=self._reader.columns, told=told)
        for record in self._reader.rows():
            item = check.check(record)
            self._outcome.columns = check.found
            if isinstance(item, Item):
                yield item
            elif self._job.skip_broken:
                self._count(item)
            else:
                raise DataFileError(
                    f"{name}, {self._place(item)}; repair it, or go on without such rows "
                    "with --on-error skip"
                )

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
        self._added = job.added.types()

    def work(self, encoder: CrossEncoder, first: list[Item], others: Iterator[list[Item]]) -> None:
        """Score and write, until the end or a signal."""
        with progress.progress(
            self._reader.extent, shown=self._job.show_progress, unit="pairs"
        ) as advance:
            try:
                chunk: list[Item] | None = first
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

    def _one(self, encoder: CrossEncoder, chunk: list[Item]) -> None:
        scores = encoder.score(
            [(item.query, item.documents[0]) for item in chunk],
            batch_size=self._job.batch_size,
            chunking=self._job.chunking,
        )
        with self._stopping.held():
            if self._writer is None:
                self._added = self._job.added.types(scores.labels)
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
            raise has_already(self._reader.name, clash)
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


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Chunks bounded in rows and characters; an error comes behind the rows that were read before it."""
    chunk: list[Item] = []
    num_chars = 0
    try:
        for item in items:
            chunk.append(item)
            num_chars += len(item.query) + len(item.documents[0])
            if len(chunk) >= _CHUNK_ROWS or num_chars >= _CHUNK_CHARS:
                yield chunk
                chunk, num_chars = [], 0
    except DataFileError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _scored(chunk: list[Item], scores: Scores, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {**item.row.values, **dict(zip(names, score_values(scores, position), strict=True))}
        for position, item in enumerate(chunk)
    ]


def _nothing(reader: Reader, outcome: Outcome) -> EmptyInputError:
    if outcome.num_skipped:
        return EmptyInputError(
            f"{reader.name} has no row that can be scored: all {outcome.num_skipped:,} are broken, "
            f"the first one at {outcome.skipped[0]}"
        )
    return EmptyInputError(f"{reader.name} holds no pair to score; give at least one row")
