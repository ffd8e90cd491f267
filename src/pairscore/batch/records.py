"""What a batch job is made of; every record can be sent to another process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pairscore.config import Chunking
from pairscore.files import FileFormat

__all__ = [
    "DEFAULT_BLOCK_ROWS",
    "Block",
    "BlockReport",
    "Job",
    "ModelChoice",
    "Runner",
    "Source",
]

DEFAULT_BLOCK_ROWS = 4_096
"""Rows of a block: what is lost at most where the one who works on it dies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelChoice:
    """Which model, and how it is opened, in a form that travels.

    Attributes:
        name: as `CrossEncoder` takes it; None for the bundled one.
        max_length: tokens of a pair; None for the model's own limit.
        num_workers: threads that run the model; None for one for each core.
        max_chars: characters that one text may have.
        options: the other keywords of `CrossEncoder`.
    """

    name: str | None = None
    max_length: int | None = None
    num_workers: int | None = None
    max_chars: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file of the input.

    Attributes:
        path: a local path, or a URL such as ``s3://bucket/part.parquet``.
        format: how it is written.
        num_bytes: its size.
        version: what changes where the file does: its time of change, or the store's tag.
    """

    path: str
    format: FileFormat
    num_bytes: int
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to do with which files.

    Attributes:
        task: ``score`` for rows of two texts, ``rank`` for rows of a query and a list of documents.
        sources: the files, in the order of their names.
        output: the folder, or a URL of one, that holds the results.
        output_format: of the results.
        model: which model scores.
        query_column: the column of the first text, or of the query; None finds it by its name.
        document_column: the column of the second text, or of the list of documents; None finds it by its name.
        score_column: the name of the score's column.
        top_k: of a ranking, how many hits are written; None for all.
        min_score: of a ranking, the lowest score of a hit that is written, on the model's own scale; None for all.
        min_probability: likewise the lowest probability, from 0 to 1.
        batch_size: the most pairs of a micro-batch.
        chunking: how long documents are read in windows; None cuts them.
        block_rows: rows of a block.
        stop_on_broken: end at the first broken row, instead of writing it aside.
    """

    task: Literal["score", "rank"] = "score"
    sources: tuple[Source, ...]
    output: str
    output_format: FileFormat
    model: ModelChoice
    query_column: str | None = None
    document_column: str | None = None
    score_column: str = "score"
    top_k: int | None = None
    min_score: float | None = None
    min_probability: float | None = None
    batch_size: int | None = None
    chunking: Chunking | None = None
    block_rows: int = DEFAULT_BLOCK_ROWS
    stop_on_broken: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A range of rows of one file.

    Attributes:
        source: which of the job's files, counted from 0.
        index: which block of that file, counted from 0.
        first_row: its first row in the file, counted from 0; broken rows count.
        num_rows: how many rows it has; broken rows count.
        offset: of text, the byte at which its first row begins; 0 for Parquet.
        first_line: of text, the line at which its first row begins, counted from 1; 0 for Parquet.
    """

    source: int
    index: int
    first_row: int
    num_rows: int
    offset: int = 0
    first_line: int = 0

    @property
    def name(self) -> str:
        """Names its file; the same in every run of the job."""
        return f"part-{self.source:05d}-{self.index:06d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockReport:
    """What became of a block.

    Attributes:
        name: the block's.
        num_rows: rows that were read: those that were scored and those that are broken.
        num_scored: rows that were scored.
        num_broken: rows in the side file.
        num_written: rows in the block's own file; more than `num_scored` in a ranking.
        num_pairs: pairs that the model read.
        num_truncated: pairs that were cut.
        num_bytes: of the block's own file.
        checksum: of the rows, sum modulo 2**64 over all of them, whatever their order.
        elapsed_s: how long it took whoever did it.
        worker: who did it, as messages call it.
    """

    name: str
    num_rows: int
    num_scored: int
    num_broken: int
    num_written: int
    num_pairs: int
    num_truncated: int
    num_bytes: int
    checksum: int
    elapsed_s: float
    worker: str = ""


class Runner(Protocol):
    """Gets blocks done: by threads of this process, or by a cluster."""

    def run(self, job: Job, blocks: Sequence[Block]) -> Iterator[BlockReport]:
        """Do the blocks, in any order, and report each when its files and its marker are written.

        A block whose worker died is done again by another; nothing is reported twice. Closing the iterator early
        stops the work; blocks that are under way are given up.

        Raises:
            PairscoreError: the model cannot be opened or run, an input cannot be read, the output not written.
        """
        ...
