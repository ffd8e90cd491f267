"""`pairscore convert`: other weights for a model, and a report of how close they are to float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pairscore.cli import completion, options, output
from pairscore.cli import convert_options as own
from pairscore.cli.interrupt import Stopping
from pairscore.cli.pair_texts import NamedColumns, read_pairs
from pairscore.cli.steps import steps
from pairscore.errors import ParityError, SettingError

if TYPE_CHECKING:
    from pairscore.convert import ConvertOptions
    from pairscore.convert.conversion import Asked, Telling
    from pairscore.convert.parity_texts import ParityTexts
    from pairscore.convert.report import Report

__all__ = ["HELP", "convert"]

HELP = """Convert a model's weights, and report how close the result is to float32.

SOURCE is a known name, a folder, or a hub id, of a cross-encoder or of a
bi-encoder (BERT family, mean or CLS pooling). The result is a folder that every
verb takes as --model. It is compared with float32 on real texts; what fails a
threshold is not written without --accept. PARITY.md and parity.json in the
folder hold the report.

Examples:

  pairscore convert FOLDER --output FOLDER-int8
  pairscore convert FOLDER --output FOLDER-int8 --judged beir/scifact
  pairscore convert FOLDER --output FOLDER-onnx --to float32
  pairscore convert INT8-FOLDER --output FOLDER --to safetensors
  pairscore convert --compare FOLDER FOLDER-int8 --texts pairs.csv

What each way is, and what the report says: docs/converting.md. Needs the extra
`convert`: pip install 'pairscore\\[convert]'"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _TextsAsked:
    texts: str | None
    judged: Path | None
    columns: NamedColumns
    limit: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    to: Literal["int8", "float32", "safetensors"]
    granularity: Literal["rows", "channel", "tensor"] | None
    reduced_range: bool
    static: bool
    calibration_texts: str | None


def convert(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="The model to convert.",
            autocompletion=completion.models,
            show_default=False,
        ),
    ] = None,
    *,
    target: own.OutputOption = None,
    compared: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="REFERENCE OTHER",
            help="Convert nothing: compare two models that are there, and print the report.",
        ),
    ] = None,
    to: Annotated[own.To, typer.Option("--to", help="What to make.")] = own.To.INT8,
    granularity: own.GranularityOption = None,
    reduced_range: own.RangeOption = True,
    static: own.StaticOption = False,
    calibration_texts: own.CalibrationTextsOption = None,
    texts: own.TextsOption = None,
    judged: own.JudgedOption = None,
    query_column: own.QueryColumnOption = None,
    document_column: own.DocumentColumnOption = None,
    limit: own.LimitOption = 2000,
    min_spearman: own.SpearmanOption = None,
    min_top_overlap: own.OverlapOption = None,
    max_flipped: own.FlippedOption = None,
    max_ndcg_loss: own.NdcgLossOption = None,
    max_difference: own.DifferenceOption = None,
    min_label_agreement: own.AgreementOption = None,
    min_cosine: own.CosineOption = None,
    min_worst_cosine: own.WorstCosineOption = None,
    min_neighbours: own.NeighboursOption = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Write it even where it fails a threshold; the report says so."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that exists.")
    ] = False,
    skip_check: options.SkipCheckOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Convert and compare; `HELP` is what the user reads."""
    from pairscore.convert.conversion import Asked, require_extra
    from pairscore.convert.thresholds import Thresholds

    _check_places(source, target, compared)
    require_extra()
    thresholds = Thresholds(
        min_spearman=min_spearman,
        min_top_overlap=min_top_overlap,
        max_flipped=max_flipped,
        max_ndcg_loss=max_ndcg_loss,
        max_difference=max_difference,
        min_label_agreement=min_label_agreement,
        min_cosine=min_cosine,
        min_worst_cosine=min_worst_cosine,
        min_neighbours=min_neighbours,
    )
    columns = NamedColumns(query=query_column, document=document_column)
    chosen = _texts(_TextsAsked(texts=texts, judged=judged, columns=columns, limit=limit))
    asked = Asked(texts=chosen, thresholds=thresholds, skip_checks=tuple(skip_check or ()))
    with _telling(chosen, quiet=quiet) as telling:
        if compared is not None:
            report, folder = _compare(compared, asked, telling), None
        else:
            way = _Way(
                to=to.value,
                granularity=None if granularity is None else granularity.value,
                reduced_range=reduced_range,
                static=static,
                calibration_texts=calibration_texts,
            )
            report, folder = _convert(
                str(source),
                Path(str(target)),
                way,
                asked,
                telling,
                accept=accept,
                overwrite=overwrite,
            )
    _show(report, folder, as_json=as_json, quiet=quiet)
    if report.failed and not report.accepted:
        raise ParityError(_refusal(report, compared=compared is not None))


def _check_places(
    source: str | None, target: Path | None, compared: tuple[str, str] | None
) -> None:
    if compared is not None:
        if source is not None or target is not None:
            raise SettingError(
                "--compare writes nothing: give it two models, and neither SOURCE nor --output"
            )
        return
    if source is None:
        raise SettingError("give the model to convert, SOURCE, or two models with --compare")
    if target is None:
        raise SettingError("--output is missing: name the folder to write")


def _texts(asked: _TextsAsked) -> ParityTexts:
    from pairscore.convert.judged import read_judged
    from pairscore.convert.parity_texts import default_texts, grouped_texts

    if asked.texts is not None and asked.judged is not None:
        raise SettingError("give --texts or --judged, not both")
    if asked.limit < 0:
        raise SettingError(f"--limit is {asked.limit}; it must be at least 1 pair, or 0 for all")
    limit = asked.limit or None
    if asked.judged is not None:
        return read_judged(asked.judged, limit=limit)
    if asked.texts is not None:
        pairs = read_pairs(asked.texts, asked.columns)
        return grouped_texts(pairs, name=Path(asked.texts).name, limit=limit)
    return default_texts(limit=limit)


def _convert_options(way: _Way) -> ConvertOptions:
    from pairscore.convert import ConvertOptions

    if way.to != "int8":
        if way.granularity is not None or way.static or not way.reduced_range:
            raise SettingError(
                f"--to {way.to} has no scales; --granularity, --full-range and --static belong to --to int8"
            )
        return ConvertOptions(precision="float32")
    if way.static != (way.calibration_texts is not None):
        raise SettingError(
            "--static and --calibration-texts FILE belong together; give both or neither"
        )
    pairs = () if way.calibration_texts is None else tuple(read_pairs(way.calibration_texts))
    return ConvertOptions(
        precision="int8",
        granularity=way.granularity,
        reduced_range=way.reduced_range,
        method="static" if way.static else "dynamic",
        calibration_pairs=pairs,
    )


def _convert(
    source: str,
    target: Path,
    way: _Way,
    asked: Asked,
    telling: Telling,
    *,
    accept: bool,
    overwrite: bool,
) -> tuple[Report, Path | None]:
    from pairscore.convert.conversion import convert as converted
    from pairscore.models.resolve import resolve

    written = converted(
        resolve(source),
        target,
        target=way.to,
        options=_convert_options(way),
        asked=asked,
        accept=accept,
        overwrite=overwrite,
        telling=telling,
    )
    return written.report, written.folder


def _compare(names: tuple[str, str], asked: Asked, telling: Telling) -> Report:
    from pairscore.convert.conversion import compare
    from pairscore.models.resolve import resolve

    reference, other = (resolve(name) for name in names)
    return compare(reference, other, asked=asked, telling=telling)


@contextmanager
def _telling(texts: ParityTexts, *, quiet: bool) -> Iterator[Telling]:
    """What begins and how far it is, on standard error; a signal ends it all and leaves nothing behind."""
    from pairscore.convert.conversion import Telling

    with Stopping() as stopping, steps(shown=not quiet) as line:

        def step(text: str) -> None:
            if not quiet:
                output.note(f"{text} ...")
            if line is not None:
                line.begin(text)

        def scored(num_pairs: int) -> None:
            if line is not None:
                line.move(num_pairs, texts.num_pairs, unit="pairs")

        yield Telling(step=step, scored=scored, held=stopping.held)


def _show(report: Report, folder: Path | None, *, as_json: bool, quiet: bool) -> None:
    from pairscore.convert.report import record, sections

    if as_json:
        output.print_json({**record(report), "output": None if folder is None else str(folder)})
    else:
        output.say(f"Parity of {report.model}\n{report.verdict}")
        for section in sections(report):
            output.say(f"\n{section.title}")
            for line in _aligned(section.rows):
                output.say(line)
        for note in [*report.notes, *([report.texts.note] if report.texts.note else [])]:
            output.say(f"\nnote: {note}")
    if folder is not None and not quiet:
        output.note(f"written: {folder}")


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _refusal(report: Report, *, compared: bool) -> str:
    what = report.verdict.removeprefix("Failed: ").rstrip(".")
    if compared:
        return f"the two are too far apart: {what}"
    return (
        f"not written, too far from float32: {what}; convert in another way (--granularity, --to float32), "
        "compare on your own texts (--texts, --judged), or take it as it is with --accept"
    )
