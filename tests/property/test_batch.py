"""Blocks: whatever the rows, wherever the cuts, whichever are done already, every row is there once and in its place."""

from __future__ import annotations

import csv
import io
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pairscore.batch.local import LocalRunner
from pairscore.batch.planning import plan, sources_of
from pairscore.batch.records import Job, ModelChoice
from pairscore.batch.results import marker_name, part_name
from pairscore.batch.running import RunReport, run
from pairscore.files import FileFormat, open_reader, reader_of
from pairscore.files.base import Broken, Row

FAKE = ModelChoice(max_chars=2_000_000, options={"backend": "fake"})
TEXTS = st.text(alphabet=st.sampled_from('ab ,"\n\r\té字\u2028\x1d'), min_size=1, max_size=6)
BLANKS = st.sampled_from([b"", b"  ", b"\t", "\u3000".encode(), b"\x1d", b"\x0c"])
BROKEN = st.sampled_from([b"oops", b"[1]", b"\xff", b'{"query": 1}', b'{"query": "q"'])


def _good(texts: tuple[str, str]) -> bytes:
    return json.dumps(dict(zip(("query", "document"), texts, strict=True))).encode()


LINES = st.lists(st.one_of(st.tuples(TEXTS, TEXTS).map(_good), BLANKS, BROKEN), max_size=14)
FIRST = b'{"query": "q", "document": "d"}\n'


@st.composite
def tables(draw: Any) -> bytes:
    """A csv file with quoted line breaks, blank lines, and rows of too many fields."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerow(["query", "document", 'a "strange"\nname'])
    for fields in draw(st.lists(st.lists(TEXTS, min_size=2, max_size=4), max_size=10)):
        writer.writerow(fields)
        out.write(draw(st.sampled_from(["", "\n", '"a" b,c,d\n'])))
    return out.getvalue().encode()


def _job(path: Path, output: Path, *, block_rows: int) -> Job:
    return Job(
        sources=sources_of(str(path)),
        output=str(output),
        output_format=FileFormat.JSONL,
        model=FAKE,
        block_rows=block_rows,
    )


def _rows(job: Job) -> list[dict[str, Any]]:
    """All rows of the output, in the order of the parts."""
    parts = [Path(job.output) / part_name(job, block.name) for block in plan(job)]
    return [json.loads(line) for part in parts for line in part.read_bytes().splitlines()]


def _expected(path: Path, kind: FileFormat) -> list[dict[str, Any]]:
    """What the reader says of the whole file, read in one go."""
    with closing(open_reader(str(path), kind)) as reader:
        return [
            dict(record.values)
            for record in reader.rows()
            if isinstance(record, Row)
            and all(isinstance(record.values.get(name), str) for name in ("query", "document"))
        ]


@given(lines=LINES, cut=st.sampled_from([b"\n", b"\r\n"]))
def test_every_mark_of_json_lines_reads_on_as_the_whole_does(
    lines: list[bytes], cut: bytes
) -> None:
    """Where rows begin is told without parsing, and is what parsing finds."""
    _check_marks(cut.join(lines), FileFormat.JSONL)


@given(content=tables())
def test_every_mark_of_a_table_reads_on_as_the_whole_does(content: bytes) -> None:
    """A quoted line break is no end of a row, and a line that cannot be read is a row."""
    _check_marks(content, FileFormat.CSV)


def _check_marks(content: bytes, kind: FileFormat) -> None:
    def reader() -> Any:
        return reader_of(io.BytesIO(content), kind, name="it")

    records = list(reader().rows())
    marks = list(reader().starts())

    assert len(marks) == len(records)
    for place, mark in enumerate(marks):
        assert list(reader().rows(mark)) == records[place:]


@given(lines=LINES, block_rows=st.integers(1, 6), data=st.data())
@settings(max_examples=15, deadline=None)
def test_every_row_is_there_once_whatever_was_done_before(
    lines: list[bytes], block_rows: int, data: st.DataObject, tmp_path_factory: Any
) -> None:
    """Blocks lose their markers or their files at random; going on gives what one run gives, to the byte."""
    folder = tmp_path_factory.mktemp("lines")
    source = folder / "in.jsonl"
    source.write_bytes(FIRST + b"\n".join(lines))
    _check_resume(source, folder, FileFormat.JSONL, block_rows, data)


@given(content=tables(), block_rows=st.integers(1, 6), data=st.data())
@settings(max_examples=15, deadline=None)
def test_tables_with_quoted_line_breaks_too(
    content: bytes, block_rows: int, data: st.DataObject, tmp_path_factory: Any
) -> None:
    """The same of csv, whose rows have any number of lines."""
    folder = tmp_path_factory.mktemp("table")
    source = folder / "in.csv"
    source.write_bytes(content + b"\nlast,row,here\n")
    _check_resume(source, folder, FileFormat.CSV, block_rows, data)


def _check_resume(
    source: Path, folder: Path, kind: FileFormat, block_rows: int, data: st.DataObject
) -> None:
    job = _job(source, folder / "out", block_rows=block_rows)
    whole = _job(source, folder / "whole", block_rows=10_000)
    blocks = plan(job)
    first = run(job, LocalRunner(), verify=True)
    lost = data.draw(st.sets(st.sampled_from([block.name for block in blocks])))
    before = {path: path.read_bytes() for path in Path(job.output).glob("part-*")}
    for place, name in enumerate(sorted(lost)):
        gone = marker_name(name) if place % 2 else part_name(job, name)
        (Path(job.output) / gone).unlink()

    again = run(job, LocalRunner(), resume=True, verify=True)
    at_once = run(whole, LocalRunner(), verify=True)

    assert again.num_blocks_now == len(lost)
    assert _sums(again) == _sums(first) == _sums(at_once)
    assert {path: path.read_bytes() for path in Path(job.output).glob("part-*")} == before
    names = ("query", "document")
    expected = [[row[name] for name in names] for row in _expected(source, kind)]
    assert [[row[name] for name in names] for row in _rows(job)] == expected
    shutil.rmtree(folder)


def _sums(report: RunReport) -> tuple[int, int, int, str]:
    account = report.account
    return account.num_rows, account.num_scored, account.num_broken, account.checksum


def test_broken_rows_are_counted_as_rows() -> None:
    """The mark of a row behind a broken one is behind that one's bytes."""
    reader = reader_of(io.BytesIO(b"oops\n\n" + FIRST), FileFormat.JSONL, name="it")

    assert [mark.offset for mark in reader.starts()] == [0, 6]
    assert isinstance(
        next(iter(reader_of(io.BytesIO(b"oops"), FileFormat.JSONL, name="").rows())), Broken
    )
