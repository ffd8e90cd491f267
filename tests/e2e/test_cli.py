"""The installed `pairscore` in processes of its own: the real model, real pipes, real signals."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pairscore import CrossEncoder

PAIRSCORE = str(Path(sys.executable).parent / "pairscore")
QUERY = "how many people live in berlin"
DOCUMENT = "Berlin has a population of 3,520,031 registered inhabitants."


def _env() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1"}


def _run(*args: object, content: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PAIRSCORE, *map(str, args)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env=_env(),
        input=content,
        timeout=60,
    )


def _many(path: Path, num_rows: int) -> Path:
    row = "berlin," + "some words about the town of berlin " * 3 + "\n"
    path.write_text("query,document\n" + row * num_rows, encoding="utf-8")
    return path


def test_a_pair_scores_as_in_the_library(encoder: CrossEncoder) -> None:
    """The command line adds nothing to the number and takes nothing from it."""
    result = _run("score", QUERY, DOCUMENT, "--json")

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["score"] == pytest.approx(
        float(encoder.predict((QUERY, DOCUMENT))), abs=1e-5
    )


def test_the_module_is_the_same_command() -> None:
    """`python -m pairscore` works where the script is not on the path."""
    result = subprocess.run(
        [sys.executable, "-m", "pairscore", "--version"],
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )

    assert result.stdout.startswith("pairscore ")


def test_a_csv_file_is_scored(tmp_path: Path, encoder: CrossEncoder) -> None:
    """Columns are kept, scores are the library's, and a pipe gets no progress bar."""
    source, target = tmp_path / "pairs.csv", tmp_path / "scores.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["query", "document"], [QUERY, DOCUMENT], [QUERY, "a\nb"]])

    result = _run("score", "--input", source, "--output", target)

    assert result.returncode == 0, result.stderr
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = encoder.predict([(QUERY, DOCUMENT), (QUERY, "a\nb")])
    assert [float(row["score"]) for row in rows] == pytest.approx(expected.tolist(), abs=1e-5)
    assert rows[1]["document"] == "a\nb"
    assert "\x1b" not in result.stderr


def test_ranking_reads_a_pipe() -> None:
    """The passage that answers comes first."""
    result = _run("rank", QUERY, "-", "--json", content=f"Berlin is nice.\n{DOCUMENT}\n")

    assert [hit["corpus_id"] for hit in json.loads(result.stdout)["results"]] == [1, 0]


def test_help_loads_nothing_heavy() -> None:
    """Asking for help is quick, because no model runtime is imported for it."""
    code = (
        "import sys; from pairscore.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'tokenizers', 'numpy', 'fastapi',"
        " 'pydantic', 'pyarrow', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8", timeout=60
    )

    assert result.stderr.strip() == "[]"
    assert "rank" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_keeps_complete_rows(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """The output ends with a whole row, the message gives their number, and the exit code says stopped."""
    source, target = _many(tmp_path / "in.csv", 100_000), tmp_path / "out.csv"
    process = subprocess.Popen(
        [PAIRSCORE, "score", "-i", source, "-o", target, "--backend", "fake"],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=_env(),
    )
    deadline = time.monotonic() + 30
    while not (target.exists() and target.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)

    assert process.returncode == code, said
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) < 100_000
    assert all(row["truncated"] == "false" for row in rows)
    assert f"{len(rows):,} rows are done and kept" in said
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    """As with `| head`: no traceback, no complaint, and no work for nobody."""
    source = _many(tmp_path / "in.csv", 20_000)
    process = subprocess.Popen(
        [PAIRSCORE, "score", "-i", source, "--backend", "fake", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_env(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()

    assert process.wait(timeout=30) == 141
    assert first.startswith(b"query,document,score")
    assert said == b""


def test_each_kind_of_error_has_its_exit_code(tmp_path: Path) -> None:
    """A script can tell its own broken data from a model that is not there."""
    source = tmp_path / "in.csv"
    source.write_text("x,y\n1,2\n", encoding="utf-8")
    cases = [
        (("score", "-i", source), 65, "--query-column"),
        (("score", "-i", tmp_path / "missing.csv"), 66, "missing.csv"),
        (("score", "a", "b", "--model", "no-such-model"), 78, "known names"),
        (("score", "a", "b", "--model", "someone/some-model"), 69, "pairscore models pull"),
        (("score", "a"), 2, "two texts"),
    ]

    for args, code, part in cases:
        result = _run(*args)
        assert (result.returncode, "Traceback" in result.stderr) == (code, False), result.stderr
        assert part in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="bytes as arguments")
def test_an_argument_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    """A byte from another encoding gets a sentence, not a traceback."""
    result = subprocess.run(
        [PAIRSCORE.encode(), b"score", b"caf\xe9", b"b"],
        check=False,
        capture_output=True,
        env=_env(),
        timeout=60,
    )

    assert result.returncode == 65
    assert b"UTF-8" in result.stderr
    assert b"Traceback" not in result.stderr
