"""`pairscore train` in process: flags above the recipe, the plan, what is told on the way, and how it ends."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pairscore.cli import progress, train_options, train_progress
from pairscore.cli.main import app
from pairscore.cli.train_progress import listening
from pairscore.errors import SettingError
from pairscore.training import run, run_plan
from pairscore.training import trainer_events as events
from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.recipe_file import recipe_values
from pairscore.training.run_folder import RunFolder
from pairscore.training.run_plan import Estimate
from pairscore.training.trainer_signals import StoppedBySignal


def _invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["train", *arguments])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Forty queries with a right and a wrong document each."""
    path = tmp_path / "pairs.csv"
    lines = ["query,document,label"]
    for number in range(40):
        lines += [f"what is {number},it is {number},1", f"what is {number},no idea,0"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, bool]]:
    """What a run would be told; nothing is trained."""
    calls: list[tuple[Recipe, bool]] = []

    def run_recipe(recipe: Recipe, *, resume: bool, listen: Any) -> Any:
        listen.step("training")
        calls.append((recipe, resume))
        return _result()

    monkeypatch.setattr(run, "run_recipe", run_recipe)
    return calls


def _result() -> Any:
    part = SimpleNamespace(role="dev", name="pairs.csv", verdict="Better: it rose.")
    train = {"num_steps": 8, "seconds": 90.0, "best_step": 6, "primary": "ndcg@10"}
    train |= {"metrics": {"ndcg@10": 0.75}, "key": None}
    convert = {"target": "int8", "verdict": "Passed.", "kept": True, "key": [1]}
    measured = {"before": {"ece": 0.2}, "after": {"ece": 0.01}}
    calibrate = {"method": "platt", "measured": measured}
    steps = {"train": train, "convert": convert, "calibrate": calibrate}
    return SimpleNamespace(
        folder=Path("runs/x"),
        served=Path("runs/x/model"),
        report=SimpleNamespace(parts=(part,)),
        record={"steps": steps, "loss": {"name": "bce"}, "times": {"train": 90.0}},
    )


def test_flags_alone_are_enough(asked: list[tuple[Recipe, bool]]) -> None:
    """No file is needed; what is not said has its default."""
    result = _invoke("--train", "pairs.csv", "--base", "ms-marco-minilm-l12")

    assert result.exit_code == 0, result.output
    assert asked == [(Recipe(data=DataRecipe(train="pairs.csv")), False)]


def test_flags_stand_above_the_recipe(asked: list[tuple[Recipe, bool]], tmp_path: Path) -> None:
    """Those that are given win, in every table; the others leave the file's values alone."""
    path = tmp_path / "recipe.toml"
    path.write_text('seed = 7\nbatch_size = 4\n[data]\ntrain = "a.csv"\ndev = "b.csv"\n')

    result = _invoke(
        str(path), "--batch-size", "8", "--train", "c.csv", "--lr", "1e-4", "--epochs", "2",
        "--task", "duplicate", "--to", "float32", "--no-convert", "--symmetric", "--drop-leaks",
        "-o", "runs/y", "--patience", "0", "--no-calibrate", "--resume",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    recipe, resume = asked[0]
    assert (recipe.seed, recipe.batch_size, recipe.learning_rate) == (7, 8, 1e-4)
    assert (recipe.num_epochs, recipe.task, recipe.output) == (2, "duplicate", "runs/y")
    assert (recipe.data.train, recipe.data.dev, recipe.data.drop_leaks) == ("c.csv", "b.csv", True)
    assert (recipe.convert.target, recipe.convert.enabled) == ("float32", False)
    assert (recipe.symmetric, recipe.patience, recipe.calibrate) == (True, None, False)
    assert resume


def test_every_key_of_a_recipe_has_a_flag() -> None:
    """A key that is added later cannot be forgotten here."""
    options = train_options
    records = (
        options.DataOptions(**{item.name: "x" for item in fields(options.DataOptions)}),
        options.BaseOptions(**{item.name: "x" for item in fields(options.BaseOptions)}),
        options.HowOptions(**{item.name: "x" for item in fields(options.HowOptions)}),
        options.ResultOptions(**{item.name: "x" for item in fields(options.ResultOptions)}),
    )
    keys = recipe_values(Recipe(data=DataRecipe(train="x")))

    assert set(options.overrides(*records)) == set(keys)


def test_a_run_is_named_by_its_folder(
    asked: list[tuple[Recipe, bool]], tmp_path: Path, pairs: Path
) -> None:
    """Its own recipe is read, and its output is where it lies now."""
    recipe = Recipe(seed=9, data=DataRecipe(train=str(pairs)), output="elsewhere")
    RunFolder.create(tmp_path / "run", recipe)
    (tmp_path / "run").rename(tmp_path / "moved")

    result = _invoke(str(tmp_path / "moved"), "--resume")

    assert result.exit_code == 0, result.output
    assert (asked[0][0].seed, asked[0][0].output) == (9, str(tmp_path / "moved"))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    result = _invoke(str(tmp_path))

    assert result.exit_code == 2
    assert "holds no run" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "no training data"),
        (("none.toml",), 66, "No such file"),
        (("--train", "none.csv"), 66, "none.csv"),
        (("--train", "x.csv", "--num-epochs", "0"), 2, "num_epochs is 0"),
        (("--train", "x.csv", "--task", "sts"), 2, "sts"),
    ],
)
def test_what_cannot_be_is_told(arguments: tuple[str, ...], code: int, message: str) -> None:
    """With an exit code of its kind, and no traceback."""
    result = _invoke(*arguments, "--dry-run")

    assert result.exit_code == code, result.output
    assert message in result.stderr


def test_a_dry_run_tells_what_would_be_done(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, loss with its reason, steps, evaluations, time; and nothing is written."""
    found = Estimate(seconds=7200.0, seconds_a_step=1.5, device="cpu")
    monkeypatch.setattr(run_plan, "estimate", lambda plan: found)

    result = _invoke("--train", str(pairs), "--dry-run", "--dev-fraction", "0.25")

    assert result.exit_code == 0, result.output
    assert "pairs.csv (train): 60 pairs, binary labels, 60 pairs of 30 queries" in result.stdout
    assert "bce: binary cross entropy, because" in result.stdout
    assert "12, 4 an epoch of 60 rows in batches of 16" in result.stdout
    assert "3, by ndcg@10 (reranking)" in result.stdout
    assert "about 2.0 hours on cpu (1.50 s a step)" in result.stdout
    assert sorted(path.name for path in pairs.parent.iterdir()) == ["pairs.csv"]


def test_a_dry_run_for_machines(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One JSON value; without the extra the time is null."""
    monkeypatch.setattr(run_plan, "has_trainer", lambda: False)

    result = _invoke("--train", str(pairs), "--dry-run", "--json", "--quiet")

    record = json.loads(result.stdout)
    assert (record["loss"], record["num_steps"], record["estimated_s"]) == ("bce", 15, None)
    assert record["data"]["dev"]["num_queries"] == 4
    assert result.stderr == ""


def test_a_run_ends_with_what_came_of_it(asked: list[tuple[Recipe, bool]]) -> None:
    """Steps, what changed, parity, calibration, and the next command."""
    result = _invoke("--train", "pairs.csv")

    assert "8 steps in 1.5 minutes; best after step 6, ndcg@10 0.7500" in result.stdout
    assert "dev, pairs.csv: Better: it rose." in result.stdout
    assert "int8: Passed." in result.stdout
    assert "calibration error 0.2000 before, 0.0100 after" in result.stdout
    assert "pairscore serve --model runs/x" in result.stdout
    assert "training ..." in result.stderr


def test_a_run_for_machines(
    asked: list[tuple[Recipe, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One JSON value on standard output, and with --quiet nothing beside it."""
    monkeypatch.setattr("pairscore.training.report_files.record", lambda report: {"parts": []})

    result = _invoke("--train", "pairs.csv", "--json", "--quiet")

    record = json.loads(result.stdout)
    assert record["output"] == "runs/x"
    assert record["train"]["best_step"] == 6
    assert "key" not in record["train"]
    assert result.stderr == ""


def test_a_stop_says_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with the code of its signal and the way to go on."""

    def stopped(*_args: Any, **_kwargs: Any) -> Any:
        raise StoppedBySignal("stopped after step 3; checkpoint-3 is kept", number=2)

    monkeypatch.setattr(run, "run_recipe", stopped)

    result = _invoke("--train", "pairs.csv")

    assert result.exit_code == 130
    assert "checkpoint-3 is kept" in result.stderr


def test_other_failures_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere: one message and a code."""

    def refused(*_args: Any, **_kwargs: Any) -> Any:
        raise SettingError("the loss does not fit")

    monkeypatch.setattr(run, "run_recipe", refused)

    result = _invoke("--train", "pairs.csv")

    assert (result.exit_code, "the loss does not fit" in result.stderr) == (2, True)


EVENTS = (
    events.Began(
        num_steps=9, step=3, num_rows=30, num_pairs=30, loss="bce", reason="because", device="cpu",
        precision="float32", num_parameters=33_400_000,
    ),
    events.Stepped(step=4, num_steps=9, epoch=1.5, loss=0.5, learning_rate=2e-5),
    events.Evaluating(step=4, num_pairs=10, num_all=20),
    events.Evaluated(
        step=4, epoch=1.5, metrics={"spearman": 0.8}, primary="spearman", is_best=True, num_worse=0
    ),
    events.Stepped(step=5, num_steps=9, epoch=2.0, loss=0.4, learning_rate=1e-5),
    events.Evaluated(
        step=5, epoch=2.0, metrics={"spearman": 0.7}, primary="spearman", is_best=False, num_worse=1
    ),
    events.Finished(step=5, why="patience"),
)  # fmt: skip


def test_evaluations_are_lines_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with loss and measure, and whether it is the best; steps are no lines."""
    with listening(quiet=False) as listen:
        for event in EVENTS:
            listen.trained(event)
        listen.note("mind this")

    assert capsys.readouterr().err.splitlines() == [
        "9 steps on cpu in float32, 33.4 million parameters, going on from step 3",
        "step 4 (epoch 1.50): loss 0.5000, spearman 0.8000, the best so far",
        "step 5 (epoch 2.00): loss 0.4950, spearman 0.7000, no better for 1",
        "stopped early after step 5: the dev part got no better",
        "note: mind this",
    ]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No line, whatever happens."""
    with listening(quiet=True) as listen:
        for event in EVENTS:
            listen.trained(event)
        listen.step("training")
        listen.scored(1, 2)

    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_line_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """With step, epoch, loss, learning rate and the best so far."""
    moved: list[tuple[int, int, str, str]] = []

    class Line:
        begin = tell = staticmethod(lambda text: None)
        move = staticmethod(
            lambda done, total, *, unit, text: moved.append((done, total, unit, text))
        )

    told = train_progress._Told(Line())
    for event in EVENTS:
        told.trained(event)

    assert moved == [
        (4, 9, "steps", "epoch 1.50  loss 0.5000  learning rate 2.0e-05"),
        (10, 20, "pairs", "step 4: scoring the dev part"),
        (
            5,
            9,
            "steps",
            "epoch 2.00  loss 0.4950  learning rate 1.0e-05  best spearman 0.8000",
        ),
    ]


def test_the_bar_shows_texts_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets in names are no markup, and what is told stays above the bar."""
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)

    with listening(quiet=False) as listen:
        listen.step("measuring [base]")
        listen.scored(5, 10)
        listen.note("a [b] c")
        for event in EVENTS:
            listen.trained(event)

    assert "note: a [b] c\n" in screen.getvalue()
    assert "measuring [base]" in screen.getvalue()
