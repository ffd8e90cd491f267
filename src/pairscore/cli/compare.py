"""`pairscore compare`: cross-encoder, bi-encoder and BM25 on the same pairs, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import completion, options, output, progress
from pairscore.cli.compare_page import report
from pairscore.cli.evaluate_options import CollectionOptions, PairFileOptions
from pairscore.cli.labelled import read_graded
from pairscore.cli.records import with_records
from pairscore.errors import OutputFileError, SettingError
from pairscore.files import places

if TYPE_CHECKING:
    from pairscore.evaluation.compare_parts import CompareOptions, Models, Progress
    from pairscore.evaluation.compare_records import Comparison
    from pairscore.evaluation.datasets import Judged, ScoredPairs

__all__ = ["HELP", "compare"]

HELP = """Compare cross-encoder, bi-encoder and BM25 on the same pairs.

Without DATA, a few built-in pairs show the difference in seconds. DATA is a
folder with a judged collection (BEIR's layout, or corpus.jsonl, queries.tsv,
qrels.tsv and run.*.tsv), or a file of pairs with labels or grades, as for
`pairscore evaluate`. Of a collection all systems score the same candidates:
those of the run or, where there is none, BM25's best of the corpus.

It measures quality with confidence intervals and paired tests, the gap between
related and unrelated pairs, latency and cost on this machine, and what each
number of candidates gives and takes. It ends in a recommendation, or says that
the data is too little for one.

Examples:

  pairscore compare
  pairscore compare stsb/test.tsv --positive-from 4 --html report.html
  pairscore compare beir/scifact --limit 50 --num-candidates 50
  pairscore compare my-data --price-per-hour 0.17 --html report.html --plots plots"""

_DEFAULT_BI_ENCODER = "all-minilm-l6"
_NO_BI_ENCODER = "none"
_PANEL = "Comparison"
_REPORT_PANEL = "Report"


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonOptions:
    """What is compared; each field is a flag."""

    bi_encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.encoders,
            help="The bi-encoder: a name, a folder or a hub id; none leaves it out.",
            rich_help_panel=_PANEL,
        ),
    ] = _DEFAULT_BI_ENCODER
    no_bm25: Annotated[
        bool,
        typer.Option("--no-bm25", help="Leave BM25 out.", rich_help_panel=_PANEL),
    ] = False
    whole_corpus: Annotated[
        bool,
        typer.Option(
            "--whole-corpus",
            help="Let BM25 count the words of the whole corpus, not only of documents that are ranked or judged.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    num_candidates: Annotated[
        int,
        typer.Option(
            "--num-candidates",
            "-k",
            metavar="N",
            help="Candidates of each query. Fewer are tried too: 10, 20, 50, 100, 200, 500.",
            rich_help_panel=_PANEL,
        ),
    ] = 100
    related_from: Annotated[
        float | None,
        typer.Option(
            "--positive-from",
            metavar="GRADE",
            help="The lowest grade that counts as related. Without it 1, and of graded pairs the upper fifth of "
            "their scale.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Compare on the first N queries, or pairs, only. Without it, all.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            metavar="PRICE",
            help="Of a machine like this one, in any currency: cost is then told in money too.",
            rich_help_panel=_PANEL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """What is written; each field is a flag."""

    page: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a report with plots that needs no other file. It shows some of the pairs' texts.",
            rich_help_panel=_REPORT_PANEL,
        ),
    ] = None
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the plots as PNG files; those that exist are replaced.",
            rich_help_panel=_REPORT_PANEL,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace --html if it exists.", rich_help_panel=_REPORT_PANEL
        ),
    ] = False


# Here a grade stays a grade, and --positive-from says which ones are related.
@with_records(without=("positive_from",))
def compare(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="A folder with a judged collection, or a file of labelled pairs; without it, built-in examples.",
            show_default=False,
        ),
    ] = None,
    *,
    comparison: ComparisonOptions,
    wanted: ReportOptions,
    collection: CollectionOptions,
    pair_file: PairFileOptions,
    chosen: options.ModelOptions,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Check, read, score, measure, write, tell; `HELP` is what the user reads."""
    asked = _Asked(
        data=data,
        comparison=comparison,
        wanted=wanted,
        collection=collection,
        pair_file=pair_file,
        chosen=chosen,
        as_json=as_json,
        quiet=quiet,
    )
    _check(asked)
    prepared = _prepared(asked)
    with _opened(asked) as models:
        found = prepared(models, _progress(asked))
    report(found, written=_write(found, wanted), as_json=as_json, quiet=quiet)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    data: str | None
    comparison: ComparisonOptions
    wanted: ReportOptions
    collection: CollectionOptions
    pair_file: PairFileOptions
    chosen: options.ModelOptions
    as_json: bool
    quiet: bool

    @property
    def is_pairs(self) -> bool:
        return self.data is not None and not Path(self.data).is_dir()

    @property
    def is_examples(self) -> bool:
        return self.data is None and not self.collection.named


def _check(asked: _Asked) -> None:
    """Everything that can be refused before files are read and models loaded."""
    limit = asked.comparison.limit
    if limit is not None and limit < 1:
        raise SettingError(f"--limit is {limit}; it must be at least 1")
    _settings(asked)
    if asked.is_examples and (asked.pair_file.named or limit is not None):
        raise SettingError("the options of data files need DATA; give a file or a folder")
    if asked.is_pairs and asked.collection.named:
        raise SettingError(
            f"{', '.join(asked.collection.named)} belongs to a judged collection, and {asked.data!r} is no folder; "
            "leave it out, or give the folder"
        )
    if not asked.is_pairs and asked.pair_file.named:
        raise SettingError(
            f"{', '.join(asked.pair_file.named)} belongs to a file of labelled pairs; leave it out, or give the file"
        )
    if len(asked.collection.runs) > 1:
        raise SettingError("--run is given twice; all systems score the candidates of one run")
    wanted = asked.wanted
    if wanted.page is not None:
        if str(wanted.page) == places.STANDARD:
            raise SettingError("--html cannot be standard output, where the tables go; give a file")
        places.check_target(
            str(wanted.page), source=asked.data or places.STANDARD, overwrite=wanted.overwrite
        )
    if wanted.plots is not None and wanted.plots.exists() and not wanted.plots.is_dir():
        raise OutputFileError(f"{str(wanted.plots)!r} is no folder; give another name with --plots")
    from pairscore.evaluation.compare_parts import check_installed

    drawn = wanted.page is not None or wanted.plots is not None
    check_installed(measures=not asked.is_examples, pictures=drawn)


def _settings(asked: _Asked) -> CompareOptions:
    from pairscore.evaluation.compare_parts import CompareOptions

    comparison = asked.comparison
    return CompareOptions(
        positive_from=comparison.related_from,
        num_candidates=comparison.num_candidates,
        price_per_hour=comparison.price_per_hour,
    )


def _prepared(asked: _Asked) -> Callable[[Models, Progress], Comparison]:
    """Read the data, and say how it is compared; so a broken file is told before a model is loaded."""
    settings = _settings(asked)
    if asked.is_examples:
        from pairscore.evaluation.compare import compare_examples

        return lambda models, progress: compare_examples(
            models, options=settings, progress=progress
        )
    if asked.is_pairs:
        from pairscore.evaluation.compare import check_related, compare_pairs

        pairs = _pairs(asked)
        check_related(pairs, settings)
        return lambda models, progress: compare_pairs(
            pairs, models, options=settings, progress=progress
        )
    from pairscore.evaluation.compare_rankings import candidates_to_compare, compare_rankings

    judged = _judged(asked)
    candidates = candidates_to_compare(judged, options=settings)
    if not asked.quiet:
        output.note(
            f"note: {candidates.first.num_pairs:,} pairs of {len(judged.queries):,} queries, candidates of "
            f"{candidates.first.name}; --limit and --num-candidates make it less"
        )
    return lambda models, progress: compare_rankings(
        candidates, models, options=settings, progress=progress
    )


def _pairs(asked: _Asked) -> ScoredPairs:
    from pairscore.config import DEFAULT_MAX_CHARS
    from pairscore.evaluation.datasets import scored_pairs

    path, limit = str(asked.data), asked.comparison.limit
    max_chars = asked.chosen.max_chars or DEFAULT_MAX_CHARS
    pairs = read_graded(
        path, asked.pair_file.kind(path), asked.pair_file.columns(max_chars=max_chars)
    )
    if limit is None or limit >= len(pairs):
        return pairs
    return scored_pairs(pairs.pairs[:limit], pairs.grades[:limit], name=pairs.name)


def _judged(asked: _Asked) -> Judged:
    from pairscore.evaluation.datasets import read_trec

    folder = None if asked.data is None else Path(asked.data)
    files = asked.collection.files(folder)
    # One run is compared, so the others are not read.
    files = replace(files, runs=files.runs[:1])
    return read_trec(
        files,
        name=None if folder is None else folder.resolve().name,
        depth=asked.comparison.num_candidates,
        limit=asked.comparison.limit,
        whole_corpus=asked.comparison.whole_corpus or not files.runs,
    )


@contextmanager
def _opened(asked: _Asked) -> Iterator[Models]:
    """Both models, closed behind us."""
    from pairscore.evaluation.compare_parts import Models
    from pairscore.road.ranking import check_one_number

    chosen, comparison = asked.chosen, asked.comparison
    if chosen.is_fake and not asked.quiet:
        output.note(options.FAKE_NOTE)
    with ExitStack() as stack:
        cross = stack.enter_context(options.open_encoder(chosen, quiet=asked.quiet))
        check_one_number(cross.card.name, cross.card.labels)
        bi = None
        if comparison.bi_encoder != _NO_BI_ENCODER:
            from pairscore.bi_encoder import BiEncoder

            with progress.waiting("loading the bi-encoder", shown=not asked.quiet):
                bi = stack.enter_context(
                    BiEncoder(
                        comparison.bi_encoder,
                        num_workers=chosen.num_workers,
                        backend="fake" if chosen.is_fake else "onnx",
                    )
                )
        yield Models(cross=cross, bi=bi, bm25=not comparison.no_bm25)


def _progress(asked: _Asked) -> Progress:
    # Of a collection, documents are read and pairs are scored; both are texts to a system.
    unit = "pairs" if asked.is_pairs or asked.is_examples else "texts"

    @contextmanager
    def opened(extent: int) -> Iterator[Callable[[int], None]]:
        num_done = 0
        with progress.progress(extent, shown=not asked.quiet, unit=unit) as move:

            def advance(count: int) -> None:
                nonlocal num_done
                num_done += count
                move(num_done, num_done)

            yield advance

    return opened


def _write(found: Comparison, wanted: ReportOptions) -> list[Path]:
    """The report and the plots that were asked for."""
    if wanted.page is None and wanted.plots is None:
        return []
    from pairscore.evaluation.compare_plots import pictures, write_pngs
    from pairscore.evaluation.compare_report import html_page

    drawn = pictures(found)
    written: list[Path] = []
    try:
        if wanted.page is not None:
            wanted.page.write_text(html_page(found, drawn), encoding="utf-8")
            written.append(wanted.page)
        if wanted.plots is not None:
            written += write_pngs(drawn, wanted.plots)
    except OSError as error:
        raise OutputFileError(
            f"the report cannot be written: {error.strerror or error}; give another name with --html or --plots"
        ) from error
    return written
