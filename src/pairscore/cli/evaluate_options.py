"""What `pairscore evaluate` is told about its data and what to measure: records whose fields are flags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import completion
from pairscore.cli.labelled import LabelColumns
from pairscore.errors import InputFileError, SettingError
from pairscore.files import FileFormat, format_of, places

if TYPE_CHECKING:
    from pairscore.evaluation.beir import CollectionFiles

__all__ = ["CollectionOptions", "MeasureOptions", "PairFileOptions", "RunOptions"]

_COLLECTION = "Judged collections"
_PAIRS = "Labelled pairs"
_RUNS = "Rankings"


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionOptions:
    """The files of a judged collection, where they are not found in a folder."""

    runs: Annotated[
        tuple[str, ...],
        typer.Option(
            "--run",
            metavar="FILE",
            help="A first ranking, TREC's six columns or four; may be given several times. Without it, the folder's.",
            rich_help_panel=_COLLECTION,
        ),
    ] = ()
    qrels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The judgements. Without it, the folder's.",
            rich_help_panel=_COLLECTION,
        ),
    ] = None
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The queries. Without it, the folder's.",
            rich_help_panel=_COLLECTION,
        ),
    ] = None
    corpus: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The documents. Without it, the folder's.",
            rich_help_panel=_COLLECTION,
        ),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The part of the collection, as its files are named. Without it, test where there is one.",
            rich_help_panel=_COLLECTION,
        ),
    ] = None

    @property
    def named(self) -> tuple[str, ...]:
        """The options that were given, for messages."""
        given = {
            "--run": self.runs,
            "--qrels": self.qrels,
            "--queries": self.queries,
            "--corpus": self.corpus,
            "--split": self.split,
        }
        return tuple(name for name, value in given.items() if value)

    def files(self, folder: Path | None) -> CollectionFiles:
        """The files: the folder's, and instead of them what was named.

        Raises:
            InputFileError: the folder lacks one.
            SettingError: there is no folder, and not all are named.
        """
        # Here, because `--help` must not pay for numpy.
        from pairscore.evaluation.beir import CollectionFiles, find_files

        runs = tuple(Path(run) for run in self.runs)
        if folder is None:
            if self.qrels is None or self.queries is None or self.corpus is None:
                raise SettingError(
                    "there is nothing to measure on; give a folder, a file of labelled pairs, "
                    "or --qrels, --queries, --corpus and --run"
                )
            return CollectionFiles(
                qrels=self.qrels, queries=self.queries, corpus=self.corpus, runs=runs
            )
        found = find_files(folder, split=self.split)
        return replace(
            found,
            qrels=self.qrels or found.qrels,
            queries=self.queries or found.queries,
            corpus=self.corpus or found.corpus,
            runs=runs or found.runs,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PairFileOptions:
    """How a file of labelled pairs is read."""

    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format", help="The format, if its ending is unknown.", rich_help_panel=_PAIRS
        ),
    ] = None
    query_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the first text; found by common names (query, text_a, sentence1 ...).",
            rich_help_panel=_PAIRS,
        ),
    ] = None
    document_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the second text; found by common names.",
            rich_help_panel=_PAIRS,
        ),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the label; found by common names (label, relevance, score ...).",
            rich_help_panel=_PAIRS,
        ),
    ] = None
    positive_from: Annotated[
        float | None,
        typer.Option(
            metavar="GRADE",
            help="Make grades binary: the lowest one that is positive. Without it, 0 and 1 are binary, others graded.",
            rich_help_panel=_PAIRS,
        ),
    ] = None

    @property
    def named(self) -> tuple[str, ...]:
        """The options that were given, for messages."""
        given = {
            "--format": self.file_format,
            "--query-column": self.query_column,
            "--document-column": self.document_column,
            "--label-column": self.label_column,
            "--positive-from": self.positive_from,
        }
        return tuple(name for name, value in given.items() if value is not None)

    def kind(self, path: str) -> FileFormat:
        """The file's format.

        Raises:
            InputFileError: there is no such file.
            SettingError: nothing says its format.
        """
        if path != places.STANDARD and not Path(path).exists():
            raise InputFileError(f"there is no file or folder {path!r}; check the path")
        return format_of(path, otherwise=self.file_format)

    def columns(self, *, max_chars: int) -> LabelColumns:
        """Which columns to read."""
        return LabelColumns(
            query=self.query_column,
            document=self.document_column,
            label=self.label_column,
            positive_from=self.positive_from,
            max_chars=max_chars,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Which rankings are made, and what becomes of them."""

    num_candidates: Annotated[
        int,
        typer.Option(
            "--num-candidates",
            "--top-k",
            "-k",
            metavar="N",
            help="Documents of each query that are reranked.",
            rich_help_panel=_RUNS,
        ),
    ] = 100
    bi_encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.encoders,
            help="Also measure a bi-encoder: on the whole corpus as one more ranking, on pairs by the cosine. "
            "all-minilm-l6 is inside the package.",
            rich_help_panel=_RUNS,
        ),
    ] = None
    fuse: Annotated[
        bool,
        typer.Option(
            "--fuse",
            help="Also measure all rankings fused into one (reciprocal rank).",
            rich_help_panel=_RUNS,
        ),
    ] = False
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank/--no-rerank",
            help="Whether the cross-encoder is measured, or only what was there before it.",
            rich_help_panel=_RUNS,
        ),
    ] = True
    blend: Annotated[
        float,
        typer.Option(
            metavar="WEIGHT",
            help="How much the scores of the ranking itself count in the order of what is reranked, 0 to 1. Choose it on "
            "other queries than those that you report.",
            rich_help_panel=_RUNS,
        ),
    ] = 0.0
    save_run: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the reranked ranking as a TREC run; of several, the name of each is put before the ending.",
            rich_help_panel=_RUNS,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace --save-run if it exists.", rich_help_panel=_RUNS),
    ] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureOptions:
    """What is measured."""

    measures: Annotated[
        tuple[str, ...],
        typer.Option(
            "--measure",
            "-M",
            metavar="NAME",
            help="A measure as ir-measures names it, such as nDCG@10, RR@10, AP(rel=2); may be given several times. The "
            "first gets a confidence interval and a test. Without it, nDCG@10, RR@10, AP, R@10, R@100 and P@10.",
        ),
    ] = ()
    min_grade: Annotated[
        int | None,
        typer.Option(
            metavar="GRADE",
            help="The lowest grade that is relevant, for measures that know only relevant and not. Without it, 1.",
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Measure on the first N queries, or pairs, only. Without it, all."
        ),
    ] = None
