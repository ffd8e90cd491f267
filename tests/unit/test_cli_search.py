"""`pairscore search`, over documents in memory and without weights: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.retrievers import HashEncoder, MemoryRetriever
from typer.testing import CliRunner, Result

from pairscore.cli.main import app
from pairscore.errors import IndexMismatchError, IndexNotFoundError
from pairscore.retrieval import opening
from pairscore.retrieval.base import Document
from pairscore.retrieval.opening import OpenedIndex


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An index in memory instead of one on disk; what it was asked to open, and what with."""
    seen: dict[str, Any] = {"retriever": MemoryRetriever()}

    def open_index(uri: str, **options: Any) -> OpenedIndex:
        seen.update(uri=uri, **options)
        if "error" in seen:
            raise seen["error"]
        encoder: Any = None if options["words_only"] else HashEncoder()
        return OpenedIndex(retriever=seen["retriever"], encoder=encoder)

    monkeypatch.setattr(opening, "open_index", open_index)
    return seen


def search(*args: object) -> Result:
    """With the fake cross-encoder."""
    return CliRunner().invoke(
        app, ["search", *map(str, args), "--index", "my-index", "--backend", "fake"]
    )


def found(*args: object) -> dict[str, Any]:
    """What is told to machines."""
    done = search(*args, "--json")
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_table_for_people(asked: dict[str, Any]) -> None:
    """Rank, rank before, score with its scale, id, title and the text's beginning; notes on standard error."""
    done = search("red wine", "--top-k", 2)

    assert done.exit_code == 0
    head, _, first, *_ = [line for line in done.stdout.splitlines() if line.strip()]
    assert head.split() == ["rank", "before", "score", "scale", "id", "title", "text"]
    assert first.split()[0] == "1"
    assert " ".join(first.split()[3:]) == "logit wine Red wine grapes from the south"
    assert "2 of 5 candidates shown; mode hybrid; 5 reranked by ms-marco-minilm-l12" in done.stderr
    assert "scores mean nothing" in done.stderr
    assert asked["retriever"].num_closed == 1


def test_an_answer_for_machines(asked: dict[str, Any]) -> None:
    """All that the library knows."""
    answer = found("red fox", "--top-k", 1)

    (hit,) = answer["results"]
    assert (answer["query"], answer["mode"], answer["model"]) == (
        *("red fox", "hybrid", "ms-marco-minilm-l12"),
    )
    assert (answer["num_candidates"], answer["num_reranked"], answer["partial"]) == (5, 5, False)
    assert set(answer["timings_ms"]) == {"encode", "dense", "words", "fuse", "rerank", "total"}
    assert (hit["id"], hit["scale"], hit["reranked"]) == ("fox", "logit", True)
    assert hit["metadata"] == {"year": 2020, "lang": "en"}
    assert hit["sources"]["bm25"]["rank"] >= 1


def test_the_options_reach_the_search(asked: dict[str, Any]) -> None:
    """Conditions, the mode, how many, and no cross-encoder."""
    where = ("--where", "year>=2021", "--where", "lang in en,de")
    answer = found("fox", *where, "--mode", "dense", "--no-rerank", "--num-candidates", 2, "-k", 2)

    assert len(answer["results"]) == 2
    assert {hit["id"] for hit in answer["results"]} <= {"hen", "sky", "den"}
    assert {hit["scale"] for hit in answer["results"]} == {"cosine"}
    assert (answer["model"], answer["num_reranked"]) == (None, 0)
    assert asked["retriever"].calls == [("dense", 2)]
    assert (asked["uri"], asked["backend"], asked["words_only"]) == ("my-index", "fake", False)
    assert found("fox", "--mode", "bm25", "--encoder", "mine")["mode"] == "bm25"
    assert (asked["encoder"], asked["words_only"]) == ("mine", True)
    assert found("red fox", "--min-score", 99)["results"] == []


def test_how_long_each_stage_took(asked: dict[str, Any]) -> None:
    """On one line, if asked for."""
    done = search("fox", "--timings", "--quiet")

    assert "ms: encode " in done.stdout
    assert "total " in done.stdout
    assert done.stderr == ""


def test_time_that_ran_out_is_told(asked: dict[str, Any]) -> None:
    """The note says what stands where, and what to do."""
    done = search("fox", "--deadline-ms", "0.001")

    assert done.exit_code == 0
    assert "0 reranked" in done.stderr
    assert "raise --deadline-ms" in done.stderr
    assert " rrf " in done.stdout


def test_markup_and_long_texts_are_shown_as_they_are(asked: dict[str, Any]) -> None:
    """Square brackets are no colours, a line break no row, and a long text is shortened."""
    text = "[red]fox[/red]\n" + "very " * 500
    asked["retriever"] = MemoryRetriever([Document(id="x" * 60, text=text, title="t" * 90)])
    done = search("fox", "--no-rerank")

    rows = [line for line in done.stdout.splitlines() if "[red]fox[/red]" in line]
    assert len(rows) == 1
    assert len(rows[0]) <= 160
    assert "…" in rows[0]


def test_many_queries_and_a_run(asked: dict[str, Any], tmp_path: Path) -> None:
    """JSON lines, a table for each, or a TREC run that keeps the order."""
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"_id": "q1", "text": "red fox"}\n{"_id": "q2", "text": "blue sky"}\n')
    run = tmp_path / "run.trec"
    many = ("--queries", queries)

    as_json = search(*many, "--json", "-k", 1).stdout.splitlines()
    tables = search(*many, "-k", 1).stdout
    written = search(*many, "-k", 3, "--run", run)

    answers = [json.loads(line) for line in as_json]
    assert [(one["query_id"], one["results"][0]["id"]) for one in answers] == [
        ("q1", "fox"),
        ("q2", "sky"),
    ]
    assert "q1: red fox" in tables
    assert (written.exit_code, written.stdout) == (0, "")
    rows = [line.split() for line in run.read_text().splitlines()]
    assert [row[0] for row in rows] == ["q1"] * 3 + ["q2"] * 3
    assert (rows[0][1:4], rows[0][5]) == (["Q0", "fox", "1"], "pairscore")
    assert float(rows[0][4]) > float(rows[1][4])
    again = search(*many, "--run", run)
    assert (again.exit_code, "--overwrite" in again.stderr) == (73, True)
    assert search(*many, "--run", run, "--overwrite").exit_code == 0


def test_a_run_of_two_scales_is_ordered_by_rank(asked: dict[str, Any], tmp_path: Path) -> None:
    """Scores of both together would be no order, and a run is ordered by its scores."""
    queries = tmp_path / "queries.tsv"
    queries.write_text("q1\tred fox\n")
    run = tmp_path / "run.trec"

    assert search("--queries", queries, "--run", run, "--num-candidates", 2).exit_code == 0
    scores = [line.split()[4] for line in run.read_text().splitlines()]
    assert scores == ["5", "4", "3", "2", "1"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 2, "give QUERY or --queries"),
        (("fox", "--queries", "x.tsv"), 2, "both given"),
        (("fox", "--run", "x.trec"), 2, "without --queries"),
        (("",), 65, "the query is empty"),
        (("fox", "--where", "year~2020"), 65, "no condition"),
        (("fox", "--where", "colour=red"), 65, "'colour'"),
        (("fox", "--top-k", "0"), 2, "top_k is 0"),
        (("fox", "--deadline-ms", "0"), 2, "deadline_ms is 0"),
        (("--queries", "missing.tsv"), 66, "missing.tsv"),
    ],
)
def test_what_makes_no_sense(
    asked: dict[str, Any], args: tuple[str, ...], code: int, said: str
) -> None:
    """The exit code of its kind, and what to do."""
    done = search(*args)

    assert done.exit_code == code, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(IndexNotFoundError("no index"), 66), (IndexMismatchError("other"), 78)]
)
def test_an_index_that_cannot_be_used(asked: dict[str, Any], error: Exception, code: int) -> None:
    """Its own exit code and its own words."""
    asked["error"] = error
    done = search("fox")

    assert (done.exit_code, str(error) in done.stderr) == (code, True)


def test_the_index_must_be_named() -> None:
    """There is none that everybody has."""
    done = CliRunner().invoke(app, ["search", "fox"])

    assert done.exit_code == 2
    assert "--index" in done.stderr


def test_a_blend_is_told(asked: dict[str, Any]) -> None:
    """In the notes and to machines; its run has ranks for scores, since no score has the order."""
    assert found("red fox", "--blend", 0.5)["blend"] == 0.5
    assert (
        "blended with a weight of 0.5 for the first stage" in search("fox", "--blend", 0.5).stderr
    )
    assert "--blend is 7.0" in search("fox", "--blend", 7).stderr


def test_a_blended_run_has_ranks_for_scores(asked: dict[str, Any], tmp_path: Path) -> None:
    """Counted down to 1."""
    queries, run = tmp_path / "q.tsv", tmp_path / "run.txt"
    queries.write_text("q1\tred fox\n")
    done = search("--queries", queries, "--run", run, "--blend", 0.5, "--top-k", 3)

    assert done.exit_code == 0, done.output
    assert [float(line.split()[4]) for line in run.read_text().splitlines()] == [3.0, 2.0, 1.0]
