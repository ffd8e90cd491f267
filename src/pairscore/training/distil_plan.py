"""What a distillation is told, and what its steps hand on to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pairscore.convert.parity_texts import ParityTexts
from pairscore.errors import SettingError
from pairscore.evaluation.datasets import Judged
from pairscore.models.files import ModelFiles
from pairscore.models.resolve import resolve
from pairscore.training.data import TrainingData
from pairscore.training.distil_data import DistilLoss
from pairscore.training.distil_measure import OpenModel
from pairscore.training.distil_scores import Combine, Pair
from pairscore.training.recipe import Recipe
from pairscore.training.run_folder import RunFolder
from pairscore.training.run_steps import RunListener

__all__ = [
    "Distillation",
    "Done",
    "Judging",
    "Lesson",
    "Run",
    "Teacher",
    "Unseen",
    "follows_states",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Teacher:
    """A model whose logits are learned.

    Attributes:
        files: its files.
        open: loads it, as it is to run.
    """

    files: ModelFiles
    open: OpenModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Judging:
    """A judged collection that teacher and student rerank.

    Attributes:
        folder: BEIR's layout, with a first ranking.
        split: its part; None takes ``test`` where there is one.
        depth: documents of each query that are reranked.
    """

    folder: Path
    split: str | None = None
    depth: int = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Distillation:
    """What is asked for.

    Attributes:
        recipe: how the student trains. Its `data.train` names the pairs, `output` the run folder, and `base` the model
            that the student begins with, or whose layers it gets.
        teachers: at least one; the first one's scale is learned.
        layers: of `recipe.base` that the student keeps; None takes the whole model.
        combine: how several teachers become one target.
        loss: None chooses: logits for pairs, margins for triplets and lists.
        held_out: the part of the queries that is left for the report.
        judging: a judged collection for the report.
        max_report_pairs: held-out pairs that the report scores, at most.
        hidden_states: whether the student's layers are drawn to the states of the model that they were taken from;
            None does it where that is the first teacher.
        work: where the teachers' logits are kept, which several runs may share; None is the run's folder.
        skip_checks: names of load-time checks that are not made of the student.
    """

    recipe: Recipe
    teachers: tuple[Teacher, ...]
    layers: tuple[int, ...] | None = None
    combine: Combine = "standardized"
    loss: DistilLoss | None = None
    held_out: float = 0.05
    judging: Judging | None = None
    max_report_pairs: int = 2000
    hidden_states: bool | None = None
    work: Path | None = None
    skip_checks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.teachers:
            raise SettingError("there is no teacher; give at least one with --teacher NAME")
        if not self.recipe.output:
            raise SettingError("there is no output; name the run's folder with --output DIR")
        if not 0.0 < self.held_out < 1.0:
            raise SettingError(
                f"held_out is {self.held_out}; it must lie between 0 and 1, such as 0.05 for a twentieth"
            )
        if self.max_report_pairs < 1:
            raise SettingError(
                f"max_report_pairs is {self.max_report_pairs}; it must be at least 1"
            )
        if self.hidden_states and self.layers is None:
            raise SettingError(
                "hidden states can be learned by a student that is made of layers; choose them with --num-layers or "
                "--layers, or leave --hidden-states out"
            )


def follows_states(asked: Distillation) -> bool:
    """Whether the student's layers are drawn to the states of the model that they were taken from."""
    if asked.hidden_states is not None or asked.layers is None:
        return bool(asked.hidden_states)
    return resolve(asked.recipe.base).sha256 == asked.teachers[0].files.sha256


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lesson:
    """The pairs with the teachers' logits, in their parts; each row is a pair.

    Attributes:
        loss: what the student is taught by.
        train: what it learns from.
        dev: what the best weights are chosen by.
        held_out: what nothing but the report reads.
        sha256: of the data as it was read.
        num_pairs: that the teachers scored.
        num_truncated: by teacher, pairs of which a text was cut.
    """

    loss: DistilLoss
    train: TrainingData
    dev: TrainingData
    held_out: TrainingData
    sha256: str
    num_pairs: int
    num_truncated: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Unseen:
    """What the student is measured on.

    Attributes:
        texts: held-out pairs, query by query.
        targets: by pair, what the teachers say of it.
        judged: a judged collection; None without one.
    """

    texts: ParityTexts
    targets: Mapping[Pair, float]
    judged: Judged | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        asked: what is asked for.
        folder: the run's.
        listen: who is told.
    """

    asked: Distillation
    folder: RunFolder
    listen: RunListener

    @property
    def begun(self) -> Path:
        """The student as it began, where it was made of layers."""
        return self.folder.path / "student"

    @property
    def hidden_states(self) -> bool:
        """Whether hidden states are learned, as it was decided when the run began."""
        return bool(self.folder.record()["distillation"]["hidden_states"])


class Done:
    """Sums up steps of progress.

    Args:
        scored: told how many are done, and how many there are.
        num_all: how many there are.
    """

    def __init__(self, scored: Callable[[int, int], None], num_all: int) -> None:
        self._scored = scored
        self._num_all = num_all
        self._num_done = 0

    def add(self, num_pairs: int) -> None:
        """So many more are done."""
        self._num_done += num_pairs
        self._scored(self._num_done, self._num_all)
