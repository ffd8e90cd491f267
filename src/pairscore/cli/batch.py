"""Many files, block by block: what `score` and `rank` do where the output is a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

from pairscore.cli import options, output, progress
from pairscore.cli.batch_options import BatchOptions, OnBroken
from pairscore.cli.interrupt import Stopped, Stopping
from pairscore.errors import SettingError
from pairscore.files import FileFormat, known_format, places

if TYPE_CHECKING:
    from pairscore.batch.records import BlockReport, Job, ModelChoice, Runner, Source
    from pairscore.batch.running import Planned, RunReport
    from pairscore.config import Chunking

__all__ = ["BatchRequest", "run_batch"]

# Of queries with their candidates; a row of them is as much work as many pairs.
_RANK_BLOCK_ROWS: Final = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRequest:
    """What was asked for, as the command line has it.

    Attributes:
        task: ``score`` for rows of two texts, ``rank`` for rows of a query and a list of documents.
        inputs: files, folders, patterns or URLs.
        output: the folder, or its URL.
        file_format: of the output, and of inputs whose ending says nothing.
        query_column: the column of the first text; None finds it by its name.
        document_column: the column of the second text, or of the list; None finds it by its name.
        score_column: the name of the score's column.
        top_k: of a ranking, how many hits are written; None for all.
        min_score: of a ranking, the lowest score of a hit; None for all.
        min_probability: likewise the lowest probability.
        on_error: what a broken row does; None writes it aside.
        overwrite: replace the run that the output folder holds.
        model: which model.
        batch_size: the most pairs of a micro-batch.
        chunking: how long documents are read in windows; None cuts them.
        batch: how many files are done.
        as_json: print the report as JSON.
        quiet: no bar and no notes.
    """

    task: Literal["score", "rank"]
    inputs: Sequence[str]
    output: str | None
    file_format: FileFormat | None
    query_column: str | None
    document_column: str | None
    score_column: str = "score"
    top_k: int | None = None
    min_score: float | None = None
    min_probability: float | None = None
    on_error: OnBroken | None = None
    overwrite: bool = False
    model: options.ModelOptions
    batch_size: int | None
    chunking: Chunking | None
    batch: BatchOptions
    as_json: bool
    quiet: bool


def run_batch(request: BatchRequest) -> None:
    """Do all files, and tell what came of it.

    Raises:
        PairscoreError: whatever makes it impossible; what was done is kept.
    """
    from pairscore.batch.running import run

    request.batch.check()
    job = _job(request)
    with progress.opened(shown=not request.quiet) as bars:
        bar = _Bar(bars)
        try:
            with _StoppingOnce():
                report = run(
                    job,
                    _runner(request, bar),
                    resume=request.batch.resume,
                    overwrite=request.overwrite,
                    verify=request.batch.verify,
                    on_plan=bar.planned,
                    on_block=bar.block,
                )
        except Stopped as stop:
            bar.end()
            _tell_stopped(stop, job, as_json=request.as_json)
            raise typer.Exit(128 + stop.number) from stop
    _tell(report, job, as_json=request.as_json, quiet=request.quiet)


def _job(request: BatchRequest) -> Job:
    from pairscore.batch.planning import sources_of
    from pairscore.batch.records import DEFAULT_BLOCK_ROWS, Job

    folder = _folder(request)
    sources = sources_of(list(request.inputs), otherwise=request.file_format)
    default = DEFAULT_BLOCK_ROWS if request.task == "score" else _RANK_BLOCK_ROWS
    return Job(
        task=request.task,
        sources=sources,
        output=folder,
        output_format=_output_format(request, sources),
        model=_model(request),
        query_column=request.query_column,
        document_column=request.document_column,
        score_column=request.score_column,
        top_k=request.top_k,
        min_score=request.min_score,
        min_probability=request.min_probability,
        batch_size=request.batch_size,
        chunking=request.chunking,
        block_rows=request.batch.block_rows or default,
        stop_on_broken=request.on_error is OnBroken.STOP,
    )


def _folder(request: BatchRequest) -> str:
    """The output, whole: whoever writes into it may be in another folder."""
    from pairscore.batch.storage import is_url

    if places.STANDARD in request.inputs:
        raise SettingError(
            "standard input can be read only once, so a batch cannot go on with it; put it into a file, "
            "and give that with --input"
        )
    if request.output is None or request.output == places.STANDARD:
        raise SettingError("many files need a folder for their results: --output DIR")
    if is_url(request.output):
        return request.output
    if known_format(request.output) is not None and not Path(request.output).is_dir():
        raise SettingError(
            f"--output is {request.output!r}, which looks like one file; results of many files, and what can be "
            "resumed, need a folder: name one, such as results/"
        )
    return str(Path(request.output).absolute())


def _output_format(request: BatchRequest, sources: Sequence[Source]) -> FileFormat:
    tables = [one.path for one in sources if one.format in (FileFormat.CSV, FileFormat.TSV)]
    if request.task == "rank" and tables:
        raise SettingError(
            f"{tables[0]!r} cannot be ranked: a row needs a list of documents, which csv and tsv do not have; "
            "give .parquet or .jsonl"
        )
    if request.file_format is not None:
        return request.file_format
    found = sorted({one.format for one in sources})
    if len(found) > 1:
        raise SettingError(
            f"the input has files of several formats ({', '.join(found)}); say that of the results with --format"
        )
    return found[0]


def _model(request: BatchRequest) -> ModelChoice:
    """With whole paths: whoever opens the model may be in another folder."""
    choice = options.model_choice(request.model)
    name, calibration = choice.name, request.model.calibration
    if name and Path(name).is_dir():
        choice = replace(choice, name=str(Path(name).absolute()))
    if calibration is not None:
        whole = {**choice.options, "calibration": str(calibration.absolute())}
        choice = replace(choice, options=whole)
    return choice


def _runner(request: BatchRequest, bar: _Bar) -> Runner:
    batch = request.batch
    if batch.ray is None:
        from pairscore.batch.local import LocalRunner

        return LocalRunner(on_rows=bar.rows)
    from pairscore.distributed import require_ray

    require_ray()
    from pairscore.distributed.batch import RayRunner

    runner: Runner = RayRunner(
        address=batch.ray or None,
        num_actors=batch.actors,
        cpus_per_actor=1.0 if batch.cpus_per_actor is None else batch.cpus_per_actor,
        gpus_per_actor=batch.gpus_per_actor or 0.0,
    )
    return runner


class _StoppingOnce(Stopping):
    """A second signal waits, while what is under way is given up."""

    def on_signal(self, number: int) -> None:
        """Raise the first."""
        if not self._held:
            self.hold()
            self._stop(number)


class _Bar:
    """How far the job is: rows, those of blocks that are under way included where anybody tells."""

    def __init__(self, bars: progress.Bars | None) -> None:
        self._bars = bars
        self._stage = (
            None if bars is None else bars.begin("looking at the input", unit="", extent=None)
        )
        self._in_blocks = 0
        self._scored = 0

    def planned(self, planned: Planned) -> None:
        """From here on there is something to count."""
        self.end()
        done = planned.num_rows_done
        self._in_blocks = self._scored = done
        if self._bars is not None:
            self._stage = self._bars.begin(
                "", unit="rows", extent=planned.num_rows, position=done, num_done=done
            )

    def block(self, report: BlockReport) -> None:
        """A block is done."""
        self._in_blocks += report.num_rows
        self._move()

    def rows(self, num: int) -> None:
        """So many more rows are scored."""
        self._scored += num
        self._move()

    def end(self) -> None:
        """The bar goes."""
        if self._bars is not None and self._stage is not None:
            self._bars.end(self._stage)
        self._stage = None

    def _move(self) -> None:
        stage = self._stage
        if self._bars is not None and stage is not None:
            done = max(self._in_blocks, self._scored)
            self._bars.move(stage, done, done)


def _tell_stopped(stop: Stopped, job: Job, *, as_json: bool) -> None:
    kept = " ".join(getattr(stop, "__notes__", ()))
    if as_json:
        output.print_json({"output": job.output, "stopped": stop.number})
    output.note(f"stopped: {kept}" if kept else "stopped: nothing was begun")


def _tell(report: RunReport, job: Job, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        output.print_json(_facts(report, job))
    if not quiet:
        for line in _summary(report, job):
            output.note(line)


def _facts(report: RunReport, job: Job) -> dict[str, Any]:
    return {
        "output": job.output,
        **asdict(report.account),
        "num_blocks_now": report.num_blocks_now,
        "elapsed_s": round(report.elapsed_s, 3),
        "pairs_per_s": round(report.pairs_per_s, 3),
        "verified": report.verified,
        "stopped": None,
    }


def _summary(report: RunReport, job: Job) -> list[str]:
    account = report.account
    before = account.num_blocks - report.num_blocks_now
    lines = [
        f"rows: {account.num_rows:,} read, {account.num_scored:,} scored, {account.num_broken:,} broken"
    ]
    if account.num_broken:
        lines[0] += f" (they are in {job.output}/_broken, each with its reason)"
    if account.num_truncated:
        lines.append(f"{account.num_truncated:,} pairs were too long for the model and cut")
    lines.append(f"blocks: {report.num_blocks_now:,} done now, {before:,} before")
    how = "; all results were read again" if report.verified else ""
    lines.append(f"checksum: {account.checksum}: no row is missing, and none is there twice{how}")
    rate = f", {report.pairs_per_s:,.1f} pairs/s" if report.num_pairs_now else ""
    lines.append(
        f"done: {account.num_written:,} rows in {job.output}, {report.elapsed_s:.1f} s{rate}"
    )
    return lines
