"""`pairscore calibrate` in process, without weights: what it reads, refuses, writes and prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.calibrations import a_file, labelled_csv, labelled_rows
from typer.testing import CliRunner, Result

from pairscore.cli.main import app
from pairscore.models.calibration import read_calibration
from pairscore.models.resolve import file_sha256, resolve


def _run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def _calibrate(pairs: Path, *args: object) -> Result:
    return _run("calibrate", "--pairs", pairs, "--backend", "fake", *args)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Ninety labelled pairs."""
    return labelled_csv(tmp_path / "pairs.csv")


def test_it_fits_writes_and_tells(tmp_path: Path, pairs: Path) -> None:
    """The file records what it was fitted on; the table says what it does."""
    result = _calibrate(pairs, "--output", tmp_path / "c.json")

    assert result.exit_code == 0, result.output
    for part in ("ECE", "Brier score", "log loss", "AUC", "platt: sigmoid("):
        assert part in result.stdout
    assert "--calibration" in result.stderr
    found = read_calibration(tmp_path / "c.json")
    assert found.origin.data_sha256 == file_sha256(pairs)
    assert found.origin.weights_sha256 == resolve().sha256
    assert (found.origin.num_pairs, found.origin.num_queries) == (90, 30)
    assert found.origin.num_positives == sum(label for _, _, label in labelled_rows())
    assert found.measured.after.log_loss < found.measured.before.log_loss


def test_what_it_wrote_is_used(tmp_path: Path, pairs: Path) -> None:
    """`score` and `rank` take the file, and say so; the score stays."""
    path = tmp_path / "c.json"
    _calibrate(pairs, "--output", path, "--quiet")
    curve = read_calibration(path).curve
    (tmp_path / "d.txt").write_text("berlin\nparis\n", encoding="utf-8")
    pair = ("score", "berlin", "berlin", "--backend", "fake", "--calibration", path)
    rank = ("rank", "berlin", tmp_path / "d.txt", "--backend", "fake", "--calibration", path)

    scored = json.loads(_run(*pair, "--json").stdout)
    ranked = json.loads(_run(*rank, "--json").stdout)
    assert scored["score"] == 8.0
    assert scored["probability"] == pytest.approx(float(curve([8.0])[0]), rel=1e-6)
    assert scored["calibration"] == ranked["calibration"] == "platt"
    assert ranked["results"][0]["probability"] == scored["probability"]
    assert "calibrated: platt" in _run(*pair).stdout
    assert "calibrated: platt" in _run(*rank).stderr


def test_a_file_of_scores_says_so_too(tmp_path: Path) -> None:
    """In its summary, for people and for machines."""
    source = tmp_path / "in.csv"
    source.write_text("query,document\nberlin,berlin\n", encoding="utf-8")
    calibration = ("--calibration", a_file(tmp_path))
    target = ("--output", tmp_path / "out.csv", "--json")
    result = _run("score", "--input", source, *target, *calibration, "--backend", "fake")

    assert json.loads(result.stdout)["calibration"] == "platt"
    assert "calibrated: platt" in result.stderr


def test_json_holds_everything(tmp_path: Path, pairs: Path) -> None:
    """For machines: the file's content, the diagram's points, the warnings."""
    result = _calibrate(
        pairs, "--output", tmp_path / "c.json", "--method", "isotonic", "--json", "--quiet"
    )
    content: dict[str, Any] = json.loads(result.stdout)
    written = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))

    assert {name: content[name] for name in written} == written
    assert content["method"] == "isotonic"
    assert "few for isotonic" in content["warnings"][0]
    assert sum(part["num_pairs"] for part in content["reliability"]["after"]) == 90


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_it_draws(tmp_path: Path, pairs: Path, ending: str) -> None:
    """A reliability diagram, of the kind that the ending says."""
    plot = tmp_path / f"plot.{ending}"
    result = _calibrate(pairs, "--output", tmp_path / "c.json", "--plot", plot)

    assert result.exit_code == 0, result.output
    begin = plot.read_bytes()[:300]
    assert begin.startswith(b"\x89PNG") or b"<svg" in begin or b"<?xml" in begin


def test_grades_need_a_threshold(tmp_path: Path) -> None:
    """With one, they are labels; without, the first that is neither 0 nor 1 is named."""
    path = tmp_path / "graded.jsonl"
    rows = [
        {"query": query, "document": document, "relevance": 3 * label}
        for query, document, label in labelled_rows()
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    refused = _calibrate(path, "--output", tmp_path / "c.json")
    taken = _calibrate(path, "--output", tmp_path / "c.json", "--positive-from", 2)
    assert refused.exit_code == 65
    assert "--positive-from" in refused.stderr
    assert taken.exit_code == 0, taken.output
    assert read_calibration(tmp_path / "c.json").origin.positive_from == 2.0


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("query,document,label\na,b,1\na,b,maybe\n", "line 3: 'label' is 'maybe'"),
        ("query,document,label\na,b,1\na,b,\n", "line 3: 'label' is ''"),
        ("query,document,label\na,b,nan\n", "line 2"),
        ("query,document,label\na,b,2\n", "--positive-from"),
        ("query,document,label\na,b\n", "line 2"),
        ("query,document\na,b\n", "--label-column"),
        ("q,d,label\na,b,1\n", "--query-column"),
        ("query,document,label\n", "no labelled pair"),
        ("query,document,label\na,b,1\nc,d,0\n", "1 of 2"),
    ],
)
def test_broken_labels_are_named_by_their_line(tmp_path: Path, content: str, part: str) -> None:
    """Nothing is skipped in silence, and nothing is written."""
    path = tmp_path / "pairs.csv"
    path.write_text(content, encoding="utf-8")
    result = _calibrate(path, "--output", tmp_path / "c.json")

    assert result.exit_code == 65, result.output
    assert part in result.stderr
    assert not (tmp_path / "c.json").exists()


def test_a_text_in_the_wrong_column_is_not_shown(tmp_path: Path) -> None:
    """Users' texts stay out of messages."""
    path = tmp_path / "pairs.csv"
    path.write_text("query,document,label\na,b,a secret of somebody\n", encoding="utf-8")
    result = _calibrate(path, "--output", tmp_path / "c.json")

    assert "line 2" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        ([], 2, "--output"),
        (["--output", "missing/c.json"], 73, "mkdir"),
        (["--output", "c.json", "--plot", "plot.docx"], 2, ".png"),
        (["--output", "c.json", "--label-column", "grade"], 65, "--label-column"),
        (["--output", "c.json", "--label", "x"], 2, "label is 'x'"),
    ],
)
def test_mistakes_have_their_code_and_remedy(
    monkeypatch: pytest.MonkeyPatch, pairs: Path, args: list[str], code: int, part: str
) -> None:
    """Before minutes of scoring where that is possible."""
    monkeypatch.chdir(pairs.parent)
    result = _calibrate(pairs, *args)

    assert result.exit_code == code, result.output
    assert part in result.stderr


def test_standard_input_is_refused() -> None:
    """Its sha256 could not be recorded."""
    result = _calibrate(Path("-"), "--format", "csv", "--output", "c.json")

    assert result.exit_code == 2
    assert "sha256" in result.stderr


def test_a_calibration_is_replaced_only_on_request(tmp_path: Path, pairs: Path) -> None:
    """A fit that took minutes is not lost by a second one."""
    path = a_file(tmp_path)
    before = path.read_bytes()

    refused = _calibrate(pairs, "--output", path)
    assert refused.exit_code == 73
    assert path.read_bytes() == before
    assert _calibrate(pairs, "--output", path, "--overwrite").exit_code == 0
    assert path.read_bytes() != before


def test_beside_a_model_of_ones_own(tmp_path: Path, pairs: Path) -> None:
    """It goes into the folder, is found there, and replaces one that was fitted for other weights."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in resolve().folder.iterdir():
        (folder / path.name).symlink_to(path)
    a_file(folder, weights_sha256="1" * 64)

    result = _calibrate(pairs, "--model", folder, "--overwrite")
    assert result.exit_code == 0, result.output
    assert "by itself" in result.stderr
    scored = _run("score", "a", "b", "--json", "--backend", "fake", "--model", folder)
    assert json.loads(scored.stdout)["calibration"] == "platt"


def test_without_scikit_learn_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pairs: Path
) -> None:
    """Applying a calibration needs numpy alone; fitting one needs more."""
    monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)
    monkeypatch.delitem(sys.modules, "pairscore.evaluation.calibration", raising=False)
    monkeypatch.delattr("pairscore.evaluation.calibration", raising=False)
    result = _calibrate(pairs, "--output", tmp_path / "c.json")

    assert result.exit_code == 78
    assert "pairscore[evaluate]" in result.stderr
