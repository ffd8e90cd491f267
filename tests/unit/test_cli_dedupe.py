"""`pairscore dedupe`, in process and without weights: what it writes, says and refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pairscore.cli.dedupe_report import COLUMNS
from pairscore.cli.main import app

ROWS = (
    ("a", "berlin has many people"),
    ("b", "the cat sat on the mat"),
    ("c", "Berlin has  many people"),
    ("d", "berlin has so many people"),
    ("e", "rent in paris"),
)


def _dedupe(*args: object) -> Result:
    return CliRunner().invoke(app, ["dedupe", *map(str, args), "--backend", "fake"])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A csv file whose first, third and fourth row say the same."""
    path = tmp_path / "in.csv"
    path.write_text("".join(f"{key},{text}\n" for key, text in (("id", "text"), *ROWS)), "utf-8")
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_row_is_written_with_its_group_and_the_reason(source: Path, tmp_path: Path) -> None:
    """In the input's order, rows without a duplicate too; the work folder is gone at the end."""
    target = tmp_path / "out.csv"
    result = _dedupe(source, "-o", target, "--id-column", "id", "--threshold", "-8")

    assert result.exit_code == 0, result.output
    rows = _rows(target)
    assert [row["id"] for row in rows] == list("abcde")
    assert list(rows[0]) == ["id", "text", *COLUMNS]
    assert [row["group"] for row in rows] == ["1", "", "1", "1", ""]
    assert [row["keep"] for row in rows] == ["true", "true", "false", "false", "true"]
    assert [row["match"] for row in rows] == ["d", "", "a", "a", ""]
    assert [row["reason"] for row in rows] == ["alike", "", "same text", "alike", ""]
    assert (float(rows[0]["score"]), rows[2]["score"]) == (float(rows[3]["score"]), "")
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv"}


def test_the_file_without_duplicates(source: Path, tmp_path: Path) -> None:
    """Only what is kept, in any format; the longest if that is asked for."""
    target = tmp_path / "out.jsonl"
    result = _dedupe(
        source, "-o", target, "--only-kept", "--keep", "longest", "--threshold", "-8", "--json"
    )

    rows = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["b", "d", "e"]
    assert (rows[1]["group"], rows[1]["keep"], rows[1]["match"]) == (1, True, "line 2")
    facts = json.loads(result.stdout)
    assert (facts["num_texts"], facts["num_distinct"], facts["num_removable"]) == (5, 4, 2)
    assert facts["threshold"] == {"value": -8.0, "scale": "relative"}
    assert "groups" not in facts


def test_parquet_keeps_its_schema(source: Path, tmp_path: Path) -> None:
    """And the groups are numbers, with null where there is none."""
    parquet = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    path, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table = {"n": pa.array(range(5), pa.int16()), "text": [text for _, text in ROWS]}
    parquet.write_table(pa.table(table), path)

    assert _dedupe(path, "-o", target, "--threshold", "-8").exit_code == 0
    found = parquet.read_table(target)
    assert found.schema.field("n").type == pa.int16()
    assert found["group"].to_pylist() == [1, None, 1, 1, None]
    assert found["match"].to_pylist()[2] == "row 1"


def test_lines_of_text_are_read_and_groups_printed(tmp_path: Path) -> None:
    """Without an output people see the groups, and machines get them."""
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(["", *(text for _, text in ROWS)]), "utf-8")
    readable = _dedupe(path, "--no-rerank", "--threshold", "0.8")
    facts = json.loads(_dedupe(path, "--no-rerank", "--threshold", "0.8", "--json", "-q").stdout)

    assert "group 1: 3 texts" in readable.stdout
    assert "keep line 2: berlin has many people" in readable.stdout
    assert "1 groups, 2 texts that can go" in readable.stderr
    (group,) = facts["groups"]
    assert [member["line"] for member in group["members"]] == [2, 4, 5]
    assert (group["keep"], facts["threshold"]["scale"]) == ("line 2", "cosine")
    assert facts["decided_by"] == facts["encoder"]


def test_a_second_threshold_costs_nothing_with_a_work_folder(source: Path, tmp_path: Path) -> None:
    """What was scored is there already, and stays."""
    work = tmp_path / "kept"
    _dedupe(source, "--work", work, "--threshold", "-8")
    again = _dedupe(source, "--work", work, "--threshold", "-2")

    assert "texts encoded: 4 of 4 are there already" in again.stderr
    assert "pairs scored: 1 of 1 are there already" in again.stderr
    assert work.is_dir()


@pytest.mark.parametrize("rerank", ["--rerank", "--no-rerank"])
def test_a_labelled_sample_sets_the_threshold(source: Path, tmp_path: Path, rerank: str) -> None:
    """And what it is worth on that sample is told."""
    sample = tmp_path / "pairs.csv"
    sample.write_text(
        "text_a,text_b,label\nred house,red house now,5\nred house,blue sky,1\nold dog,old dog here,4\n"
        "old dog,young cat,0\n",
        "utf-8",
    )
    result = _dedupe(
        source,
        "--labelled",
        sample,
        "--positive-from",
        "4",
        "--min-precision",
        "0.9",
        rerank,
        "--json",
    )

    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["sample"] == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "num_pairs": 4,
        "num_positive": 2,
    }
    assert facts["num_groups"] == 1
    assert "on these very pairs precision 1.000" in result.stderr


def test_chains_are_told(tmp_path: Path) -> None:
    """And complete linkage makes none."""
    path = tmp_path / "lines.txt"
    path.write_text("a b c d\na b c d e f\nc d e f\n", "utf-8")
    args = (path, "--no-rerank", "--threshold", "0.6")

    assert "1 groups are chains" in _dedupe(*args).stderr
    assert "chains" not in _dedupe(*args, "--linkage", "complete").stderr


def test_a_broken_row_is_named_by_its_line(tmp_path: Path) -> None:
    """It ends the work, or is left out and reported."""
    path, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = ['{"text": "a b"}', '{"text": " "}', "nonsense", '{"other": 1}', '{"text": "A b"}']
    path.write_text("\n".join(lines), "utf-8")
    stopped = _dedupe(path, "-o", target)
    skipped = _dedupe(path, "-o", target, "--on-error", "skip", "--json")

    assert stopped.exit_code == 65
    assert "line 2: 'text' is empty; repair it" in stopped.stderr
    facts = json.loads(skipped.stdout)
    assert (facts["num_texts"], facts["num_skipped"], facts["num_groups"]) == (2, 3, 1)
    assert facts["skipped"][2].startswith("line 4: has no 'text'")
    assert len(target.read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (("--threshold", "1", "--labelled", "x.csv"), 2, "both set the threshold"),
        (("--min-precision", "0.9"), 2, "how to read --labelled"),
        (("--scale", "logit"), 2, "--scale says what"),
        (("--no-rerank", "--model", "x"), 2, "decide alone"),
        (("--no-rerank", "--threshold", "3"), 2, "from -1 to 1"),
        (("--threshold", "0.9", "--scale", "cosine"), 2, "must be on 'relative'"),
        (("--neighbours", "0"), 2, "at least 1"),
        (("--min-similarity", "7"), 2, "a cosine is from -1 to 1"),
        (("--only-kept",), 2, "--output FILE"),
        (("--text-column", "txt"), 65, "did you mean 'text'"),
        (("--id-column", "nr"), 65, "--id-column"),
        (("-o", "no/such/folder/out.csv"), 73, "does not exist"),
        (("-o", "-", "--json"), 2, "--json prints a summary"),
    ],
)
def test_what_makes_no_sense_is_refused(
    source: Path, args: tuple[str, ...], code: int, part: str
) -> None:
    """With what is wrong and what to do, before any work."""
    result = _dedupe(source, *args)

    assert result.exit_code == code, result.output
    assert part in " ".join(result.stderr.split())


def test_standard_input_is_refused() -> None:
    """It cannot be read twice."""
    result = _dedupe("-")

    assert result.exit_code == 2
    assert "read twice" in result.stderr


def test_a_model_of_which_nobody_knows_the_threshold_needs_one(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scores may mean anything."""
    monkeypatch.setattr("pairscore.retrieval.cuts._KNOWN", {})
    result = _dedupe(source)

    assert result.exit_code == 2
    assert "--labelled FILE" in result.stderr


def test_a_column_of_ours_is_never_replaced(tmp_path: Path) -> None:
    """Another name is asked for, and taken."""
    path, target = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("text,score\na,1\nA,2\n", "utf-8")
    refused = _dedupe(path, "-o", target)
    taken = _dedupe(path, "-o", target, "--prefix", "dup_")

    assert refused.exit_code == 65
    assert "has a column 'score' already" in refused.stderr
    assert taken.exit_code == 0
    assert _rows(target)[0]["score"] == "1"
    assert _rows(target)[1]["dup_reason"] == "same text"


def test_a_row_of_its_own_shape_is_not_cut_down(tmp_path: Path) -> None:
    """JSON lines may have other keys in each row, which csv cannot hold; nothing half is left."""
    path, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    path.write_text('{"text": "a"}\n{"text": "b", "more": 1}\n', "utf-8")
    result = _dedupe(path, "-o", target)

    assert result.exit_code == 65
    assert "'more'" in result.stderr
    assert not list(tmp_path.glob("out.csv*.part"))
    assert not target.exists()


def test_a_file_that_changes_meanwhile_is_noticed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its texts and its rows."""
    from pairscore.cli import dedupe

    real = dedupe._find

    def find(*args: Any, **options: Any) -> Any:
        found = real(*args, **options)
        source.write_text(source.read_text("utf-8").replace("mat", "rug"), "utf-8")
        return found

    monkeypatch.setattr(dedupe, "_find", find)
    result = _dedupe(source, "-o", tmp_path / "out.csv")

    assert result.exit_code == 65
    assert "changed while it was worked on (at line 3)" in result.stderr
