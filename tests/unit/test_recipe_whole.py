"""A tiny model from labelled pairs to a served one, through the command line; needs torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.oracle.trainer_runs import single_thread
from tests.small_models import small_model
from typer.testing import CliRunner

from pairscore import CrossEncoder
from pairscore.cli.main import app
from pairscore.errors import OutputFileError
from pairscore.models.resolve import resolve
from pairscore.training import run_steps

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(300)]

_WORDS = [
    "berlin",
    "people",
    "city",
    "museums",
    "many",
    "lazy",
    "dog",
    "quick",
    "fox",
    "jumps",
    "sky",
    "blue",
    "light",
    "red",
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products are quicker on one thread where other tests have the second core."""
    with single_thread():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT that has its canary pairs in the right order."""
    return small_model("bert", tmp_path_factory.mktemp("base"))


@pytest.fixture
def recipe(base: Path, tmp_path: Path) -> Path:
    """Two short epochs, slow enough that the model stays much what it was."""
    lines = ["query,document,label"]
    for number in range(60):
        word, other = _WORDS[number % 14], _WORDS[(number + 5) % 14]
        lines.append(f"what of {word} {number},{word} is {number},1")
        lines.append(f"what of {word} {number},nothing of {other},0")
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'base = "{base}"\noutput = "{tmp_path / "run"}"\nnum_epochs = 2\nbatch_size = 8\n'
        f'learning_rate = 1e-5\n[data]\ntrain = "{tmp_path / "pairs.csv"}"\ndev_fraction = 0.4\n'
        '[convert]\ntarget = "float32"\n'
    )
    return path


def test_a_run_ends_in_a_model_that_every_verb_takes(recipe: Path, tmp_path: Path) -> None:
    """The converted model scores as the trained weights do, and says what it is."""
    result = CliRunner().invoke(app, ["train", str(recipe), "--json"])

    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    run = tmp_path / "run"
    assert record["convert"]["kept"], record["convert"]
    assert record["served"] == str(run / "model")
    assert record["train"]["num_steps"] == 18
    assert {part["role"] for part in record["report"]["parts"]} == {"dev", "guard"}
    pairs = [("what of berlin", "berlin is 3"), ("many people", "the sky is blue")]
    with CrossEncoder(run) as served, CrossEncoder(run, backend="torch", device="cpu") as trained:
        assert served.card.name == "run"
        np.testing.assert_allclose(
            served.score(pairs).logits, trained.score(pairs).logits, atol=1e-4
        )
    assert (run / "model" / "PARITY.md").is_file()
    assert "pipeline_tag: text-ranking" in (run / "README.md").read_text()
    assert not (run / "checkpoints").exists()


def test_best_loads_in_sentence_transformers(recipe: Path, tmp_path: Path) -> None:
    """With the same scores, so that nobody is locked in."""
    from sentence_transformers import CrossEncoder as Theirs

    assert CliRunner().invoke(app, ["train", str(recipe), "--no-convert"]).exit_code == 0

    pairs = [("what of berlin", "berlin is 3"), ("many people", "the sky is blue")]
    theirs = Theirs(str(tmp_path / "run" / "best"), device="cpu").predict(pairs)
    with CrossEncoder(tmp_path / "run", backend="torch", device="cpu") as ours:
        np.testing.assert_allclose(ours.predict(pairs), theirs, atol=1e-5)


def test_a_run_that_failed_after_training_is_not_trained_again(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights that were trained are those that are converted by the resumed run."""

    def full(*_args: object, **_kwargs: object) -> None:
        raise OutputFileError("no room for the model")

    with monkeypatch.context() as patched:
        patched.setattr(run_steps.conversion, "convert", full)
        failed = CliRunner().invoke(app, ["train", str(recipe)])
    assert failed.exit_code == 73
    assert "no room" in failed.stderr
    trained = resolve(tmp_path / "run" / "best").sha256

    resumed = CliRunner().invoke(app, ["train", str(tmp_path / "run"), "--resume"])

    assert resumed.exit_code == 0, resumed.output
    assert "18 steps on cpu" not in resumed.stderr
    assert resolve(tmp_path / "run" / "best").sha256 == trained
    assert (tmp_path / "run" / "model" / "model.onnx").is_file()


def test_a_finished_run_is_converted_anew(recipe: Path, tmp_path: Path) -> None:
    """Nothing is trained again, and every file of the new model is whole."""
    assert CliRunner().invoke(app, ["train", str(recipe)]).exit_code == 0
    before = resolve(tmp_path / "run", kind="onnx").sha256

    again = CliRunner().invoke(
        app, ["train", str(tmp_path / "run"), "--resume", "--to", "int8", "--accept"]
    )

    assert again.exit_code == 0, again.output
    assert "18 steps on cpu" not in again.stderr
    with CrossEncoder(tmp_path / "run") as model:
        assert np.isfinite(model.score([("what of berlin", "berlin is 3")]).logits).all()
        assert model.model_sha256 != before


def test_a_dry_run_times_a_few_steps(recipe: Path, tmp_path: Path) -> None:
    """In a process of its own: it prints nothing of the libraries', and leaves nothing."""
    found = subprocess.run(
        [sys.executable, "-m", "pairscore", "train", str(recipe), "--dry-run", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["estimated_s"] > 0.0
    assert found.stderr == "timing a few steps ...\n"
    assert not (tmp_path / "run").exists()
