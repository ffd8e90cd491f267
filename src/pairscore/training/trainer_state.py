"""Where a run of training stands: kept beside each checkpoint, so that a resumed run decides as it would have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from pairscore.errors import TrainingError

__all__ = ["STATE_FILE", "RunState", "Schedule", "read_state"]

STATE_FILE: Final = "pairscore_state.json"
"""What a checkpoint's folder holds beside transformers' own files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """What has been measured so far, and what follows from it.

    Attributes:
        step: the last one that was made.
        best_step: after which the best weights were saved; 0 before the first evaluation.
        best_value: of the primary metric there; None without an evaluator.
        best_metrics: all metrics there.
        num_worse: evaluations since the best.
        evaluated_step: after which the last evaluation was made.
        losses: of the steps since the last line of metrics.
        train_loss: mean of the last line of metrics; None before it.
        seconds: of training, over all sittings.
        why: how the run ended; None while it goes on.
    """

    step: int = 0
    best_step: int = 0
    best_value: float | None = None
    best_metrics: Mapping[str, float] = field(default_factory=dict, hash=False)
    num_worse: int = 0
    evaluated_step: int = 0
    losses: tuple[float, ...] = ()
    train_loss: float | None = None
    seconds: float = 0.0
    why: Literal["steps", "patience"] | None = None

    def stepped(self, step: int, loss: float) -> RunState:
        """After a step."""
        return replace(self, step=step, losses=(*self.losses, loss))

    def summed(self) -> RunState:
        """After a line of metrics was made of the losses."""
        return replace(self, losses=(), train_loss=math.fsum(self.losses) / len(self.losses))

    def evaluated(self, metrics: Mapping[str, float], *, primary: str | None) -> RunState:
        """After an evaluation; a value is better if it is greater, and the first of equal ones stays the best.

        Args:
            metrics: numbers by name.
            primary: the name of the one that decides; None: the last is the best.

        Raises:
            TrainingError: the primary metric is NaN, or not among them.
        """
        value = None if primary is None else metrics.get(primary, math.nan)
        if value is not None and math.isnan(value):
            raise TrainingError(
                f"the metric {primary!r}, which chooses the best checkpoint, is not a number after step {self.step}; "
                "give a dev part on which it can be measured (labels that differ)"
            )
        if value is not None and self.best_value is not None and value <= self.best_value:
            return replace(self, evaluated_step=self.step, num_worse=self.num_worse + 1)
        return replace(
            self,
            evaluated_step=self.step,
            num_worse=0,
            best_step=self.step,
            best_value=value,
            best_metrics=dict(metrics),
        )

    def write(self, folder: Path) -> None:
        """Write it into a checkpoint's folder."""
        text = json.dumps(asdict(self), indent=2)
        (folder / STATE_FILE).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a run evaluates and ends.

    Attributes:
        num_steps: of the whole run.
        steps_an_epoch: of one pass over the data.
        evaluate_every: steps between two evaluations; None: once an epoch.
        patience: evaluations without a better one after which it ends; None: never.
        log_every: steps that one line of metrics sums up.
    """

    num_steps: int
    steps_an_epoch: int
    evaluate_every: int | None
    patience: int | None
    log_every: int

    @classmethod
    def of(  # noqa: PLR0913 - what a recipe says of it
        cls,
        *,
        num_rows: int,
        batch_size: int,
        num_epochs: int,
        max_steps: int | None,
        evaluate_every: int | None,
        patience: int | None,
    ) -> Schedule:
        """The schedule of so many rows; about a hundred lines of metrics a run."""
        steps_an_epoch = -(-num_rows // batch_size)
        num_steps = steps_an_epoch * num_epochs
        num_steps = num_steps if max_steps is None else min(num_steps, max_steps)
        return cls(
            num_steps=num_steps,
            steps_an_epoch=steps_an_epoch,
            evaluate_every=evaluate_every,
            patience=patience,
            log_every=max(1, num_steps // 100),
        )

    def evaluates_after(self, step: int) -> bool:
        """Whether a step is followed by an evaluation; the last one always is."""
        every = self.evaluate_every or self.steps_an_epoch
        return step % every == 0 or step >= self.num_steps

    def logs_after(self, step: int) -> bool:
        """Whether a step is followed by a line of metrics; one that is evaluated always is."""
        return step % self.log_every == 0 or self.evaluates_after(step)

    def ended(self, state: RunState) -> Literal["steps", "patience"] | None:
        """Whether a run is at its end, and why."""
        if state.step >= self.num_steps:
            return "steps"
        if self.patience is not None and state.num_worse >= self.patience:
            return "patience"
        return None


def read_state(folder: Path) -> RunState:
    """Read the state in a checkpoint's folder.

    Raises:
        TrainingError: it is missing or broken.
    """
    try:
        found: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        found["losses"] = tuple(found["losses"])
        return RunState(**found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"the checkpoint {str(folder)!r} cannot be read ({error}); delete this folder, and --resume goes on from "
            "the one before it"
        ) from error
