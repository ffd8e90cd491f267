"""The options that several verbs share, and how they become a model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from pairscore.cli import completion, output, progress
from pairscore.errors import SettingError, TextError

if TYPE_CHECKING:
    from pairscore.batch.records import ModelChoice
    from pairscore.config import Chunking
    from pairscore.cross_encoder import CrossEncoder

__all__ = [
    "FAKE_NOTE",
    "FILE_PANEL",
    "AggregateChoice",
    "BackendChoice",
    "BatchSizeOption",
    "DTypeChoice",
    "DocumentColumnOption",
    "JsonOption",
    "LongDocumentsChoice",
    "LongOptions",
    "ModelOptions",
    "OnError",
    "QueryColumnOption",
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


class LongDocumentsChoice(StrEnum):
    """What becomes of a document that is too long."""

    TRUNCATE = "truncate"
    CHUNK = "chunk"


class AggregateChoice(StrEnum):
    """How windows become one."""

    MAX = "max"
    MEAN = "mean"
    SOFTMAX = "softmax"
    FIRST = "first"


class OnError(StrEnum):
    """What a broken row does."""

    STOP = "stop"
    SKIP = "skip"


FAKE_NOTE = "note: the fake backend counts common words; its scores mean nothing"

_MODEL_PANEL = "Model"
_LONG_PANEL = "Long documents"
FILE_PANEL = "Files"

QueryColumnOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The column of the first text; found by common names (query, text_a, sentence1 ...).",
        rich_help_panel=FILE_PANEL,
    ),
]
DocumentColumnOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The column of the second text; found by common names (document, text_b ...).",
        rich_help_panel=FILE_PANEL,
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
SkipCheckOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A check that is not made when the model is loaded; may be given several times.",
        rich_help_panel=_MODEL_PANEL,
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bar, no notes; errors still show.")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOptions:
    """Which model, and how it is run; each field is a flag, and its help says what it means."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            autocompletion=completion.cross_encoders,
            help="A name from `pairscore models`, a folder, or a hub id (owner/name, owner/name@revision; :FILE behind it takes other weights). "
            "Without it, the model inside the package.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            help="Tokens of a pair; a longer document is cut, and reported. Without it, the model's own.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    max_chars: Annotated[
        int | None,
        typer.Option(
            metavar="CHARS",
            help="Characters one text may have; more is an error. Without it, 2,000,000.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    num_workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Threads that run the model. Without it, one for each core.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    backend: Annotated[
        BackendChoice,
        typer.Option(
            help="What runs the model; auto takes the quickest here (see `pairscore doctor`), "
            "fake counts common words, to try things out without weights.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = BackendChoice.ONNX
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="Where the model runs: cpu, cuda, cuda:1. Without it, what the backend prefers.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    dtype: Annotated[
        DTypeChoice | None,
        typer.Option(
            help="The numbers that torch computes in. Without it, float32 on the CPU, float16 on a GPU.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    label: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a model with several labels, the one that is scored. Without it, all of them.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is put before each query: one of the model's own prompts by its name, or a text. "
            "Without it, the model's default.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A calibration made by `pairscore calibrate`. Without it, the one beside the model, if any.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    skip_checks: Annotated[
        tuple[str, ...],
        typer.Option(
            "--skip-check",
            metavar="NAME",
            help="A check that is not made when the model is loaded; may be given several times.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = ()

    @property
    def is_fake(self) -> bool:
        """Whether its scores mean nothing."""
        return self.backend is BackendChoice.FAKE


@dataclass(frozen=True, kw_only=True, slots=True)
class LongOptions:
    """What becomes of long documents; each field is a flag, and its help says what it means."""

    mode: Annotated[
        LongDocumentsChoice | None,
        typer.Option(
            "--long-documents",
            help="truncate cuts a document that is too long, chunk reads it in windows that overlap. Without it, "
            "truncate, or chunk if an option below is given.",
            show_default=False,
            rich_help_panel=_LONG_PANEL,
        ),
    ] = None
    aggregate: Annotated[
        AggregateChoice | None,
        typer.Option(
            help="How the windows' scores become one: the highest (max, without this option), their mean, their "
            "mean weighted by their softmax, or that of the first.",
            show_default=False,
            rich_help_panel=_LONG_PANEL,
        ),
    ] = None
    window: Annotated[
        int | None,
        typer.Option(
            "--window",
            metavar="TOKENS",
            help="Tokens of the document in a window. Without it, what fits beside the query.",
            rich_help_panel=_LONG_PANEL,
        ),
    ] = None
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap",
            metavar="TOKENS",
            help="Tokens that windows share, at most half of a window. Without it, an eighth.",
            rich_help_panel=_LONG_PANEL,
        ),
    ] = None
    max_windows: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Windows of one document; what is behind them is not read, and reported. Without it, 64.",
            rich_help_panel=_LONG_PANEL,
        ),
    ] = None

    def chunking(self) -> Chunking | None:
        """How long documents are read in windows; None if they are cut.

        Raises:
            SettingError: the options contradict each other, or one makes no sense.
        """
        from pairscore.config import Chunking, chosen_chunking

        given: dict[str, Any] = {
            "aggregate": None if self.aggregate is None else self.aggregate.value,
            "window_tokens": self.window,
            "overlap_tokens": self.overlap,
            "max_windows": self.max_windows,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if given and self.mode is LongDocumentsChoice.TRUNCATE:
            raise SettingError(
                "--long-documents is truncate, and --aggregate, --window, --overlap and --max-windows are for "
                "chunk; make it chunk, or leave them out"
            )
        mode: Literal["chunk"] | None = "chunk" if self.mode is LongDocumentsChoice.CHUNK else None
        return chosen_chunking(mode, Chunking(**given) if given else None)


def model_choice(options: ModelOptions) -> ModelChoice:
    """What was asked for, in a form that travels; what was not is left to the model."""
    from pairscore.batch.records import ModelChoice
    from pairscore.config import DEFAULT_MAX_CHARS

    given = {
        "backend": options.backend.value,
        "device": options.device,
        "dtype": None if options.dtype is None else options.dtype.value,
        "label": options.label,
        "prompt": options.prompt,
        "skip_checks": options.skip_checks or None,
        "calibration": None if options.calibration is None else str(options.calibration),
    }
    return ModelChoice(
        name=options.model,
        max_length=options.max_length,
        num_workers=options.num_workers,
        max_chars=DEFAULT_MAX_CHARS if options.max_chars is None else options.max_chars,
        options={name: value for name, value in given.items() if value is not None},
    )


def open_encoder(options: ModelOptions, *, quiet: bool = True) -> CrossEncoder:
    """Load the model that was asked for; unless `quiet`, a note says what ``auto`` chose."""
    # Here, because `--help` must not pay for a model runtime.
    from pairscore.batch.opening import open_model

    with progress.waiting("loading the model", shown=not quiet):
        encoder = open_model(model_choice(options))
    if encoder.choice is not None and not quiet:
        output.note(f"note: {encoder.choice.sentence}")
    return encoder


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
