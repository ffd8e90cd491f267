"""What a run will do, before it does anything: the data counted, the loss chosen, the steps, and how long they may take."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pairscore.training.data import pairs_of
from pairscore.training.datasets import columns_of
from pairscore.training.losses import ChosenLoss, choose_loss
from pairscore.training.recipe import Recipe
from pairscore.training.run_base import lay_down_base
from pairscore.training.run_data import RunData, read_data
from pairscore.training.trainer_state import Schedule

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Estimate", "RunPlan", "estimate", "has_trainer", "plan_run"]

_LIBRARIES: Final = ("torch", "transformers", "sentence_transformers", "datasets", "accelerate")
# The first batch finds its memory and its kernels, and is not timed.
_NUM_TIMED: Final = 3
_LONG_ENOUGH_S: Final = 5.0
# What the library's loss takes from other rows where it is told nothing else.
_NEGATIVES_A_ROW: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunPlan:
    """A run that could begin.

    Attributes:
        recipe: what was asked for.
        data: its parts, read and checked.
        chosen: the loss, with the reason.
        num_rows: rows that an epoch reads, each order of a pair counted where it is read in both.
        schedule: steps and evaluations.
    """

    recipe: Recipe
    data: RunData
    chosen: ChosenLoss
    num_rows: int
    schedule: Schedule

    @property
    def num_evaluations(self) -> int:
        """Evaluations of a run that is not stopped early."""
        every = self.schedule.evaluate_every or self.schedule.steps_an_epoch
        return -(-self.schedule.num_steps // every)

    @property
    def pairs_a_row(self) -> float:
        """Pairs that the model reads for a row, on average."""
        own = self.data.train.num_pairs / len(self.data.train)
        if self.chosen.rows in ("pairs", "classes", "positives"):
            own = self.data.train.num_pairs / self.num_rows * (1 + self.recipe.symmetric)
        return own + (_NEGATIVES_A_ROW if self.chosen.name == "multiple_negatives" else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """How long a run may take on this machine, from a few of its steps.

    Attributes:
        seconds: of training and evaluating on the dev part; measuring before and after, and converting, come on top.
        seconds_a_step: of training.
        device: ``cpu`` or ``cuda``.
    """

    seconds: float
    seconds_a_step: float
    device: str


def has_trainer() -> bool:
    """Whether the extra is installed; nothing is imported."""
    return all(find_spec(name) is not None for name in _LIBRARIES)


def plan_run(recipe: Recipe) -> RunPlan:
    """Read the data, choose the loss and count the steps; needs neither torch nor the base model.

    Raises:
        DataFileError, EmptyInputError, InputFileError: as `pairscore.training.run_data.read_data`.
        SettingError: the data does not feed the loss, or does not fit the task.
    """
    data = read_data(recipe)
    chosen = choose_loss(data.train, recipe.task, asked=recipe.loss, symmetric=recipe.symmetric)
    columns = columns_of(data.split.train, chosen, symmetric=recipe.symmetric)
    num_rows = len(next(iter(columns.values())))
    schedule = Schedule.of(
        num_rows=num_rows,
        batch_size=recipe.batch_size,
        num_epochs=recipe.num_epochs,
        max_steps=recipe.max_steps,
        evaluate_every=recipe.evaluate_every,
        patience=recipe.patience,
    )
    return RunPlan(recipe=recipe, data=data, chosen=chosen, num_rows=num_rows, schedule=schedule)


def estimate(plan: RunPlan) -> Estimate | None:
    """Time a few steps on rows of the data, with a copy of the base model that is thrown away.

    Returns:
        None where the extra `train` is not installed.

    Raises:
        ModelError: the base model cannot be used.
    """
    if not has_trainer():
        return None
    # Here, because torch and transformers take seconds to load.
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    from pairscore.training.trainer_loop import quiet

    with quiet(), tempfile.TemporaryDirectory(prefix="pairscore-base-") as scratch:
        base = lay_down_base(plan.recipe, Path(scratch) / "base")
        tokenizer = AutoTokenizer.from_pretrained(base.folder, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(
            base.folder,
            num_labels=plan.chosen.num_labels,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            dtype=torch.float32,
        ).to(device)
        inputs = [_inputs(plan, tokenizer, part).to(device) for part in _batches(plan)]
    training_s, scoring_s = _timed(model, inputs)
    a_step = training_s * plan.pairs_a_row * min(plan.recipe.batch_size, plan.num_rows)
    evaluating = plan.num_evaluations * plan.data.dev.num_pairs * scoring_s
    return Estimate(
        seconds=a_step * plan.schedule.num_steps + evaluating, seconds_a_step=a_step, device=device
    )


def _batches(plan: RunPlan) -> list[list[tuple[str, str]]]:
    """Some batches of pairs, drawn from all over the data."""
    size = plan.recipe.batch_size
    rows = plan.data.train.rows
    num_rows = min(len(rows), (1 + _NUM_TIMED) * size)
    drawn = random.Random(plan.recipe.seed).sample(range(len(rows)), num_rows)  # noqa: S311 - no secret
    pairs = [pair for place in drawn for pair in pairs_of(rows[place])][: (1 + _NUM_TIMED) * size]
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def _inputs(
    plan: RunPlan, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> Any:
    return tokenizer(
        [query for query, _ in pairs],
        [document for _, document in pairs],
        padding=True,
        truncation=True,
        max_length=plan.recipe.max_length,
        return_tensors="pt",
    )


def _timed(model: PreTrainedModel, inputs: Sequence[Any]) -> tuple[float, float]:
    """Seconds a pair of training, and of only scoring: batches until there are enough or it took long enough."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def train(part: Any) -> None:
        loss = model(**part).logits.float().pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for a GPU

    def score(part: Any) -> None:
        with torch.no_grad():
            model(**part).logits.sum().item()

    seconds = []
    for mode, work in ((True, train), (False, score)):
        model.train(mode)
        began = time.perf_counter()
        num_pairs = 0
        for number, part in enumerate(inputs):
            work(part)
            num_pairs += len(part["input_ids"])
            if number == 0 and len(inputs) > 1:
                began, num_pairs = time.perf_counter(), 0
            elif time.perf_counter() - began > _LONG_ENOUGH_S:
                break
        seconds.append((time.perf_counter() - began) / num_pairs)
    return seconds[0], seconds[1]
