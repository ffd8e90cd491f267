"""What a run of training is told: one frozen record, which a TOML file and the command line's flags fill."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from pairscore.errors import SettingError
from pairscore.training.data import DataKind, LabelKind

__all__ = [
    "ConvertRecipe",
    "ConvertTarget",
    "DataRecipe",
    "Precision",
    "Recipe",
    "Task",
]

Task: TypeAlias = Literal["relevance", "similarity", "duplicate", "nli"]
Precision: TypeAlias = Literal["auto", "float32", "bf16", "fp16"]
ConvertTarget: TypeAlias = Literal["int8", "float32"]

_MAX_SEED: Final = 2**32 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRecipe:
    """Which files a run reads. Paths are relative to the working folder, as on the command line.

    Attributes:
        train: labelled pairs, triplets or lists: .csv, .tsv, .jsonl, .parquet, or a BEIR folder.
        dev: what the best checkpoint is chosen by; None holds out a part of `train`.
        dev_fraction: of the queries in `train`, held out where there is no `dev`.
        test: measured before and after, never while training; None measures on the dev part.
        guard: labelled data of the base model's old work, so that forgetting shows; None takes the package's own.
        kind: what a row is; None reads it off the columns.
        labels: what the labels are; None reads it off their values.
        split: of a BEIR folder, whose judgements are read for `train` (``train`` where there are any).
        query_column: the first text's column, where it has an unusual name.
        document_column: the second text's column; of triplets the positive's.
        negative_column: of triplets, the negative's column.
        label_column: the label's column; of triplets the margin's.
        label_names: what the classes are called, in the order of their numbers, where they are not those of NLI.
        max_label: the end of the scale of grades; None takes the greatest label, rounded up.
        drop_leaks: leave rows out of training that dev or test hold too; without it they are only reported.
    """

    train: str = ""
    dev: str | None = None
    dev_fraction: float = 0.1
    test: str | None = None
    guard: str | None = None
    kind: DataKind | None = None
    labels: LabelKind | None = None
    split: str | None = None
    query_column: str | None = None
    document_column: str | None = None
    negative_column: str | None = None
    label_column: str | None = None
    label_names: tuple[str, ...] = ()
    max_label: float | None = None
    drop_leaks: bool = False

    def __post_init__(self) -> None:
        if not self.train:
            raise SettingError("no training data: give data.train in the recipe, or --train FILE")
        if not 0.0 < self.dev_fraction < 1.0:
            raise SettingError(
                f"data.dev_fraction is {self.dev_fraction}; it must lie between 0 and 1, such as 0.1"
            )
        _check_known("data.kind", self.kind, get_args(DataKind))
        _check_known("data.labels", self.labels, get_args(LabelKind))


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertRecipe:
    """How the best checkpoint becomes the model that is served.

    Attributes:
        enabled: False leaves the float32 safetensors as the result.
        target: the numbers of the converted weights.
        accept: keep it even where it fails a threshold of parity; the report says so.
    """

    enabled: bool = True
    target: ConvertTarget = "int8"
    accept: bool = False

    def __post_init__(self) -> None:
        _check_known("convert.target", self.target, get_args(ConvertTarget))


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides a run; the same recipe, data and machine give the same weights.

    Attributes:
        base: the model to begin with: a folder, a hub id, or a bundled model's name.
        task: what a score shall say; None reads it off the data.
        data: the files.
        loss: by name; None chooses by task and data, and says why.
        num_epochs: passes over the training data.
        max_steps: an end before the last epoch's; None has none.
        batch_size: rows a step.
        learning_rate: the highest, reached after the warm-up; it falls linearly to 0 at the end.
        warmup_ratio: part of the steps in which the learning rate rises.
        weight_decay: AdamW's.
        max_length: tokens a pair may have, special ones included; None takes the base model's.
        seed: of the split, the order, dropout and new weights.
        precision: ``auto`` takes bf16 on a GPU that has it and float32 elsewhere.
        evaluate_every: steps between two evaluations on the dev part; None evaluates once an epoch.
        patience: evaluations without a better one after which training stops; None (in a file 0) never stops early.
        symmetric: read each pair in both orders, for tasks where order means nothing.
        tracker: where metrics go besides the run folder, such as ``tensorboard``; None sends nothing.
        output: the run folder; None makes one under ``runs/``.
        num_layers: keep so many of the base model's layers, evenly spread; None keeps all.
        calibrate: fit probabilities on the dev part where labels are binary.
        convert: the way to serving.
    """

    base: str = "ms-marco-minilm-l12"
    task: Task | None = None
    loss: str | None = None
    num_epochs: int = 3
    max_steps: int | None = None
    batch_size: int = 16
    learning_rate: float = 3e-5
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_length: int | None = None
    seed: int = 42
    precision: Precision = "auto"
    evaluate_every: int | None = None
    patience: int | None = 3
    symmetric: bool = False
    tracker: str | None = None
    output: str | None = None
    num_layers: int | None = None
    calibrate: bool = True
    data: DataRecipe
    convert: ConvertRecipe = field(default_factory=ConvertRecipe)

    def __post_init__(self) -> None:
        if not self.base:
            raise SettingError("base is empty; give a folder, a hub id or a bundled model's name")
        _check_known("task", self.task, get_args(Task))
        _check_known("precision", self.precision, get_args(Precision))
        for name in ("num_epochs", "batch_size"):
            _check_least(name, getattr(self, name), 1)
        for name in ("max_steps", "evaluate_every", "patience", "num_layers"):
            _check_least(name, getattr(self, name), 1)
        # Two texts and the special tokens between them.
        _check_least("max_length", self.max_length, 8)
        if not (math.isfinite(self.learning_rate) and 0.0 < self.learning_rate <= 1.0):
            raise SettingError(
                f"learning_rate is {self.learning_rate}; it must lie between 0 and 1, such as 3e-5"
            )
        if not 0.0 <= self.warmup_ratio < 1.0:
            raise SettingError(
                f"warmup_ratio is {self.warmup_ratio}; it must be in 0 to 1, below 1"
            )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0.0):
            raise SettingError(f"weight_decay is {self.weight_decay}; it must be 0 or more")
        if not 0 <= self.seed <= _MAX_SEED:
            raise SettingError(f"seed is {self.seed}; it must be in 0 to {_MAX_SEED:,}")

    @property
    def data_files(self) -> dict[str, Path]:
        """The files that the recipe names, by their part: train, dev, test, guard."""
        named = {
            "train": self.data.train,
            "dev": self.data.dev,
            "test": self.data.test,
            "guard": self.data.guard,
        }
        return {part: Path(name) for part, name in named.items() if name is not None}


def _check_known(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise SettingError(f"{name} is {value!r}; known are {', '.join(map(repr, known))}")


def _check_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise SettingError(f"{name} is {value}; it must be at least {least}")
