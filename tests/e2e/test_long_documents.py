"""The bundled model on documents of 10,000 words: windows find the passage that a cut never sees."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pairscore import CrossEncoder
from pairscore.cli.main import app

QUERY = "what material will the remote control be made of"
PASSAGE = (
    "Project Manager: The remote control will be made of titanium, because plastic broke in every "
    "drop test."
)
NEAR_MISS = "The designer mentioned the remote, and talked about control of the process."
_TURNS = (
    "Marketing: I think we should look at the figures of the last quarter once more.",
    "User Interface: The survey says that people do not like to read long manuals.",
    "Industrial Designer: Um, I will send you the drawings after lunch, if the printer works.",
    "Project Manager: Let us go on to the next point of the agenda, please.",
    "Marketing: We could ask the customers again, but that takes two more weeks.",
    "User Interface: Okay, and who writes the minutes of this meeting?",
)


def meeting(num_words: int) -> str:
    """Minutes of a meeting, made up, with the passage two thirds down."""
    rng = random.Random(7)
    turns: list[str] = []
    while sum(len(turn.split()) for turn in turns) < num_words:
        turns.append(rng.choice(_TURNS))
    turns.insert(len(turns) * 2 // 3, PASSAGE)
    return "\n".join(turns)


@pytest.fixture(scope="module")
def minutes() -> str:
    """A document of 10,000 words."""
    return meeting(10_000)


@pytest.mark.slow
def test_windows_find_what_a_cut_misses(encoder: CrossEncoder, minutes: str) -> None:
    """Cut, the long document loses to a near miss; in windows it wins, and its span holds the passage."""
    documents = [NEAR_MISS, minutes]
    cut = encoder.rank(QUERY, documents)
    read = encoder.rank(QUERY, documents, long_documents="chunk", return_documents=True)

    assert cut[0]["corpus_id"] == 0
    assert read[0]["corpus_id"] == 1
    assert read[0]["score"] > cut[1]["score"] + 5
    start, end = read[0]["span"]
    assert PASSAGE in read[0]["text"][start:end]
    assert end - start < len(minutes) / 10


def test_the_command_line_ranks_in_windows(tmp_path: Path) -> None:
    """JSON has the span and the number of windows; a limit is told beside it."""
    long = meeting(1200).replace("\n", " ")
    file = tmp_path / "documents.txt"
    file.write_text(f"{NEAR_MISS}\n{long}\n", encoding="utf-8")
    arguments = ["rank", QUERY, str(file), "--long-documents", "chunk"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    best = json.loads(result.stdout)["results"][0]

    assert result.exit_code == 0
    assert best["corpus_id"] == 1
    assert PASSAGE in long[slice(*best["span"])]
    assert best["num_windows"] > 1


def test_the_command_line_scores_files_in_windows(tmp_path: Path) -> None:
    """The output has columns for the best window; a limit that was reached is told."""
    source, target = tmp_path / "pairs.jsonl", tmp_path / "scores.csv"
    row = {"query": "titanium case", "document": meeting(3000)}
    source.write_text(json.dumps(row) + "\n", encoding="utf-8")
    arguments = ["score", "-i", str(source), "-o", str(target), "--backend", "fake"]
    result = CliRunner().invoke(app, [*arguments, "--max-windows", "3", "--aggregate", "max"])
    header, *_ = target.read_text(encoding="utf-8").splitlines()

    assert result.exit_code == 0, result.output
    assert header.endswith("score,probability,truncated,start,end,num_windows")
    assert "1 documents have more windows than --max-windows" in result.output


def test_options_that_contradict_each_other_are_refused() -> None:
    """A usage error, with the remedy."""
    arguments = ["score", "a", "b", "--long-documents", "truncate", "--overlap", "5"]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code != 0
    assert "SettingError" in repr(result.exception) or "leave them out" in result.output
