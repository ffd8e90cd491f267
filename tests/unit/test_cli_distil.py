"""`pairscore distil` in process and without torch: what it asks for, keeps, prints and refuses."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.convert_sources import source_folder
from typer.testing import CliRunner, Result

from pairscore.cli import exits
from pairscore.cli.interrupt import Stopped
from pairscore.cli.main import app
from pairscore.convert import ConvertOptions, build, conversion, to_float32
from pairscore.errors import OutputFileError, SettingError, TrainingError
from pairscore.models.resolve import resolve
from pairscore.road.checks import CHECKS
from pairscore.training import distil_plan, distil_scores, distillation
from pairscore.training.distil_plan import Distillation, Teacher
from pairscore.training.losses import choose_loss
from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.run_folder import RunFolder
from pairscore.training.splits import Split
from pairscore.training.trainer import TrainResult
from pairscore.training.trainer_events import Began, Evaluated, Stepped

NUM_QUERIES, NUM_DOCUMENTS = 40, 5
SKIPPED = [part for name in CHECKS for part in ("--skip-check", name)]


class _Trainer:
    """Stands in for the training: the best weights are those of the student as it began."""

    def __init__(self) -> None:
        self.calls: list[tuple[Recipe, Split, bool]] = []
        self.wrapped: list[bool] = []
        self.error: BaseException | None = None

    def __call__(
        self,
        recipe: Recipe,
        data: Split,
        *,
        evaluator: Any,
        folder: RunFolder,
        resume: bool,
        listen: Any,
        wrap_loss: Any,
    ) -> TrainResult:
        self.calls.append((recipe, data, resume))
        self.wrapped.append(wrap_loss is not None)
        if self.error is not None:
            raise self.error
        began = {"num_rows": 1, "num_pairs": 1, "loss": "mse", "reason": "", "num_parameters": 7}
        listen(Began(num_steps=1, step=0, device="cpu", precision="float32", **began))
        listen(Stepped(step=1, num_steps=1, epoch=1.0, loss=0.5, learning_rate=1e-5))
        metrics = {evaluator.primary: 0.75}
        told = {"primary": evaluator.primary, "is_best": True, "num_worse": 0}
        listen(Evaluated(step=1, epoch=1.0, metrics=metrics, **told))
        to_float32(resolve(recipe.base), output=folder.best)
        return TrainResult(
            best=folder.best,
            best_step=1,
            primary=evaluator.primary,
            metrics=metrics,
            num_steps=1,
            max_steps=1,
            num_epochs=1.0,
            why="steps",
            loss=choose_loss(data.train, recipe.task, asked=recipe.loss),
            train_loss=0.5,
            seconds=1.0,
            device="cpu",
            precision="float32",
            resumed_from=None,
        )


@pytest.fixture(autouse=True)
def trainer(monkeypatch: pytest.MonkeyPatch) -> _Trainer:
    """Nothing is trained, and no process is started to weigh memory."""
    made = _Trainer()
    monkeypatch.setattr(distillation, "train", made)
    monkeypatch.setattr(conversion, "peak_rss_bytes", lambda _subject, _pairs: 1_000_000)
    return made


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A tiny model of two layers, float32 ONNX."""
    source = resolve(source_folder(tmp_path / "teacher"))
    made = build(source, options=ConvertOptions(precision="float32"), output=tmp_path / "onnx")
    shutil.rmtree(source.folder)
    return made.folder.rename(source.folder)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Pairs with labels that say nothing."""
    rng = random.Random(5)
    letters = "abcdefghijklmnopqrst"
    queries = [" ".join(rng.choices(letters, k=4)) for _ in range(NUM_QUERIES)]
    lines = [
        f"{query},{' '.join(rng.choices(letters, k=8))},1"
        for query in queries
        for _ in range(NUM_DOCUMENTS)
    ]
    path = tmp_path / "pairs.csv"
    path.write_text("query,document,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def _run(*args: object) -> Result:
    given = ["distil", *(str(arg) for arg in args), *SKIPPED]
    return CliRunner().invoke(app, given)


def _asked(teacher: Path, pairs: Path, *more: object) -> Result:
    target = pairs.with_name("run")
    return _run("-t", teacher, "-p", pairs, "-o", target, "--accept", *more)


def test_the_report_is_printed_and_the_run_is_a_model(
    teacher: Path, pairs: Path, trainer: _Trainer
) -> None:
    """A table on standard output, steps on standard error; the folder resolves to the int8 file of one layer."""
    done = _asked(teacher, pairs, "--num-layers", 1)

    assert done.exit_code == 0, done.output
    assert "Spearman to the teacher" in done.stdout
    assert "speed gained" in done.stdout
    assert "making a student of 1 layers of teacher" in done.stderr
    assert "teacher scores 200 pairs" in done.stderr
    assert "spearman 0.7500, the best so far" in done.stderr
    files = resolve(pairs.with_name("run"))
    assert files.weights.name == "model.onnx"
    assert json.loads((files.folder / "config.json").read_text("utf-8"))["num_hidden_layers"] == 1
    (recipe, data, resumed) = trainer.calls[0]
    assert recipe.loss == "mse"
    assert not resumed
    assert data.train.labels == "teacher"
    assert len(data.train) + len(data.held_out) == 190


def test_the_card_and_the_page_say_what_was_done(teacher: Path, pairs: Path) -> None:
    """From facts: layers, counts, and the teacher's name; no text of the pairs."""
    _asked(teacher, pairs, "--layers", "1", "-q")
    run = pairs.with_name("run")
    card, page = ((run / name).read_text("utf-8") for name in ("README.md", "DISTIL.md"))
    first = pairs.read_text("utf-8").splitlines()[1].split(",")[1]

    assert page.startswith("# run, distilled from teacher")
    for text in (card, page):
        assert "layers 1 (from 0) of teacher" in text
        assert "200 pairs" in text
        assert first not in text
        assert str(pairs.parent) not in text
    assert json.loads((run / "run.json").read_text("utf-8"))["status"] == "done"


def test_machines_get_json_and_silence(teacher: Path, pairs: Path) -> None:
    """One object on standard output, nothing on standard error."""
    done = _asked(teacher, pairs, "--num-layers", 1, "--json", "--quiet")
    record = json.loads(done.stdout)

    assert done.stderr == ""
    assert record["layers"] == [0]
    assert record["num_pairs"] == 200
    assert record["held_out"]["num_pairs"] == 10
    assert record["output"] == str(pairs.with_name("run"))


def test_margins_of_two_teachers_are_taught(
    teacher: Path, pairs: Path, trainer: _Trainer, tmp_path: Path
) -> None:
    """Of each query's five documents four margins; the page says how the teachers were joined."""
    other = shutil.copytree(teacher, tmp_path / "other")
    (other / "extra.txt").write_text("another folder", encoding="utf-8")

    done = _asked(teacher, pairs, "-t", other, "-s", teacher, "--loss", "margin_mse")

    assert done.exit_code == 0, done.output
    (recipe, data, _) = trainer.calls[0]
    assert recipe.loss == "margin_mse"
    assert data.train.kind == "triplets"
    assert len(data.train) == 36 * 4
    page = (pairs.with_name("run") / "DISTIL.md").read_text("utf-8")
    assert "the mean of the teachers' standardized logits" in page


def test_states_are_learned_where_the_layers_are_the_teachers(
    teacher: Path, pairs: Path, trainer: _Trainer
) -> None:
    """Without being told; not if told so, and of a model that keeps all its layers never."""
    for more in (["--layers", "0"], ["--layers", "0", "--no-hidden-states"], ["-s", teacher]):
        assert _asked(teacher, pairs, *more, "-q").exit_code == 0
        shutil.rmtree(pairs.with_name("run"))

    assert trainer.wrapped == [True, False, False]
    done = _asked(teacher, pairs, "-s", teacher, "--hidden-states")
    assert done.exit_code == exits.exit_code(SettingError(""))
    assert "--num-layers" in done.stderr


@pytest.mark.parametrize(
    ("told", "same", "expected"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_another_models_states_are_learned_when_told(
    monkeypatch: pytest.MonkeyPatch, *, told: bool | None, same: bool, expected: bool
) -> None:
    """A model that was never taught the task has states that say little of it."""
    theirs = SimpleNamespace(sha256="a" if same else "b")
    monkeypatch.setattr(distil_plan, "resolve", lambda _name: theirs)
    asked = Distillation(
        recipe=Recipe(base="any", output="run", data=DataRecipe(train="pairs.csv")),
        teachers=(Teacher(files=cast("Any", SimpleNamespace(sha256="a")), open=cast("Any", None)),),
        layers=(0,),
        hidden_states=told,
    )

    assert distil_plan.follows_states(asked) is expected


def test_a_second_student_costs_no_second_scoring(
    teacher: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --work the logits are found again by another run."""
    work = pairs.with_name("logits")
    _asked(teacher, pairs, "--layers", "0", "--work", work, "-q")
    pairs.with_name("run").rename(pairs.with_name("first"))
    monkeypatch.setattr(distil_scores, "_records", None)

    done = _asked(teacher, pairs, "--layers", "1", "--work", work, "-q")

    assert done.exit_code == 0, done.output


def test_a_stopped_run_goes_on(teacher: Path, pairs: Path, trainer: _Trainer) -> None:
    """The teacher's logits and the student are kept, and what goes on is told so."""
    trainer.error = Stopped(15)
    stopped = _asked(teacher, pairs, "--num-layers", 1)
    trainer.error = None
    done = _asked(teacher, pairs, "--num-layers", 1, "--resume")

    assert stopped.exit_code == 128 + 15
    assert "--resume goes on" in stopped.stderr
    assert done.exit_code == 0, done.output
    assert "making a student" not in done.stderr
    assert trainer.calls[1][2] is True


def test_a_failed_training_leaves_what_was_scored(
    teacher: Path, pairs: Path, trainer: _Trainer
) -> None:
    """A message and an exit code, no traceback; the logits are on disk."""
    trainer.error = TrainingError("the loss became nan at step 3")

    done = _asked(teacher, pairs, "--num-layers", 1)

    assert done.exit_code == exits.exit_code(TrainingError(""))
    assert "the loss became nan at step 3" in done.stderr
    assert "Traceback" not in done.stderr
    records = list((pairs.with_name("run") / "teacher").glob("*.records"))
    assert records[0].stat().st_size == 200 * 5


def test_a_run_is_never_written_over(teacher: Path, pairs: Path) -> None:
    """A second run needs --resume, or a folder of its own."""
    _asked(teacher, pairs, "--num-layers", 1, "-q")

    done = _asked(teacher, pairs, "--num-layers", 1)

    assert done.exit_code == exits.exit_code(OutputFileError(""))
    assert "--resume" in done.stderr


def test_a_resumed_run_with_other_layers_is_refused(teacher: Path, pairs: Path) -> None:
    """It would be another student."""
    _asked(teacher, pairs, "--layers", "0", "-q")

    done = _asked(teacher, pairs, "--layers", "1", "--resume")

    assert done.exit_code == exits.exit_code(SettingError(""))
    assert "was told something else" in done.stderr


WRONG = {
    "no teacher": (["-p", "x.csv", "-o", "run", "-s", "x"], "--teacher"),
    "no pairs": (["-t", "x", "-o", "run", "-s", "x"], "--pairs"),
    "no output": (["-t", "x", "-p", "x.csv", "-s", "x"], "--output"),
    "no student": (["-t", "x", "-p", "x.csv", "-o", "run"], "--num-layers"),
    "two ways": (
        ["-t", "x", "-p", "x.csv", "-o", "run", "--num-layers", "2", "--layers", "0,1"],
        "give one of them",
    ),
    "split without collection": (
        ["-t", "x", "-p", "x.csv", "-o", "run", "-s", "x", "--eval-split", "dev"],
        "--eval DIR",
    ),
    "no depth": (
        ["-t", "x", "-p", "x.csv", "-o", "run", "-s", "x", "--eval-depth", "0"],
        "at least 1",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_missing_or_contradicts_itself_is_refused(name: str) -> None:
    """Before any model is looked for; the remedy is in the message."""
    given, told = WRONG[name]

    done = _run(*given)

    assert done.exit_code == exits.exit_code(SettingError(""))
    assert told in done.stderr


@pytest.mark.parametrize(
    ("flag", "value"), [("--held-out", "0"), ("--held-out", "1.5"), ("--report-pairs", "0")]
)
def test_numbers_that_make_no_sense_are_refused(
    flag: str, value: str, teacher: Path, pairs: Path
) -> None:
    """With the value."""
    done = _asked(teacher, pairs, "--num-layers", 1, flag, value)

    assert done.exit_code == exits.exit_code(SettingError(""))
    assert str(float(value)).rstrip("0").rstrip(".") in done.stderr
    assert not pairs.with_name("run").exists()


def test_a_layer_that_is_not_there_leaves_no_folder(teacher: Path, pairs: Path) -> None:
    """So that the command can be put right and run again."""
    done = _asked(teacher, pairs, "--layers", "0,2")

    assert done.exit_code == exits.exit_code(SettingError(""))
    assert "teacher has 2 layers, 0 to 1" in done.stderr
    assert not pairs.with_name("run").exists()


def test_a_judged_collection_without_a_ranking_is_refused_at_once(
    teacher: Path, pairs: Path, tmp_path: Path, trainer: _Trainer
) -> None:
    """Nothing was scored yet."""
    folder = tmp_path / "judged"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "a b"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "a"}\n')
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")

    done = _asked(teacher, pairs, "--num-layers", 1, "--eval", folder)

    assert done.exit_code == exits.exit_code(SettingError(""))
    assert "no first ranking" in done.stderr
    assert not trainer.calls


def test_the_quality_that_is_kept_is_told(teacher: Path, pairs: Path, tmp_path: Path) -> None:
    """nDCG@10 of the first ranking, the teacher and the student, and the share."""
    folder = tmp_path / "judged"
    (folder / "qrels").mkdir(parents=True)
    documents = ["a b c", "d e f", "g h i", "a c e"]
    (folder / "corpus.jsonl").write_text(
        "".join(
            f"{json.dumps({'_id': str(n), 'text': text})}\n" for n, text in enumerate(documents)
        )
    )
    (folder / "queries.jsonl").write_text(
        '{"_id": "q", "text": "a b"}\n{"_id": "r", "text": "g"}\n'
    )
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t0\t1\nr\t2\t1\n")
    (folder / "run.bm25.txt").write_text(
        "".join(f"{q} Q0 {n} {n + 1} {9 - n} bm25\n" for q in "qr" for n in range(4))
    )

    named = ["-t", teacher, "--num-layers", 1, "--eval", folder]
    done = _asked(teacher, pairs, *named, "--json", "-q")

    assert done.exit_code == 0, done.output
    quality = json.loads(done.stdout)["quality"]
    assert quality["before"] == pytest.approx((1.0 + 0.5) / 2)
    kept = 100 * quality["student"] / quality["teachers"]["teacher"]
    assert quality["kept_percent"] == pytest.approx(kept)
    gain = quality["teachers"]["teacher"] - quality["before"]
    gained = 100 * (quality["student"] - quality["before"]) / gain
    assert quality["gain_kept_percent"] == pytest.approx(gained)
    assert set(quality["teachers"]) == {"teacher", "teacher (2)"}
    assert quality["difference"]["value"] == pytest.approx(
        quality["student"] - quality["teachers"]["teacher"]
    )
    assert quality["num_pairs"] == 8
