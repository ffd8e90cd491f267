"""Batches from bucket to bucket: the same results as from folder to folder, and a run that goes on where it was."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.e2e.processes import TIMEOUT_S, ended, started, wait_until
from tests.s3_server import SECRET, S3Server, running_s3

pytestmark = pytest.mark.slow

FAKE = ("--backend", "fake")
NO_INPUT = 66
NO_OUTPUT = 73


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all; every test has buckets of its own."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


def _pairs(num: int, *, first: int = 0) -> bytes:
    rows = range(first, first + num)
    columns = {
        "id": list(rows),
        "query": [f"how many live in berlin {row % 50}" for row in rows],
        "document": [f"berlin has {row} people who live there" for row in rows],
    }
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file, row_group_size=1_000)
    return file.getvalue()


def _score(source: object, output: object, *more: object) -> tuple[object, ...]:
    return ("score", *FAKE, "--input", source, "--output", output, "--json", *more)


def _is_result(name: str) -> bool:
    return name.startswith(("part-", "_pairscore/"))


def test_a_bucket_is_scored_as_a_folder_is(s3: S3Server, tmp_path: Path) -> None:
    """The same files to the byte, the same report; a pattern finds the input, and nothing else is left there."""
    there = tmp_path / "in"
    there.mkdir()
    for name, first in (("a b.parquet", 0), ("c.parquet", 3_000)):
        (there / name).write_bytes(_pairs(3_000, first=first))
        s3.write(f"whole/in/{name}", (there / name).read_bytes())
    s3.write("whole/in/notes.txt", b"no rows")
    more = ("--block-rows", 700, "--verify")

    ended(started(*_score(there, f"{tmp_path / 'out'}/", *more)))
    said = ended(
        started(*_score(s3.url("whole/in/*.parquet"), s3.url("whole/out"), *more)),
    )

    here = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("part-*")}
    assert {
        name: s3.read(f"whole/out/{name}") for name in s3.names("whole/out") if name in here
    } == here
    report = json.loads((tmp_path / "out" / "_pairscore" / "report.json").read_text())
    assert json.loads(s3.read("whole/out/_pairscore/report.json")) == report
    assert all(map(_is_result, s3.names("whole/out")))
    assert "all results were read again" in said


def test_no_key_is_kept_or_told(s3: S3Server) -> None:
    """What is written to the bucket, and what is said, is for more people than the key."""
    s3.write("quiet/in/a.parquet", _pairs(100))

    process = started(*_score(s3.url("quiet/in/"), s3.url("quiet/out")))
    told = "".join(process.communicate(timeout=TIMEOUT_S))

    assert process.returncode == 0, told
    written = b"".join(s3.read(f"quiet/out/{name}") for name in s3.names("quiet/out"))
    assert SECRET not in told
    assert SECRET.encode() not in written


def test_a_killed_run_goes_on_in_the_bucket(s3: S3Server) -> None:
    """After ``kill -9`` blocks that are done stay so; the files are those of a run that nobody killed."""
    s3.write("killed/in/a.parquet", _pairs(6_000))
    more = ("--block-rows", 80)
    markers = "killed/out/_pairscore/blocks"
    process = started(*_score(s3.url("killed/in"), s3.url("killed/out"), *more))
    wait_until(lambda: len(s3.names(markers)) >= 3, process)
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    num_done = len(s3.names(markers))

    said = ended(started(*_score(s3.url("killed/in"), s3.url("killed/out"), *more, "--resume")))
    ended(started(*_score(s3.url("killed/in"), s3.url("killed/whole"), *more)))

    assert 3 <= num_done < 75
    assert f"{num_done} before" in said
    parts = [name for name in s3.names("killed/whole") if name.startswith("part-")]
    assert len(parts) == 75
    for name in parts:
        assert s3.read(f"killed/out/{name}") == s3.read(f"killed/whole/{name}")


def test_a_finished_run_is_not_written_over(s3: S3Server) -> None:
    """Nor does one begin among other files."""
    s3.write("twice/in/a.parquet", _pairs(100))
    s3.write("twice/other/readme.txt", b"not ours")
    ended(started(*_score(s3.url("twice/in"), s3.url("twice/out"))))

    for output, remedy in (("twice/out", "--resume"), ("twice/other", "not empty")):
        process = started(*_score(s3.url("twice/in"), s3.url(output)))
        _, noted = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode != 0
        assert remedy in noted


def test_queries_of_a_bucket_are_ranked_into_a_folder(s3: S3Server, tmp_path: Path) -> None:
    """Either side may be a folder of this machine."""
    rows = [{"query": "berlin", "documents": ["snow", "berlin", "sun"]}] * 3
    s3.write("ranked/queries.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())

    ended(
        started(
            *("rank", *FAKE, "--input", s3.url("ranked/queries.jsonl"), "--top-k", 1, "--json"),
            *("--output", f"{tmp_path / 'ranked'}/", "--format", "jsonl"),
        )
    )

    (part,) = (tmp_path / "ranked").glob("part-*")
    assert [json.loads(line)["text"] for line in part.read_text().splitlines()] == ["berlin"] * 3


def test_a_bucket_that_is_not_there_is_told(s3: S3Server) -> None:
    """Of the input and of the output, each in a line that names it."""
    s3.write("there/in/a.parquet", _pairs(10))
    nowhere, there = s3.url("nowhere/in/*.parquet"), s3.url("there/in")
    for source, output, code in (
        (nowhere, s3.url("there/out"), NO_INPUT),
        (there, s3.url("nowhere/out"), NO_OUTPUT),
    ):
        process = started(*_score(source, output))
        said, noted = process.communicate(timeout=TIMEOUT_S)

        assert process.returncode == code, noted
        assert "nowhere" in noted
        assert "Traceback" not in said + noted
