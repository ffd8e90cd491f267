"""`pairscore search`: the best documents of an index for a query, or for all queries of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import completion, options, output, progress
from pairscore.cli.records import with_records
from pairscore.cli.search_report import as_json_of, print_notes, print_result, print_timings
from pairscore.errors import SettingError

if TYPE_CHECKING:
    from pairscore.retrieval.base import Filter
    from pairscore.retrieval.pipeline import SearchPipeline
    from pairscore.retrieval.results import SearchMode, SearchResult

__all__ = ["HELP", "search"]

HELP = """Find the best documents of an index for a query.

Candidates come from the index by vectors, by words, or by both, fused;
then the cross-encoder reads the best of them. An index is made with
`pairscore index build`.

Examples:

  pairscore search "how many live in berlin" --index my-index
  pairscore search "red wine" -i my-index --where "year>=2020" --where "lang in en,fr"
  pairscore search "red wine" -i my-index --deadline-ms 200 --timings
  pairscore search --queries queries.jsonl -i my-index --run run.trec

With --deadline-ms the cross-encoder stops in time: what it has not read
stands behind what it has, in the order in which it was found and with the
score that it was found with; the column "scale" tells them apart."""

_PANEL = "Search"


class ModeChoice(StrEnum):
    """How candidates are found."""

    HYBRID = "hybrid"
    DENSE = "dense"
    BM25 = "bm25"


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOptions:
    """What one search may say; each field is a flag."""

    top_k: Annotated[
        int,
        typer.Option(
            "--top-k", "-k", metavar="N", help="Documents to show.", rich_help_panel=_PANEL
        ),
    ] = 10
    num_candidates: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Candidates that the cross-encoder reads.",
            rich_help_panel=_PANEL,
        ),
    ] = 100
    mode: Annotated[
        ModeChoice | None,
        typer.Option(
            help="How candidates are found: by vectors, by words, or by both. Without it, both if the index has both.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None
    where: Annotated[
        tuple[str, ...],
        typer.Option(
            "--where",
            metavar="CONDITION",
            help='A condition on the documents: year>=2020, lang=en, "tag in a,b"; may be given several times, and all '
            "must hold.",
            rich_help_panel=_PANEL,
        ),
    ] = ()
    deadline_ms: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="Time for one query; when it is over, no more is reranked. Without it, no limit.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Leave out what scores less, on the scale that is shown.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.encoders,
            help="The bi-encoder, where it is not where the index says.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank/--no-rerank",
            help="Whether the cross-encoder reads the candidates.",
            rich_help_panel=_PANEL,
        ),
    ] = True
    blend: Annotated[
        float,
        typer.Option(
            metavar="WEIGHT",
            help="How much the first stage's scores count in the order of what is reranked, 0 to 1.",
            rich_help_panel=_PANEL,
        ),
    ] = 0.0


@with_records()
def search(
    query: Annotated[
        str | None,
        typer.Argument(help="What is looked for; or give --queries.", show_default=False),
    ] = None,
    *,
    index: Annotated[
        str,
        typer.Option(
            "--index",
            "-i",
            metavar="PLACE",
            help="The index: a folder that `pairscore index build` made, milvus:FILE.db, or "
            "milvus+http://HOST:PORT/COLLECTION.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ],
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Many queries: JSON lines with _id and text, or lines of an id, a tab and a query.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write what --queries finds as a TREC run, and print none of it.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace --run if it exists.", rich_help_panel=_PANEL),
    ] = False,
    asked: SearchOptions,
    chosen: options.ModelOptions,
    timings: Annotated[
        bool, typer.Option("--timings", help="Show how long each stage took.")
    ] = False,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Search; `HELP` is what the user reads."""
    wanted = _queries(query, queries)
    _check_run(run, queries=queries, overwrite=overwrite)
    # Here, so that `--help` is quick.
    from pairscore.retrieval.blending import check_blend
    from pairscore.retrieval.conditions import parse_conditions

    where = parse_conditions(asked.where)
    check_blend(asked.blend, name="--blend")
    if chosen.is_fake and not quiet:
        output.note(options.FAKE_NOTE)
    with _opened(index, asked, chosen, quiet=quiet) as pipeline:
        # Results that go by on the same terminal are progress enough, and a bar would be in their way.
        shown = not quiet
        if run is None and sys.stdout.isatty():
            results = _one_by_one(pipeline, wanted, asked, where, shown=shown)
        else:
            results = _results(pipeline, wanted, asked, where, shown=shown)
        if run is not None:
            num_queries = _write_run(run, results, overwrite=overwrite)
            if as_json:
                output.print_json({"run": str(run), "num_queries": num_queries})
            elif not quiet:
                output.note(f"{num_queries:,} queries written to {run}")
            return
        for query_id, result in results:
            _print(
                query_id,
                wanted[query_id],
                result,
                as_json=as_json,
                timings=timings,
                quiet=quiet,
                many=queries is not None,
            )


def _queries(query: str | None, file: Path | None) -> dict[str, str]:
    """The queries by their ids."""
    if (query is None) is (file is None):
        raise SettingError(
            "there is no query; give QUERY or --queries FILE"
            if query is None
            else "QUERY and --queries are both given; give one of them"
        )
    if query is not None:
        from pairscore.retrieval.first_stage import check_query

        options.check_argument(query, name="QUERY")
        check_query(query)
        return {"1": query}
    from pairscore.evaluation.beir import read_queries

    return read_queries(Path(str(file)))


def _check_run(run: Path | None, *, queries: Path | None, overwrite: bool) -> None:
    if run is None:
        return
    if queries is None:
        raise SettingError("--run is given without --queries; a run is of many queries")
    from pairscore.files import places

    places.check_target(str(run), source=str(queries), overwrite=overwrite)


@contextmanager
def _opened(
    index: str, asked: SearchOptions, chosen: options.ModelOptions, *, quiet: bool
) -> Iterator[SearchPipeline]:
    """The pipeline, and everything that it needs; closed behind us."""
    # Here, because only this verb needs them, and `--help` none.
    from pairscore.retrieval.opening import open_index
    from pairscore.retrieval.pipeline import SearchPipeline

    with ExitStack() as stack:
        with progress.waiting("opening the index", shown=not quiet):
            opened = open_index(
                index,
                encoder=asked.encoder,
                backend="fake" if chosen.is_fake else "onnx",
                words_only=asked.mode is ModeChoice.BM25,
            )
        stack.callback(opened.close)
        reranker = None
        if asked.rerank:
            reranker = stack.enter_context(options.open_encoder(chosen, quiet=quiet))
        yield stack.enter_context(
            SearchPipeline(opened.retriever, encoder=opened.encoder, reranker=reranker)
        )


def _results(
    pipeline: SearchPipeline,
    queries: dict[str, str],
    asked: SearchOptions,
    where: Filter,
    *,
    shown: bool,
) -> Iterator[tuple[str, SearchResult]]:
    with progress.progress(len(queries), shown=shown, unit="queries") as advance:
        for position, (query_id, query) in enumerate(queries.items(), start=1):
            yield query_id, _searched(pipeline, query, asked, where)
            advance(position, position)


def _one_by_one(
    pipeline: SearchPipeline,
    queries: dict[str, str],
    asked: SearchOptions,
    where: Filter,
    *,
    shown: bool,
) -> Iterator[tuple[str, SearchResult]]:
    for query_id, query in queries.items():
        with progress.waiting("searching", shown=shown):
            result = _searched(pipeline, query, asked, where)
        yield query_id, result


def _searched(
    pipeline: SearchPipeline, query: str, asked: SearchOptions, where: Filter
) -> SearchResult:
    mode: SearchMode | None = None if asked.mode is None else asked.mode.value
    return pipeline.search(
        query,
        top_k=asked.top_k,
        num_candidates=asked.num_candidates,
        mode=mode,
        where=where,
        deadline_ms=asked.deadline_ms,
        min_score=asked.min_score,
        blend=asked.blend,
    )


def _write_run(path: Path, results: Iterator[tuple[str, SearchResult]], *, overwrite: bool) -> int:
    import numpy as np

    from pairscore.evaluation.runs import Ranking, Run, write_run

    rankings = {}
    for query_id, result in results:
        ids = tuple(hit.document.id for hit in result.hits)
        scores = [hit.score for hit in result.hits]
        if len({hit.scale for hit in result.hits}) > 1 or result.blend:
            # A run is ordered by its scores; where they are of two scales, or blended, only the ranks have the order.
            scores = [float(len(ids) - rank) for rank in range(len(ids))]
        rankings[query_id] = Ranking(ids, np.asarray(scores, dtype=np.float32))
    # Not the index's place, which may hold a key.
    write_run(path, Run(name="pairscore", rankings=rankings), overwrite=overwrite)
    return len(rankings)


def _print(
    query_id: str,
    query: str,
    result: SearchResult,
    *,
    as_json: bool,
    timings: bool,
    quiet: bool,
    many: bool,
) -> None:
    if as_json:
        output.print_json(as_json_of(result, query=query, query_id=query_id if many else None))
        return
    if many:
        output.say(f"{query_id}: {query}")
    print_result(result)
    if timings:
        print_timings(result.timings)
    if not quiet:
        print_notes(result)
