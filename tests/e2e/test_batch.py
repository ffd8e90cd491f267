"""Batches as processes: killed without warning or stopped by a signal, they go on to what one run comes to, to the byte."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.e2e.processes import TIMEOUT_S, ended, started, wait_until

pytestmark = pytest.mark.slow

FAKE = ("--backend", "fake")
STOPPED = 128
NUM_QUERIES = 1_400


def _pairs(path: Path, num: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "id": list(range(num)),
            "query": [f"how many live in berlin {i % 50}" for i in range(num)],
            "document": [f"berlin has {i} people who live there" for i in range(num)],
        }
    )
    parquet.write_table(table, path, row_group_size=1_000)
    return path


def _markers(output: Path) -> int:
    return len(list(output.glob("_pairscore/blocks/*.json")))


def _parts(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.glob("part-*.parquet")}


def _score(source: Path, output: Path, *more: object) -> tuple[object, ...]:
    return ("score", "--input", source, "--output", f"{output}/", "--json", *more)


def _report(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        (output / "_pairscore" / "report.json").read_text("utf-8")
    )
    return found


@pytest.mark.parametrize(
    ("num_rows", "more"),
    [(8_000, (*FAKE, "--block-rows", 80)), (96, ("--block-rows", 8, "--max-length", 64))],
    ids=["fake", "bundled model"],
)
def test_a_killed_run_goes_on_where_it_was(
    num_rows: int, more: tuple[object, ...], tmp_path: Path
) -> None:
    """Every row is there once; the files are those of a run that nobody killed."""
    for name in ("a", "b"):
        _pairs(tmp_path / "in" / f"{name}.parquet", num_rows // 2)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = started(*_score(tmp_path / "in", killed, *more))
    wait_until(lambda: _markers(killed) >= 3, process)
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    num_done = _markers(killed)
    num_blocks = num_rows // int(str(more[more.index("--block-rows") + 1]))
    assert 3 <= num_done < num_blocks

    resumed = ended(started(*_score(tmp_path / "in", killed, *more, "--resume", "--verify")))
    ended(started(*_score(tmp_path / "in", whole, *more)))

    assert f"{num_done} before" in resumed
    assert "all results were read again" in resumed
    assert _parts(killed) == _parts(whole)
    assert _report(killed) == _report(whole)
    rows = parquet.read_table(killed).sort_by("id")
    assert sorted(rows.column("id").to_pylist()) == sorted([*range(num_rows // 2)] * 2)
    # Nothing half-written is left.
    assert not [path.name for path in killed.rglob("*.tmp")]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_says_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    """With the exit code of every verb that is stopped; blocks that are done are kept."""
    source = _pairs(tmp_path / "in.parquet", 10_000)
    output = tmp_path / "out"
    process = started(*_score(source, output, *FAKE, "--block-rows", 100))
    wait_until(lambda: _markers(output) >= 2, process)

    process.send_signal(number)
    told, said = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == STOPPED + number, said
    assert "blocks are done and kept" in said
    assert "--resume" in said
    assert "Traceback" not in said
    assert json.loads(told)["stopped"] == number
    assert 2 <= _markers(output) < 100
    ended(started(*_score(source, output, *FAKE, "--block-rows", 100, "--resume", "--verify")))
    assert parquet.read_table(output).num_rows == 10_000


def test_ranking_goes_on_too(tmp_path: Path) -> None:
    """Queries with their candidates, killed in the middle."""
    lines = [
        {"id": i, "query": f"berlin {i}", "documents": [f"berlin {j}" for j in range(i % 7)]}
        for i in range(NUM_QUERIES)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    words = (
        "rank",
        "--input",
        source,
        "--top-k",
        2,
        "--block-rows",
        50,
        *FAKE,
        "--format",
        "parquet",
    )
    process = started(*words, "--output", killed)
    wait_until(lambda: _markers(killed) >= 3, process)
    process.kill()
    process.communicate(timeout=TIMEOUT_S)

    ended(started(*words, "--output", killed, "--resume", "--verify"))
    ended(started(*words, "--output", whole))

    assert _parts(killed) == _parts(whole)
    hits = parquet.read_table(killed)
    assert hits.num_rows == sum(min(2, i % 7) for i in range(NUM_QUERIES))
    asides = [path.read_bytes().splitlines() for path in killed.glob("_broken/*")]
    rows = sorted(json.loads(line)["row"] for lines in asides for line in lines)
    assert rows == [i + 1 for i in range(NUM_QUERIES) if i % 7 == 0]
