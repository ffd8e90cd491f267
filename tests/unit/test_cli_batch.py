"""Batches on the command line: when a folder is meant, what is refused, and what is told at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.batch_jobs import read_lines, write_lines, write_pairs
from typer.testing import CliRunner, Result

from pairscore.cli import batch, progress
from pairscore.cli.batch_options import BatchOptions, is_batch
from pairscore.cli.interrupt import Stopped
from pairscore.cli.main import app


def _run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def _score(*args: object) -> Result:
    return _run("score", "--backend", "fake", *args)


def _rank(*args: object) -> Result:
    return _run("rank", "--backend", "fake", *args)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of two files of pairs, one row of which is broken."""
    write_pairs(tmp_path / "in" / "a.jsonl", 3)
    write_lines(tmp_path / "in" / "b.jsonl", [{"query": "q", "document": "d", "id": 3}, "oops"])
    return tmp_path / "in"


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """A file of queries with their documents."""
    rows = [{"query": "berlin", "documents": ["snow", "berlin"]}] * 2
    return write_lines(tmp_path / "queries.jsonl", rows)


@pytest.mark.parametrize("how", ["{}", "{}/*.jsonl", "file://{}", "file://{}/*.jsonl"])
def test_many_files_are_scored_into_a_folder(how: str, source: Path, tmp_path: Path) -> None:
    """A folder, a pattern or a URL; what is told is everything that was done."""
    given = how.format(source.as_posix())

    result = _score("--input", given, "--output", tmp_path / "out", "--verify")

    assert result.exit_code == 0, result.stderr
    assert [row["id"] for row in read_lines(tmp_path / "out")] == [0, 1, 2, 3]
    assert "5 read, 4 scored, 1 broken" in result.stderr
    assert "_broken" in result.stderr
    assert "2 done now, 0 before" in result.stderr
    assert "all results were read again" in result.stderr


def test_several_inputs_are_a_batch(source: Path, tmp_path: Path) -> None:
    """Each may be given by itself."""
    inputs = ("-i", source / "a.jsonl", "-i", source / "b.jsonl")

    assert _score(*inputs, "--output", tmp_path / "out").exit_code == 0

    assert len(read_lines(tmp_path / "out")) == 4


def test_the_report_is_json(source: Path, tmp_path: Path) -> None:
    """One object on standard output, and nothing else said if that is asked for."""
    result = _score("-i", source, "-o", tmp_path / "out", "--json", "--quiet")

    report = json.loads(result.stdout)
    assert (report["num_rows"], report["num_scored"], report["num_broken"]) == (5, 4, 1)
    assert (report["num_blocks"], report["num_blocks_now"], report["stopped"]) == (2, 2, None)
    assert report["output"] == str(tmp_path / "out")
    assert result.stderr == ""


def test_going_on_does_the_rest(source: Path, tmp_path: Path) -> None:
    """The same command with --resume; without it nothing is lost."""
    words = ("-i", source, "-o", tmp_path / "out", "--block-rows", 1)
    assert _score(*words).exit_code == 0
    (tmp_path / "out" / "part-00000-000001.jsonl").unlink()

    refused = _score(*words)
    resumed = _score(*words, "--resume")
    other = _score(*words[:-1], 2, "--resume")
    anew = _score(*words[:-1], 2, "--overwrite")

    assert refused.exit_code == 73
    assert "--resume" in refused.stderr
    assert "1 done now, 4 before" in resumed.stderr
    assert other.exit_code == 2
    assert "block_rows was 1 and is 2" in other.stderr
    assert anew.exit_code == 0
    assert len(list((tmp_path / "out").glob("part-*"))) == 3


def test_a_broken_row_can_end_it(source: Path, tmp_path: Path) -> None:
    """With its place, and what is kept."""
    result = _score("-i", source, "-o", tmp_path / "out", "--on-error", "stop", "--block-rows", 1)

    assert result.exit_code == 65
    assert "b.jsonl, line 2: not JSON" in result.stderr
    assert "blocks are done and kept" in result.stderr


def test_one_file_stays_one_file(source: Path, tmp_path: Path) -> None:
    """No folder, no marker, no report."""
    target = tmp_path / "out.jsonl"

    assert _score("-i", source / "a.jsonl", "-o", target).exit_code == 0

    assert [path.name for path in tmp_path.glob("out*")] == ["out.jsonl"]


@pytest.mark.parametrize(
    ("inputs", "output", "given", "expected"),
    [
        (["a.jsonl"], None, {}, False),
        (["a.jsonl"], "out.jsonl", {}, False),
        (["-"], "-", {}, False),
        (["a.jsonl"], "out/", {}, True),
        (["a.jsonl"], ".", {}, True),
        (["a.jsonl"], "s3://b/out", {}, True),
        (["*.jsonl"], "out", {}, True),
        (["."], "out", {}, True),
        (["s3://b/a.jsonl"], "out", {}, True),
        (["a.jsonl", "b.jsonl"], "out", {}, True),
        (["a.jsonl"], "out", {"resume": True}, True),
        (["a.jsonl"], "out", {"ray": ""}, True),
    ],
)
def test_a_folder_is_meant(
    inputs: list[str],
    output: str | None,
    given: dict[str, Any],
    expected: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Where the output is one, the input is several files, or an option says so."""
    assert is_batch(inputs, output, BatchOptions(**given)) is expected


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("-i", "{}"), 2, "--output DIR"),
        (("-i", "{}", "-o", "out.csv"), 2, "looks like one file"),
        (("-i", "-", "-o", "out/"), 2, "standard input"),
        (("-i", "{}", "-o", "out/", "--block-rows", "0"), 2, "--block-rows is 0"),
        (("-i", "{}", "-o", "out/", "--actors", "2"), 2, "give --ray as well"),
        (("-i", "{}", "-o", "out/", "--ray", "--actors", "0"), 2, "--actors is 0"),
        (("-i", "{}", "-o", "out/", "--resume", "--overwrite"), 2, "give one of them"),
        (("-i", "{}/*.csv", "-o", "out/"), 66, "quotes"),
        (("--resume",), 2, "need --input"),
        (("-i", "{}/a.jsonl", "--on-error", "aside"), 2, "--output DIR/"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], code: int, message: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is made."""
    monkeypatch.chdir(source.parent)

    result = _score(*(word.format(source) for word in words))

    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert not Path("out").exists()


def test_files_of_several_formats_need_one_for_the_results(source: Path, tmp_path: Path) -> None:
    """Which of them nobody can guess."""
    (source / "c.csv").write_text("query,document,id\nq,d,4\n", encoding="utf-8")

    refused = _score("-i", source, "-o", tmp_path / "out")
    scored = _score("-i", source, "-o", tmp_path / "out", "--format", "jsonl")

    assert refused.exit_code == 2
    assert "csv, jsonl" in refused.stderr
    assert scored.exit_code == 0
    assert [row["id"] for row in read_lines(tmp_path / "out")] == [0, 1, 2, 3, "4"]


def test_many_queries_are_ranked(queries: Path, tmp_path: Path) -> None:
    """One row a hit; our columns can be named."""
    words = ("-i", queries, "-o", tmp_path / "out", "--score-column", "mine")

    result = _rank(*words, "--top-k", 1, "--min-probability", 0.1)

    assert result.exit_code == 0, result.stderr
    rows = read_lines(tmp_path / "out")
    assert [(row["mine_rank"], row["mine_text"]) for row in rows] == [(1, "berlin")] * 2
    assert "2 read, 2 scored" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "QUERY and FILE"),
        (("berlin",), 2, "QUERY and FILE"),
        (("berlin", "{}", "-i", "{}", "-o", "out"), 2, "not both"),
        (("berlin", "{}", "-o", "out"), 2, "need --input"),
        (("berlin", "{}", "--resume"), 2, "need --input"),
        (("-i", "{}"), 2, "--output DIR"),
        (("-i", "pairs.csv", "-o", "out"), 2, "a list of documents, which csv"),
        (("-i", "{}", "-o", "out", "--top-k", "0"), 2, "--top-k is 0"),
        (("-i", "{}", "-o", "out", "--document-column", "document"), 65, "did you mean"),
    ],
)
def test_rankings_that_make_no_sense_are_refused(
    words: tuple[str, ...], code: int, message: str, queries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what helps."""
    monkeypatch.chdir(queries.parent)
    Path("pairs.csv").write_text("query,documents\nq,d\n", encoding="utf-8")

    result = _rank(*(word.format(queries) for word in words))

    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--ray",), ""),
        (("--ray", "--quiet"), ""),
        (("--ray=ray://head:1",), "ray://head:1"),
        (("--ray", "head:1", "--quiet"), "head:1"),
        ((), None),
    ],
)
def test_the_address_of_a_cluster_may_be_left_out(
    words: tuple[str, ...],
    expected: str | None,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What follows `--ray` is its address unless it is an option."""
    asked: list[str | None] = []
    monkeypatch.setattr(
        "pairscore.cli.score.run_batch", lambda request: asked.append(request.batch.ray)
    )

    result = _score("-i", source, "-o", tmp_path / "out", *words)

    assert result.exit_code == 0, result.stderr
    assert asked == [expected]


def test_a_text_is_no_option() -> None:
    """Behind two dashes everything is text."""
    result = _score("--", "--ray", "berlin")

    assert result.exit_code == 0, result.stderr
    assert "score" in result.stdout


def test_a_signal_keeps_what_is_done(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how to go on, the exit code that it was stopped; a second signal changes nothing."""
    block = batch._Bar.block

    def stopping(bar: Any, report: Any) -> None:
        block(bar, report)
        raise Stopped(2)

    monkeypatch.setattr(batch._Bar, "block", stopping)

    result = _score("-i", source, "-o", tmp_path / "out", "--block-rows", 1, "--json")

    assert result.exit_code == 130
    assert "1 of 5 blocks are done and kept" in result.stderr
    assert "--resume" in result.stderr
    assert json.loads(result.stdout)["stopped"] == 2


def test_a_second_signal_waits() -> None:
    """While what is under way is given up."""
    stopping = batch._StoppingOnce()
    with pytest.raises(Stopped):
        stopping.on_signal(2)

    stopping.on_signal(2)


def test_the_bar_counts_rows_and_what_was_done_before(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where the run goes on to the last row of the input."""
    moves: list[tuple[float | None, float]] = []

    class Bars(progress.Bars):
        """Draws nothing."""

        def _moved(self, stage: Any) -> None:
            if stage.unit:
                moves.append((stage.extent, stage.num_done))

    def drawn(*, shown: bool) -> Bars:
        assert shown
        return Bars()

    words = ("-i", source, "-o", tmp_path / "out", "--block-rows", 1)
    assert _score(*words).exit_code == 0
    (tmp_path / "out" / "part-00000-000001.jsonl").unlink()
    monkeypatch.setattr(batch.progress, "opened", drawn)

    assert _score(*words, "--resume").exit_code == 0

    assert moves[0] == (5, 4)
    assert moves[-1] == (5, 5)
