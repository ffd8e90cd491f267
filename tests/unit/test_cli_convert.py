"""`pairscore convert` in process and without weights: what it asks for, prints, writes, refuses and leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pairscore.cli import exits
from pairscore.cli.interrupt import Stopped
from pairscore.cli.main import app
from pairscore.convert import conversion, measuring
from pairscore.convert.options import ConvertOptions
from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import MissingExtraError, OutputFileError, ParityError
from pairscore.models.files import ModelFiles
from pairscore.models.resolve import resolve
from pairscore.road.backends.fake import FakeBackend
from pairscore.values import Batch, FloatArray


class _Noisy(FakeBackend):
    """A model that a bad quantization has ruined: what it says depends on the ids' sum only."""

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        values: FloatArray = (batch.ids.sum(axis=1) % 17).astype(np.float32)
        return values


def _build(
    source: ModelFiles, *, options: ConvertOptions | None = None, output: Path
) -> ModelFiles:
    """A stand-in for the conversion proper: a folder with every file but real weights."""
    precision = "float32" if options is None else options.precision
    output.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (output / name).write_bytes((source.folder / name).read_bytes())
    (output / "model.onnx").write_bytes(precision.encode())
    manifest = {"files": {}, "conversion": {"precision": precision, "source": {}}}
    (output / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return resolve(output, kind="onnx")


@pytest.fixture
def ruined() -> dict[str, bool]:
    """Whether what is converted scores nonsense."""
    return {"converted": False}


@pytest.fixture(autouse=True)
def without_weights(monkeypatch: pytest.MonkeyPatch, ruined: dict[str, bool]) -> None:
    """Nothing is converted, and both sides run on the fake backend."""

    def open_subject(subject: Any) -> CrossEncoder:
        folder = subject.model.rpartition(":")[0]
        int8 = (Path(folder) / "model.onnx").read_bytes() == b"int8"
        backend = _Noisy() if int8 and ruined["converted"] else FakeBackend()
        return CrossEncoder(folder, backend=backend)

    monkeypatch.setattr(conversion, "build", _build)
    monkeypatch.setattr(conversion, "to_float32", _build)
    monkeypatch.setattr(measuring, "open_subject", open_subject)
    monkeypatch.setattr(conversion, "has_torch", lambda: False)
    monkeypatch.setattr(conversion, "peak_rss_bytes", lambda _subject, _pairs: 1_000_000)
    monkeypatch.setattr(
        conversion,
        "numbers_of",
        lambda weights: "int8" if weights.read_bytes() == b"int8" else "float32",
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model's folder."""
    folder = tmp_path / "model"
    _build(resolve(), output=folder)
    return folder


def _run(*args: object) -> Result:
    return CliRunner().invoke(app, ["convert", *(str(arg) for arg in args)])


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_report_is_printed_and_travels_with_the_model(source: Path, tmp_path: Path) -> None:
    """A page for people on standard output, steps on standard error, both files in the folder."""
    done = _run(source, "-o", tmp_path / "out", "--limit", 60)

    assert done.exit_code == 0, done.output
    assert "Passed" in done.stdout
    assert "Spearman" in done.stdout
    assert "converting model to int8" in done.stderr
    assert "scoring 60 pairs" in done.stderr
    record = json.loads((tmp_path / "out/parity.json").read_text(encoding="utf-8"))
    assert record["thresholds_for"] == "int8"
    assert record["conversion"]["to"] == "int8"
    assert record["texts"]["num_pairs"] == 60
    assert (tmp_path / "out/PARITY.md").read_text(encoding="utf-8").startswith("# Parity of model")
    assert _left(tmp_path) == ["model", "out"]


def test_machines_get_json_and_silence(source: Path, tmp_path: Path) -> None:
    """One object on standard output, and with --quiet nothing on standard error."""
    done = _run(source, "-o", tmp_path / "out", "--limit", 40, "--json", "--quiet")
    record = json.loads(done.stdout)

    assert record["passed"] is True
    assert record["output"] == str(tmp_path / "out")
    assert record["reference"]["name"] == "the same weights, float32 ONNX"
    assert done.stderr == ""


def test_what_fails_is_not_written_and_nothing_is_left(
    source: Path, tmp_path: Path, ruined: dict[str, bool]
) -> None:
    """The report is still printed; the message names value, limit and the way out."""
    ruined["converted"] = True
    done = _run(source, "-o", tmp_path / "out", "--limit", 60)

    assert done.exit_code == exits.EXIT_CODES[ParityError]
    assert "FAILED" in done.stdout
    assert "at least 0.99" in done.stderr
    assert "--accept" in done.stderr
    assert _left(tmp_path) == ["model"]


def test_what_fails_may_be_accepted_and_says_so(
    source: Path, tmp_path: Path, ruined: dict[str, bool]
) -> None:
    """Whoever gets the folder reads that it failed, and that somebody took it."""
    ruined["converted"] = True
    done = _run(source, "-o", tmp_path / "out", "--limit", 60, "--accept")
    record = json.loads((tmp_path / "out/parity.json").read_text(encoding="utf-8"))

    assert done.exit_code == 0
    assert record["accepted"] is True
    assert record["passed"] is False
    assert "Accepted all the same" in (tmp_path / "out/PARITY.md").read_text(encoding="utf-8")


def test_thresholds_are_set_by_options(
    source: Path, tmp_path: Path, ruined: dict[str, bool]
) -> None:
    """What is not given keeps its default; one that is loosened no longer fails."""
    ruined["converted"] = True
    loose = ("--min-spearman", -1, "--min-top-overlap", 0, "--max-flipped", 1, "--max-ndcg-loss", 1)

    assert _run(source, "-o", tmp_path / "a", "--limit", 60, *loose[:6]).exit_code != 0
    assert _run(source, "-o", tmp_path / "b", "--limit", 60, *loose).exit_code == 0
    assert _run(source, "-o", tmp_path / "c", "--min-spearman", 1.5).exit_code == 2


def test_two_models_are_compared_and_nothing_is_written(
    source: Path, tmp_path: Path, ruined: dict[str, bool]
) -> None:
    """The exit code tells a script whether they are close."""
    _build(resolve(), options=ConvertOptions(), output=tmp_path / "int8")

    same = _run("--compare", source, source, "--limit", 40, "--json")
    assert json.loads(same.stdout)["output"] is None
    ruined["converted"] = True
    apart = _run("--compare", source, tmp_path / "int8", "--limit", 40)
    assert apart.exit_code == exits.EXIT_CODES[ParityError]
    assert "too far apart" in apart.stderr
    assert _left(tmp_path) == ["int8", "model"]


def test_pairs_of_a_file_are_compared_on(source: Path, tmp_path: Path) -> None:
    """Columns by their usual names; the report has the file's name and none of its texts."""
    rows = ["question,answer"] + [f"query {n % 3},secret passage {n}" for n in range(30)]
    (tmp_path / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    done = _run(source, "-o", tmp_path / "out", "--texts", tmp_path / "pairs.csv", "--json")
    record = json.loads(done.stdout)

    assert record["texts"]["name"] == "pairs.csv"
    assert record["texts"]["num_queries"] == 3
    assert record["parity"]["reference_ndcg"] is None
    assert any("few" in note for note in record["notes"])
    assert "secret" not in (tmp_path / "out/parity.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"query": "a", "document": "b"}\n{"query": "a", "document": null}\n', "line 2"),
        ('{"query": "a", "document": "b"}\nnot json\n', "line 2"),
        ('{"one": "a", "two": "b"}\n', "no columns"),
        ("", "no pair"),
    ],
)
def test_a_broken_file_of_pairs_is_refused_before_any_work(
    source: Path, tmp_path: Path, content: str, said: str
) -> None:
    """With the line, and nothing left behind."""
    (tmp_path / "pairs.jsonl").write_text(content, encoding="utf-8")
    done = _run(source, "-o", tmp_path / "out", "--texts", tmp_path / "pairs.jsonl")

    assert done.exit_code == 65
    assert said in done.stderr
    assert "converting" not in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "SOURCE"),
        (("ms-marco-minilm-l12",), "--output"),
        (("x", "--compare", "a", "b"), "--compare"),
        (("ms-marco-minilm-l12", "-o", "o", "--texts", "a", "--judged", "b"), "not both"),
        (("ms-marco-minilm-l12", "-o", "o", "--limit", "-1"), "--limit"),
        (("ms-marco-minilm-l12", "-o", "o", "--static"), "--calibration-texts"),
        (("ms-marco-minilm-l12", "-o", "o", "--to", "float32", "--full-range"), "no scales"),
        (("ms-marco-minilm-l12", "-o", "o", "--min-cosine", "0.9"), "min_cosine"),
        (("all-minilm-l6", "-o", "o", "--min-label-agreement", "0.9"), "min_label_agreement"),
    ],
)
def test_options_that_make_no_sense_are_refused(args: tuple[str, ...], said: str) -> None:
    """At once, with the option's name."""
    done = _run(*args)

    assert done.exit_code == 2
    assert said in done.stderr


def test_a_folder_that_is_no_model_is_never_replaced(source: Path, tmp_path: Path) -> None:
    """--overwrite replaces a model that pairscore made; not a home, and not the source itself."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear", encoding="utf-8")

    for target in (home, source, tmp_path):
        done = _run(source, "-o", target, "--limit", 40, "--overwrite")
        assert done.exit_code == exits.EXIT_CODES[OutputFileError], target
    assert (home / "letter.txt").is_file()
    assert _run(source, "-o", tmp_path / "out", "--limit", 40).exit_code == 0
    assert _run(source, "-o", tmp_path / "out", "--limit", 40).exit_code == 73
    assert _run(source, "-o", tmp_path / "out", "--limit", 40, "--overwrite").exit_code == 0


@pytest.mark.parametrize("stage", ["build", "measure", "peak_rss_bytes"])
def test_a_signal_leaves_nothing_behind(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Whatever it was doing: no folder, no half of one, and the signal's exit code."""

    def stopped(*_args: object, **_options: object) -> None:
        raise Stopped(2)

    monkeypatch.setattr(conversion, stage, stopped)
    done = _run(source, "-o", tmp_path / "out", "--limit", 40)

    assert done.exit_code == 130
    assert _left(tmp_path) == ["model"]


def test_the_missing_extra_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read or converted."""
    monkeypatch.setattr(conversion, "find_spec", lambda _name: None)
    done = _run(source, "-o", tmp_path / "out")

    assert done.exit_code == exits.EXIT_CODES[MissingExtraError]
    assert "pairscore[convert]" in done.stderr


@pytest.mark.parametrize(
    ("to", "installed", "said"),
    [
        ("int8", ["torch"], "the same weights, float32 ONNX"),
        ("float32", ["torch"], "the same weights, float32 torch"),
        ("float32", [], "the source's own ONNX file"),
        ("safetensors", [], "the same weights, float32 ONNX"),
    ],
)
def test_the_reference_is_never_the_thing_itself(
    source: Path, monkeypatch: pytest.MonkeyPatch, to: str, installed: list[str], said: str
) -> None:
    """A float32 graph is held against torch or the source's own file, everything else against float32."""
    monkeypatch.setattr(conversion, "has_torch", lambda: bool(installed))
    done = _run(source, "-o", source.parent / "out", "--limit", 40, "--json", "--to", to)

    assert json.loads(done.stdout)["reference"]["name"] == said


def test_help_is_read_in_full() -> None:
    """The extra's name is not eaten as markup."""
    assert "pairscore[convert]" in _run("--help").stdout
