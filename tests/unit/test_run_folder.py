"""A run's folder: made once, opened again, locked, and never half written."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pairscore.errors import (
    DataFileError,
    InputFileError,
    ModelUnsupportedError,
    OutputFileError,
    SettingError,
)
from pairscore.models.resolve import resolve
from pairscore.training.curves import curve_of, draw_curves
from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.run_folder import RunFolder, is_run_folder

RECIPE = Recipe(data=DataRecipe(train="train.csv"))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that has just begun."""
    return RunFolder.create(tmp_path / "runs" / "one", RECIPE, facts={"seed": 42})


def test_a_run_is_opened_as_it_was_made(folder: RunFolder) -> None:
    """Recipe and facts are those that were given, and paths mean the same from anywhere."""
    again = RunFolder.open(folder.path, recipe=RECIPE)

    assert again == folder
    assert again.recipe.data.train == str(Path("train.csv").absolute())
    assert again.record() == {"format": 1, "seed": 42, "steps": {}}
    assert is_run_folder(folder.path)
    assert not is_run_folder(folder.path.parent)


def test_a_folder_with_a_run_is_not_made_again(folder: RunFolder) -> None:
    """What is there is never overwritten; the message says how to go on."""
    with pytest.raises(OutputFileError, match=r"holds a run already.*--resume"):
        RunFolder.create(folder.path, RECIPE)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    """Nor is a file, or a folder of somebody else's."""
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(OutputFileError, match="not empty and holds no run"):
        RunFolder.create(tmp_path, RECIPE)
    with pytest.raises(OutputFileError, match="cannot be written"):
        RunFolder.create(tmp_path / "notes.txt", RECIPE)


def test_what_is_no_run_is_not_opened(tmp_path: Path) -> None:
    """Resuming nothing is told apart from beginning."""
    with pytest.raises(InputFileError, match="leave --resume out"):
        RunFolder.open(tmp_path)


def test_another_recipe_does_not_go_on_with_a_run(folder: RunFolder) -> None:
    """It would end with neither recipe's result; what does not change weights may change."""
    with pytest.raises(SettingError, match=r"told something else \(learning_rate, seed\)"):
        RunFolder.open(folder.path, recipe=replace(RECIPE, seed=1, learning_rate=1e-4))

    tracked = RunFolder.open(
        folder.path, recipe=replace(RECIPE, output="elsewhere", tracker="tensorboard")
    )
    assert tracked.recipe.tracker == "tensorboard"


@pytest.mark.parametrize("content", ["", "[1]", '{"format": 99}'])
def test_a_broken_record_is_told(folder: RunFolder, content: str) -> None:
    """It is a data error with the file's name, and no traceback."""
    folder.record_file.write_text(content)

    with pytest.raises(DataFileError, match=r"run\.json"):
        RunFolder.open(folder.path)


def test_steps_are_kept_as_they_finish(folder: RunFolder) -> None:
    """Each with its result; facts beside them stay."""
    folder.finish_step("before", {"ndcg@10": 0.5})
    folder.note(status="training", seed=43)
    folder.finish_step("train", {})

    assert folder.step("before") == {"ndcg@10": 0.5}
    assert folder.step("train") == {}
    assert folder.step("convert") is None
    assert (folder.record()["status"], folder.record()["seed"]) == ("training", 43)


def test_a_record_is_replaced_whole(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the old one as it was, and nothing else."""
    before = folder.record_file.read_text()
    names = sorted(path.name for path in folder.path.iterdir())

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputFileError, match="No space left on device"):
        folder.note(seed=7)

    assert folder.record_file.read_text() == before
    assert sorted(path.name for path in folder.path.iterdir()) == names


def test_metrics_are_appended_and_finite(folder: RunFolder) -> None:
    """One line each; a loss that is no number becomes null, which every reader of JSON takes."""
    folder.append_metrics({"step": 1, "loss": 0.5})
    folder.append_metrics({"step": 2, "loss": float("nan")})

    assert folder.metrics() == ({"step": 1, "loss": 0.5}, {"step": 2, "loss": None})
    assert [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]


def test_a_cut_line_of_metrics_costs_itself_alone(folder: RunFolder) -> None:
    """After a kill inside a line, what follows is read."""
    folder.append_metrics({"step": 1})
    with folder.metrics_file.open("a") as file:
        file.write('{"step": 2, "lo')
    folder.append_metrics({"step": 3})

    assert [line["step"] for line in folder.metrics()] == [1, 3]


def test_metrics_behind_a_checkpoint_are_cut(folder: RunFolder) -> None:
    """The resumed run writes them again."""
    assert folder.metrics() == ()
    folder.cut_metrics(after_step=0)
    for step in (1, 2, 3):
        folder.append_metrics({"step": step})

    folder.cut_metrics(after_step=2)

    assert [line["step"] for line in folder.metrics()] == [1, 2]


def test_two_cannot_train_in_one_folder(folder: RunFolder) -> None:
    """The second hears who does, and may when the first has ended, however that ended."""
    code = (
        "import os, sys\n"
        "from pairscore.training.run_folder import RunFolder\n"
        "with RunFolder.open(sys.argv[1]).locked():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputFileError, match=f"process {other.pid} .*stop it"),
            folder.locked(),
        ):
            pytest.fail("both hold it")
        other.kill()
    with folder.locked():
        assert folder.record()


def test_curves_are_read_from_the_lines() -> None:
    """A step that was written twice counts once; null and other measures are left out."""
    lines = [
        {"step": 2, "loss": 1.0},
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": 0.5},
        {"step": 3, "loss": None},
        {"step": 3, "spearman": 0.8},
    ]

    found = curve_of(lines, "loss")

    assert (found.steps, found.values) == ((1, 2), (2.0, 0.5))


def test_curves_become_a_picture(tmp_path: Path) -> None:
    """A PNG with a panel for each measure that has two points; without any, none is drawn."""
    lines = [{"step": step, "loss": 1.0 / (step + 1), "ndcg@10": 0.5} for step in range(30)]
    path = tmp_path / "curves.png"

    assert draw_curves(lines, path, primary="ndcg@10", title="a run", best_step=20)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not draw_curves(lines[:1], tmp_path / "none.png", primary=None, title="a run")
    assert not (tmp_path / "none.png").exists()


def _model(folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / name).write_bytes(name.encode())


def test_a_run_is_a_model(folder: RunFolder) -> None:
    """The converted one, under the run's name; before there is any, the best weights."""
    _model(folder.best, "model.safetensors")

    found = resolve(folder.path)
    assert (found.folder, found.name) == (folder.best, "one")

    _model(folder.model, "model.onnx")
    found = resolve(folder.path)
    assert (found.folder, found.name) == (folder.model, "one")


def test_a_backend_finds_its_kind_of_weights_in_a_run(folder: RunFolder) -> None:
    """Torch reads the best weights where the converted model has no safetensors."""
    _model(folder.best, "model.safetensors")
    _model(folder.model, "model.onnx")

    assert resolve(folder.path, kind="safetensors").folder == folder.best
    assert resolve(folder.path, kind="onnx").folder == folder.model


def test_a_run_without_a_model_says_how_to_go_on(folder: RunFolder) -> None:
    """It is not mistaken for a folder without weights."""
    with pytest.raises(ModelUnsupportedError, match=r"has no model yet; .*--resume"):
        resolve(folder.path)
