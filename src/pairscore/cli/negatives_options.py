"""The flags of `pairscore negatives`, as records, and what must not be said together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import completion, options
from pairscore.errors import SettingError
from pairscore.files import FileFormat

if TYPE_CHECKING:
    from pairscore.training.negatives import NegativeOptions

__all__ = ["PathOptions", "PositiveOptions", "TakeOptions", "check_options"]

_CORPUS_PANEL = "Candidates"
_RULE_PANEL = "Which become negatives"


class ModeChoice(StrEnum):
    """How candidates are found."""

    HYBRID = "hybrid"
    DENSE = "dense"
    BM25 = "bm25"


class FormChoice(StrEnum):
    """What a row of the output is."""

    TRIPLETS = "triplets"
    PAIRS = "pairs"
    LISTS = "lists"


class SamplingChoice(StrEnum):
    """Which of the candidates that are left."""

    TOP = "top"
    RANDOM = "random"


class ScaleChoice(StrEnum):
    """What margins and limits are held against."""

    SCORE = "score"
    PROBABILITY = "probability"


class ReferenceChoice(StrEnum):
    """Of several positives, whose score counts."""

    LOWEST = "lowest"
    HIGHEST = "highest"


@dataclass(frozen=True, kw_only=True, slots=True)
class PathOptions:
    """Where candidates come from, and where what is done is kept; each field is a flag."""

    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            "-i",
            metavar="DIR",
            help="An index that `pairscore index build` made.",
            rich_help_panel=_CORPUS_PANEL,
        ),
    ] = None
    corpus: Annotated[
        tuple[str, ...],
        typer.Option(
            "--corpus",
            metavar="FILE",
            help="Documents to index first, as `pairscore index build` does; may be given several times. Without --index "
            "and --corpus: the corpus of the BEIR folder, or the documents of the pairs themselves.",
            rich_help_panel=_CORPUS_PANEL,
        ),
    ] = ()
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where index and scores are kept, also after the end, so that another margin costs nothing. Without it, "
            "OUTPUT.work, which is removed at the end.",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an output that exists.",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PositiveOptions:
    """What the positives are; each field is a flag."""

    query_column: options.QueryColumnOption = None
    document_column: options.DocumentColumnOption = None
    label_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the label; found by common names (label, relevance ...). Without any, each pair is a "
            "positive.",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = None
    id_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the document's id in the index; found by common names (document_id, docid ...).",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = None
    positive_from: Annotated[
        float | None,
        typer.Option(
            metavar="GRADE",
            help="The lowest label of a positive, where labels are graded. What is between 0 and it is never a negative.",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The part of a BEIR folder. Without it, train.",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = None
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            help="The format of an input whose ending does not tell.",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TakeOptions:
    """What becomes a negative; each field is a flag."""

    mode: Annotated[
        ModeChoice | None,
        typer.Option(
            help="How candidates are found: by vectors, by words, or by both. Without it, both if the index has both.",
            show_default=False,
            rich_help_panel=_CORPUS_PANEL,
        ),
    ] = None
    rank_from: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="The first rank that may be a negative. Judged documents have no rank.",
            rich_help_panel=_CORPUS_PANEL,
        ),
    ] = 1
    rank_to: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="The last rank: so many documents the cross-encoder reads for a query.",
            rich_help_panel=_CORPUS_PANEL,
        ),
    ] = 50
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.encoders,
            help="The bi-encoder. Without it, the one that the index names, or the one inside the package.",
            rich_help_panel=_CORPUS_PANEL,
        ),
    ] = None
    form: Annotated[
        FormChoice,
        typer.Option(
            help="A row is a query with a positive and a negative, a pair with a label, or a query with all its texts.",
            rich_help_panel=options.FILE_PANEL,
        ),
    ] = FormChoice.TRIPLETS
    num_negatives: Annotated[
        int,
        typer.Option(
            "--num-negatives",
            "-n",
            metavar="N",
            help="The most negatives of a query.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = 4
    max_positives: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Positives of a query that are scored and written, the first ones; the others are never negatives.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = 16
    sampling: Annotated[
        SamplingChoice,
        typer.Option(
            help="Of what may be a negative, those with the highest scores, or any by chance.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = SamplingChoice.TOP
    relative_margin: Annotated[
        float | None,
        typer.Option(
            metavar="PART",
            help="A negative scores lower than the positive by this part of it, else it is a suspected false negative. "
            "Without it and --absolute-margin, 0.05.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    absolute_margin: Annotated[
        float | None,
        typer.Option(
            metavar="DISTANCE",
            help="A negative scores lower than the positive by this much; with both margins, both must hold.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    margin_scale: Annotated[
        ScaleChoice,
        typer.Option(
            help="What margins and limits mean: the probability (calibrated if it can be), or the model's own score.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = ScaleChoice.PROBABILITY
    reference: Annotated[
        ReferenceChoice,
        typer.Option(help="Of several positives, whose score counts.", rich_help_panel=_RULE_PANEL),
    ] = ReferenceChoice.LOWEST
    max_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="The highest score of a negative; what is above is suspected.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="The lowest score of a negative; what is below is too easy.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = None
    seed: Annotated[
        int, typer.Option(metavar="N", help="Of --sampling random.", rich_help_panel=_RULE_PANEL)
    ] = 0
    num_examples: Annotated[
        int,
        typer.Option(
            "--examples",
            metavar="N",
            help="Suspected false negatives whose ids are told.",
            rich_help_panel=_RULE_PANEL,
        ),
    ] = 10

    def chosen(self) -> NegativeOptions:
        """As the library takes them.

        Raises:
            SettingError: one makes no sense.
        """
        from pairscore.training.negatives import NegativeOptions
        from pairscore.training.negatives_choice import MarginRule

        relative = self.relative_margin
        if relative is None and self.absolute_margin is None:
            relative = MarginRule().relative
        return NegativeOptions(
            mode=None if self.mode is None else self.mode.value,
            first_rank=self.rank_from,
            last_rank=self.rank_to,
            max_positives=self.max_positives,
            rule=MarginRule(
                relative=relative,
                absolute=self.absolute_margin,
                max_score=self.max_score,
                min_score=self.min_score,
                scale=self.margin_scale.value,
                reference=self.reference.value,
                num_negatives=self.num_negatives,
                sampling=self.sampling.value,
                seed=self.seed,
            ),
            form=self.form.value,
            num_examples=self.num_examples,
        )


def check_options(paths: PathOptions, positives: PositiveOptions, *, is_folder: bool) -> None:
    """Refuse options that contradict each other.

    Raises:
        SettingError: they do.
    """
    if paths.index is not None and paths.corpus:
        raise SettingError("--index and --corpus both say where candidates come from; give one")
    if not is_folder and positives.split is not None:
        raise SettingError("--split names a part of a BEIR folder, and the input is a file")
    columns = (
        positives.query_column,
        positives.document_column,
        positives.label_column,
        positives.id_column,
        positives.file_format,
    )
    if is_folder and any(one is not None for one in columns):
        raise SettingError(
            "the input is a BEIR folder, which has no columns to name and no --format; leave these options out"
        )
