"""The options that several verbs share, and how they become a model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
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
    "JsonOption",
    "MaxCharsOption",
    "MaxLengthOption",
    "ModelOption",
    "ModelOptions",
    "NumWorkersOption",
    "QuietOption",
    "check_argument",
    "open_encoder",
]


class BackendChoice(StrEnum):
    """What runs the model."""

    ONNX = "onnx"
    FAKE = "fake"


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
        help="What runs the model; fake counts common words, to try things out without weights.",
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
        backend: ``onnx`` or ``fake``.
    """

    model: str | None = None
    max_length: int | None = None
    max_chars: int | None = None
    num_workers: int | None = None
    backend: BackendChoice = BackendChoice.ONNX


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
    return CrossEncoder(options.model, config=config, backend=options.backend.value)


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
