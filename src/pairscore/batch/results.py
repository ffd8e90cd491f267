"""A block's own files: the results, the broken rows beside them, and the marker that says that it is done."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from pairscore.batch.columns import hit_values, part_of, score_values
from pairscore.batch.reading import Head
from pairscore.batch.records import Block, BlockReport, Job
from pairscore.batch.rows import Item, RowRules, has_already
from pairscore.batch.storage import locate
from pairscore.files import FileFormat, places, writer_of
from pairscore.files.base import Broken, Record, Row, Writer
from pairscore.files.jsonl import JsonLinesWriter

if TYPE_CHECKING:
    from pairscore.values import Scores

__all__ = [
    "BROKEN_FOLDER",
    "MARKER_FOLDER",
    "BlockFiles",
    "OutputRows",
    "Part",
    "broken_row",
    "marker_name",
    "part_name",
    "report_of",
    "side_name",
]

BROKEN_FOLDER: Final = "_broken"
MARKER_FOLDER: Final = "_pairscore/blocks"


def part_name(job: Job, name: str) -> str:
    """The name of a block's file in the output folder."""
    return f"{name}.{job.output_format.value}"


def side_name(name: str) -> str:
    """The name of the file of a block's broken rows."""
    return f"{BROKEN_FOLDER}/{name}.jsonl"


def marker_name(name: str) -> str:
    """The name of a block's marker."""
    return f"{MARKER_FOLDER}/{name}.json"


def report_of(content: bytes) -> BlockReport | None:
    """What a marker says; None of one that nobody can read, whose block is not done then."""
    try:
        return BlockReport(**json.loads(content))
    except (ValueError, TypeError):
        return None


class OutputRows:
    """The rows of the output of one file of the input: one for each pair, or one for each hit.

    Attributes:
        columns: of the input, as many as the output has too; a list of documents is not among them.
        added: ours, with their types.
        schema: the Arrow schema of `columns`, where it is known.

    Raises:
        SettingError: the input has one of our columns already.
    """

    def __init__(self, job: Job, rules: RowRules, head: Head, *, labels: Sequence[str]) -> None:
        self._job = job
        found = head.check(rules).found
        self._left_out = found.document if found is not None and job.task == "rank" else None
        self.columns = tuple(column for column in head.columns if column != self._left_out)
        self.added = rules.added.types(labels)
        self.schema = head.schema
        clash = next((column for column in self.added if column in self.columns), None)
        if clash is not None:
            raise has_already(head.name, clash)

    def of(self, items: Sequence[Item], scores: Scores) -> list[dict[str, Any]]:
        """The rows of some rows of the input.

        Args:
            items: the rows.
            scores: of their pairs, one row's behind the other's.
        """
        if self._job.task == "rank":
            return list(self._hits(items, scores))
        names = tuple(self.added)
        return [
            {**item.row.values, **dict(zip(names, score_values(scores, place), strict=True))}
            for place, item in enumerate(items)
        ]

    def _hits(self, items: Sequence[Item], scores: Scores) -> Iterator[dict[str, Any]]:
        # Here, because planning needs no model runtime.
        from pairscore.road.ranking import hits

        job, names = self._job, tuple(self.added)
        ends = accumulate((len(item.documents) for item in items), initial=0)
        for item, (start, stop) in zip(items, pairwise(ends), strict=True):
            part = part_of(scores, start, stop)
            found = hits(
                part, top_k=job.top_k, min_score=job.min_score, min_probability=job.min_probability
            )
            kept = {name: it for name, it in item.row.values.items() if name != self._left_out}
            for values in hit_values(found, item.documents, part):
                yield {**kept, **dict(zip(names, values, strict=True))}


class Part:
    """A block's own file while it is made; in memory, so that it appears whole.

    Attributes:
        content: what it holds, once it is closed.
    """

    def __init__(self, job: Job, rows: OutputRows) -> None:
        self._memory = _Memory()
        self._writer: Writer = writer_of(
            places.Sink(self._memory, name=job.output),
            job.output_format,
            columns=rows.columns,
            added=rows.added,
            schema=rows.schema,
        )

    @property
    def content(self) -> bytes:
        """What it holds, once it is closed."""
        return self._memory.content

    def write(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Append rows, and say how many.

        Raises:
            OutputFileError: a value does not fit the format.
        """
        self._writer.write(rows)
        return len(rows)

    def close(self) -> None:
        """Finish it."""
        self._writer.close()


class BlockFiles:
    """Writes the files of one block after the other; the marker is the last of them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._place = locate(job.output)

    @contextmanager
    def open(self, rows: OutputRows) -> Iterator[Part]:
        """What takes a block's results."""
        part = Part(self._job, rows)
        try:
            yield part
        finally:
            part.close()

    def finish(
        self, report: BlockReport, content: bytes, broken: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write the results, the broken rows, and that the block is done.

        Raises:
            OutputFileError: there is no room, or the like.
        """
        self._write(part_name(self._job, report.name), content)
        if broken:
            self._write(side_name(report.name), _lines(broken))
        self._write(marker_name(report.name), json.dumps(asdict(report)).encode())

    def _write(self, name: str, content: bytes) -> None:
        self._place.store.write(self._place.below(name), content)


def broken_row(
    job: Job, block: Block, place: int, broken: Broken, record: Record
) -> dict[str, Any]:
    """A broken row as the side file has it.

    Args:
        job: whose row it is.
        block: where it was read.
        place: which row of the block, counted from 0.
        broken: what is wrong.
        record: the row, with its values where it has any.
    """
    source = job.sources[block.source]
    line = {} if source.format is FileFormat.PARQUET else {"line": broken.number}
    return {
        "source": source.path,
        "row": block.first_row + place + 1,
        **line,
        "reason": broken.reason,
        "values": dict(record.values) if isinstance(record, Row) else None,
    }


class _Memory(io.BytesIO):
    """A file in memory that keeps its content when it is closed."""

    content: bytes = b""

    def close(self) -> None:
        if not self.closed:
            self.content = self.getvalue()
        super().close()


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    memory = _Memory()
    writer = JsonLinesWriter(places.Sink(memory, name=BROKEN_FOLDER))
    writer.write(rows)
    writer.close()
    return memory.content
