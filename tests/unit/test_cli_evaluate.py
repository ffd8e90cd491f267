"""`pairscore evaluate` in process, without weights: what it reads, measures, keeps, writes, refuses and prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.judged import beir_folder, flat_folder, write_files
from typer.testing import CliRunner, Result

from pairscore.cli.main import app
from pairscore.evaluation.datasets import read_beir
from pairscore.evaluation.rankings import measure_run
from pairscore.evaluation.trec_files import read_run


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No test reads or writes the user's kept scores."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "pairscore"


def _evaluate(*args: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, args), "--backend", "fake"])


def _json(*args: object) -> dict:
    result = _evaluate(*args, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_each_run_is_measured_before_and_after(tmp_path: Path) -> None:
    """The table has both; below it stands how sure the first measure is; notes say what was done."""
    folder = flat_folder(tmp_path)
    result = _evaluate(folder, "--measure", "nDCG@10", "--measure", "MRR@10")

    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["ranking", "nDCG@10", "RR@10"] in lines
    assert [line[0] for line in lines if line and line[0] in ("bm25", "reranked")] == [
        "bm25",
        "reranked",
    ]
    assert "bm25: nDCG@10 [" in result.stdout
    assert "p = " in result.stdout
    for part in ("2 queries of", "6 pairs scored", "1 judged documents are not in the corpus"):
        assert part in result.stderr


def test_the_json_is_what_the_library_measures(tmp_path: Path) -> None:
    """The run as it was given, and as it was written after reranking."""
    folder = flat_folder(tmp_path / "data")
    found = _json(folder, "--save-run", tmp_path / "out.txt")
    judged = read_beir(folder)
    (run,) = found["runs"]
    before = measure_run(judged.runs["bm25"], judged.qrels)
    after = measure_run(read_run(tmp_path / "out.txt", name="after"), judged.qrels)

    assert run["before"] == {name: measured.mean for name, measured in before.items()}
    assert run["after"] == {name: measured.mean for name, measured in after.items()}
    assert run["after"]["nDCG@10"] > run["before"]["nDCG@10"]
    assert run["interval"]["measure"] == "nDCG@10"
    assert run["interval"]["difference"]["value"] == pytest.approx(
        run["after"]["nDCG@10"] - run["before"]["nDCG@10"]
    )
    assert (found["num_queries"], found["num_candidates"], found["num_scored"]) == (2, 100, 6)
    assert found["saved"] == {"bm25": str(tmp_path / "out.txt")}


def test_what_is_not_reranked_stays_behind_in_its_order(tmp_path: Path) -> None:
    """Documents below the depth, and those whose texts are missing."""
    folder = flat_folder(tmp_path / "data")
    run = "q1 Q0 gone 1 9 x\nq1 Q0 d5 2 8 x\nq1 Q0 d1 3 7 x\nq1 Q0 d3 4 6 x\nq1 Q0 d2 5 5 x\n"
    write_files(folder, {"run.bm25.tsv": run})
    found = _json(folder, "--top-k", 3, "--limit", 1, "--save-run", tmp_path / "out.txt")
    ranking = read_run(tmp_path / "out.txt", name="out").rankings["q1"]

    assert ranking.document_ids == ("d1", "d5", "gone", "d3", "d2")
    assert found["runs"][0]["num_reranked"] == 2
    assert any("'gone'" in note for note in found["notes"])


def test_a_second_run_is_answered_from_what_was_kept(tmp_path: Path, own_cache: Path) -> None:
    """Unless it is told not to; and it can be told to forget."""
    folder = flat_folder(tmp_path)
    first = _json(folder)
    second = _json(folder)

    assert (first["num_cached"], second["num_cached"], second["num_scored"]) == (0, 6, 6)
    assert first["runs"] == second["runs"]
    assert _json(folder, "--no-cache")["num_cached"] == 0
    cleared = CliRunner().invoke(app, ["evaluate", "--clear-cache"])
    assert cleared.stdout.startswith("6 kept scores and vectors forgotten")
    assert str(own_cache) in cleared.stdout
    assert _json(folder)["num_cached"] == 0


def test_clearing_what_is_not_there_makes_nothing(own_cache: Path) -> None:
    """Nothing was kept yet."""
    result = CliRunner().invoke(app, ["evaluate", "--clear-cache"])

    assert (result.exit_code, result.stdout[:2]) == (0, "0 ")
    assert not own_cache.exists()


def test_a_cache_that_cannot_be_used_is_a_warning(tmp_path: Path, own_cache: Path) -> None:
    """The evaluation goes on."""
    own_cache.write_text("a file where a folder should be")
    result = _evaluate(flat_folder(tmp_path))

    assert result.exit_code == 0, result.output
    assert "warning: scores are not kept" in result.stderr


def test_several_runs_are_told_and_written_apart(tmp_path: Path) -> None:
    """Their names come from their files; the fused one is one more."""
    folder = flat_folder(tmp_path / "data")
    run = (folder / "run.bm25.tsv").read_text()
    write_files(folder, {"run.other.tsv": run.replace("d5", "d4x").replace("d4\t", "d5\t")})
    found = _json(folder, "--fuse", "--save-run", tmp_path / "out.txt")

    assert [entry["name"] for entry in found["runs"]] == ["bm25", "other", "hybrid"]
    assert sorted(path.name for path in tmp_path.glob("out*")) == [
        "out.bm25.txt",
        "out.hybrid.txt",
        "out.other.txt",
    ]


def test_a_bi_encoder_searches_the_corpus(tmp_path: Path) -> None:
    """Where there is no run, its own is measured, and reranked."""
    found = _json(beir_folder(tmp_path), "--bi-encoder", "all-minilm-l6")
    (run,) = found["runs"]

    assert run["name"] == "all-minilm-l6"
    assert (run["num_queries"], run["num_documents"], run["num_reranked"]) == (2, 10, 10)
    assert run["before"]["R@10"] > 0


def test_files_can_be_named_one_by_one(tmp_path: Path) -> None:
    """Without a folder, or instead of what it has."""
    folder = flat_folder(tmp_path / "data")
    other = write_files(tmp_path, {"my.run": "q1 d1\nq2 d3\n"}) / "my.run"
    named = ("--qrels", folder / "qrels.tsv", "--queries", folder / "queries.tsv")
    found = _json(*named, "--corpus", folder / "corpus.jsonl", "--run", other)

    assert [entry["name"] for entry in found["runs"]] == ["my"]
    assert found["runs"][0]["before"]["RR@10"] == 1.0
    assert _json(folder, "--run", other, "--no-rerank")["runs"][0]["after"] is None


def test_a_grade_can_be_too_low_to_be_relevant(tmp_path: Path) -> None:
    """For measures that know relevant and not; the measure may say it itself."""
    folder = flat_folder(tmp_path)
    run = _json(folder, "--min-grade", 2, "--measure", "AP", "--measure", "AP(rel=1)")["runs"][0]

    assert list(run["before"]) == ["AP(rel=2)", "AP"]
    assert run["before"]["AP(rel=2)"] == pytest.approx((1 / 3 + 0) / 2)


# ---------------------------------------------------------------------------------------------- pairs


def _csv(folder: Path, *rows: str) -> Path:
    return (
        write_files(folder, {"pairs.csv": "\n".join(("text_a,text_b,label", *rows, ""))})
        / "pairs.csv"
    )


BINARY = ("a red cat,a red cat,1", "one two,three,0", "red wine,red grapes,1", "a b,c d,0")


def test_binary_pairs_are_measured(tmp_path: Path) -> None:
    """Average precision, AUC, and the best F1 and accuracy with their thresholds."""
    found = _json(_csv(tmp_path, *BINARY))
    (model,) = found["models"]

    assert (found["kind"], found["num_pairs"], found["num_positive"]) == ("binary", 4, 2)
    assert model["measures"] == {"average_precision": 1, "auc": 1, "f1": 1, "accuracy": 1}
    assert model["f1_threshold"] is not None
    result = _evaluate(_csv(tmp_path, *BINARY))
    assert "average_precision" in result.stdout
    assert "F1 is best from a score of" in result.stdout
    assert "4 pairs of pairs.csv, 2 positive" in result.stderr


def test_graded_pairs_are_measured(tmp_path: Path) -> None:
    """Correlations; a bi-encoder beside the cross-encoder, by the cosine."""
    rows = ("a red cat,a red cat,5", "a red cat,a red dog,3.5", "a red cat,the sea,0", "x,y,0.5")
    found = _json(_csv(tmp_path, *rows), "--bi-encoder", "all-minilm-l6")

    assert found["kind"] == "graded"
    assert [model["name"] for model in found["models"]] == ["all-minilm-l6", "ms-marco-minilm-l12"]
    for model in found["models"]:
        assert list(model["measures"]) == ["spearman", "pearson"]
        assert model["measures"]["spearman"] > 0.5


def test_grades_can_be_made_binary_and_pairs_left_out(tmp_path: Path) -> None:
    """`--positive-from` and `--limit`."""
    rows = ("a,a,5", "b,c,1", "d,d,4", "e,f,0")
    found = _json(_csv(tmp_path, *rows), "--positive-from", 4, "--limit", 3)

    assert (found["kind"], found["num_pairs"], found["num_positive"]) == ("binary", 3, 2)


def test_stsbs_tsv_is_read(tmp_path: Path) -> None:
    """Its column is called score, and its quotes are part of the sentences."""
    rows = (
        "score\tsentence1\tsentence2\tgenre",
        '5.000\t"A cat," he said\tA cat, he said\tnews',
        '1.2\tThe "sea"\t"It is "late\tnews',
        "0.000\tone\ttwo\tnews",
    )
    path = write_files(tmp_path, {"test.tsv": "\r\n".join(rows)}) / "test.tsv"

    assert _json(path)["num_pairs"] == 3


# ----------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 2, "nothing to measure on"),
        (("DATA", "--limit", 0), 2, "--limit is 0"),
        (("DATA", "--num-candidates", 0), 2, "--num-candidates is 0"),
        (("DATA", "--measure", "good"), 2, "'good' is no measure"),
        (("DATA", "--min-grade", 0), 2, "at least 1"),
        (("DATA", "--label-column", "x"), 2, "--label-column belongs to a file"),
        (("DATA", "--save-run", "x", "--no-rerank"), 2, "--save-run"),
        (("DATA", "--fuse"), 2, "1 runs cannot be fused"),
        (("DATA", "--split", "dev"), 66, "of the part 'dev'"),
        (("BEIR",), 2, "no first ranking"),
        (("nowhere",), 66, "no file or folder 'nowhere'"),
        (("PAIRS", "--run", "x"), 2, "--run belongs to a judged collection"),
        (("PAIRS", "--measure", "AP"), 2, "--measure"),
        (("PAIRS", "--min-grade", 2), 2, "--min-grade"),
        (("PAIRS", "--no-rerank"), 2, "give --bi-encoder"),
        (("PAIRS", "--label-column", "grade"), 65, "'grade'"),
        (("DATA/notes",), 2, "--format"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, args: tuple[object, ...], code: int, said: str
) -> None:
    """With what to do instead, before a model is loaded."""
    places = {
        "DATA": flat_folder(tmp_path / "data", notes="x"),
        "BEIR": beir_folder(tmp_path / "beir"),
        "PAIRS": _csv(tmp_path, *BINARY),
        "DATA/notes": tmp_path / "data" / "notes",
    }
    result = _evaluate(*(places.get(str(arg), arg) for arg in args))

    assert (result.exit_code, said in result.stderr) == (code, True), result.output


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    """Of a collection and of a file of pairs, with its number."""
    folder = flat_folder(tmp_path / "data", **{"qrels.tsv": "q1 0 d1 1\nq1 0 d2 x\n"})
    for data, said in (
        (folder, "qrels.tsv, line 2"),
        (_csv(tmp_path, "a,b,x"), "pairs.csv, line 2"),
    ):
        result = _evaluate(data)
        assert result.exit_code == 65
        assert said in result.stderr


def test_a_run_that_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    """It is refused before anything is scored."""
    folder = flat_folder(tmp_path / "data")
    target = tmp_path / "out.txt"
    target.write_text("mine")
    result = _evaluate(folder, "--save-run", target)

    assert result.exit_code == 73
    assert target.read_text() == "mine"
    assert _evaluate(folder, "--save-run", target, "--overwrite").exit_code == 0
    assert target.read_text() != "mine"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before any work."""
    from pairscore.evaluation import rankings

    monkeypatch.setattr(rankings, "find_spec", lambda name: None if name == "pytrec_eval" else sys)
    result = _evaluate(flat_folder(tmp_path))

    assert result.exit_code == 78
    assert "pairscore[evaluate]" in result.stderr


def test_a_blend_is_told(tmp_path: Path) -> None:
    """In the notes and to machines; pairs have none, and a weight is between 0 and 1."""
    folder = flat_folder(tmp_path)

    assert _json(folder, "--blend", 0.4)["blend"] == 0.4
    assert (
        "blended with a weight of 0.4 for the ranking" in _evaluate(folder, "--blend", 0.4).stderr
    )
    assert "--blend is 2.0" in _evaluate(folder, "--blend", 2).stderr


def test_where_reranking_does_harm_a_remedy_is_named(tmp_path: Path) -> None:
    """A first ranking that the cross-encoder makes worse gets a note, unless it is blended already."""
    judged = "".join(f"{query} 0 d5 1\n" for query in ("q1", "q2"))
    run = "".join(
        f"{query}\td5\t1\t9\n{query}\td1\t2\t8\n{query}\td3\t3\t7\n" for query in ("q1", "q2")
    )
    folder = flat_folder(tmp_path, **{"qrels.tsv": judged, "run.bm25.tsv": run})

    assert "note: reranking lowers nDCG@10 of bm25" in _evaluate(folder).stderr
    assert "reranking lowers" not in _evaluate(folder, "--blend", 0.4).stderr
    assert "reranking lowers" not in _evaluate(folder, "--no-rerank").stderr
