"""`pairscore negatives`: hard negatives for training, found in an index and filtered by the cross-encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairscore.cli import options, output, progress
from pairscore.cli.interrupt import Stopped, Stopping
from pairscore.cli.negatives_corpus import Making, WorkIndex, corpus_of
from pairscore.cli.negatives_options import (
    ModeChoice,
    PathOptions,
    PositiveOptions,
    TakeOptions,
    check_options,
)
from pairscore.cli.negatives_report import Told, as_json_of, print_report, watching
from pairscore.cli.records import with_records
from pairscore.errors import SettingError
from pairscore.files import FileFormat, format_of, open_writer, places

if TYPE_CHECKING:
    from pairscore.retrieval.index import SearchIndex
    from pairscore.road.backends.opening import BackendName
    from pairscore.training.negatives_input import Judgement
    from pairscore.training.negatives_rows import Form

__all__ = ["HELP", "negatives"]

HELP = """Find hard negatives for training: texts that look right and are not.

SOURCE is a file of pairs (.csv, .tsv, .jsonl, .parquet) with a query, a
document and perhaps a label in each row, or a BEIR folder. For each query an
index gives candidates, judged documents are taken out, and the cross-encoder
reads the rest. What scores too near to a positive is a suspected false
negative: it is left out and counted.

Examples:

  pairscore negatives positives.csv --index my-index -o train.jsonl
  pairscore negatives positives.csv --corpus docs.csv -o train.parquet
  pairscore negatives beir/scifact -o train.jsonl --form lists -n 8
  pairscore negatives pairs.csv -o train.csv --sampling random --seed 7

The output is read by `pairscore train`. What is done is kept in OUTPUT.work:
killed or stopped, the same command goes on, and ends with the same bytes."""


@with_records()
def negatives(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The positives.", show_default=False)
    ],
    *,
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The training data: .jsonl, .parquet, .csv or .tsv.",
            show_default=False,
            rich_help_panel=options.FILE_PANEL,
        ),
    ],
    paths: PathOptions,
    positives: PositiveOptions,
    take: TakeOptions,
    chosen: options.ModelOptions,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Find, write, tell; `HELP` is what the user reads."""
    # Here, so that `--help` is quick.
    from pairscore.training.negatives import mine_negatives

    started = time.monotonic()
    is_folder = source != places.STANDARD and Path(source).is_dir()
    check_options(paths, positives, is_folder=is_folder)
    asked = take.chosen()
    kind = _target_format(source, target, overwrite=paths.overwrite, form=asked.form)
    if chosen.is_fake and not quiet:
        output.note(options.FAKE_NOTE)
    judgements = _judgements(source, positives, is_folder=is_folder, max_chars=chosen.max_chars)
    work = paths.work or target.with_name(f"{target.name}.work")
    own = WorkIndex(work)
    try:
        with Stopping(), ExitStack() as stack:
            place = paths.index
            if place is None:
                corpus = corpus_of(source, paths.corpus, positives)
                place = own.build(corpus, _making(take, chosen), quiet=quiet)
            index = _open_index(place, take, chosen, stack=stack, shown=not quiet)
            cross = stack.enter_context(options.open_encoder(chosen, quiet=quiet))
            watched = stack.enter_context(watching(shown=not quiet))
            write = stack.enter_context(_whole(target, kind, form=asked.form))
            report = mine_negatives(
                judgements,
                index=index,
                cross_encoder=cross,
                write=write,
                options=asked,
                work=work,
                progress=watched,
            )
            info, model = index.info(), cross.card.name
    except Stopped as stop:
        if not quiet:
            output.note(f"stopped; what is done is kept in {work}, and the same command goes on")
        raise typer.Exit(128 + stop.number) from stop
    if paths.work is None:
        own.remove()
    told = Told(
        report=report,
        model=model,
        encoder=None if report.mode == "bm25" else info.encoder,
        num_documents=info.num_documents,
        target=str(target),
        elapsed_s=time.monotonic() - started,
    )
    if as_json:
        output.print_json(as_json_of(told))
    if not quiet:
        print_report(told)


def _target_format(source: str, path: Path, *, overwrite: bool, form: Form) -> FileFormat:
    """The output's format; what cannot be written is refused before any work."""
    target = str(path)
    if target == places.STANDARD:
        raise SettingError("the output appears when it is whole; name a file with --output")
    places.check_target(target, source=source, overwrite=overwrite)
    kind = format_of(target, otherwise=None)
    if form == "lists" and kind in (FileFormat.CSV, FileFormat.TSV):
        raise SettingError(
            f"a {kind.value} file has no lists in its columns; write .jsonl or .parquet, or --form triplets or pairs"
        )
    return kind


def _judgements(
    source: str, positives: PositiveOptions, *, is_folder: bool, max_chars: int | None
) -> Iterator[Judgement]:
    from pairscore.config import DEFAULT_MAX_CHARS
    from pairscore.training.negatives_input import (
        PairFile,
        judgements_of_file,
        judgements_of_folder,
        train_files,
    )

    if is_folder:
        train_files(Path(source), split=positives.split)
        return judgements_of_folder(
            Path(source), split=positives.split, positive_from=positives.positive_from
        )
    if source != places.STANDARD:
        places.close(places.open_source(source))
    file = PairFile(
        path=source,
        file_format=positives.file_format,
        query=positives.query_column,
        document=positives.document_column,
        label=positives.label_column,
        document_id=positives.id_column,
        positive_from=positives.positive_from,
        max_chars=DEFAULT_MAX_CHARS if max_chars is None else max_chars,
    )
    format_of(source, otherwise=positives.file_format)
    return judgements_of_file(file)


def _making(take: TakeOptions, chosen: options.ModelOptions) -> Making:
    return Making(
        encoder=take.encoder, words_only=take.mode is ModeChoice.BM25, is_fake=chosen.is_fake
    )


def _open_index(
    place: str,
    take: TakeOptions,
    chosen: options.ModelOptions,
    *,
    stack: ExitStack,
    shown: bool,
) -> SearchIndex:
    """The index with its bi-encoder, unless words alone are looked for."""
    from pairscore.bi_encoder import BiEncoder
    from pairscore.retrieval.index import SearchIndex

    with SearchIndex.open(place) as plain:
        info = plain.info()
    encoder = None
    if info.has_vectors and take.mode is not ModeChoice.BM25:
        name = take.encoder or info.encoder
        with progress.waiting("loading the bi-encoder", shown=shown):
            backend: BackendName = "fake" if chosen.is_fake else "onnx"
            encoder = stack.enter_context(BiEncoder(name, backend=backend))
    return stack.enter_context(SearchIndex.open(place, encoder=encoder))


@contextmanager
def _whole(
    target: Path, kind: FileFormat, *, form: Form
) -> Iterator[Callable[[Sequence[Mapping[str, Any]]], None]]:
    """Rows go into a draft, which takes its place when all of them are there."""
    from pairscore.training.negatives_rows import COLUMNS, FLOAT_COLUMNS

    draft = target.with_name(f"{target.name}.part")
    writer = open_writer(
        str(draft),
        kind,
        columns=COLUMNS[form],
        added=dict.fromkeys(FLOAT_COLUMNS[form], float),
        overwrite=True,
    )
    try:
        try:
            yield writer.write
        finally:
            writer.close()
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
