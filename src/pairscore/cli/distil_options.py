"""The flags of `pairscore distil`, as records, and what must not be said together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from pairscore.cli import completion
from pairscore.cli.train_options import KindChoice
from pairscore.errors import SettingError

__all__ = [
    "CombineChoice",
    "LossChoice",
    "PairOptions",
    "ReportOptions",
    "StudentOptions",
    "TeacherOptions",
    "check_options",
]

_TEACHER: Final = "Teacher"
_STUDENT: Final = "Student"
_PAIRS: Final = "Pairs"
_REPORT: Final = "Report"


class CombineChoice(StrEnum):
    """How several teachers become one target."""

    STANDARDIZED = "standardized"
    RAW = "raw"


class LossChoice(StrEnum):
    """What is made small."""

    MSE = "mse"
    MARGIN_MSE = "margin_mse"


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherOptions:
    """Whose logits are learned."""

    teachers: Annotated[
        tuple[str, ...],
        typer.Option(
            "--teacher",
            "-t",
            metavar="NAME",
            autocompletion=completion.cross_encoders,
            help="A known name, a folder or a hub id, of any backend; may be given several times. The student takes "
            "over the first one's scale.",
            rich_help_panel=_TEACHER,
        ),
    ] = ()
    combine: Annotated[
        CombineChoice,
        typer.Option(
            help="Several teachers: standardized brings each one's logits to one mean and spread before they are "
            "averaged, raw averages them as they are.",
            rich_help_panel=_TEACHER,
        ),
    ] = CombineChoice.STANDARDIZED
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the teachers' logits are kept, so that another student of the same pairs costs none. Without "
            "it, teacher/ in the run's folder.",
            rich_help_panel=_TEACHER,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentOptions:
    """What the student begins as."""

    student: Annotated[
        str | None,
        typer.Option(
            "--student",
            "-s",
            metavar="NAME",
            autocompletion=completion.cross_encoders,
            help="A known name, a folder or a hub id. Without it, the first teacher, of which layers are kept.",
            rich_help_panel=_STUDENT,
        ),
    ] = None
    num_layers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Keep so many of its layers, evenly spaced, the first and the last among them.",
            rich_help_panel=_STUDENT,
        ),
    ] = None
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Keep these layers, numbered from 0: 0,4,8,11.",
            rich_help_panel=_STUDENT,
        ),
    ] = None
    student_max_length: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            help="The most tokens a pair may have when the student reads it. Without it, as many as it can read.",
            rich_help_panel=_STUDENT,
        ),
    ] = None
    learned: Annotated[
        LossChoice | None,
        typer.Option(
            "--loss",
            help="mse learns the teacher's logits, margin_mse the differences between a query's documents. Without it, "
            "mse for pairs, margin_mse for triplets and lists.",
            rich_help_panel=_STUDENT,
            show_default=False,
        ),
    ] = None
    hidden_states: Annotated[
        bool | None,
        typer.Option(
            "--hidden-states/--no-hidden-states",
            help="Draw its layers to the states between the layers of the model that they were taken from. Without it, "
            "where that is the first teacher: a step takes longer, and far fewer pairs are needed.",
            rich_help_panel=_STUDENT,
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairOptions:
    """What is scored and learned from."""

    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            "-p",
            metavar="FILE",
            help="Pairs, triplets or lists without labels, or with labels that are not read: .csv, .tsv, .jsonl, "
            ".parquet, or a BEIR folder.",
            rich_help_panel=_PAIRS,
        ),
    ] = None
    kind: Annotated[
        KindChoice | None,
        typer.Option(
            help="What a row is. Without it, as the columns say.",
            rich_help_panel=_PAIRS,
            show_default=False,
        ),
    ] = None
    query_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column of the first text.", rich_help_panel=_PAIRS),
    ] = None
    document_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the second text, or the positive's.",
            rich_help_panel=_PAIRS,
        ),
    ] = None
    negative_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column of the negative.", rich_help_panel=_PAIRS),
    ] = None
    dev_fraction: Annotated[
        float,
        typer.Option(
            help="The part of the queries that the best weights are chosen by.",
            rich_help_panel=_PAIRS,
        ),
    ] = 0.05
    held_out: Annotated[
        float,
        typer.Option(
            help="The part of the queries that only the report reads.", rich_help_panel=_PAIRS
        ),
    ] = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """What teacher and student are measured on."""

    judged: Annotated[
        Path | None,
        typer.Option(
            "--eval",
            metavar="DIR",
            help="A judged collection with a first ranking, which both rerank: nDCG@10, and how much of it is kept.",
            rich_help_panel=_REPORT,
        ),
    ] = None
    eval_split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Its part. Without it, test where there is one.",
            rich_help_panel=_REPORT,
        ),
    ] = None
    eval_depth: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Documents of each query that are reranked.",
            rich_help_panel=_REPORT,
        ),
    ] = 100
    report_pairs: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Held-out pairs that the report scores, at most.",
            rich_help_panel=_REPORT,
        ),
    ] = 2000


def check_options(
    pairs: PairOptions, teacher: TeacherOptions, student: StudentOptions, report: ReportOptions
) -> None:
    """Refuse what is missing, or contradicts itself, before anything is loaded.

    Raises:
        SettingError: an option is missing, or two cannot stand together.
    """
    if not teacher.teachers:
        raise SettingError("there is no teacher; name at least one with --teacher NAME")
    if pairs.pairs is None:
        raise SettingError("there are no pairs to learn from; name them with --pairs FILE")
    if student.num_layers is not None and student.layers is not None:
        raise SettingError(
            "--num-layers says how many layers are kept and --layers says which; give one of them"
        )
    if student.student is None and student.num_layers is None and student.layers is None:
        raise SettingError(
            "there is no student; name a model with --student, or keep layers of the teacher with --num-layers N"
        )
    if report.judged is None and report.eval_split is not None:
        raise SettingError("--eval-split is a part of the collection of --eval DIR; give that too")
    if report.eval_depth < 1:
        raise SettingError(
            f"--eval-depth is {report.eval_depth}; rerank at least 1 document of each query"
        )
