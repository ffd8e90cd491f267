"""`pairscore score`: one pair from the command line, or a file of pairs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairscore.cli import options, output
from pairscore.cli.batch import BatchRequest, run_batch
from pairscore.cli.batch_options import BatchOptions, OnBroken, is_batch
from pairscore.cli.records import with_records
from pairscore.cli.stream import FileJob, Outcome, kept, score_file
from pairscore.errors import SettingError
from pairscore.files import FileFormat, format_of, known_format, places

if TYPE_CHECKING:
    from pairscore.config import Chunking

__all__ = ["HELP", "score"]

HELP = """Score one pair of texts, or every pair of a file.

The score says how well B answers A (relevance models), or how alike both are
(similarity models); its scale is printed too. A probability is from 0 to 1.

Examples:

  pairscore score "how many live in berlin" "Berlin has 3.5 million people."
  pairscore score "a question" "an answer" --json
  pairscore score --input pairs.csv --output scores.csv
  pairscore score -i in.jsonl -o out.csv --query-column q --document-column d
  cat pairs.tsv | pairscore score --input - --format tsv > scores.tsv
  pairscore score --input "pairs/*.parquet" --output scores/ --resume

A file is read row by row: its size does not matter. The output holds the
columns of the input, and score, probability, truncated; of a model with several
labels also label, the likeliest, and the probability of each. Stopped by
Ctrl-C, it keeps what is done.

Where the output is a folder, many files are scored block by block, here or with
--ray on a cluster. Broken rows go to DIR/_broken; with --resume the same command
goes on where it was stopped, or died."""

_FILE_PANEL = options.FILE_PANEL
_MEANING = {"logit": "unbounded, higher is better", "unit": "from 0 to 1, higher is more alike"}


@with_records()
def score(
    text_a: Annotated[
        str | None,
        typer.Argument(metavar="A", help="The query, or the first text.", show_default=False),
    ] = None,
    text_b: Annotated[
        str | None,
        typer.Argument(metavar="B", help="The document, or the second text.", show_default=False),
    ] = None,
    *,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help="A file of pairs: .csv, .tsv, .jsonl or .parquet; - is standard input. Of many files a folder, "
            "a pattern in quotes, or a URL such as s3://bucket/*.parquet; may be given several times.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the scores go, in any of these formats; standard output without it. Of many files the "
            "folder for the results, or its URL.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None,
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            help="The format of standard input and output, and of files with an unknown ending.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None,
    query_column: options.QueryColumnOption = None,
    document_column: options.DocumentColumnOption = None,
    score_column: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The name of the score's column; another one than score also names the "
            "others: NAME_probability, NAME_truncated.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = "score",
    on_error: Annotated[
        OnBroken | None,
        typer.Option(
            help="At a broken row: stop with what is done kept, skip it and report it at the end, or, of many "
            "files, write it aside with the reason. Without it, stop; of many files, aside.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace an output that exists.", rich_help_panel=_FILE_PANEL
        ),
    ] = False,
    chosen: options.ModelOptions,
    batch_size: options.BatchSizeOption = None,
    long: options.LongOptions,
    batch: BatchOptions,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Score one pair, or a file of pairs; `HELP` is what the user reads."""
    chunking = long.chunking()
    if chosen.is_fake and not quiet:
        output.note(options.FAKE_NOTE)
    inputs = sources or []
    if not inputs:
        _refuse_without_input(target, batch)
        if text_a is None or text_b is None:
            raise SettingError("give two texts, A and B, or a file of pairs with --input")
        _score_pair(
            text_a,
            text_b,
            chosen,
            batch_size=batch_size,
            chunking=chunking,
            as_json=as_json,
            quiet=quiet,
        )
        return
    if text_a is not None:
        raise SettingError("give two texts or --input, not both")
    request = BatchRequest(
        task="score",
        inputs=inputs,
        output=target,
        file_format=file_format,
        query_column=query_column,
        document_column=document_column,
        score_column=score_column,
        on_error=on_error,
        overwrite=overwrite,
        model=chosen,
        batch_size=batch_size,
        chunking=chunking,
        batch=batch,
        as_json=as_json,
        quiet=quiet,
    )
    if is_batch(inputs, target, batch):
        run_batch(request)
    else:
        _score_file(request)


def _score_file(request: BatchRequest) -> None:
    job = _job(request)
    if request.as_json and job.target == places.STANDARD:
        raise SettingError("--json prints a summary, so the scores need a file: --output FILE")
    quiet = request.quiet
    outcome = score_file(job, lambda: options.open_encoder(request.model, quiet=quiet))
    _report(outcome, job, as_json=request.as_json, quiet=quiet)


def _refuse_without_input(target: str | None, batch: BatchOptions) -> None:
    if target is not None:
        raise SettingError("--output needs --input: name the file of pairs to score")
    if batch.is_given:
        raise SettingError("--resume and the other options of many files need --input and --output")


def _skips(on_error: OnBroken | None) -> bool:
    if on_error is OnBroken.ASIDE:
        raise SettingError(
            "--on-error aside writes broken rows beside the results of a folder: give --output DIR/, "
            "or leave them out with --on-error skip"
        )
    return on_error is OnBroken.SKIP


def _score_pair(
    text_a: str,
    text_b: str,
    chosen: options.ModelOptions,
    *,
    batch_size: int | None,
    chunking: Chunking | None,
    as_json: bool,
    quiet: bool,
) -> None:
    pair = (options.check_argument(text_a, name="A"), options.check_argument(text_b, name="B"))
    with options.open_encoder(chosen, quiet=quiet) as encoder:
        scores = encoder.score([pair], batch_size=batch_size, chunking=chunking)
        max_length = encoder.max_length
    best = scores.best(0)
    facts: dict[str, Any] = {
        "score": best.score,
        "probability": best.probability,
        **({"label": best.label, "labels": scores.named(0)} if scores.labels else {}),
        **({"calibration": scores.calibration} if scores.calibration else {}),
        "scale": scores.scale,
        "model": scores.model,
        "num_tokens": int(scores.num_tokens[0]),
        "truncated": bool(scores.truncated[0]),
    }
    windows = scores.windows
    if windows is not None:
        facts |= {"span": windows.span(0), "num_windows": int(windows.num_windows[0])}
    if as_json:
        output.print_json(facts)
        return
    if best.label is not None:
        output.say(f"label        {best.label}")
    output.say(f"score        {best.score:.4f}")
    how = f" (calibrated: {scores.calibration})" if scores.calibration else ""
    output.say(f"probability  {best.probability:.4f}{how}")
    if scores.labels:
        shares = (f"{name} {value:.4f}" for name, value in scores.named(0).items())
        output.say(f"labels       {', '.join(shares)}")
    output.say(f"scale        {scores.scale} ({_MEANING[scores.scale]})")
    output.say(f"model        {scores.model}")
    if windows is not None:
        start, end = windows.span(0)
        output.say(
            f"windows      {facts['num_windows']}; the best one: characters {start} to {end}"
        )
        if windows.num_limited:
            output.say("limited      yes: the document goes on behind --max-windows")
    elif facts["truncated"]:
        output.say(f"truncated    yes: the pair was cut to {max_length} tokens")


def _job(request: BatchRequest) -> FileJob:
    """One file, which is not a batch."""
    from pairscore.config import DEFAULT_MAX_CHARS

    (source,) = request.inputs
    target = places.STANDARD if request.output is None else request.output
    max_chars = request.model.max_chars
    return FileJob(
        source=source,
        source_format=format_of(source, otherwise=request.file_format),
        target=target,
        # What goes to a pipe keeps the input's format, unless another one is asked for.
        target_format=format_of(target, otherwise=request.file_format or known_format(source)),
        query_column=request.query_column,
        document_column=request.document_column,
        score_column=request.score_column,
        skip_broken=_skips(request.on_error),
        overwrite=request.overwrite,
        max_chars=DEFAULT_MAX_CHARS if max_chars is None else max_chars,
        batch_size=request.batch_size,
        chunking=request.chunking,
        show_progress=not request.quiet,
    )


def _report(outcome: Outcome, job: FileJob, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        output.print_json({**asdict(outcome), "output": job.target})
    if not quiet:
        for line in _summary(outcome, job):
            output.note(line)
    if outcome.stopped is not None:
        if quiet:
            output.note(f"stopped: {kept(outcome, job.target)}")
        raise typer.Exit(128 + outcome.stopped)


def _summary(outcome: Outcome, job: FileJob) -> list[str]:
    lines = []
    if outcome.columns is not None:
        lines.append(
            f"pairs: {outcome.columns.query!r} with {outcome.columns.document!r}; "
            f"model {outcome.model}, scale {outcome.scale}"
            f"{f', probabilities calibrated: {outcome.calibration}' if outcome.calibration else ''}"
        )
    if outcome.num_limited:
        lines.append(f"{outcome.num_limited:,} documents have more windows than --max-windows")
    elif outcome.num_truncated:
        lines.append(f"{outcome.num_truncated:,} pairs were too long for the model and cut")
    if outcome.num_skipped:
        lines.append(f"{outcome.num_skipped:,} broken rows were skipped:")
        lines.extend(f"  {place}" for place in outcome.skipped)
        if outcome.num_skipped > len(outcome.skipped):
            lines.append(f"  and {outcome.num_skipped - len(outcome.skipped):,} more")
    if outcome.stopped is not None:
        lines.append(f"stopped: {kept(outcome, job.target)}")
    else:
        lines.append(f"done: {outcome.num_rows:,} rows in {outcome.elapsed_s:.1f} s")
    return lines
