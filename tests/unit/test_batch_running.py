"""Jobs from their beginning to their report: what is done, kept, gone on with and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.unit.batch_jobs import FAKE, job_of, read_lines, write_lines, write_pairs

from pairscore.batch import local, reading, work
from pairscore.batch.local import LocalRunner
from pairscore.batch.planning import plan
from pairscore.batch.records import Block, BlockReport, Job, Source
from pairscore.batch.running import Planned, run
from pairscore.config import Chunking
from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import (
    ClosedError,
    DataFileError,
    EmptyInputError,
    OutputFileError,
    PairscoreError,
    SettingError,
)
from pairscore.files import FileFormat
from pairscore.files.base import MarkedReader


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """25 pairs in 5 blocks."""
    return job_of(write_pairs(tmp_path / "in.jsonl", 25), tmp_path / "out", block_rows=5)


def _files(folder: str) -> dict[str, bytes]:
    """Everything but the book-keeping."""
    return {path.name: path.read_bytes() for path in Path(folder).glob("part-*")}


class Dying(LocalRunner):
    """Does some blocks, and fails."""

    def __init__(self, num: int, error: BaseException) -> None:
        super().__init__()
        self._left = num
        self._error = error

    def run(self, job: Job, blocks: Sequence[Block]) -> Iterator[BlockReport]:
        """Fail before the last report."""
        for report in super().run(job, blocks):
            if not self._left:
                raise self._error
            self._left -= 1
            yield report


def test_every_row_is_scored(job: Job, fake_encoder: CrossEncoder) -> None:
    """As the library scores it, with its other columns, one file a block; the report says so and is kept."""
    planned: list[Planned] = []
    reports: list[BlockReport] = []

    report = run(job, LocalRunner(), verify=True, on_plan=planned.append, on_block=reports.append)

    rows = read_lines(Path(job.output))
    pairs = [(f"berlin {i}", f"berlin {i % 3}") for i in range(25)]
    assert [row["id"] for row in rows] == list(range(25))
    assert [row["score"] for row in rows] == fake_encoder.predict(pairs).tolist()
    assert len(_files(job.output)) == len(planned[0].blocks) == 5
    assert {one.name for one in reports} == {block.name for block in planned[0].blocks}
    assert (report.account.num_rows, report.account.num_scored, report.verified) == (25, 25, True)
    kept = json.loads((Path(job.output) / "_pairscore" / "report.json").read_text("utf-8"))
    assert kept["checksum"] == report.account.checksum


def test_broken_rows_go_aside(tmp_path: Path) -> None:
    """With the file, the row, the line, the reason, and the values where there are any."""
    rows = [{"query": "q", "document": "d"}, "", "oops", {"query": "q", "document": None}]
    source = write_lines(tmp_path / "in.jsonl", rows)
    job = job_of(source, tmp_path / "out", block_rows=2)

    report = run(job, LocalRunner(), verify=True)

    first, second = read_lines(tmp_path / "out" / "_broken")
    assert (first["source"], first["row"], first["line"]) == (str(source), 2, 3)
    assert "not JSON" in first["reason"]
    assert first["values"] is None
    assert (second["row"], second["line"]) == (3, 4)
    assert second["values"] == {"query": "q", "document": None}
    assert (report.account.num_scored, report.account.num_broken) == (1, 2)


def test_the_first_broken_row_can_end_it(tmp_path: Path) -> None:
    """What was done before is kept, and the run goes on once it is repaired, or put aside."""
    rows: list[Any] = [{"query": "q", "document": "d"}] * 4
    source = write_lines(tmp_path / "in.jsonl", [*rows, "oops"])
    job = job_of(source, tmp_path / "out", block_rows=2, stop_on_broken=True)

    with pytest.raises(DataFileError, match=r"line 5: not JSON.*--on-error aside") as failure:
        run(job, LocalRunner(under_way=1))

    assert "2 of 3 blocks are done" in failure.value.__notes__[0]
    report = run(replace(job, stop_on_broken=False), LocalRunner(), resume=True)
    assert (report.num_blocks_now, report.account.num_broken) == (1, 1)


@pytest.mark.parametrize("error", [OutputFileError("full"), KeyboardInterrupt()])
def test_what_is_done_stays_done(job: Job, error: BaseException, tmp_path: Path) -> None:
    """Whatever ends a run, going on does the rest, and comes to what one run comes to, to the byte."""
    whole = replace(job, output=str(tmp_path / "whole"))
    at_once = run(whole, LocalRunner())

    with pytest.raises(type(error)) as failure:
        run(job, Dying(2, error))
    planned: list[Planned] = []
    report = run(job, LocalRunner(), resume=True, on_plan=planned.append)

    assert "2 of 5 blocks are done and kept" in failure.value.__notes__[0]
    # A third was done before the failure came out.
    assert 2 <= len(planned[0].done) < 5
    assert report.num_blocks_now == 5 - len(planned[0].done)
    assert report.account == at_once.account
    assert _files(job.output) == _files(whole.output)


def test_a_run_that_is_complete_is_complete(job: Job) -> None:
    """Going on with it does nothing, and loads no model."""
    run(job, LocalRunner())
    before = _files(job.output)

    report = run(job, Dying(0, AssertionError()), resume=True)

    assert (report.num_blocks_now, report.pairs_per_s) == (0, 0.0)
    assert _files(job.output) == before


def test_going_on_with_nothing_begins(job: Job) -> None:
    """A script may always say --resume."""
    assert run(job, LocalRunner(), resume=True).num_blocks_now == 5


@pytest.mark.parametrize(
    "place", ["part-00000-000001.jsonl", "_pairscore/blocks/part-00000-000001.json"]
)
@pytest.mark.parametrize("content", [None, b"{"])
def test_a_block_with_a_damaged_file_is_done_again(
    job: Job, place: str, content: bytes | None
) -> None:
    """Its results are gone or cut, or its marker is."""
    run(job, LocalRunner())
    before = _files(job.output)
    path = Path(job.output) / place
    path.unlink() if content is None else path.write_bytes(content)

    report = run(job, LocalRunner(), resume=True, verify=True)

    assert report.num_blocks_now == 1
    assert _files(job.output) == before


def test_rows_that_were_changed_are_found(job: Job) -> None:
    """By reading the results again; then that block is done no more, and the next run repairs it."""
    run(job, LocalRunner())
    path = Path(job.output) / "part-00000-000003.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"berlin 17", b"berlin 71"))
    assert run(job, LocalRunner(), resume=True).num_blocks_now == 0

    with pytest.raises(DataFileError, match=r"part-00000-000003.*--resume"):
        run(job, LocalRunner(), resume=True, verify=True)

    assert run(job, LocalRunner(), resume=True, verify=True).num_blocks_now == 1
    assert path.read_bytes() == whole


def test_a_lost_side_file_is_written_again(tmp_path: Path) -> None:
    """A broken row without its reason is a row that is lost."""
    source = write_lines(tmp_path / "in.jsonl", [{"query": "q", "document": "d"}, "oops"])
    job = job_of(source, tmp_path / "out")
    run(job, LocalRunner())
    (side,) = (tmp_path / "out" / "_broken").iterdir()
    side.unlink()

    assert run(job, LocalRunner(), resume=True, verify=True).num_blocks_now == 1
    assert side.exists()


def test_what_somebody_was_writing_when_they_died_is_cleared_away(job: Job) -> None:
    """With the run that goes on."""
    run(job, LocalRunner())
    left = [
        Path(job.output) / folder / ".part-00000-000001.x.tmp"
        for folder in ("", "_pairscore/blocks")
    ]
    for path in left:
        path.touch()

    run(job, LocalRunner(), resume=True)

    assert not [path for path in left if path.exists()]


def test_what_a_worker_left_half_written_is_cleared_away_at_the_end(job: Job) -> None:
    """A run that goes on without it has nobody else who would."""
    left = Path(job.output) / ".part-00000-000001.x.tmp"

    run(job, LocalRunner(), on_block=lambda report: left.touch())

    assert not left.exists()


def test_a_file_is_read_on_where_the_last_block_ended(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened once for all its blocks, because what is before a row of Parquet would be decoded each time."""
    opened: list[Source] = []
    open_source = reading.open_source

    def opening(source: Source) -> MarkedReader:
        opened.append(source)
        return open_source(source)

    blocks = planned_blocks(job)
    reader = reading.BlockReader(job)
    monkeypatch.setattr(reading, "open_source", opening)
    rows = [record for block in blocks for record in reader.records(block)]
    reader.close()

    assert len(rows) == 25
    assert len(opened) == 1


class Forgetful(LocalRunner):
    """Loses a block."""

    def run(self, job: Job, blocks: Sequence[Block]) -> Iterator[BlockReport]:
        """All but the last."""
        return super().run(job, blocks[:-1])


def test_a_lost_block_is_an_error(job: Job) -> None:
    """Whoever lost it: what was planned is compared with what is there."""
    with pytest.raises(DataFileError, match=r"1 of 5 blocks .*part-00000-000004.*--resume"):
        run(job, Forgetful())


def test_a_folder_with_a_run_is_not_written_over(job: Job) -> None:
    """Unless that is asked for; then nothing of the other run is left."""
    run(job, LocalRunner())

    with pytest.raises(OutputFileError, match=r"--resume.*--overwrite"):
        run(job, LocalRunner())
    run(replace(job, block_rows=20), LocalRunner(), overwrite=True, verify=True)

    assert len(_files(job.output)) == 2
    assert len(read_lines(Path(job.output))) == 25


def test_a_folder_with_other_files_is_not_written_into(job: Job) -> None:
    """Whoever reads the folder would take them for results."""
    write_pairs(Path(job.output) / "mine.jsonl", 1)

    with pytest.raises(OutputFileError, match=r"mine.jsonl.*--overwrite"):
        run(job, LocalRunner())
    theirs = Path(job.output) / "part-00000-abc.jsonl"
    theirs.touch()
    run(job, LocalRunner(), overwrite=True)
    assert theirs.exists()
    with pytest.raises(OutputFileError, match="is a file"):
        run(replace(job, output=job.sources[0].path), LocalRunner())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"block_rows": 6}, "block_rows was 5 and is 6"),
        ({"score_column": "mine"}, "score_column was 'score' and is 'mine'"),
        ({"model": replace(FAKE, max_length=64)}, "model max_length was None and is 64"),
        ({"chunking": Chunking()}, "long_documents"),
        ({"query_column": "query"}, "query_column"),
    ],
)
def test_another_run_is_not_gone_on_with(job: Job, changed: dict[str, Any], message: str) -> None:
    """What differs is named."""
    run(job, LocalRunner())

    with pytest.raises(SettingError, match=message):
        run(replace(job, **changed), LocalRunner(), resume=True)


def test_how_quick_it_is_makes_no_other_run(job: Job) -> None:
    """Threads and micro-batches change no score."""
    run(job, LocalRunner())
    model = replace(FAKE, num_workers=1)

    report = run(replace(job, model=model, batch_size=3), LocalRunner(), resume=True)

    assert report.num_blocks_now == 0


def test_another_input_is_not_gone_on_with(job: Job, tmp_path: Path) -> None:
    """A file more, a file less, a file that was changed."""
    other = write_pairs(tmp_path / "more.jsonl", 3)
    both = job_of(tmp_path / "*.jsonl", job.output, block_rows=5)
    run(job, LocalRunner())
    with pytest.raises(SettingError, match=r"its input has no .*more.jsonl"):
        run(both, LocalRunner(), resume=True)
    with pytest.raises(SettingError, match=r"its input has .*in.jsonl as well"):
        run(job_of(other, job.output, block_rows=5), LocalRunner(), resume=True)
    write_pairs(tmp_path / "in.jsonl", 26)
    with pytest.raises(SettingError, match=r"was changed since: .*in.jsonl"):
        run(job_of(tmp_path / "in.jsonl", job.output, block_rows=5), LocalRunner(), resume=True)


def test_results_do_not_go_where_the_input_is(tmp_path: Path) -> None:
    """The next run would read them."""
    source = write_pairs(tmp_path / "both" / "in.jsonl", 3)

    with pytest.raises(SettingError, match="lies in the output folder"):
        run(job_of(source, tmp_path / "both"), LocalRunner(), overwrite=True)


def test_nothing_to_score_is_told(tmp_path: Path) -> None:
    """No row, or none that is not broken; the reasons stay."""
    with pytest.raises(EmptyInputError, match="no row"):
        run(job_of(write_lines(tmp_path / "a.jsonl", []), tmp_path / "a"), LocalRunner())
    source = write_lines(tmp_path / "b.jsonl", ["oops", "[]"])
    with pytest.raises(EmptyInputError, match=r"all 2 are broken.*_broken"):
        run(job_of(source, tmp_path / "b"), LocalRunner())
    assert len(read_lines(tmp_path / "b" / "_broken")) == 2


def test_a_missing_column_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """No folder is left behind."""
    source = write_lines(tmp_path / "in.jsonl", [{"x": "a", "y": "b"}])

    with pytest.raises(DataFileError, match="--query-column"):
        run(job_of(source, tmp_path / "out"), LocalRunner())

    assert not (tmp_path / "out").exists()


def test_rankings_have_a_row_a_hit(tmp_path: Path, fake_encoder: CrossEncoder) -> None:
    """The other columns, the place, and what `CrossEncoder.rank` says; the best ones only, if that is asked for."""
    documents = ["snow", "berlin people", "berlin", "berlin people live"]
    rows = [
        {"id": 1, "query": "berlin people", "documents": documents},
        {"id": 2, "query": "snow", "documents": ["x"]},
    ]
    job = job_of(
        write_lines(tmp_path / "in.jsonl", rows),
        tmp_path / "out",
        task="rank",
        top_k=2,
        block_rows=1,
    )

    report = run(job, LocalRunner(), verify=True)

    found = read_lines(tmp_path / "out")
    expected = fake_encoder.rank("berlin people", documents, top_k=2, return_documents=True)
    assert [(row["id"], row["rank"]) for row in found] == [(1, 1), (1, 2), (2, 1)]
    for row, entry in zip(found, expected, strict=False):
        assert {name: row[name] for name in entry} == dict(entry)
    assert list(found[0]) == [
        "id",
        "query",
        "rank",
        "corpus_id",
        "text",
        "score",
        "probability",
        "truncated",
    ]
    assert (report.account.num_scored, report.account.num_written, report.account.num_pairs) == (
        2,
        3,
        5,
    )


def test_hits_below_a_limit_are_left_out(tmp_path: Path) -> None:
    """A query of which none is left has no row, and counts as scored."""
    rows = [
        {"query": "berlin", "documents": ["berlin", "snow"]},
        {"query": "a", "documents": ["b"]},
    ]
    source = write_lines(tmp_path / "in.jsonl", rows)
    job = job_of(source, tmp_path / "out", task="rank", min_probability=0.5)

    report = run(job, LocalRunner(), verify=True)

    assert [row["text"] for row in read_lines(tmp_path / "out")] == ["berlin"]
    assert report.account.num_scored == 2


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    """Every part has one schema, also where a part has nothing in a column; a part can be empty."""
    table = pa.table({
        "query": ["q", "q", None],
        "documents": pa.array([["a"], ["b", "c"], ["d"]], pa.large_list(pa.string())),
        "weight": pa.array([None, 1, 2], pa.int16()),
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "in.parquet")
    job = job_of(
        tmp_path / "in.parquet",
        tmp_path / "out",
        task="rank",
        block_rows=1,
        output_format=FileFormat.PARQUET,
    )

    run(job, LocalRunner(), verify=True)

    found = parquet.read_table(tmp_path / "out")
    assert found.schema.field("weight").type == pa.int16()
    assert found.column("corpus_id").to_pylist() == [0, 0, 1]
    assert len(_files(job.output)) == 3


def test_json_lines_have_one_type_a_column_in_parquet(tmp_path: Path) -> None:
    """That of the file's first rows, whichever block they are in; a row that does not fit goes aside."""
    rows = [{"query": "q", "document": "d", "n": n} for n in (None, 1, None, "two", 3)]
    job = job_of(
        write_lines(tmp_path / "in.jsonl", [*rows[:3], *rows[4:], *([rows[1]] * 1_100), rows[3]]),
        tmp_path / "out",
        block_rows=1_000,
        output_format=FileFormat.PARQUET,
    )

    report = run(job, LocalRunner(), verify=True)

    assert parquet.read_table(tmp_path / "out").schema.field("n").type == pa.int64()
    (broken,) = read_lines(tmp_path / "out" / "_broken")
    assert "'n' is of the type str, and the column's type is int64" in broken["reason"]
    assert report.account.num_broken == 1


def test_long_documents_are_read_in_windows(tmp_path: Path) -> None:
    """With the best window's place, as in one file."""
    source = write_lines(tmp_path / "in.jsonl", [{"query": "q", "document": "word " * 900}])
    job = job_of(source, tmp_path / "out", chunking=Chunking(max_windows=2))

    run(job, LocalRunner())

    (row,) = read_lines(tmp_path / "out")
    assert row["num_windows"] == 2
    assert row["end"] > row["start"]


@pytest.mark.parametrize("under_way", [1, 3])
def test_how_many_are_under_way_changes_nothing(job: Job, under_way: int, tmp_path: Path) -> None:
    """The results are the same to the byte."""
    other = replace(job, output=str(tmp_path / "other"))

    run(job, LocalRunner())
    run(other, LocalRunner(under_way=under_way))

    assert _files(job.output) == _files(other.output)


def test_rows_are_told_while_a_block_is_done(job: Job) -> None:
    """All of them, in the end."""
    told: list[int] = []

    run(job, LocalRunner(on_rows=told.append))

    assert sum(told) == 25


def test_giving_up_ends_what_is_under_way(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that is closed does no more blocks, and frees the model."""
    opened: list[CrossEncoder] = []
    open_model = work.open_model

    def opening(choice: Any) -> CrossEncoder:
        opened.append(open_model(choice))
        return opened[0]

    monkeypatch.setattr(work, "open_model", opening)
    reports = local.LocalRunner().run(job, work_blocks := planned_blocks(job))
    next(reports)
    reports.close()

    assert len(_files(job.output)) < len(work_blocks)
    with pytest.raises(ClosedError):
        opened[0].predict([("a", "b")])


def planned_blocks(job: Job) -> Sequence[Block]:
    """The blocks of a job."""
    return plan(job)


def test_a_worker_that_was_closed_works_no_more(job: Job) -> None:
    """It says so, and opens no model."""
    worker = work.BlockWorker(job)
    worker.close()

    with pytest.raises(ClosedError):
        worker.work(planned_blocks(job)[0])


def test_a_model_that_is_not_there_is_told_first(job: Job) -> None:
    """Before a folder is made."""
    with pytest.raises(PairscoreError, match="no-such-model"):
        run(replace(job, model=replace(FAKE, name="no-such-model")), LocalRunner())

    assert not Path(job.output).exists()
