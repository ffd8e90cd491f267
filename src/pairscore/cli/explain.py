"""`pairscore explain`: which sentences and words of a document make the score of a pair."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import options, output, progress
from pairscore.cli.explain_report import print_explanation
from pairscore.cli.records import with_records
from pairscore.errors import DataFileError, SettingError
from pairscore.files import places

if TYPE_CHECKING:
    from pairscore.explaining.records import Explanation

__all__ = ["HELP", "explain"]

HELP = """Say which sentences and words of B make the score of the pair A, B.

Each is left out, one at a time, and the pair is scored again: its contribution
is the logit with it minus the logit without it. Above 0 it speaks for the pair,
below 0 against it. Contributions do not add up to the logit.

Examples:

  pairscore explain "how many live in berlin" "Berlin is old. 3.5 million live there."
  pairscore explain "how many live in berlin" --input berlin.txt --units sentences
  pairscore explain "a question" "an answer" --json

A terminal shows B in colours, a pipe tables of sentences and words. It costs as
many pairs as there are sentences and words, at most --max-pairs."""

_STAGE = "explain"


class UnitsChoice(StrEnum):
    """What is left out."""

    SENTENCES = "sentences"
    WORDS = "words"
    BOTH = "both"


@with_records()
def explain(
    text_a: Annotated[
        str,
        typer.Argument(metavar="A", help="The query, or the first text.", show_default=False),
    ],
    text_b: Annotated[
        str | None,
        typer.Argument(metavar="B", help="The document, or the second text.", show_default=False),
    ] = None,
    *,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help="A file of text, which is B as a whole; - is standard input.",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = None,
    units: Annotated[
        UnitsChoice, typer.Option(help="What is left out of B, one at a time.")
    ] = UnitsChoice.BOTH,
    max_pairs: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Pairs that may be scored. With more units, sentences are measured first, then the words of "
            "those that count most.",
        ),
    ] = 512,
    chosen: options.ModelOptions,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Explain the score of one pair; `HELP` is what the user reads."""
    options.check_argument(text_a, name="A")
    document = _document(text_b, source)
    if chosen.is_fake and not quiet:
        output.note(options.FAKE_NOTE)
    with options.open_encoder(chosen, quiet=quiet) as encoder:
        with progress.stages({_STAGE: ("explaining", "pairs")}, shown=not quiet) as move:
            found: Explanation = encoder.explain(
                text_a,
                document,
                units=units.value,
                max_pairs=max_pairs,
                on_progress=partial(move, _STAGE),
            )
        max_length = encoder.max_length
    if as_json:
        output.print_json(found.as_dict())
        return
    print_explanation(found, document)
    if not quiet:
        _notes(found, document, max_length=max_length)


def _document(text: str | None, source: str | None) -> str:
    if (text is None) == (source is None):
        raise SettingError(
            "give the document either as the second text, B, or as a file with --input"
        )
    if text is not None:
        return options.check_argument(text, name="B")
    return _read(source or places.STANDARD)


def _read(path: str) -> str:
    file = places.open_source(path)
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"{places.said(path, reading=True)}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8"
        ) from error
    finally:
        places.close(file)


def _notes(found: Explanation, document: str, *, max_length: int) -> None:
    if found.truncated:
        start, end = found.read
        output.note(
            f"the pair was cut to {max_length} tokens: of B's {len(document):,} characters {start:,} to {end:,} "
            "were read, and only these are explained"
        )
    if found.limited:
        output.note(
            f"limited: {found.cost.num_pairs:,} pairs were scored, and there are more units; raise --max-pairs"
        )
