"""The flags of `pairscore train`: records whose fields stand above the keys of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias

import typer

from pairscore.cli import completion

__all__ = ["BaseOptions", "DataOptions", "HowOptions", "ResultOptions", "overrides"]

_DATA, _MODEL, _HOW, _RESULT = "Data", "Model", "Training", "Result"

Text: TypeAlias = str | None
Number: TypeAlias = float | None
Count: TypeAlias = int | None
Truth: TypeAlias = bool | None


class TaskChoice(StrEnum):
    """What a score shall say."""

    RELEVANCE = "relevance"
    SIMILARITY = "similarity"
    DUPLICATE = "duplicate"
    NLI = "nli"


class KindChoice(StrEnum):
    """What a row is."""

    PAIRS = "pairs"
    TRIPLETS = "triplets"
    LISTS = "lists"


class LabelsChoice(StrEnum):
    """What the labels are."""

    BINARY = "binary"
    GRADED = "graded"
    CLASSES = "classes"
    TEACHER = "teacher"
    NONE = "none"


class PrecisionChoice(StrEnum):
    """In which numbers it trains."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BF16 = "bf16"
    FP16 = "fp16"


class ConvertChoice(StrEnum):
    """The numbers of the model that is served."""

    INT8 = "int8"
    FLOAT32 = "float32"


def _data(text: str, *, metavar: str | None = None, name: str | None = None) -> Any:
    names = () if name is None else (name,)
    return typer.Option(
        *names, metavar=metavar, help=text, rich_help_panel=_DATA, show_default=False
    )


def _how(text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(
        *names, metavar=metavar, help=text, rich_help_panel=_HOW, show_default=False
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """The recipe's table ``data``."""

    train: Annotated[
        Text,
        _data(
            "What to train on: .csv, .tsv, .jsonl, .parquet, or a BEIR folder.",
            metavar="FILE",
        ),
    ] = None
    dev: Annotated[
        Text,
        _data(
            "What the best checkpoint is chosen by. Without it, a part of the queries in --train.",
            metavar="FILE",
        ),
    ] = None
    dev_fraction: Annotated[
        Number, _data("The part of the queries that is held out. Without it, 0.1.")
    ] = None
    test: Annotated[
        Text, _data("Measured before and after, never while training.", metavar="FILE")
    ] = None
    guard: Annotated[
        Text,
        _data(
            "What the model must not forget, measured before and after. Without it, the package's own questions.",
            metavar="FILE",
        ),
    ] = None
    kind: Annotated[KindChoice | None, _data("What a row is. Without it, as the columns say.")] = (
        None
    )
    labels: Annotated[
        LabelsChoice | None, _data("What the labels are. Without it, as their values say.")
    ] = None
    split: Annotated[
        Text, _data("Of a BEIR folder, whose judgements are trained on.", metavar="NAME")
    ] = None
    query_column: Annotated[Text, _data("The column of the first text.", metavar="NAME")] = None
    document_column: Annotated[
        Text, _data("The column of the second text, or the positive's.", metavar="NAME")
    ] = None
    negative_column: Annotated[Text, _data("The column of the negative.", metavar="NAME")] = None
    label_column: Annotated[Text, _data("The column of the label.", metavar="NAME")] = None
    label_names: Annotated[
        tuple[str, ...],
        _data(
            "What a class is called; several times, in the order of their numbers. Without it, NLI's.",
            metavar="NAME",
            name="--label-name",
        ),
    ] = ()
    max_label: Annotated[
        Number, _data("The end of the scale of grades. Without it, the greatest label, rounded up.")
    ] = None
    drop_leaks: Annotated[
        Truth,
        _data(
            "Leave rows out of training that dev or test hold too; without it they are reported.",
            name="--drop-leaks/--keep-leaks",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseOptions:
    """What the run begins with."""

    base: Annotated[
        Text,
        typer.Option(
            "--base",
            "-b",
            metavar="NAME",
            autocompletion=completion.cross_encoders,
            help="The model to begin with: a bundled model's name, a folder or a hub id. Without it, the bundled one.",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None
    task: Annotated[
        TaskChoice | None,
        typer.Option(
            help="What a score shall say. Without it, as the data says.", rich_help_panel=_MODEL
        ),
    ] = None
    num_layers: Annotated[
        Count,
        typer.Option(
            metavar="N",
            help="Keep so many of its layers, evenly spread. Without it, all.",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None
    max_length: Annotated[
        Count,
        typer.Option(
            metavar="TOKENS",
            help="The most tokens a pair may have. Without it, as many as the model can read.",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HowOptions:
    """How it trains."""

    loss: Annotated[Text, _how("By name. Without it, chosen by task and data.", metavar="NAME")] = (
        None
    )
    num_epochs: Annotated[
        Count, _how("Passes over the data. Without it, 3.", "--num-epochs", "--epochs")
    ] = None
    max_steps: Annotated[Count, _how("An end before the last epoch's.")] = None
    batch_size: Annotated[Count, _how("Rows a step. Without it, 16.")] = None
    learning_rate: Annotated[
        Number, _how("The highest. Without it, 3e-5.", "--learning-rate", "--lr")
    ] = None
    warmup_ratio: Annotated[
        Number, _how("Part of the steps in which it rises. Without it, 0.1.")
    ] = None
    weight_decay: Annotated[Number, _how("AdamW's. Without it, 0.01.")] = None
    seed: Annotated[Count, _how("Of split, order, dropout and new weights. Without it, 42.")] = None
    precision: Annotated[
        PrecisionChoice | None,
        _how("auto takes bf16 on a GPU that has it, float32 elsewhere."),
    ] = None
    evaluate_every: Annotated[
        Count, _how("Steps between two evaluations. Without it, once an epoch.", metavar="STEPS")
    ] = None
    patience: Annotated[
        Count,
        _how(
            "Evaluations without a better one that end the training; 0 never does. Without it, 3."
        ),
    ] = None
    symmetric: Annotated[
        Truth,
        _how("Read each pair in both orders, or as it stands.", "--symmetric/--one-order"),
    ] = None
    tracker: Annotated[Text, _how("Where metrics go too, such as tensorboard.", metavar="NAME")] = (
        None
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultOptions:
    """What comes out."""

    target: Annotated[
        Text,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The run's folder. Without it, one under runs/, named after data and base.",
            rich_help_panel=_RESULT,
            show_default=False,
        ),
    ] = None
    calibrate: Annotated[
        Truth,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Fit probabilities on the dev part, where labels are 0 and 1.",
            rich_help_panel=_RESULT,
            show_default=False,
        ),
    ] = None
    convert: Annotated[
        Truth,
        typer.Option(
            "--convert/--no-convert",
            help="Make the model that is served, with its parity report.",
            rich_help_panel=_RESULT,
            show_default=False,
        ),
    ] = None
    to: Annotated[
        ConvertChoice | None,
        typer.Option(
            "--to", help="The numbers of that model. Without it, int8.", rich_help_panel=_RESULT
        ),
    ] = None
    accept: Annotated[
        Truth,
        typer.Option(
            "--accept/--refuse",
            help="Keep it even where it fails a threshold of parity, or serve the float32 weights then.",
            rich_help_panel=_RESULT,
            show_default=False,
        ),
    ] = None


# A flag whose key in the recipe has another name.
_KEYS: Final = {
    "target": "output",
    "convert": "convert.enabled",
    "to": "convert.target",
    "accept": "convert.accept",
}


def overrides(
    data: DataOptions, base: BaseOptions, how: HowOptions, result: ResultOptions
) -> dict[str, Any]:
    """The flags that were given, by the dotted names of the recipe's keys."""
    found: dict[str, Any] = {}
    for record in (data, base, how, result):
        for item in fields(record):
            value = getattr(record, item.name)
            if value is None or value == ():
                continue
            key = f"data.{item.name}" if record is data else _KEYS.get(item.name, item.name)
            found[key] = value.value if isinstance(value, StrEnum) else value
    return found
