"""`pairscore compare` in process, without weights: what it reads, refuses before any work, writes and prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.comparisons import judged_folder, pairs_of
from typer.testing import CliRunner, Result

from pairscore.cli.main import app


def _compare(*args: object) -> Result:
    return CliRunner().invoke(app, ["compare", "--backend", "fake", *map(str, args)])


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """How sure a number is has tests of its own; here a few samples will do."""
    monkeypatch.setattr("pairscore.evaluation.significance._NUM_RESAMPLES", 500)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty-four judged queries with a run."""
    return judged_folder(tmp_path / "data")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Sixty graded pairs."""
    path, data = tmp_path / "pairs.tsv", pairs_of(graded=True)
    lines = [f"{a}\t{b}\t{grade:g}" for (a, b), grade in zip(data.pairs, data.grades, strict=True)]
    path.write_text("\n".join(["sentence1\tsentence2\tscore", *lines]) + "\n", encoding="utf-8")
    return path


def test_without_data_it_shows_the_built_in_pairs() -> None:
    """Side by side, with each system's own scale; and it does not pretend to recommend."""
    result = _compare()

    assert result.exit_code == 0, result.output
    for part in (
        "The cat sat on the mat",
        "cross-encoder (logit)",
        "bi-encoder (cosine)",
        "Is it chance?",
        "Not enough data",
    ):
        assert part in result.stdout
    assert "fake backend" in result.stderr


def test_a_folder_ends_in_a_recommendation(folder: Path) -> None:
    """How many candidates, and which threshold."""
    result = _compare(folder)

    assert result.exit_code == 0, result.output
    for part in ("nDCG@10", "run first", "How many candidates to rerank", "Recommendation"):
        assert part in result.stdout
    assert "Candidates: 10" in result.stdout
    assert "Threshold:" in result.stdout
    assert "360 pairs of 24 queries" in result.stderr
    # Of many pairs the texts stay out of the terminal.
    assert "Side by side" not in result.stdout


def test_a_file_of_graded_pairs(pairs: Path) -> None:
    """Grades stay grades; --positive-from says which are related."""
    result = _compare(pairs, "--positive-from", 3, "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["kind"], found["main_measure"]) == ("pairs", "Spearman")
    assert found["related_means"] == "grade 3 and up"
    assert found["num_pairs"] == 60
    assert found["side_by_side"]["pairs"][0]["scores"].keys() == {
        "cross-encoder",
        "bi-encoder",
        "BM25",
    }


def test_limits_and_left_out_systems(folder: Path) -> None:
    """Fewer queries, fewer candidates, fewer systems; --quiet says nothing besides the result."""
    result = _compare(
        folder, "--limit", 3, "--num-candidates", 8, "--no-bm25", "--bi-encoder", "none",
        "--quiet", "--json",
    )  # fmt: skip

    found = json.loads(result.stdout)
    assert [system["name"] for system in found["systems"]] == ["cross-encoder", "run first"]
    assert (found["num_queries"], found["num_pairs"]) == (3, 24)
    assert result.stderr == ""


def test_named_files_instead_of_a_folder(folder: Path) -> None:
    """As for `evaluate`."""
    result = _compare(
        "--qrels", folder / "qrels.tsv", "--queries", folder / "queries.tsv",
        "--corpus", folder / "corpus.jsonl", "--run", folder / "run.first.tsv", "--json", "-q",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["num_pairs"] == 360


def test_a_corpus_without_a_run(tmp_path: Path) -> None:
    """BM25 finds the candidates in the whole of it."""
    folder = judged_folder(tmp_path / "data", with_run=False)

    result = _compare(folder, "--num-candidates", 6)

    assert result.exit_code == 0, result.output
    assert "candidates of BM25" in result.stderr
    assert "360 documents of data" in result.stdout


@pytest.mark.slow
def test_report_and_plots_are_written(folder: Path, tmp_path: Path) -> None:
    """Where they were asked for."""
    page, plots = tmp_path / "report.html", tmp_path / "plots"

    result = _compare(folder, "--limit", 20, "--html", page, "--plots", plots)

    assert result.exit_code == 0, result.output
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert sorted(path.name for path in plots.iterdir()) == [
        "distributions.png",
        "quality-time.png",
        "reliability.png",
    ]
    assert str(page) in result.stderr


def test_a_report_is_replaced_only_if_it_is_said(tmp_path: Path, monkeypatch) -> None:
    """And what was written stands in the JSON."""
    page = tmp_path / "report.html"
    page.write_text("mine", encoding="utf-8")
    monkeypatch.setattr("pairscore.evaluation.compare_plots.pictures", lambda _comparison: ())

    refused = _compare("--html", page)
    kept = page.read_text(encoding="utf-8")
    allowed = _compare("--html", page, "--overwrite", "--json")

    assert (refused.exit_code, kept) == (73, "mine")
    assert json.loads(allowed.stdout)["files"] == [str(page)]
    assert "<html" in page.read_text(encoding="utf-8")


def test_prices_are_told_only_where_one_is_given(folder: Path) -> None:
    """No money is invented."""
    plain = _compare(folder, "--limit", 3)
    priced = _compare(folder, "--limit", 3, "--price-per-hour", 0.5)

    assert "price" not in plain.stdout
    assert "price / 1,000 queries" in priced.stdout


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["nowhere.tsv"], 66, "nowhere.tsv"),
        (["DATA", "--limit", "0"], 2, "--limit is 0"),
        (["DATA", "--num-candidates", "0"], 2, "num_candidates is 0"),
        (["DATA", "--positive-from", "9"], 65, "nothing to find"),
        (["DATA", "--label-column", "x"], 2, "belongs to a file of labelled pairs"),
        (["PAIRS", "--qrels", "q.tsv"], 2, "belongs to a judged collection"),
        (["PAIRS", "--positive-from", "9"], 65, "go from 0 to 5"),
        (["DATA", "--run", "a.tsv", "--run", "b.tsv"], 2, "--run is given twice"),
        (["DATA", "--plots", "PAIRS"], 73, "no folder"),
        (["DATA", "--html", "nowhere/report.html"], 73, "nowhere"),
        (["--html", "-"], 2, "standard output"),
        (["--limit", "3"], 2, "need DATA"),
        (["DATA", "--price-per-hour", "-1"], 2, "price_per_hour is -1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_told_before_any_model_is_loaded(  # noqa: PLR0917 - three are fixtures
    args, code, said, folder, pairs, monkeypatch
) -> None:
    """With the value and the remedy, and no work done."""
    monkeypatch.setattr(
        "pairscore.cli.options.open_encoder", lambda *_a, **_k: pytest.fail("a model was loaded")
    )
    places = {"DATA": str(folder), "PAIRS": str(pairs)}

    result = _compare(*[places.get(arg, arg) for arg in args])

    assert result.exit_code == code, result.output
    assert said in result.stderr


def test_a_broken_line_is_named(folder: Path) -> None:
    """File and line, as for `evaluate`."""
    path = folder / "qrels.tsv"
    path.write_text(path.read_text(encoding="utf-8") + "q0\td0\tmany\n", encoding="utf-8")

    result = _compare(folder)

    assert result.exit_code == 65
    assert "qrels.tsv, line 73" in result.stderr


@pytest.mark.parametrize(
    ("missing", "args"), [("ir_measures", ["DATA"]), ("matplotlib", ["--html", "x.html"])]
)
def test_a_missing_extra_is_named(missing, args, folder, monkeypatch) -> None:
    """With how to install it, before anything else is done."""
    monkeypatch.setitem(sys.modules, missing, None)

    result = _compare(*[str(folder) if arg == "DATA" else arg for arg in args])

    assert result.exit_code == 78
    assert "pairscore[evaluate]" in result.stderr
