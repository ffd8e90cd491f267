"""The options of `pairscore dedupe`, as records whose fields are flags, and what must not be said together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pairscore.cli import completion, options
from pairscore.errors import SettingError
from pairscore.files import FileFormat

__all__ = ["FileOptions", "RuleOptions", "check_options"]

_FILE_PANEL = options.FILE_PANEL
_RULE_PANEL = "What a duplicate is"


class KeepChoice(StrEnum):
    """Which text of a group is kept."""

    FIRST = "first"
    LONGEST = "longest"


class LinkageChoice(StrEnum):
    """When texts are one group."""

    SINGLE = "single"
    COMPLETE = "complete"


class ScaleChoice(StrEnum):
    """What a threshold means."""

    RELATIVE = "relative"
    LOGIT = "logit"
    UNIT = "unit"
    PROBABILITY = "probability"
    COSINE = "cosine"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileOptions:
    """What is read and written; each field is a flag."""

    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the rows go, with what was found; without it, the groups are printed.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None
    text_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the text; found by common names (text, sentence, question ...).",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None
    id_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column that names a row in the result. Without it, its line.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            help="The format of a file whose ending is unknown; without it, one text a line.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None
    prefix: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Put before the names of our columns, where the input has such names already.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = ""
    only_kept: Annotated[
        bool,
        typer.Option(
            "--only-kept",
            help="Write only the rows that are kept: the file without duplicates.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = False
    on_error: Annotated[
        options.OnError,
        typer.Option(
            help="At a broken row: stop, or leave it out and report it at the end.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = options.OnError.STOP
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace an output that exists.", rich_help_panel=_FILE_PANEL
        ),
    ] = False
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where vectors and scores are kept, also after the end, so that another threshold costs nothing. "
            "Without it, OUTPUT.work, which is removed at the end.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleOptions:
    """What a duplicate is; each field is a flag."""

    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="The least score of a duplicate, on --scale. Without it, the bundled models' own.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    scale: Annotated[
        ScaleChoice | None,
        typer.Option(
            help="What is compared with the threshold: relative is the logit less that of each text with itself "
            "(without this option, for relevance models), logit or unit the model's own score, probability that of "
            "the logit, calibrated if it can be, cosine the bi-encoder's, with --no-rerank.",
            show_default=False,
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    labelled: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A sample of labelled pairs (1 for duplicates, else 0) that sets the threshold.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The column of the label in it.", rich_help_panel=_RULE_PANEL
        ),
    ] = None
    positive_from: Annotated[
        float | None,
        typer.Option(
            metavar="GRADE",
            help="The lowest grade of a duplicate, where labels are graded.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    min_precision: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="With --labelled: the share of true duplicates that the threshold must reach. Without it, the best F1.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    neighbours: Annotated[
        int,
        typer.Option(
            "--neighbours",
            "-k",
            metavar="K",
            help="Nearest texts that each one is compared with.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = 10
    min_similarity: Annotated[
        float | None,
        typer.Option(
            metavar="COSINE",
            help="The cosine below which the cross-encoder is not asked. Without it, 0.7.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    linkage: Annotated[
        LinkageChoice,
        typer.Option(
            help="single: one pair that is alike joins two groups; complete: all pairs must be.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = LinkageChoice.SINGLE
    keep: Annotated[
        KeepChoice,
        typer.Option(help="Which text of a group is kept.", rich_help_panel=_RULE_PANEL),
    ] = KeepChoice.FIRST
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank/--no-rerank",
            help="Whether the cross-encoder decides, or the bi-encoder alone.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = True
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.encoders,
            help="The bi-encoder: a name, a folder, or a hub id. Without it, the one inside the package.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None


def check_options(rule: RuleOptions, *, model: str | None) -> None:
    """Refuse options that contradict each other.

    Raises:
        SettingError: they do.
    """
    if rule.threshold is not None and rule.labelled is not None:
        raise SettingError("--threshold and --labelled both set the threshold; give one of them")
    if rule.labelled is None and (rule.min_precision, rule.positive_from, rule.label_column) != (
        None,
        None,
        None,
    ):
        raise SettingError(
            "--min-precision, --positive-from and --label-column say how to read --labelled; give that too"
        )
    if rule.threshold is None and rule.labelled is None and rule.scale is not None:
        raise SettingError("--scale says what --threshold or --labelled mean; give one of them")
    if not rule.rerank and (model is not None or rule.min_similarity is not None):
        raise SettingError(
            "--no-rerank lets the bi-encoder decide alone, so --model and --min-similarity have nothing to do; leave "
            "them out (the bi-encoder is chosen with --encoder)"
        )
