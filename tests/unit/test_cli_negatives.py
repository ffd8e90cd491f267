"""`pairscore negatives`, in process and without weights: what it reads, writes, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pairscore.cli import negatives_report
from pairscore.cli.main import app
from pairscore.training.data_files import read_training

pytest.importorskip("lancedb")

DOCUMENTS = (
    ("a", "berlin people"),
    ("b", "berlin people live"),
    ("c", "berlin river boats and trains"),
    ("d", "people eat bread with old cheese daily"),
    ("e", "mountains of snow"),
    ("f", "snow in berlin"),
)
PAIRS = "query,document,label,docid\nberlin people,berlin people,1,a\nberlin snow,snow in berlin,1,f\nberlin snow,berlin people,0,a\n"


def _negatives(*args: object) -> Result:
    return CliRunner().invoke(app, ["negatives", *map(str, args), "--backend", "fake"])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two queries with a positive each."""
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS, "utf-8")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six documents."""
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in DOCUMENTS)
    )
    return path


@pytest.fixture
def beir(tmp_path: Path, corpus: Path) -> Path:
    """The same as a folder."""
    folder = tmp_path / "beir"
    folder.mkdir()
    (folder / "corpus.jsonl").write_bytes(corpus.read_bytes())
    (folder / "queries.tsv").write_text("q1\tberlin people\nq2\tberlin snow\n", "utf-8")
    (folder / "qrels.tsv").write_text("q1\ta\t1\nq2\tf\t1\n", "utf-8")
    return folder


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_corpus_is_indexed_first_and_gone_at_the_end(
    pairs: Path, corpus: Path, tmp_path: Path
) -> None:
    """Only the output stays, which training reads as triplets with margins."""
    target = tmp_path / "out.jsonl"
    result = _negatives(pairs, "--corpus", corpus, "-o", target)

    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.csv", "corpus.jsonl", "out.jsonl"}
    data = read_training(target)
    assert (data.kind, data.labels, data.num_queries) == ("triplets", "teacher", 2)
    assert all(row["positive_id"] != row["negative_id"] for row in _rows(target))
    assert "suspected false negatives" in result.stderr
    assert f"done: {len(data)} rows" in result.stderr


def test_the_summary_for_machines_holds_no_text(pairs: Path, corpus: Path, tmp_path: Path) -> None:
    """Counts and ids: logs of it may be kept by anybody."""
    given = ("--json", "-n", 1, "--relative-margin", 0.1)
    result = _negatives(pairs, "--corpus", corpus, "-o", tmp_path / "out.csv", *given)
    facts = json.loads(result.stdout)

    assert (facts["num_queries"], facts["num_written"], facts["num_rows"]) == (2, 2, 2)
    assert (facts["num_documents"], facts["mode"], facts["num_known"]) == (6, "hybrid", 2)
    assert facts["num_suspected"] == 1
    (suspect,) = facts["suspects"]
    assert (suspect["query"], suspect["document"], suspect["rank"]) == ("line 2", "b", 1)
    assert "people" not in result.stdout + result.stderr


@pytest.mark.parametrize("form", ["triplets", "pairs", "lists"])
@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_every_form_is_read_by_training(
    pairs: Path, beir: Path, tmp_path: Path, form: str, ending: str
) -> None:
    """In every format that can hold it."""
    pytest.importorskip("pyarrow")
    target = tmp_path / f"out.{ending}"
    result = _negatives(pairs, "--corpus", beir, "-o", target, "--form", form, "-q")

    if (form, ending) == ("lists", "csv"):
        assert (result.exit_code, target.exists()) == (2, False)
        assert "write .jsonl or .parquet" in result.stderr
    else:
        assert result.exit_code == 0, result.output
        assert (read_training(target).kind, result.output) == (form, "")


def test_a_beir_folder_is_its_own_corpus(beir: Path, pairs: Path, tmp_path: Path) -> None:
    """With the same negatives as the same pairs in a file."""
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    result = _negatives(beir, "-o", first)
    _negatives(pairs, "--corpus", beir / "corpus.jsonl", "-o", second)

    assert result.exit_code == 0, result.output
    assert first.read_bytes() == second.read_bytes()


def test_without_a_corpus_the_pairs_documents_are_one(pairs: Path, tmp_path: Path) -> None:
    """What answers another query may be a negative."""
    target = tmp_path / "out.jsonl"
    result = _negatives(pairs, "-o", target, "--form", "pairs")

    assert result.exit_code == 0, result.output
    found = {(row["query"], row["document"]): row["label"] for row in _rows(target)}
    assert found[("berlin snow", "berlin people")] == 0
    assert found[("berlin snow", "snow in berlin")] == 1


def test_another_margin_costs_nothing_with_a_work_folder(
    pairs: Path, corpus: Path, tmp_path: Path
) -> None:
    """Index and scores are there already, and stay; another corpus is another index."""
    work, target = tmp_path / "kept", tmp_path / "out.jsonl"
    given = (pairs, "--corpus", corpus, "--work", work, "-o", target, "--overwrite")
    first = _negatives(*given)
    second = _negatives(*given, "--absolute-margin", "20", "--margin-scale", "score")
    corpus.write_text(corpus.read_text("utf-8").replace("mountains", "hills"), "utf-8")
    third = _negatives(*given)

    assert "the corpus is indexed first" in first.stderr
    assert "indexed" not in second.stderr
    assert "2 of 2 are there already" in second.stderr
    assert "done: 0 rows" in second.stderr
    assert "the corpus is indexed first" in third.stderr
    assert "are there already" not in third.stderr
    assert "6 documents" in third.stderr


def test_an_index_that_is_there_is_used(beir: Path, tmp_path: Path) -> None:
    """By words alone without its vectors, and without a model for them."""
    index, target = tmp_path / "index", tmp_path / "out.jsonl"
    build = ("index", "build", str(beir), "-i", str(index), "--no-vectors")
    assert CliRunner().invoke(app, build).exit_code == 0
    result = _negatives(beir, "-i", index, "-o", target, "--json")
    refused = _negatives(beir, "-i", index, "-o", tmp_path / "other.jsonl", "--mode", "dense")

    facts = json.loads(result.stdout)
    assert (facts["mode"], facts["encoder"], facts["num_written"]) == ("bm25", None, 2)
    assert refused.exit_code == 2
    assert not (tmp_path / "other.jsonl").exists()


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (("--index", "x", "--corpus", "y"), 2, "--index and --corpus"),
        (("--split", "dev"), 2, "--split names a part of a BEIR folder"),
        (("--index", "nowhere"), 66, "nowhere"),
        (("--corpus", "nowhere.csv"), 66, "nowhere.csv"),
        (("--corpus", "-"), 2, "standard input"),
        (("--rank-to", "2"), 2, "there are 2 ranks"),
        (("--relative-margin", "1.5"), 2, "relative_margin is 1.5"),
        (("--label-column", "gold"), 65, "no column 'gold'"),
        (("--positive-from", "3"), 65, "there is no positive pair"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    pairs: Path, tmp_path: Path, args: tuple[str, ...], code: int, part: str
) -> None:
    """With what is wrong and what to do; nothing half is left."""
    target = tmp_path / "out.jsonl"
    result = _negatives(pairs, "-o", target, *args)

    assert result.exit_code == code, result.output
    assert part in " ".join(result.stderr.split())
    assert not list(tmp_path.glob("out.jsonl*.part"))
    assert not target.exists()


def test_outputs_are_refused_before_any_work(pairs: Path, beir: Path, tmp_path: Path) -> None:
    """One that exists, the input, standard output, an unknown ending; a folder has no columns."""
    refused = {
        "exists already": _negatives(beir, "-o", pairs),
        "same file": _negatives(pairs, "-o", pairs),
        "name a file": _negatives(pairs, "-o", "-"),
        "is not known": _negatives(pairs, "-o", tmp_path / "out.txt"),
        "no columns to name": _negatives(beir, "-o", tmp_path / "o.csv", "--label-column", "x"),
    }

    for part, result in refused.items():
        assert result.exit_code in (2, 73), result.output
        assert part in " ".join(result.stderr.split())
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.csv", "corpus.jsonl", "beir"}


def test_a_pipe_is_told_the_rate_and_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Now and then, and of what this run did; what was kept is told first."""
    now = [100.0]
    monkeypatch.setattr("pairscore.cli.negatives_report.time.monotonic", lambda: now[0])
    lines = negatives_report.Lines()
    for seconds, done in ((0, 1000), (10, 1100), (40, 1400), (50, 1500), (900, 10_000)):
        now[0] = 100.0 + seconds
        lines("score", done, 10_000)

    assert capsys.readouterr().err.splitlines() == [
        "queries searched and scored: 1,000 of 10,000 are there already",
        "queries searched and scored: 1,400 of 10,000 (10.0 a second, 14 min left)",
        "queries searched and scored: 10,000 (10.0 a second)",
    ]
