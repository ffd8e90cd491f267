"""What a run of training tells whoever listens: a small record for each thing that happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = [
    "Began",
    "Evaluated",
    "Evaluating",
    "Event",
    "Finished",
    "Listener",
    "Saved",
    "Stepped",
    "StoppedTraining",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Began:
    """The first step is about to be made.

    Attributes:
        num_steps: of the whole run.
        step: that it goes on from; 0 for a new run.
        num_rows: that an epoch reads.
        num_pairs: that an epoch reads.
        loss: its name.
        reason: why this loss.
        device: ``cpu`` or ``cuda``.
        precision: ``float32``, ``bf16`` or ``fp16``.
        num_parameters: of the model.
    """

    num_steps: int
    step: int
    num_rows: int
    num_pairs: int
    loss: str
    reason: str
    device: str
    precision: str
    num_parameters: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stepped:
    """A step was made.

    Attributes:
        step: its number, from 1.
        num_steps: of the whole run.
        epoch: passes over the data so far.
        loss: of this step's rows.
        learning_rate: with which it was made.
    """

    step: int
    num_steps: int
    epoch: float
    loss: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluating:
    """Pairs of the dev part were scored.

    Attributes:
        step: after which.
        num_pairs: scored so far.
        num_all: to be scored; known only of the call that is under way.
    """

    step: int
    num_pairs: int
    num_all: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """The dev part was measured.

    Attributes:
        step: after which.
        epoch: passes over the data so far.
        metrics: numbers by name.
        primary: the name of the one that decides; empty without an evaluator.
        is_best: whether it is better than all before.
        num_worse: evaluations since the best.
    """

    step: int
    epoch: float
    metrics: Mapping[str, float] = field(hash=False)
    primary: str
    is_best: bool
    num_worse: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A checkpoint was written, from which the run can go on.

    Attributes:
        step: after which.
        path: its folder.
    """

    step: int
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppedTraining:
    """A signal ended the run before its end; everything until now is kept.

    Attributes:
        step: the last one that was made.
        num_steps: of the whole run.
        message: how to go on.
    """

    step: int
    num_steps: int
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The run is at its end.

    Attributes:
        step: the last one that was made.
        why: ``steps``: all were made; ``patience``: it got no better for as long as the recipe allows.
    """

    step: int
    why: Literal["steps", "patience"]


Event: TypeAlias = Began | Stepped | Evaluating | Evaluated | Saved | StoppedTraining | Finished
Listener: TypeAlias = Callable[[Event], None]
