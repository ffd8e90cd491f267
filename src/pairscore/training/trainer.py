"""Train a cross-encoder: one call makes a whole run, or goes on with one that was killed.

The loop is sentence-transformers' `CrossEncoderTrainer`. Resumed on the same machine, on the CPU and with as many
threads, a run ends with the same weights, byte for byte, as one that was never stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from pairscore.errors import MissingExtraError, OutOfMemoryError
from pairscore.training.data import TrainingData, scaled
from pairscore.training.datasets import Columns, columns_of, lengths_of, to_dataset
from pairscore.training.evaluators import Evaluator
from pairscore.training.losses import ChosenLoss, build_loss, choose_loss
from pairscore.training.recipe import Precision, Recipe
from pairscore.training.run_base import prepare_base
from pairscore.training.run_folder import RunFolder
from pairscore.training.trainer_checkpoints import Checkpoints, restore_place
from pairscore.training.trainer_events import Began, Finished, Listener, StoppedTraining
from pairscore.training.trainer_order import Texts, distinct_texts
from pairscore.training.trainer_signals import StoppedBySignal, StopRequest
from pairscore.training.trainer_state import RunState, Schedule, read_state
from pairscore.training.trainer_tracking import tracked

if TYPE_CHECKING:
    from pairscore.training.callbacks import Keeper
    from pairscore.training.trainer_loop import Loop

__all__ = ["HasTrain", "TrainResult", "WrapLoss", "train"]

WrapLoss: TypeAlias = Callable[[Any, Any], Any]
"""Given a loss module and the transformers model that is trained, the loss module that takes its place."""


class HasTrain(Protocol):
    """A split of data, of which the trainer reads one part; the evaluator has the other."""

    @property
    def train(self) -> TrainingData:
        """What is learnt from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a run came to.

    Attributes:
        best: the folder of the best weights, float32 safetensors.
        best_step: after which they were saved.
        primary: the metric that chose them; None without an evaluator.
        metrics: all metrics of the best weights.
        num_steps: that were made.
        max_steps: that the recipe asked for.
        num_epochs: passes over the data that were made.
        why: ``steps``: all were made; ``patience``: it got no better for as long as the recipe allows.
        loss: which one, and why.
        train_loss: mean of the last steps.
        seconds: of training, over all sittings.
        device: ``cpu`` or ``cuda``.
        precision: ``float32``, ``bf16`` or ``fp16``.
        resumed_from: the step that this sitting went on from; None if it began the run.
    """

    best: Path
    best_step: int
    primary: str | None
    metrics: Mapping[str, float] = field(hash=False)
    num_steps: int
    max_steps: int
    num_epochs: float
    why: Literal["steps", "patience"]
    loss: ChosenLoss
    train_loss: float | None
    seconds: float
    device: str
    precision: Precision
    resumed_from: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """All that is decided before the first step."""

    recipe: Recipe
    folder: RunFolder
    chosen: ChosenLoss
    columns: Columns
    num_pairs: int
    schedule: Schedule
    device: str
    precision: Precision
    checkpoint: Path | None
    state: RunState

    @property
    def num_rows(self) -> int:
        return len(self.columns["query"])

    @property
    def apart(self) -> Texts | None:
        """Other rows' documents are wrong ones for a query, so its own must not be among them."""
        if self.chosen.name != "multiple_negatives":
            return None
        return distinct_texts(list(self.columns.values()))


def train(  # noqa: PLR0913 - what a run consists of
    recipe: Recipe,
    data: HasTrain,
    *,
    evaluator: Evaluator | None,
    folder: RunFolder,
    resume: bool,
    listen: Listener,
    base: Path | None = None,
    wrap_loss: WrapLoss | None = None,
) -> TrainResult:
    """Train until the recipe's last step, or until the evaluator's primary metric gets no better.

    The best weights lie in ``best/`` at any time after the first evaluation. Checkpoints are written after each
    evaluation, every five minutes and when a signal comes. The caller holds the folder's lock.

    Args:
        recipe: what the run is told.
        data: its `train` part is learnt from; grades are brought to 0..1 where the loss needs it.
        evaluator: measures the dev part; None evaluates nothing, and the last weights are the best.
        folder: the run's.
        resume: go on from the last checkpoint, from the beginning where there is none; without it, checkpoints
            and best weights that are there are dropped.
        listen: is told what happens; nothing is printed.
        base: the base model as float32 safetensors; None makes it of `recipe.base` (`run_base.prepare_base`).
        wrap_loss: puts a loss of its own around the recipe's.

    Raises:
        StoppedBySignal: Ctrl-C or SIGTERM; it is a KeyboardInterrupt, and a checkpoint was written before.
        TrainingError: the loss, a gradient or a score is no number any more, or a checkpoint is broken.
        SettingError: the loss does not fit the data, the precision the machine, or the length the model.
        OutputFileError: no room for a checkpoint; those before stay.
        OutOfMemoryError: a batch does not fit into the GPU.
        MissingExtraError: a library of the extra `train` is not installed.
        ModelError: the base cannot be used.
    """
    _check_libraries()
    # Here, because it brings torch.
    from pairscore.training.trainer_loop import quiet

    with quiet(), StopRequest() as stop, tracked(recipe.tracker, folder, listen) as told:
        plan = _planned(recipe, data.train, folder, resume=resume)
        if plan.state.why is not None:
            return _result(plan, plan.state, evaluator)
        keeper = _keeper(plan, evaluator, told, stop, base=base)
        state = _run(plan, keeper, wrap_loss)
        if state.why is None or stop:
            raise _stopped(plan, state, stop, told)
        told(Finished(step=state.step, why=state.why))
        return _result(plan, state, evaluator)


def _check_libraries() -> None:
    try:
        import accelerate  # noqa: F401 - whether it is there
        import datasets  # noqa: F401 - the same
        import sentence_transformers  # noqa: F401 - the same
    except ImportError as error:
        raise MissingExtraError(feature="training a model", extra="train") from error


def _planned(recipe: Recipe, data: TrainingData, folder: RunFolder, *, resume: bool) -> _Plan:
    from pairscore.training.trainer_loop import device_of, precision_of

    precision = precision_of(recipe.precision)
    chosen = choose_loss(data, recipe.task, asked=recipe.loss, symmetric=recipe.symmetric)
    # LambdaLoss and ListNet read the grades themselves: a grade's gain grows faster than the grade.
    fed = scaled(data) if chosen.rows == "pairs" else data
    columns = columns_of(fed, chosen, symmetric=recipe.symmetric)
    checkpoint = _checkpoint(folder, resume=resume)
    state = RunState() if checkpoint is None else read_state(checkpoint)
    folder.cut_metrics(after_step=state.step)
    return _Plan(
        recipe=recipe,
        folder=folder,
        chosen=chosen,
        columns=columns,
        num_pairs=fed.num_pairs * (2 if recipe.symmetric else 1),
        schedule=Schedule.of(
            num_rows=len(columns["query"]),
            batch_size=recipe.batch_size,
            num_epochs=recipe.num_epochs,
            max_steps=recipe.max_steps,
            evaluate_every=recipe.evaluate_every,
            patience=recipe.patience,
        ),
        device=device_of(),
        precision=precision,
        checkpoint=checkpoint,
        state=state,
    )


def _checkpoint(folder: RunFolder, *, resume: bool) -> Path | None:
    """The checkpoint to go on from, after what a kill left half done was tidied up."""
    checkpoints = Checkpoints(folder.checkpoints)
    checkpoints.clean()
    restore_place(folder.best)
    if resume:
        return checkpoints.last()
    checkpoints.drop()
    shutil.rmtree(folder.best, ignore_errors=True)
    return None


def _keeper(
    plan: _Plan,
    evaluator: Evaluator | None,
    listen: Listener,
    stop: StopRequest,
    *,
    base: Path | None,
) -> Keeper:
    """The model, opened, and who looks after it. The seed is set first, because a new head is drawn by it."""
    from transformers import set_seed

    from pairscore.training.callbacks import Keeper
    from pairscore.training.trainer_model import open_checkpoint, open_model

    set_seed(plan.recipe.seed)
    if plan.checkpoint is None:
        place = Path(prepare_base(plan.recipe, plan.folder).folder) if base is None else base
        model = open_model(
            place, plan.chosen, max_length=plan.recipe.max_length, device=plan.device
        )
    else:
        model = open_checkpoint(plan.checkpoint, device=plan.device)
    return Keeper(
        model=model,
        folder=plan.folder,
        schedule=plan.schedule,
        evaluator=evaluator,
        listen=listen,
        stop=stop,
        state=plan.state,
        batch_size=plan.recipe.batch_size,
    )


def _run(plan: _Plan, keeper: Keeper, wrap_loss: WrapLoss | None) -> RunState:
    """Make the steps that are left; the state at the end."""
    import torch

    loop = _loop(plan, keeper, wrap_loss)
    keeper.listen(
        Began(
            num_steps=plan.schedule.num_steps,
            step=plan.state.step,
            num_rows=plan.num_rows,
            num_pairs=plan.num_pairs,
            loss=plan.chosen.name,
            reason=plan.chosen.reason,
            device=plan.device,
            precision=plan.precision,
            num_parameters=sum(item.numel() for item in keeper.model.parameters()),
        )
    )
    if keeper.owes_evaluation:
        keeper.evaluate()
    if keeper.state.why is not None or keeper.stop:
        return keeper.now()
    try:
        loop.train(resume_from_checkpoint=None if plan.checkpoint is None else str(plan.checkpoint))
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"a batch of {plan.recipe.batch_size} does not fit into the GPU's memory after step {keeper.state.step}; "
            "lower batch_size or max_length"
        ) from error
    return keeper.now()


def _loop(plan: _Plan, keeper: Keeper, wrap_loss: WrapLoss | None) -> Loop:
    from pairscore.training.trainer_loop import Loop, arguments

    loss = build_loss(plan.chosen, keeper.model)
    if wrap_loss is not None:
        loss = wrap_loss(loss, keeper.model.model)
    return Loop(
        keeper,
        args=arguments(
            plan.recipe,
            plan.schedule,
            folder=plan.folder.checkpoints,
            apart=plan.apart,
            lengths=lengths_of(plan.columns),
            precision=plan.precision,
        ),
        train_dataset=to_dataset(plan.columns),
        loss=loss,
    )


def _stopped(plan: _Plan, state: RunState, stop: StopRequest, listen: Listener) -> StoppedBySignal:
    kept = Checkpoints(plan.folder.checkpoints).last()
    message = (
        f"stopped after step {state.step:,} of {plan.schedule.num_steps:,}; "
        f"{kept.name if kept else 'nothing'} is kept, and the same command with --resume goes on from there"
    )
    listen(StoppedTraining(step=state.step, num_steps=plan.schedule.num_steps, message=message))
    return StoppedBySignal(message, number=stop.number or 0)


def _result(plan: _Plan, state: RunState, evaluator: Evaluator | None) -> TrainResult:
    return TrainResult(
        best=plan.folder.best,
        best_step=state.best_step,
        primary=None if evaluator is None else evaluator.primary,
        metrics=dict(state.best_metrics),
        num_steps=state.step,
        max_steps=plan.schedule.num_steps,
        num_epochs=state.step / plan.schedule.steps_an_epoch,
        why=state.why or "steps",
        loss=plan.chosen,
        train_loss=state.train_loss,
        seconds=state.seconds,
        device=plan.device,
        precision=plan.precision,
        resumed_from=None if plan.checkpoint is None else plan.state.step,
    )
