"""Small runs of training for the tests: seeded data of every kind, and a run that is started and killed as a process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.small_models import LABELS

from pairscore.training.data import (
    DataKind,
    LabelKind,
    LabelledPair,
    RankedList,
    TrainingData,
    Triplet,
    training_data,
)
from pairscore.training.evaluators import Evaluator
from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.run_folder import RunFolder
from pairscore.training.trainer_events import Event, Stepped

__all__ = [
    "NUM_STEPS",
    "Heard",
    "Held",
    "data_of",
    "folder_of",
    "killed",
    "recipe_of",
    "train_in",
    "weights",
]

ROOT = Path(__file__).parents[2]
NUM_STEPS = 14
_WORDS = (
    *("berlin", "people", "city", "museums", "many", "lazy", "dog"),
    *("quick", "fox", "jumps", "sky", "blue", "light", "red"),
)
_LISTED = 4


@dataclass
class Heard:
    """Writes down what a run tells, and does something at a step."""

    at_step: int = 0
    do: Callable[[], Any] = lambda: None
    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Stepped) and event.step == self.at_step:
            self.do()

    def of(self, kind: type) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


@dataclass(frozen=True)
class Parts:
    """What the trainer reads of a split."""

    train: TrainingData


@dataclass
class Held:
    """An evaluator whose values are told beforehand; it scores two pairs each time."""

    values: list[float]
    name: str = "held"
    primary: str = "quality"
    scores: list[Any] = field(default_factory=list)

    def evaluate(self, scorer: Any) -> dict[str, float]:
        self.scores.append(scorer([("berlin", "city"), ("dog", "the quick fox jumps")]))
        return {"quality": self.values[len(self.scores) - 1], "other": 0.5}


class Margin:
    """An evaluator that reads its value off the model: by how much the first pair is above the second."""

    name = "margin"
    primary = "margin"

    def evaluate(self, scorer: Any) -> dict[str, float]:
        first, second = scorer([("berlin", "city"), ("dog", "the quick fox jumps")])
        return {"margin": float((first - second).max())}


def data_of(kind: DataKind, labels: LabelKind, *, num_rows: int = 28) -> TrainingData:
    """Rows of that kind with labels of that kind, the same each time."""
    rng = random.Random(f"{kind} {labels}")

    def text(length: int) -> str:
        return " ".join(rng.sample(_WORDS, length))

    def label() -> float:
        if labels == "teacher":
            return rng.uniform(-5.0, 5.0)
        return float(rng.randrange({"binary": 2, "graded": 5, "classes": 3, "none": 1}[labels]))

    makers: dict[str, Callable[[str], Any]] = {
        "pairs": lambda place: LabelledPair(
            query=text(4), document=text(6), label=label(), place=place
        ),
        "triplets": lambda place: Triplet(
            query=text(4),
            positive=text(6),
            negative=text(5),
            margin=label() if labels == "teacher" else None,
            place=place,
        ),
        "lists": lambda place: RankedList(
            query=text(4),
            documents=tuple(text(5) for _ in range(_LISTED)),
            labels=(1.0, 0.0, *(label() for _ in range(_LISTED - 2))),
            place=place,
        ),
    }
    rows = [makers[kind](f"line {number}") for number in range(num_rows)]
    names = LABELS if labels == "classes" else ()
    return training_data(rows, name="made", kind=kind, labels=labels, label_names=names)


def recipe_of(base: Path, **changed: Any) -> Recipe:
    """Two epochs of seven steps, evaluated after every fourth step."""
    told: dict[str, Any] = {
        "base": str(base),
        "num_epochs": 2,
        "batch_size": 4,
        "evaluate_every": 4,
        "learning_rate": 1e-3,
        "patience": None,
        "data": DataRecipe(train="made"),
    }
    return Recipe(**{**told, **changed})


def folder_of(path: Path, recipe: Recipe) -> RunFolder:
    """The run's folder, made or opened."""
    return RunFolder.open(path) if path.exists() else RunFolder.create(path, recipe)


def train_in(
    path: Path,
    recipe: Recipe,
    data: TrainingData,
    *,
    resume: bool = False,
    evaluator: Evaluator | None = None,
    listen: Heard | None = None,
    base: Path | None = None,
) -> Any:
    """Train in a folder; by default the evaluator is `Margin`, and the base is the recipe's folder."""
    from pairscore.training.trainer import train

    return train(
        recipe,
        Parts(train=data),
        evaluator=evaluator or Margin(),
        folder=folder_of(path, recipe),
        resume=resume,
        listen=listen or Heard(),
        base=base or Path(recipe.base),
    )


@contextmanager
def single_thread() -> Iterator[None]:
    """A block in which torch uses one thread; weights are the same byte for byte only with as many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def weights(path: Path) -> bytes:
    """The bytes of the weights in a folder."""
    return (path / "model.safetensors").read_bytes()


def killed(base: Path, run: Path, *, when: str) -> subprocess.Popen[bytes]:
    """Start a run as a process of its own that kills itself: at ``step-N``, or while it saves at ``save-N``."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.oracle.trainer_runs", str(base), str(run), when],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _main(base: str, run: str, when: str) -> None:
    kind, _, step = when.partition("-")
    listen = Heard()
    if kind == "step":
        listen = Heard(at_step=int(step), do=_kill)
    else:
        from pairscore.training.trainer_state import RunState

        write = RunState.write

        def dying(state: RunState, folder: Path) -> None:
            if state.step == int(step):
                _kill()
            write(state, folder)

        RunState.write = dying  # type: ignore[method-assign]
    with single_thread():
        train_in(Path(run), recipe_of(Path(base)), data_of("pairs", "graded"), listen=listen)


if __name__ == "__main__":
    _main(*sys.argv[1:])
