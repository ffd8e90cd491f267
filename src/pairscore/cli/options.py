"""The options that several verbs share, and how they become a model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from pairscore.errors import TextError

if TYPE_CHECKING:
    from pairscore.cross_encoder import CrossEncoder

__all__ = [
    "FAKE_NOTE",
    "BackendChoice",
    "BackendOption",
    "BatchSizeOption",
    "CalibrationOption",
    "DTypeChoice",
    "DTypeOption",
    "DeviceOption",
    "JsonOption",
    "LabelOption",
    "MaxCharsOption",
    "MaxLengthOption",
    "ModelOption",
    "ModelOptions",
    "NumWorkersOption",
    "QuietOption",
    "SkipCheckOption",
    "check_argument",
    "open_encoder",
]


class BackendChoice(StrEnum):
    """What runs the model."""

    AUTO = "auto"
    ONNX = "onnx"
    TORCH = "torch"
    OPENVINO = "openvino"
    FAKE = "fake"


class DTypeChoice(StrEnum):
    """In which numbers a model is computed."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


FAKE_NOTE = "note: the fake backend counts common words; its scores mean nothing"

_MODEL_PANEL = "Model"

ModelOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A name from `pairscore models`, a folder, or a hub id (owner/name, owner/name@revision). "
        "Without it, the model inside the package.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
MaxLengthOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="TOKENS",
        help="Tokens of a pair; a longer document is cut, and reported. Without it, the model's own.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
MaxCharsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="CHARS",
        help="Characters one text may have; more is an error. Without it, 2,000,000.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
NumWorkersOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Threads that run the model. Without it, one for each core.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
BatchSizeOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="PAIRS",
        help="The most pairs run at once. Rarely useful: batches are packed by their tokens.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
BackendOption: TypeAlias = Annotated[
    BackendChoice,
    typer.Option(
        help="What runs the model; auto takes the quickest here (see `pairscore doctor`), "
        "fake counts common words, to try things out without weights.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
DeviceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        help="Where the model runs: cpu, cuda, cuda:1. Without it, what the backend prefers.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
DTypeOption: TypeAlias = Annotated[
    DTypeChoice | None,
    typer.Option(
        help="The numbers that torch computes in. Without it, float32 on the CPU, float16 on a GPU.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
LabelOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Of a model with several labels, the one that is scored. Without it, all of them.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
SkipCheckOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A check that is not made when the model is loaded; may be given several times.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
CalibrationOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A calibration made by `pairscore calibrate`. Without it, the one beside the model, if any.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bar, no notes; errors still show.")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOptions:
    """Which model, and how it is run.

    Attributes:
        model: a name, a folder or a hub id; None for the bundled one.
        max_length: tokens of a pair.
        max_chars: characters of a text.
        num_workers: threads.
        backend: what runs it.
        device: where.
        dtype: in which numbers.
        label: of several, the one that is scored.
        skip_checks: names of checks that are not made.
        calibration: what the probabilities are made with; None takes what lies beside the model.
    """

    model: str | None = None
    max_length: int | None = None
    max_chars: int | None = None
    num_workers: int | None = None
    backend: BackendChoice = BackendChoice.ONNX
    device: str | None = None
    dtype: DTypeChoice | None = None
    label: str | None = None
    skip_checks: tuple[str, ...] = ()
    calibration: Path | None = None


def open_encoder(options: ModelOptions) -> CrossEncoder:
    """Load the model that was asked for."""
    # Here, because `--help` must not pay for a model runtime.
    from pairscore.config import DEFAULT_MAX_CHARS, RoadConfig
    from pairscore.cross_encoder import CrossEncoder

    config = RoadConfig(
        max_length=options.max_length,
        num_workers=options.num_workers,
        max_chars=DEFAULT_MAX_CHARS if options.max_chars is None else options.max_chars,
    )
    return CrossEncoder(
        options.model,
        config=config,
        backend=options.backend.value,
        device=options.device,
        dtype=None if options.dtype is None else options.dtype.value,
        label=options.label,
        skip_checks=options.skip_checks,
        calibration=options.calibration,
    )


def check_argument(text: str, *, name: str) -> str:
    """Refuse an argument that the shell gave in another encoding than UTF-8.

    Raises:
        TextError: it holds a byte that is not UTF-8.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"{name} is not UTF-8 at character {error.start + 1}; set the terminal to UTF-8, "
            "or put the text into a UTF-8 file and give that"
        ) from error
    return text
