"""A whole run without torch: which steps are made, in which order, and what a failure half-way leaves to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pairscore.convert import conversion
from pairscore.errors import (
    MissingExtraError,
    ModelCheckError,
    OutputFileError,
    SettingError,
    TrainingError,
)
from pairscore.models.calibration import CALIBRATION
from pairscore.training import run, run_steps, trainer
from pairscore.training.data import RankedList, training_data
from pairscore.training.recipe import ConvertRecipe, DataRecipe, Recipe
from pairscore.training.report import Part, part_of
from pairscore.training.run import RunListener, default_output, run_recipe
from pairscore.training.run_base import Base
from pairscore.training.run_folder import RunFolder
from pairscore.training.trainer import TrainResult

NUM_QUERIES = 60


@dataclass
class Stage:
    """Stands in for everything that needs torch; writes down what was done, and fails where it is told to."""

    recipe: Recipe
    base: Path
    done: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    told: list[str] = field(default_factory=list)

    def reach(self, what: str) -> None:
        """Here, or no further."""
        self.done.append(what)
        if what in self.fails:
            raise self.fails.pop(what)

    def prepare_base(self, recipe: Recipe, folder: RunFolder) -> Base:
        del recipe, folder
        self.reach("base")
        return Base(
            name="small",
            folder=str(self.base),
            sha256="ab" * 32,
            revision=None,
            num_labels=1,
            task="relevance",
            licence="MIT",
            layers=None,
        )

    def train(self, recipe: Recipe, data: Any, *, folder: RunFolder, **kwargs: Any) -> TrainResult:
        self.reach("resume" if kwargs["resume"] else "train")
        _model(folder.best, b"float32")
        folder.append_metrics({"step": 1, "loss": 0.5})
        folder.append_metrics({"step": 2, "loss": 0.4})
        return TrainResult(
            best=folder.best,
            best_step=2,
            primary=kwargs["evaluator"].primary,
            metrics={kwargs["evaluator"].primary: 0.75},
            num_steps=2,
            max_steps=2,
            num_epochs=1.0,
            why="steps",
            loss=_chosen(recipe, data),
            train_loss=0.4,
            seconds=1.5,
            device="cpu",
            precision="float32",
            resumed_from=None,
        )

    def convert(self, source: Any, place: Path, *, target: str, **_kwargs: Any) -> Any:
        # It would be copied, and its sha256 written down, before the new one replaces it.
        assert not (source.folder / "README.md").exists()
        self.reach(f"convert {target}")
        if target in self.refused:
            return SimpleNamespace(report=SimpleNamespace(verdict="Failed: too far."), folder=None)
        _model(place, target.encode())
        return SimpleNamespace(report=SimpleNamespace(verdict="Passed."), folder=place)

    @contextmanager
    def open_scorer(self, folder: str | Path, **_kwargs: Any) -> Iterator[Callable[..., Any]]:
        name = Path(folder).name
        self.reach(f"score {name}")
        better = 0.0 if name == self.base.name else 1.0
        yield lambda pairs: np.array(
            [
                better * (query.split()[-1] in document.split()) + len(document) / 1000.0
                for query, document in pairs
            ]
        )

    def run(self, *, resume: bool = False, **changed: Any) -> Any:
        """The run, with other values of the recipe where they are given."""
        recipe = Recipe(**{**_fields(self.recipe), **changed})
        self.done.clear()
        listen = RunListener(note=self.told.append)
        return run_recipe(recipe, resume=resume, listen=listen)


def _fields(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}


def _chosen(recipe: Recipe, data: Any) -> Any:
    from pairscore.training.losses import choose_loss

    return choose_loss(data.train, recipe.task)


def _guard() -> Part:
    """A guard set that is measured in no time."""
    rows = [
        RankedList(query=f"a {name}", documents=(name, "b"), labels=(1.0, 0.0), place="")
        for name in ("x", "y", "z")
    ]
    return part_of("guard", training_data(rows, name="small", kind="lists", labels="binary"))


def _model(folder: Path, weights: bytes) -> None:
    """A folder that looks like a model."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    name = "model.safetensors" if weights == b"float32" and folder.name == "best" else "model.onnx"
    (folder / name).write_bytes(weights)
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    config |= {"id2label": {"0": "LABEL_0"}, "max_position_embeddings": 64}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A run whose data is real and whose models are not."""
    lines = ["query,document,label"]
    for number in range(NUM_QUERIES):
        lines.append(f"what is word{number},this tells of word{number} alone,1")
        lines.append(f"what is word{number},this tells of something else than {number},0")
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    base = tmp_path / "small"
    _model(base, b"base")
    recipe = Recipe(
        base=str(base),
        output=str(tmp_path / "run"),
        data=DataRecipe(train=str(tmp_path / "pairs.csv"), dev_fraction=0.4),
    )
    made = Stage(recipe=recipe, base=base)
    monkeypatch.setattr(run, "has_trainer", lambda: True)
    monkeypatch.setattr(run, "prepare_base", made.prepare_base)
    monkeypatch.setattr(run, "guard_parts", lambda task: (_guard(),))
    monkeypatch.setattr(trainer, "train", made.train)
    monkeypatch.setattr(run_steps, "open_scorer", made.open_scorer)
    monkeypatch.setattr(conversion, "convert", made.convert)
    monkeypatch.setattr(run_steps.parity_report, "write", lambda report, folder: None)
    return made


WHOLE = ["base", "score small", "train", "convert int8", "score model", "score best"]


def test_a_run_makes_every_step_and_leaves_what_it_promises(stage: Stage) -> None:
    """Base, before, training, conversion, after, calibration, card; and drops what only a broken run needs."""
    found = stage.run()

    assert stage.done == WHOLE
    assert found.served == found.folder / "model"
    record = json.loads((found.folder / "run.json").read_text())
    assert record["status"] == "done"
    assert record["loss"]["name"] == "bce"
    assert record["steps"]["convert"]["kept"]
    assert {"dev", "train"} == set(record["data"])
    roles = [part.role for part in found.report.parts]
    assert roles == ["dev", "guard"]
    assert found.report.parts[0].primary.change is not None
    assert found.report.parts[0].rose
    for name in ("REPORT.md", "report.json", "README.md", "curves.png", "recipe.toml"):
        assert (found.folder / name).is_file(), name
    assert (found.folder / "model" / "README.md").is_file()
    assert not (found.folder / "checkpoints").exists()


def test_the_record_holds_no_place_of_this_machine(stage: Stage, tmp_path: Path) -> None:
    """Only the base's folder is there, because a resumed run needs it; the card has no path at all."""
    found = stage.run()

    record = json.loads((found.folder / "run.json").read_text())
    del record["base"]["folder"]
    assert str(tmp_path) not in json.dumps(record)
    assert str(tmp_path) not in (found.folder / "README.md").read_text()


def test_binary_labels_are_calibrated(stage: Stage) -> None:
    """The curve lies beside the served weights; the recipe may say no."""
    assert (stage.run().served / CALIBRATION).is_file()

    again = stage.run(calibrate=False, output=f"{stage.recipe.output}-2")
    assert not (again.served / CALIBRATION).exists()


@pytest.mark.parametrize(
    ("broken", "left"),
    [
        ("score small", ["score small", "resume", *WHOLE[3:]]),
        ("train", ["resume", *WHOLE[3:]]),
        ("convert int8", WHOLE[3:]),
        ("score model", WHOLE[4:]),
        ("score best", WHOLE[5:]),
    ],
)
def test_a_run_goes_on_with_the_first_step_that_is_not_done(
    stage: Stage, broken: str, left: list[str]
) -> None:
    """Whatever failed half-way, nothing that was done is done again."""
    stage.fails[broken] = OutputFileError("no room")
    with pytest.raises(OutputFileError, match="no room"):
        stage.run()

    found = stage.run(resume=True)

    assert stage.done == left
    assert found.record["status"] == "done"


def test_a_finished_run_has_nothing_left_to_do(stage: Stage) -> None:
    """Resuming it gives the same result."""
    first = stage.run()

    again = stage.run(resume=True)

    assert stage.done == []
    assert again.report.parts == first.report.parts


def test_another_conversion_is_made_without_training_again(stage: Stage) -> None:
    """What does not change the trained weights may be told anew."""
    stage.run()

    found = stage.run(resume=True, convert=ConvertRecipe(target="float32"))

    assert stage.done == ["convert float32", "score model"]
    assert RunFolder.open(found.folder).recipe.convert.target == "float32"


def test_int8_that_fails_parity_is_followed_by_float32(stage: Stage) -> None:
    """What is served needs no torch; the run ends well, and says what was refused, in the card too."""
    stage.refused = ("int8",)

    found = stage.run()

    assert stage.done[3:5] == ["convert int8", "convert float32"]
    assert found.served.name == "model"
    assert found.record["steps"]["convert"]["target"] == "float32"
    assert found.record["steps"]["convert"]["refused"] == "Failed: too far."
    assert "the int8 model is not kept" in stage.told[-1]
    assert "the int8 model is not kept" in (found.folder / "README.md").read_text()


def test_where_nothing_can_be_converted_the_trained_weights_are_served(stage: Stage) -> None:
    """An older converted model is taken away, because it would be served instead."""
    stage.run()
    stage.refused = ("int8", "float32")

    found = stage.run(resume=True, convert=ConvertRecipe(target="float32"))

    assert found.served.name == "best"
    assert not (found.folder / "model").exists()
    assert (found.served / CALIBRATION).is_file()


def test_a_model_that_fails_its_check_ends_the_run_well(stage: Stage) -> None:
    """Hours of training are not lost to a canary; the note says what is wrong."""
    stage.fails["convert int8"] = ModelCheckError("it scores unlikeness", check="order")

    found = stage.run()

    assert found.served.name == "best"
    assert any("it scores unlikeness" in note for note in stage.told)


def test_nothing_is_converted_where_the_recipe_says_so(stage: Stage) -> None:
    """The float32 weights are the result, and are measured once."""
    found = stage.run(convert=ConvertRecipe(enabled=False))

    assert stage.done == ["base", "score small", "train", "score best"]
    assert found.served.name == "best"


def test_changed_data_does_not_go_on_with_a_run(stage: Stage) -> None:
    """The weights would be of neither data."""
    stage.fails["train"] = TrainingError("nan")
    with pytest.raises(TrainingError):
        stage.run()
    path = Path(stage.recipe.data.train)
    path.write_text(path.read_text() + "one more,row of it,1\n")

    with pytest.raises(SettingError, match="data has changed since"):
        stage.run(resume=True)


def test_a_picture_is_drawn_of_a_run_that_failed(stage: Stage) -> None:
    """Where a loss became NaN, the way there is worth seeing."""
    stage.fails["score best"] = TrainingError("nan")
    with pytest.raises(TrainingError):
        stage.run(convert=ConvertRecipe(enabled=False))

    assert (Path(str(stage.recipe.output)) / "curves.png").is_file()


def test_a_base_of_another_head_is_not_measured_before(stage: Stage, tmp_path: Path) -> None:
    """Nothing can be compared, and the report says so."""
    rows = ["premise,hypothesis,label"]
    for number in range(NUM_QUERIES):
        label = ("entailment", "neutral", "contradiction")[number % 3]
        rows.append(f"a man {number} walks,somebody {number} moves,{label}")
    (tmp_path / "nli.csv").write_text("\n".join(rows))
    stage.fails["train"] = TrainingError("enough")

    with pytest.raises(TrainingError, match="enough"):
        stage.run(data=DataRecipe(train=str(tmp_path / "nli.csv"), dev_fraction=0.4))

    assert stage.done == ["base", "train"]


def test_without_the_extra_nothing_is_begun(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message says what to install."""
    monkeypatch.setattr(run, "has_trainer", lambda: False)

    with pytest.raises(MissingExtraError, match=r"pairscore\[train\]"):
        stage.run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("train", "base", "name"),
    [
        ("pairs.csv", "ms-marco-minilm-l12", "pairs-ms-marco-minilm-l12"),
        ("stsb/train.tsv", "org/model-x", "stsb-model-x"),
        ("my pairs.csv", "/models/base/", "my-pairs-base"),
    ],
)
def test_a_run_without_a_name_gets_one(train: str, base: str, name: str) -> None:
    """After its data and its base, so that --resume finds it again."""
    recipe = Recipe(base=base, data=DataRecipe(train=train))

    assert default_output(recipe) == Path("runs") / name
