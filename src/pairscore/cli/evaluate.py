"""`pairscore evaluate`: how good a model is on labelled data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import options, output, progress
from pairscore.cli.evaluate_options import (
    CollectionOptions,
    MeasureOptions,
    PairFileOptions,
    RunOptions,
)
from pairscore.cli.evaluate_report import report_pairs, report_runs
from pairscore.cli.labelled import read_graded
from pairscore.cli.records import with_records
from pairscore.errors import SettingError
from pairscore.files import places

if TYPE_CHECKING:
    from pairscore.config import Chunking
    from pairscore.evaluation.cached import CachedCrossEncoder, CachedVectors
    from pairscore.evaluation.datasets import Judged, ScoredPairs
    from pairscore.evaluation.evaluate import Evaluation
    from pairscore.evaluation.score_cache import ScoreCache

__all__ = ["HELP", "evaluate"]

HELP = """Measure a model on labelled data.

DATA is a folder with a judged collection (BEIR's layout, or corpus.jsonl,
queries.tsv, qrels.tsv and run.*.tsv), or a file of pairs with labels or grades.
Each ranking is measured before and after the cross-encoder reordered its best
documents; pairs are measured by how well scores agree with the labels.

Examples:

  pairscore evaluate beir/scifact --limit 50
  pairscore evaluate beir/scifact --bi-encoder all-minilm-l6 --fuse
  pairscore evaluate --run run.txt --qrels qrels.txt --queries queries.tsv \\
      --corpus corpus.jsonl --measure nDCG@10 --measure "AP(rel=2)"
  pairscore evaluate stsb/test.tsv --bi-encoder all-minilm-l6

Scores are kept in the user's cache folder, so that a second run is instant:
--no-cache keeps none, --clear-cache forgets them."""

_BI_ENCODER_DEPTH = 1000


def _clear_cache(*, as_json: bool, quiet: bool) -> None:
    from pairscore.evaluation.score_cache import ScoreCache, cache_file

    path = cache_file()
    num_entries = 0
    if path.exists():
        with ScoreCache(path) as cache:
            num_entries = cache.clear()
            if cache.problem and not quiet:
                output.note(f"warning: {cache.problem}")
    if as_json:
        output.print_json({"num_forgotten": num_entries, "cache": str(path)})
    else:
        output.say(f"{num_entries:,} kept scores and vectors forgotten ({path})")


@with_records(without=("calibration",))
def evaluate(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="A folder with a judged collection, or a file of labelled pairs.",
            show_default=False,
        ),
    ] = None,
    *,
    measured: MeasureOptions,
    runs: RunOptions,
    collection: CollectionOptions,
    pair_file: PairFileOptions,
    chosen: options.ModelOptions,
    long: options.LongOptions,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute every score, and keep none.")
    ] = False,
    clear_cache: Annotated[
        bool,
        typer.Option("--clear-cache", help="Forget all kept scores, and exit."),
    ] = False,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Read, score, measure, tell; `HELP` is what the user reads."""
    if clear_cache:
        _clear_cache(as_json=as_json, quiet=quiet)
        return
    asked = _Asked(
        measured=measured,
        runs=runs,
        chosen=chosen,
        chunking=long.chunking(),
        no_cache=no_cache,
        as_json=as_json,
        quiet=quiet,
    )
    _check(asked)
    if data is not None and not Path(data).is_dir():
        if collection.named:
            raise SettingError(
                f"{', '.join(collection.named)} belongs to a judged collection, and {data!r} is no folder; "
                "leave it out, or give the folder"
            )
        _pairs(data, pair_file, asked)
        return
    if pair_file.named:
        raise SettingError(
            f"{', '.join(pair_file.named)} belongs to a file of labelled pairs; leave it out, or give the file"
        )
    _collection(None if data is None else Path(data), collection, asked)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """Everything but the data."""

    measured: MeasureOptions
    runs: RunOptions
    chosen: options.ModelOptions
    chunking: Chunking | None
    no_cache: bool
    as_json: bool
    quiet: bool


@dataclass(frozen=True, slots=True)
class _Models:
    """What is measured, as far as it was asked for, and what it keeps."""

    scorer: CachedCrossEncoder | None
    vectors: CachedVectors | None
    cache: ScoreCache | None


def _check(asked: _Asked) -> None:
    """Everything that can be refused before files are read and models loaded."""
    runs, limit = asked.runs, asked.measured.limit
    for option, value in (("--num-candidates", runs.num_candidates), ("--limit", limit)):
        if value is not None and value < 1:
            raise SettingError(f"{option} is {value}; it must be at least 1")
    if not runs.rerank and runs.save_run is not None:
        raise SettingError("--save-run writes what was reranked; leave out --no-rerank")
    # Here, because `--help` must not pay for numpy.
    from pairscore.evaluation.rankings import check_installed
    from pairscore.retrieval.blending import check_blend

    check_blend(runs.blend, name="--blend")
    check_installed()


# ------------------------------------------------------------------------------------------- rankings


def _collection(folder: Path | None, collection: CollectionOptions, asked: _Asked) -> None:
    from pairscore.evaluation.datasets import read_trec
    from pairscore.evaluation.evaluate import RankingOptions, evaluate_runs, num_pairs_to_score
    from pairscore.evaluation.rankings import DEFAULT_MEASURES, measures_named

    wanted = RankingOptions(
        depth=asked.runs.num_candidates,
        measures=asked.measured.measures or DEFAULT_MEASURES,
        min_grade=asked.measured.min_grade,
        blend=asked.runs.blend,
    )
    measures_named(wanted.measures, min_grade=wanted.min_grade)
    files = collection.files(folder)
    if not files.runs and asked.runs.bi_encoder is None:
        raise SettingError(
            f"there is no first ranking to measure{_in(folder)}; give --run FILE, or --bi-encoder NAME to search the corpus"
        )
    judged = read_trec(
        files,
        name=None if folder is None else folder.resolve().name,
        depth=wanted.depth,
        limit=asked.measured.limit,
    )
    began = time.perf_counter()
    with _opened(asked) as models:
        judged = _more_runs(judged, models, asked)
        targets = _targets(asked.runs, list(judged.runs))
        total = num_pairs_to_score(judged, depth=wanted.depth) if models.scorer else 0
        with _progress(total, asked) as advance:
            found = evaluate_runs(judged, models.scorer, wanted, advance=advance)
        _tell_cache(models, asked)
    _save(found, targets, overwrite=asked.runs.overwrite)
    report_runs(
        found,
        counts=None if models.scorer is None else models.scorer.counts,
        seconds=time.perf_counter() - began,
        saved=targets,
        as_json=asked.as_json,
        quiet=asked.quiet,
    )


def _more_runs(judged: Judged, models: _Models, asked: _Asked) -> Judged:
    """The bi-encoder's ranking, and the fused one, where they were asked for."""
    if models.vectors is None and not asked.runs.fuse:
        return judged
    from pairscore.evaluation.dense import dense_run, fused_run, with_run

    depth = asked.runs.num_candidates
    if models.vectors is not None:
        with _progress(None, asked, unit="texts") as advance:
            dense = dense_run(
                judged,
                models.vectors,
                name=models.vectors.name,
                top_k=max(depth, _BI_ENCODER_DEPTH),
                advance=advance,
            )
        judged = with_run(judged, dense, depth=depth)
    if asked.runs.fuse:
        judged = with_run(judged, fused_run(list(judged.runs.values())), depth=depth)
    return judged


def _targets(runs: RunOptions, names: list[str]) -> dict[str, Path]:
    """Where each reranked run goes."""
    target = runs.save_run
    if target is None:
        return {}
    found = {
        name: target if len(names) == 1 else target.with_name(_named(target, name))
        for name in names
    }
    for path in found.values():
        places.check_target(str(path), source=places.STANDARD, overwrite=runs.overwrite)
    return found


def _named(target: Path, name: str) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return f"{target.stem}.{plain}{target.suffix}"


def _save(found: Evaluation, targets: dict[str, Path], *, overwrite: bool) -> None:
    from pairscore.evaluation.runs import write_run

    for report in found.runs:
        if report.after is not None and report.name in targets:
            tagged = replace(report.after, name=f"{report.name}+{found.model}")
            write_run(targets[report.name], tagged, overwrite=overwrite)


# ---------------------------------------------------------------------------------------------- pairs


def _pairs(path: str, pair_file: PairFileOptions, asked: _Asked) -> None:
    from pairscore.config import DEFAULT_MAX_CHARS

    measured, runs = asked.measured, asked.runs
    if (
        runs.save_run is not None
        or runs.fuse
        or runs.blend
        or measured.measures
        or measured.min_grade is not None
    ):
        raise SettingError(
            "--save-run, --fuse, --blend, --measure and --min-grade belong to rankings; pairs have measures of their "
            "own: leave them out"
        )
    if not runs.rerank and runs.bi_encoder is None:
        raise SettingError("--no-rerank leaves nothing to measure on pairs; give --bi-encoder NAME")
    max_chars = asked.chosen.max_chars or DEFAULT_MAX_CHARS
    pairs = read_graded(path, pair_file.kind(path), pair_file.columns(max_chars=max_chars))
    pairs = _first(pairs, asked.measured.limit)
    began = time.perf_counter()
    from pairscore.evaluation.pairs import evaluate_pairs

    with _opened(asked) as models:
        with _progress(len(set(pairs.pairs)) if models.scorer else None, asked) as advance:
            found = evaluate_pairs(
                pairs, scorer=models.scorer, vectors=models.vectors, advance=advance
            )
        _tell_cache(models, asked)
    report_pairs(
        found,
        counts=None if models.scorer is None else models.scorer.counts,
        seconds=time.perf_counter() - began,
        as_json=asked.as_json,
        quiet=asked.quiet,
    )


def _first(pairs: ScoredPairs, limit: int | None) -> ScoredPairs:
    from pairscore.evaluation.datasets import scored_pairs

    if limit is None or limit >= len(pairs):
        return pairs
    return scored_pairs(pairs.pairs[:limit], pairs.grades[:limit], name=pairs.name)


# --------------------------------------------------------------------------------------------- shared


@contextmanager
def _opened(asked: _Asked) -> Iterator[_Models]:
    """The models that were asked for, and the kept scores; closed behind us."""
    from pairscore.evaluation.cached import CachedCrossEncoder, CachedVectors
    from pairscore.evaluation.score_cache import ScoreCache

    runs, chosen = asked.runs, asked.chosen
    if not runs.rerank and runs.bi_encoder is None and not asked.quiet:
        output.note("note: nothing is reranked; measured is what was there")
    if chosen.is_fake and not asked.quiet:
        output.note(options.FAKE_NOTE)
    with ExitStack() as stack:
        cache = None if asked.no_cache else stack.enter_context(ScoreCache())
        vectors = scorer = None
        if runs.bi_encoder is not None:
            from pairscore.bi_encoder import BiEncoder

            with progress.waiting("loading the bi-encoder", shown=not asked.quiet):
                encoder = BiEncoder(
                    runs.bi_encoder,
                    num_workers=chosen.num_workers,
                    backend="fake" if chosen.is_fake else "onnx",
                )
            vectors = CachedVectors(stack.enter_context(encoder), cache)
        if runs.rerank:
            model = stack.enter_context(options.open_encoder(chosen, quiet=asked.quiet))
            scorer = CachedCrossEncoder(model, cache, chunking=asked.chunking)
        yield _Models(scorer, vectors, cache)


@contextmanager
def _progress(
    total: int | None, asked: _Asked, *, unit: str = "pairs"
) -> Iterator[Callable[[int], None]]:
    """A bar that is moved on by how many more are done."""
    num_done = 0
    with progress.progress(total, shown=not asked.quiet, unit=unit) as move:

        def advance(count: int) -> None:
            nonlocal num_done
            num_done += count
            move(num_done, num_done)

        yield advance


def _tell_cache(models: _Models, asked: _Asked) -> None:
    if models.cache is not None and models.cache.problem and not asked.quiet:
        output.note(f"warning: {models.cache.problem}")


def _in(folder: Path | None) -> str:
    return "" if folder is None else f" in {str(folder)!r}"
