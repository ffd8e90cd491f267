"""What happens between two steps: losses summed up, the dev part measured, the best weights kept, the end decided.

It is imported late: it brings torch and transformers.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from transformers import TrainerCallback

from pairscore.errors import NonFiniteScoreError, TrainingError
from pairscore.training.evaluators import Evaluator
from pairscore.training.run_folder import RunFolder
from pairscore.training.trainer_checkpoints import Checkpoints, half_of, put_in_place, room_checked
from pairscore.training.trainer_events import Evaluated, Evaluating, Listener, Stepped
from pairscore.training.trainer_model import num_bytes_of, save_model, scores_of
from pairscore.training.trainer_signals import StopRequest
from pairscore.training.trainer_state import RunState, Schedule
from pairscore.values import FloatArray

__all__ = ["Keeper", "KeeperCallback"]

# Between two checkpoints, even where an epoch takes hours.
_SAVE_EVERY_S: Final = 300.0
# Pairs that are scored between two looks at the signals.
_PART: Final = 512


class _EvaluationStopped(Exception):  # noqa: N818 - no error: a signal came, and this evaluation is made later
    """A signal came while the dev part was scored."""


@dataclass(kw_only=True, slots=True, eq=False)
class Keeper:
    """One sitting of a run: its state, and what is done after each step.

    Attributes:
        model: sentence-transformers' cross-encoder.
        folder: the run's.
        schedule: when it is evaluated and ends.
        evaluator: measures the dev part; None: the last weights are the best.
        listen: is told what happens.
        stop: whether a signal came.
        state: where the run stands.
        batch_size: pairs that are scored at once.
        began: when the sitting began.
        saved: when the last checkpoint was written.
    """

    model: Any
    folder: RunFolder
    schedule: Schedule
    evaluator: Evaluator | None
    listen: Listener
    stop: StopRequest
    state: RunState
    batch_size: int
    began: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)

    @property
    def checkpoints(self) -> Checkpoints:
        """Where they lie."""
        return Checkpoints(self.folder.checkpoints)

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self.state.step / self.schedule.steps_an_epoch

    def broken(self, what: str, *, step: int, learning_rate: float) -> TrainingError:
        """The error for a number that is none."""
        last = self.checkpoints.last()
        kept = (
            f"{last.name} is the last good checkpoint" if last else "no checkpoint was written yet"
        )
        best = (
            f", and best/ holds the weights of step {self.state.best_step}"
            if self.state.best_step
            else ""
        )
        return TrainingError(
            f"{what} at step {step:,} of {self.schedule.num_steps:,} (learning rate {learning_rate:.2g}); {kept}{best}. "
            f"Try a lower learning rate, such as {learning_rate / 5:.1g}, a longer warm-up, or precision float32"
        )

    def after_step(self, step: int, *, loss: float, learning_rate: float) -> None:
        """Write down what a step gave; evaluate where the schedule says so."""
        self.state = self.state.stepped(step, loss)
        self.listen(
            Stepped(
                step=step,
                num_steps=self.schedule.num_steps,
                epoch=self.epoch,
                loss=loss,
                learning_rate=learning_rate,
            )
        )
        if self.schedule.logs_after(step):
            self.state = self.state.summed()
            line = {"loss": self.state.train_loss, "learning_rate": learning_rate}
            self.folder.append_metrics({"step": step, "epoch": self.epoch, **line})
        if self.schedule.evaluates_after(step):
            self.evaluate()

    def evaluate(self) -> None:
        """Measure the dev part, and keep the weights if they are the best; a signal puts it off to the next sitting."""
        try:
            metrics = self._measured()
        except _EvaluationStopped:
            return
        primary = None if self.evaluator is None else self.evaluator.primary
        self.state = self.state.evaluated(metrics, primary=primary)
        self.state = replace(self.state, why=self.schedule.ended(self.state))
        if self.evaluator is not None:
            self.folder.append_metrics({"step": self.state.step, "epoch": self.epoch, **metrics})
        is_best = self.state.best_step == self.state.step
        if is_best:
            self._keep_best()
        self.listen(
            Evaluated(
                step=self.state.step,
                epoch=self.epoch,
                metrics=metrics,
                primary=primary or "",
                is_best=is_best,
                num_worse=self.state.num_worse,
            )
        )

    @property
    def owes_evaluation(self) -> bool:
        """Whether the step that was made last should have been evaluated, and a signal came between."""
        step = self.state.step
        return (
            step > 0 and self.schedule.evaluates_after(step) and self.state.evaluated_step != step
        )

    @property
    def wants_checkpoint(self) -> bool:
        """After an evaluation, after a signal, and every few minutes."""
        late = time.monotonic() - self.saved >= _SAVE_EVERY_S
        return late or bool(self.stop) or self.state.evaluated_step == self.state.step

    def note_saved(self) -> None:
        """After a checkpoint was written."""
        self.saved = time.monotonic()

    def now(self) -> RunState:
        """The state as a checkpoint keeps it, with the seconds of this sitting."""
        return replace(self.state, seconds=self.state.seconds + time.monotonic() - self.began)

    def _measured(self) -> dict[str, float]:
        if self.evaluator is None:
            return {}
        try:
            found = self.evaluator.evaluate(self._logits)
        except NonFiniteScoreError as error:
            raise TrainingError(f"after step {self.state.step:,}: {error}") from error
        return {name: float(value) for name, value in found.items()}

    def _logits(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """The scorer that the evaluator calls."""
        parts = []
        for start in range(0, len(pairs), _PART):
            if self.stop:
                raise _EvaluationStopped
            part = pairs[start : start + _PART]
            parts.append(scores_of(self.model, part, batch_size=self.batch_size))
            done = start + len(part)
            self.listen(Evaluating(step=self.state.step, num_pairs=done, num_all=len(pairs)))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _keep_best(self) -> None:
        half = half_of(self.folder.best)
        shutil.rmtree(half, ignore_errors=True)
        what = f"the best weights (step {self.state.step})"
        with room_checked(
            self.folder.path, what, num_bytes=num_bytes_of(self.model), kept=self.checkpoints.last()
        ):
            try:
                save_model(self.model, half)
                put_in_place(self.folder.best)
            finally:
                shutil.rmtree(half, ignore_errors=True)


class KeeperCallback(TrainerCallback):  # type: ignore[misc] # transformers is not there when types are checked
    """Lets a `Keeper` work after each step of transformers' trainer."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.loss = math.nan
        self.learning_rate = math.nan

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """After the optimizer's step."""
        del args, kwargs
        keeper = self.keeper
        keeper.after_step(state.global_step, loss=self.loss, learning_rate=self.learning_rate)
        control.should_save = keeper.wants_checkpoint
        if keeper.state.why is not None or keeper.stop:
            control.should_training_stop = True
        return control
