"""`pairscore calibrate`: make probabilities honest by labelled pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore import __version__
from pairscore.cli import options, output, progress
from pairscore.cli.calibration_report import Told, report
from pairscore.cli.labelled import LabelColumns, LabelledPairs, read_labelled
from pairscore.cli.records import with_records
from pairscore.errors import MissingExtraError, OutputFileError, SettingError
from pairscore.files import FileFormat, format_of, places

if TYPE_CHECKING:
    from types import ModuleType

    from pairscore.evaluation.calibration import Fitted
    from pairscore.models.calibration import Calibration
    from pairscore.models.resolve import ModelFiles

__all__ = ["HELP", "calibrate"]

HELP = """Fit a model's probabilities to labelled pairs.

FILE holds pairs with a label: 1 if both texts belong together, else 0. Graded
labels need --positive-from. The fitted curve is written beside the model, where
every later use finds it; for a model that is not in a folder of yours, name a
file with --output and give it to score, rank and serve with --calibration.

Only probabilities change: scores and the order of a ranking stay as they are.
What the calibration does is measured on queries that it was not fitted on.

Examples:

  pairscore calibrate --model ./my-model --pairs labelled.csv
  pairscore calibrate --pairs labelled.jsonl --output calibration.json
  pairscore calibrate --pairs stsb.tsv --label-column score --positive-from 3 \\
      --output calibration.json --plot reliability.png"""

_FILE_PANEL = options.FILE_PANEL
# Pairs that are scored between two movements of the progress bar.
_CHUNK = 512


class MethodChoice(StrEnum):
    """How the curve is fitted."""

    PLATT = "platt"
    ISOTONIC = "isotonic"
    AUTO = "auto"


@with_records(without=("calibration",))
def calibrate(
    *,
    source: Annotated[
        str,
        typer.Option(
            "--pairs",
            "-p",
            metavar="FILE",
            help="A file of labelled pairs: .csv, .tsv, .jsonl or .parquet.",
            show_default=False,
            rich_help_panel=_FILE_PANEL,
        ),
    ],
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format", help="The format, if its ending is unknown.", rich_help_panel=_FILE_PANEL
        ),
    ] = None,
    query_column: options.QueryColumnOption = None,
    document_column: options.DocumentColumnOption = None,
    label_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the label; found by common names (label, relevance, grade ...).",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None,
    positive_from: Annotated[
        float | None,
        typer.Option(
            metavar="GRADE",
            help="The lowest grade that is positive. Without it, labels are 0 and 1.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the calibration goes. Without it, calibration.json in the model's folder.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a calibration that exists.", rich_help_panel=_FILE_PANEL
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw a reliability diagram: .png, .svg or .pdf. A picture that exists is replaced.",
            rich_help_panel=_FILE_PANEL,
        ),
    ] = None,
    method: Annotated[
        MethodChoice,
        typer.Option(
            help="platt is a sigmoid and needs few pairs; isotonic is any rising line and needs many; "
            "auto takes platt below 1,000 pairs, else what is better on held-out queries."
        ),
    ] = MethodChoice.AUTO,
    chosen: options.ModelOptions,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Fit, measure, write, tell; `HELP` is what the user reads."""
    from pairscore.models.calibration import CALIBRATION_CHECK

    # The one that lies beside the model is about to be replaced, whatever it was fitted for.
    chosen = replace(chosen, skip_checks=(*chosen.skip_checks, CALIBRATION_CHECK))
    job = _job(chosen, source, target, file_format=file_format, overwrite=overwrite, plot=plot)
    if chosen.is_fake and not quiet:
        output.note(options.FAKE_NOTE)
    columns = _columns(
        query_column,
        document_column,
        label_column,
        positive_from=positive_from,
        max_chars=chosen.max_chars,
    )
    labelled = read_labelled(source, job.source_format, columns)
    calibration, fitted = _fit(
        chosen, job, labelled, method=method, positive_from=positive_from, shown=not quiet
    )
    _write(job, calibration, fitted)
    told = Told(calibration=calibration, fitted=fitted, target=job.target, beside=job.beside)
    report(told, as_json=as_json, quiet=quiet)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """What was checked before any work began.

    Attributes:
        source: the file of labelled pairs.
        source_format: its format.
        target: where the calibration goes.
        beside: whether that is where it is found by itself.
        plot: where the picture goes, if one is wanted.
    """

    source: Path
    source_format: FileFormat
    target: Path
    beside: bool
    plot: Path | None


def _job(
    chosen: options.ModelOptions,
    source: str,
    target: Path | None,
    *,
    file_format: FileFormat | None,
    overwrite: bool,
    plot: Path | None,
) -> _Job:
    from pairscore.evaluation.plots import check_plot
    from pairscore.models.calibration import CALIBRATION
    from pairscore.models.resolve import resolve

    _evaluation()
    if source == places.STANDARD:
        raise SettingError(
            "--pairs cannot be standard input, because the calibration records the file's sha256; give a file"
        )
    source_format = format_of(source, otherwise=file_format)
    if plot is not None:
        check_plot(plot)
    # The same weights as the backend's, so that nothing is fetched from the hub in vain.
    on_torch = chosen.backend is options.BackendChoice.TORCH
    model_files = resolve(chosen.model, kind="safetensors" if on_torch else None)
    own = model_files.folder / CALIBRATION
    if target is None:
        _check_own(model_files)
    path = target or own
    for written, replaceable in ((path, overwrite), (plot, True)):
        if written is not None:
            places.check_target(str(written), source=source, overwrite=replaceable)
    return _Job(
        source=Path(source),
        source_format=source_format,
        target=path,
        beside=path.absolute() == own.absolute(),
        plot=plot,
    )


def _columns(
    query: str | None,
    document: str | None,
    label: str | None,
    *,
    positive_from: float | None,
    max_chars: int | None,
) -> LabelColumns:
    from pairscore.config import DEFAULT_MAX_CHARS

    return LabelColumns(
        query=query,
        document=document,
        label=label,
        positive_from=positive_from,
        max_chars=DEFAULT_MAX_CHARS if max_chars is None else max_chars,
    )


def _check_own(model_files: ModelFiles) -> None:
    """Refuse to write where an update would lose it, or where others' files are kept."""
    folder = model_files.folder.resolve()
    package = Path(str(resources.files("pairscore.models"))).resolve()
    if model_files.source == "bundled" or folder.is_relative_to(package):
        why = "is inside the package, where an update would lose it"
    elif model_files.source == "hub" or (folder.parent.parent / "blobs").is_dir():
        why = "lies in the hub cache, which is not yours to write to"
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = f"lies in {folder}, which may not be written"
    else:
        return
    raise SettingError(
        f"the model {model_files.name} {why}; say where the calibration goes with --output FILE, and give that file "
        "to score, rank and serve with --calibration FILE"
    )


def _check_label(model: str, labels: Sequence[str]) -> None:
    if labels:
        raise SettingError(
            f"{model} puts out {len(labels)} labels ({', '.join(labels)}), and one of them is calibrated at a time; "
            f"choose it with --label {labels[0]}, or another one"
        )


def _evaluation() -> ModuleType:
    """What fits, imported late because scikit-learn takes seconds to import and may not be installed."""
    try:
        from pairscore.evaluation import calibration
    except ImportError as error:
        raise MissingExtraError(feature="pairscore calibrate", extra="evaluate") from error
    return calibration


def _fit(
    chosen: options.ModelOptions,
    job: _Job,
    labelled: LabelledPairs,
    *,
    method: MethodChoice,
    positive_from: float | None,
    shown: bool,
) -> tuple[Calibration, Fitted]:
    from pairscore.evaluation.calibration import Labelled, calibrate, check_numbers
    from pairscore.models.calibration import Calibration, Origin
    from pairscore.models.resolve import file_sha256

    queries = [query for query, _ in labelled.pairs]
    # What can be refused without the model is refused before it runs for minutes.
    check_numbers(labelled.positive, queries)
    with options.open_encoder(chosen, quiet=not shown) as encoder:
        _check_label(encoder.card.name, encoder.card.labels)
        logits: list[float] = []
        with progress.progress(len(labelled.pairs), shown=shown, unit="pairs") as advance:
            for start in range(0, len(labelled.pairs), _CHUNK):
                logits += encoder.score(labelled.pairs[start : start + _CHUNK]).logits.tolist()
                advance(len(logits), len(logits))
        name, sha256, backend = encoder.card.name, encoder.model_sha256, encoder.backend_name
    data = Labelled.of(logits, positive=labelled.positive, queries=queries)
    fitted = calibrate(data, method=method.value)
    origin = Origin(
        model=name,
        weights_sha256=sha256,
        backend=backend,
        label=chosen.label,
        data_sha256=file_sha256(job.source),
        num_pairs=len(labelled.pairs),
        num_positives=sum(labelled.positive),
        num_queries=data.num_queries,
        positive_from=positive_from,
        created=datetime.now(UTC).date().isoformat(),
        version=__version__,
    )
    return Calibration(curve=fitted.curve, origin=origin, measured=fitted.measured), fitted


def _write(job: _Job, calibration: Calibration, fitted: Fitted) -> None:
    from pairscore.evaluation.plots import plot_reliability
    from pairscore.models.calibration import write_calibration

    try:
        write_calibration(job.target, calibration)
        if job.plot is not None:
            plot_reliability(
                job.plot,
                {"before": fitted.before, f"after ({calibration.method})": fitted.after},
                title=calibration.origin.model,
            )
    except OSError as error:
        raise OutputFileError(
            f"{str(job.target)!r} or the plot cannot be written: {error.strerror or error}; "
            "give another name with --output or --plot"
        ) from error
