"""Files on the command line, in process and without weights: what is scored, kept, refused and reported."""

from __future__ import annotations

import csv
import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_bars import Recorder
from typer.testing import CliRunner, Result

from pairscore.cli import progress, stream
from pairscore.cli.interrupt import Stopped, Stopping
from pairscore.cli.main import app
from pairscore.cli.stage import Stage
from pairscore.cross_encoder import CrossEncoder

CSV = "id,query,document\n1,berlin,berlin\n2,berlin,paris\n"


def _run(*args: object, content: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], input=content)


def _fake(*args: object, content: str | bytes | None = None) -> Result:
    return _run(*args, "--backend", "fake", content=content)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A csv file of two pairs."""
    path = tmp_path / "pairs.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


@pytest.fixture
def expected(fake_encoder: CrossEncoder) -> list[float]:
    """The library's scores of the two pairs."""
    scores: list[float] = fake_encoder.predict([("berlin", "berlin"), ("berlin", "paris")]).tolist()
    assert scores[0] != scores[1]
    return scores


@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "parquet"])
def test_a_file_is_scored_into_every_format(
    name: str, pairs: Path, tmp_path: Path, expected: list[float]
) -> None:
    """All columns come along, and the scores agree with those of single pairs."""
    target = tmp_path / f"out.{name}"
    back = tmp_path / "back.jsonl"

    assert _fake("score", "--input", pairs, "--output", target).exit_code == 0
    again = _fake("score", "-i", target, "-o", back, "--score-column", "again")

    assert again.exit_code == 0, again.stderr
    rows = [json.loads(line) for line in back.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["1", "2"]
    assert [row["again"] for row in rows] == expected
    assert [float(row["score"]) for row in rows] == expected
    assert {"again_probability", "again_truncated"} < set(rows[0])


def test_a_pipe_gets_the_format_of_the_input(expected: list[float]) -> None:
    """Rows to standard output, everything said to standard error."""
    result = _fake("score", "--input", "-", "--format", "csv", content=CSV)

    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["score"] for row in rows] == [str(value) for value in expected]
    assert "2 rows" in result.stderr


def test_parquet_goes_through_pipes(pairs: Path, tmp_path: Path, expected: list[float]) -> None:
    """Its footer is at the end, so a pipe needs care."""
    written = _fake("score", "-i", pairs, "--output", "-", "--format", "parquet")
    target = tmp_path / "out.csv"
    read = _fake(
        "score",
        "-i",
        "-",
        "--format",
        "parquet",
        "-o",
        target,
        "--score-column",
        "s",
        content=written.stdout_bytes,
    )

    assert read.exit_code == 0, read.stderr
    assert [row["s"] for row in _rows(target)] == [str(value) for value in expected]


def test_quiet_says_nothing(pairs: Path, tmp_path: Path) -> None:
    """Not even the summary."""
    result = _fake("score", "-i", pairs, "-o", tmp_path / "out.csv", "--quiet")

    assert (result.stdout, result.stderr, result.exit_code) == ("", "", 0)


def test_the_summary_can_be_json(pairs: Path, tmp_path: Path) -> None:
    """For machines that start the work."""
    result = _fake("score", "-i", pairs, "-o", tmp_path / "out.csv", "--json")

    summary = json.loads(result.stdout)
    assert summary["num_rows"] == 2
    assert summary["columns"] == {"query": "query", "document": "document"}


def test_columns_can_be_named(tmp_path: Path) -> None:
    """A stranger's names work when they are given."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("x,y\nberlin,berlin\n", encoding="utf-8")

    result = _fake(
        "score", "-i", source, "-o", target, "--query-column", "x", "--document-column", "y"
    )

    assert result.exit_code == 0
    assert _rows(target)[0]["score"] == "8.0"


def test_a_clash_of_column_names_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """The input's own score is not lost."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("query,document,score\na,b,gold\n", encoding="utf-8")

    refused = _fake("score", "-i", source, "-o", target)
    renamed = _fake("score", "-i", source, "-o", target, "--score-column", "model_score")

    assert refused.exit_code == 2
    assert "--score-column" in refused.stderr
    assert renamed.exit_code == 0
    assert _rows(target)[0]["score"] == "gold"


BROKEN = (
    '{"query": "a", "document": "a"}\n'
    '{"query": "a"}\n'
    "nonsense\n"
    '{"query": "a", "document": 7}\n'
    '{"query": "a", "document": null}\n'
    '{"query": "a", "document": "b"}\n'
)


def test_a_broken_row_stops_the_work_and_what_came_before_is_kept(tmp_path: Path) -> None:
    """The message names file, line, reason and remedy, and says what is kept."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(BROKEN, encoding="utf-8")

    result = _fake("score", "-i", source, "-o", target)

    assert result.exit_code == 65
    for part in ("in.jsonl, line 2", "'document'", "--on-error skip", "1 row is done and kept"):
        assert part in result.stderr
    assert len(target.read_text(encoding="utf-8").splitlines()) == 1


def test_broken_rows_can_be_skipped_and_are_reported(tmp_path: Path) -> None:
    """All good rows are scored; the broken ones are counted with their lines and reasons."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(BROKEN, encoding="utf-8")

    result = _fake("score", "-i", source, "-o", target, "--on-error", "skip")

    assert result.exit_code == 0
    assert len(target.read_text(encoding="utf-8").splitlines()) == 2
    assert "4 broken rows" in result.stderr
    for place in ("line 2: has no 'document'", "line 3: not JSON", "line 4: ", "line 5: "):
        assert place in result.stderr


def test_a_row_with_keys_that_csv_has_no_column_for_is_not_cut(tmp_path: Path) -> None:
    """Nothing is dropped in silence."""
    source = tmp_path / "in.jsonl"
    source.write_text(
        '{"query": "a", "document": "a"}\n{"query": "a", "document": "a", "id": 5}\n',
        encoding="utf-8",
    )

    result = _fake("score", "-i", source, "-o", tmp_path / "out.csv")

    assert result.exit_code == 65
    assert "line 2: has a key 'id'" in result.stderr


def test_a_text_over_the_limit_names_the_option(tmp_path: Path) -> None:
    """The limit, the value and the flag that raises it, with the line."""
    source = tmp_path / "in.csv"
    source.write_text(f"a,b\nx,{'y' * 100}\n", encoding="utf-8")

    result = _fake("score", "-i", source, "-o", tmp_path / "out.csv", "--max-chars", 50)

    assert result.exit_code == 65
    for part in ("line 2", "100", "50", "--max-chars"):
        assert part in result.stderr


@pytest.mark.parametrize("content", ["", "query,document\n", "\n\n"])
def test_a_file_without_rows_is_an_error(content: str, tmp_path: Path) -> None:
    """Empty, only a header, or blank: there is nothing to score, and no output is made."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(content, encoding="utf-8")

    result = _fake("score", "-i", source, "-o", target)

    assert result.exit_code == 65
    assert "no pair" in result.stderr
    assert not target.exists()


def test_a_file_of_broken_rows_only_is_an_error(tmp_path: Path) -> None:
    """Skipping everything is not success."""
    source = tmp_path / "in.jsonl"
    source.write_text("x\ny\n", encoding="utf-8")

    result = _fake("score", "-i", source, "-o", tmp_path / "out.jsonl", "--on-error", "skip")

    assert result.exit_code == 65
    assert "all 2 are broken" in result.stderr


def test_an_existing_output_needs_overwrite(pairs: Path, tmp_path: Path) -> None:
    """The old file stays as it is until it is given up."""
    target = tmp_path / "out.csv"
    target.write_text("mine", encoding="utf-8")

    refused = _fake("score", "-i", pairs, "-o", target)
    kept = target.read_text(encoding="utf-8")
    replaced = _fake("score", "-i", pairs, "-o", target, "--overwrite")

    assert (refused.exit_code, kept) == (73, "mine")
    assert "--overwrite" in refused.stderr
    assert replaced.exit_code == 0
    assert len(_rows(target)) == 2


def test_a_model_that_fails_leaves_the_old_output_alone(pairs: Path, tmp_path: Path) -> None:
    """The output is opened only when there is something to write."""
    target = tmp_path / "out.csv"
    target.write_text("mine", encoding="utf-8")

    result = _run("score", "-i", pairs, "-o", target, "--overwrite", "--model", "no-such-model")

    assert result.exit_code == 78
    assert target.read_text(encoding="utf-8") == "mine"


def test_a_terminal_gets_a_progress_bar(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person sees how far it is; quiet and pipes draw nothing."""
    drawn: list[Stage] = []
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    monkeypatch.setattr("pairscore.cli.bars.drawing", lambda: Recorder(drawn))

    _fake("score", "-i", pairs, "-o", tmp_path / "pipe.csv")
    assert drawn == []
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True)
    _fake("score", "-i", pairs, "-o", tmp_path / "quiet.csv", "--quiet")
    assert drawn == []
    _fake("score", "-i", pairs, "-o", tmp_path / "terminal.csv")

    loading, scoring = drawn
    assert (loading.name, loading.extent) == ("loading the model", None)
    assert (scoring.extent, scoring.position) == (len(CSV), len(CSV))
    assert (scoring.num_done, scoring.unit) == (2, "pairs")


def test_a_signal_during_a_write_waits_for_its_end() -> None:
    """Inside `held` nothing is cut in two; behind it the work stops."""
    before = signal.getsignal(signal.SIGTERM)
    reached = []

    def write() -> None:
        with stopping.held():
            signal.raise_signal(signal.SIGTERM)
            reached.append("whole")

    with Stopping() as stopping, pytest.raises(Stopped) as caught:
        write()

    assert reached == ["whole"]
    assert caught.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet"])
def test_a_stopped_file_keeps_what_is_done(
    name: str, number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in the third chunk leaves two whole ones, readable, and says so."""
    source, target = tmp_path / "in.csv", tmp_path / f"out.{name}"
    source.write_text("a,b\n" + "x,y\n" * 50, encoding="utf-8")
    monkeypatch.setattr(stream, "_CHUNK_ROWS", 10)
    calls = []
    scored = CrossEncoder.score

    def stopping_score(self: CrossEncoder, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(number)
        return scored(self, *args, **kwargs)

    monkeypatch.setattr(CrossEncoder, "score", stopping_score)
    result = _fake("score", "-i", source, "-o", target)
    monkeypatch.undo()

    assert result.exit_code == code
    assert "20 rows are done and kept" in result.stderr
    back = tmp_path / "back.jsonl"
    again = _fake("score", "-i", target, "-o", back, "--score-column", "s")
    assert again.exit_code == 0, again.stderr
    assert len(back.read_text(encoding="utf-8").splitlines()) == 20


def test_chunks_are_bounded_in_characters_too(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Books do not gather in memory: each is scored and written before the next one is read."""
    monkeypatch.setattr(stream, "_CHUNK_CHARS", 5)
    sizes = []
    scored = CrossEncoder.score

    def counting(self: CrossEncoder, listed: Any, **kwargs: Any) -> Any:
        sizes.append(len(listed))
        return scored(self, listed, **kwargs)

    monkeypatch.setattr(CrossEncoder, "score", counting)

    assert _fake("score", "-i", pairs, "-o", tmp_path / "out.csv").exit_code == 0
    assert sizes == [1, 1]
