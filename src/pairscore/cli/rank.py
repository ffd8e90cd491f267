"""`pairscore rank`: order the documents of a file by how well they answer a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairscore.cli import options, output
from pairscore.cli.batch import BatchRequest, run_batch
from pairscore.cli.batch_options import BatchOptions, RankFiles
from pairscore.cli.records import with_records
from pairscore.cli.scoring import scored
from pairscore.errors import DataFileError, EmptyInputError, SettingError
from pairscore.files import FileFormat, known_format, open_reader, places
from pairscore.files.base import Broken
from pairscore.files.columns import require_column

if TYPE_CHECKING:
    from pairscore.config import Chunking
    from pairscore.values import Hit, Scores

__all__ = ["HELP", "rank"]

HELP = """Order documents by how well they answer a query, best first.

FILE holds one document a line; blank lines are skipped. A .jsonl, .csv, .tsv
or .parquet file holds one document a row, in the column that --document-column
names. - reads standard input.

Examples:

  pairscore rank "how many live in berlin" documents.txt --top-k 5
  pairscore rank "how many live in berlin" docs.csv --document-column doc --json
  grep -rh berlin notes/ | pairscore rank "how many live in berlin" -
  pairscore rank --input "queries/*.parquet" --output ranked/ --top-k 10

The line printed beside a document is its line in the file.

With --input, each row has a query and a list of documents (.parquet, .jsonl);
the results are files in the folder that --output names, one row a hit, with rank,
corpus_id, text, score, probability and truncated behind the row's other columns.
With --resume the same command goes on where it was stopped, or died."""

# Spaces around a column.
_MARGIN = 3
_MIN_SHOWN = 20
_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class _Limits:
    """Which hits are shown; None for all."""

    top_k: int | None
    min_score: float | None
    min_probability: float | None


@dataclass(frozen=True, slots=True)
class _Document:
    line: int
    text: str


@with_records()
def rank(
    query: Annotated[
        str | None, typer.Argument(help="What the documents should answer.", show_default=False)
    ] = None,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="The documents; - is standard input.", show_default=False
        ),
    ] = None,
    *,
    many: RankFiles,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", metavar="N", help="Show only the N best.")
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(metavar="SCORE", help="Leave out what scores less, on the model's own scale."),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Leave out what is less probable than this, from 0 to 1."
        ),
    ] = None,
    document_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column that holds the document, in a file of rows. Without it, text; of many queries the "
            "list of documents, found by common names (documents, passages ...).",
            show_default=False,
        ),
    ] = None,
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            help="The format, where the ending does not say it; without it, one document a line.",
        ),
    ] = None,
    chosen: options.ModelOptions,
    batch_size: options.BatchSizeOption = None,
    long: options.LongOptions,
    batch: BatchOptions,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Order documents; `HELP` is what the user reads."""
    if top_k is not None and top_k < 1:
        raise SettingError(f"--top-k is {top_k}; it must be at least 1")
    limits = _Limits(top_k, min_score, min_probability)
    chunking = long.chunking()
    if chosen.is_fake and not quiet:
        output.note(options.FAKE_NOTE)
    if many.sources:
        if query is not None:
            raise SettingError("give QUERY and FILE, or --input with many queries, not both")
        run_batch(
            BatchRequest(
                task="rank",
                inputs=many.sources,
                output=many.target,
                file_format=file_format,
                query_column=many.query_column,
                document_column=document_column,
                score_column=many.score_column,
                **asdict(limits),
                on_error=many.on_error,
                overwrite=many.overwrite,
                model=chosen,
                batch_size=batch_size,
                chunking=chunking,
                batch=batch,
                as_json=as_json,
                quiet=quiet,
            )
        )
        return
    if many != RankFiles() or batch.is_given:
        raise SettingError("--output and the other options of many queries need --input")
    if query is None or file is None:
        raise SettingError("give QUERY and FILE, or many queries with --input and --output")
    options.check_argument(query, name="QUERY")
    kind = known_format(file) or file_format
    documents = _documents(file, kind, column=document_column or "text")
    scores = _scores(
        query, documents, chosen, batch_size=batch_size, chunking=chunking, quiet=quiet
    )
    _report(scores, documents, limits, as_json=as_json, quiet=quiet)


def _scores(
    query: str,
    documents: list[_Document],
    chosen: options.ModelOptions,
    *,
    batch_size: int | None,
    chunking: Chunking | None,
    quiet: bool,
) -> Scores:
    from pairscore.road.ranking import check_one_number

    with options.open_encoder(chosen, quiet=quiet) as encoder:
        check_one_number(encoder.card.name, encoder.card.labels)
        return scored(
            encoder,
            [(query, document.text) for document in documents],
            batch_size=batch_size,
            chunking=chunking,
            shown=not quiet,
        )


def _report(
    scores: Scores, documents: list[_Document], limits: _Limits, *, as_json: bool, quiet: bool
) -> None:
    from pairscore.road.ranking import hits

    found = hits(scores, **asdict(limits))
    if as_json:
        output.print_json(_as_json(found, documents, scores))
        return
    _print_table(found, documents, scores)
    if not quiet:
        _print_notes(found, scores)


def _documents(path: str, kind: FileFormat | None, *, column: str) -> list[_Document]:
    documents = _lines(path) if kind is None else _rows(path, kind, column=column)
    if not documents:
        raise EmptyInputError(
            f"{places.said(path, reading=True)} holds no document to rank; give at least one"
        )
    return documents


def _lines(path: str) -> list[_Document]:
    file = places.open_source(path)
    name = places.said(path, reading=True)
    documents = []
    try:
        for number, raw in enumerate(file, start=1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise DataFileError(
                    f"{name}, line {number}: not UTF-8 (byte {error.start + 1}); "
                    "save the file as UTF-8"
                ) from error
            if text:
                documents.append(_Document(number, text))
    except IsADirectoryError as error:
        raise DataFileError(f"{name} is a folder; give one file") from error
    finally:
        places.close(file)
    return documents


def _rows(path: str, kind: FileFormat, *, column: str) -> list[_Document]:
    reader = open_reader(path, kind)
    documents = []
    try:
        for record in reader.rows():
            place = f"{reader.name}, {reader.unit} {record.number}"
            if isinstance(record, Broken):
                raise DataFileError(f"{place}: {record.reason}")
            require_column(tuple(record.values), column, option="--document-column", name=place)
            text = record.values[column]
            if not isinstance(text, str):
                raise DataFileError(
                    f"{place}: {column!r} is of the type {type(text).__name__}: write it as a string"
                )
            documents.append(_Document(record.number, text))
    finally:
        reader.close()
    return documents


def _as_json(found: Sequence[Hit], documents: list[_Document], scores: Scores) -> dict[str, Any]:
    """The keys of a result are those of `CrossEncoder.rank`, and some more."""
    return {
        "model": scores.model,
        "scale": scores.scale,
        **({"calibration": scores.calibration} if scores.calibration else {}),
        "num_documents": len(documents),
        "results": [
            {
                "corpus_id": hit.corpus_id,
                "score": hit.score,
                "probability": hit.probability,
                "truncated": hit.truncated,
                **_window(scores, hit),
                "line": documents[hit.corpus_id].line,
                "text": documents[hit.corpus_id].text,
            }
            for hit in found
        ],
    }


def _window(scores: Scores, hit: Hit) -> dict[str, Any]:
    windows = scores.windows
    if windows is None:
        return {}
    return {
        "span": windows.span(hit.corpus_id),
        "num_windows": int(windows.num_windows[hit.corpus_id]),
    }


def _best_part(scores: Scores, hit: Hit, text: str) -> str:
    """What a person wants to see of a document: its best window, or its beginning."""
    return text if scores.windows is None else text[slice(*scores.windows.span(hit.corpus_id))]


def _print_table(found: Sequence[Hit], documents: list[_Document], scores: Scores) -> None:
    # Here, because machines ask for JSON and rich takes a while to import.
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = ("rank", f"score ({scores.scale})", "probability", "line")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("document")
    # Shortened here, because rich would take the room for a long document from the numbers.
    room = output.table_width() - sum(len(heading) + _MARGIN for heading in numbers) - _MARGIN
    for place, hit in enumerate(found, start=1):
        document = documents[hit.corpus_id]
        # Text, because a document's own square brackets are no markup.
        part = _best_part(scores, hit, document.text)
        shown = Text(" ".join(part[:_MAX_SHOWN].split()))
        shown.truncate(max(room, _MIN_SHOWN), overflow="ellipsis")
        table.add_row(
            str(place), f"{hit.score:.4f}", f"{hit.probability:.4f}", str(document.line), shown
        )
    output.print_table(table)


def _print_notes(found: Sequence[Hit], scores: Scores) -> None:
    if len(found) < len(scores):
        output.note(f"{len(found):,} of {len(scores):,} documents shown; model {scores.model}")
    else:
        output.note(f"{len(scores):,} documents; model {scores.model}")
    if scores.calibration is not None:
        output.note(f"probabilities calibrated: {scores.calibration}")
    if scores.windows is not None and scores.windows.num_limited:
        output.note(
            f"{scores.windows.num_limited:,} documents have more windows than --max-windows"
        )
    elif scores.num_truncated:
        output.note(f"{scores.num_truncated:,} documents were too long for the model and cut")
