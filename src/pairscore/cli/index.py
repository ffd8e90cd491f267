"""`pairscore index`: build a search index from files, look at one, make it compact."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from pairscore.cli import options, output, progress
from pairscore.cli.index_options import ColumnOptions, EncoderOptions, OnDuplicateChoice
from pairscore.cli.records import with_records
from pairscore.errors import SettingError
from pairscore.files import FileFormat

if TYPE_CHECKING:
    from pairscore.retrieval.index_info import IndexInfo

__all__ = ["HELP", "app"]

HELP = """Search indices: build one from files, look at it, make it compact.

Examples:

  pairscore index build documents.csv --index my-index
  pairscore index info my-index
  pairscore search "how many live in berlin" --index my-index

An index is a folder: texts, words (BM25) and vectors, without a server. Needs
the extra `retrieval`: pip install 'pairscore\\[retrieval]'"""

BUILD_HELP = """Put the documents of files into an index; make it if it is not there.

FILE is .csv, .tsv, .jsonl or .parquet with a document in each row, a folder
of text files (.txt, .md: one document each), or a BEIR folder (corpus.jsonl).

Examples:

  pairscore index build documents.csv --index my-index
  pairscore index build wiki.parquet -i my-index --text-column body
  pairscore index build beir/scifact --index scifact
  pairscore index build notes/ --index words --no-vectors

Killed or stopped, the same command goes on where it was: a document that is
in the index with the same content is not read again. Other columns are kept
as metadata, to filter on. A document longer than the model can read is found
by the meaning of its head and by all its words."""

INFO_HELP = """Show what an index is and holds.

Examples:

  pairscore index info my-index
  pairscore index info my-index --json"""

COMPACT_HELP = """Make an index quick and small after many writes.

What was added lately goes into the word and vector indices, small files are
joined, and old versions are forgotten. Searches may run meanwhile.

Examples:

  pairscore index compact my-index
  pairscore index compact my-index --keep-minutes 0"""

IndexArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="DIR", help="The index.", show_default=False)
]
StorageOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="For an index at an address such as s3://bucket/index: credentials, region or endpoint, as LanceDB names "
        "them; may be given several times.",
    ),
]

app = typer.Typer(name="index", help=HELP, no_args_is_help=True)


@app.command("build", help=BUILD_HELP)
@with_records()
def build(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="The documents.", show_default=False)
    ],
    *,
    index: Annotated[
        str, typer.Option("--index", "-i", metavar="DIR", help="The index.", show_default=False)
    ],
    columns: ColumnOptions,
    encoder: EncoderOptions,
    kind: Annotated[
        FileFormat | None,
        typer.Option("--format", help="The format of a file whose ending does not tell."),
    ] = None,
    on_duplicate: Annotated[
        OnDuplicateChoice,
        typer.Option(
            help="A document whose id was there before, with another content: stop, keep the first, or take the last."
        ),
    ] = OnDuplicateChoice.ERROR,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out rows that cannot be read.")
    ] = False,
    storage_option: StorageOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Build; `BUILD_HELP` is what the user reads."""
    from pairscore.cli.corpus import Corpus
    from pairscore.cli.index_build import BuildJob, build_index
    from pairscore.cli.index_report import print_report, report_record

    job = BuildJob(
        uri=index,
        storage_options=_storage_options(storage_option),
        encoder=encoder,
        on_duplicate=on_duplicate.value,
        quiet=quiet,
    )
    corpus = Corpus(files, named=columns.named(), otherwise=kind, skip_broken=skip_broken)
    report = build_index(corpus, job)
    if as_json:
        output.print_json(report_record(report))
    else:
        print_report(report, quiet=quiet)


@app.command("info", help=INFO_HELP)
def info(
    index: IndexArgument,
    *,
    version: Annotated[
        int | None, typer.Option(metavar="N", help="An earlier version. Without it, the newest.")
    ] = None,
    storage_option: StorageOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Show an index; `INFO_HELP` is what the user reads."""
    del quiet  # there is nothing to tell but the index
    from pairscore.retrieval.index import SearchIndex

    opened = SearchIndex.open(
        index, storage_options=_storage_options(storage_option), version=version
    )
    with opened:
        found = opened.info()
    if as_json:
        output.print_json(_record(found))
    else:
        from pairscore.cli.index_report import print_info

        print_info(found)


@app.command("compact", help=COMPACT_HELP)
def compact(
    index: IndexArgument,
    *,
    keep_minutes: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            help="How long earlier versions stay; 0 frees most room, and breaks a search that is under way.",
        ),
    ] = 10.0,
    storage_option: StorageOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Make an index compact; `COMPACT_HELP` is what the user reads."""
    from pairscore.retrieval.index import SearchIndex

    if keep_minutes < 0:
        raise SettingError(f"--keep-minutes is {keep_minutes:g}; it must be at least 0")
    with SearchIndex.open(index, storage_options=_storage_options(storage_option)) as opened:
        before = opened.info()
        with progress.waiting("making it compact", shown=not quiet):
            opened.optimize(keep_s=keep_minutes * 60)
        after = opened.info()
    if as_json:
        output.print_json({"before": _record(before), "after": _record(after)})
    else:
        from pairscore.cli.index_report import megabytes

        output.say(
            f"{after.num_documents:,} documents, {before.num_unindexed:,} of them newly indexed; "
            f"{megabytes(before.num_bytes)} before, {megabytes(after.num_bytes)} now"
        )


def _storage_options(given: list[str] | None) -> dict[str, str] | None:
    """Their values may be secrets: no message repeats them."""
    made = {}
    for one in given or ():
        key, found, value = one.partition("=")
        if not found or not key:
            raise SettingError("--storage-option is written KEY=VALUE, such as region=eu-west-1")
        made[key] = value
    return made or None


def _record(info: IndexInfo) -> dict[str, object]:
    written_at = None if info.written_at is None else info.written_at.isoformat()
    return {**asdict(info), "written_at": written_at}
