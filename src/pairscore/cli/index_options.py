"""The flags of `pairscore index build`, as records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import completion

if TYPE_CHECKING:
    from pairscore.cli.corpus_values import NamedColumns

__all__ = ["ColumnOptions", "EncoderBackend", "EncoderOptions", "OnDuplicateChoice"]

_COLUMNS_PANEL = "Columns"
_MODEL_PANEL = "Model"


class OnDuplicateChoice(StrEnum):
    """What becomes of a document whose id was there before."""

    ERROR = "error"
    SKIP = "skip"
    REPLACE = "replace"


class EncoderBackend(StrEnum):
    """What runs the bi-encoder."""

    ONNX = "onnx"
    TORCH = "torch"
    OPENVINO = "openvino"
    FAKE = "fake"


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnOptions:
    """Which column is what."""

    id_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The ids. Without it, _id, id or the like; a row without one gets FILE:LINE.",
            rich_help_panel=_COLUMNS_PANEL,
        ),
    ] = None
    text_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The texts. Without it, text, passage, content or the like.",
            rich_help_panel=_COLUMNS_PANEL,
        ),
    ] = None
    title_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The titles, which are read before the texts. Without it, title.",
            rich_help_panel=_COLUMNS_PANEL,
        ),
    ] = None
    metadata_columns: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="NAME,...",
            help='Columns to filter on and to give back; "" for none. Without it, all others that hold texts, numbers, '
            "truths or dates.",
            rich_help_panel=_COLUMNS_PANEL,
        ),
    ] = ()

    def named(self) -> NamedColumns:
        """As the reader of documents takes them."""
        from pairscore.cli.corpus_values import NamedColumns

        chosen = [
            name.strip() for one in self.metadata_columns for name in one.split(",") if name.strip()
        ]
        return NamedColumns(
            id=self.id_column,
            text=self.text_column,
            title=self.title_column,
            metadata=tuple(chosen) if self.metadata_columns else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderOptions:
    """Which bi-encoder makes the vectors."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            autocompletion=completion.encoders,
            help="The bi-encoder: a known name, a folder or a hub id. Without it, the one that the index was built with, "
            "or the one inside the package.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    vectors: Annotated[
        bool,
        typer.Option(
            "--vectors/--no-vectors",
            help="Make vectors; without them the index is quick to build and finds by words alone.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = True
    backend: Annotated[
        EncoderBackend,
        typer.Option(
            help="What runs the bi-encoder; fake makes vectors of hashed words, to try things out.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = EncoderBackend.ONNX
    max_length: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            help="Tokens of a document that the bi-encoder reads. Without it, as many as the model can.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
    num_workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Threads that run the bi-encoder. Without it, one for each core.",
            rich_help_panel=_MODEL_PANEL,
        ),
    ] = None
