"""`pairscore models`: the models known by name and those on this machine; fetch one, show one, remove one."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pairscore.cli import completion, options, output, progress
from pairscore.cli.models_facts import copy_facts, files_facts, megabytes, shown_facts
from pairscore.errors import ModelOfflineError, SettingError

if TYPE_CHECKING:
    from pairscore.models.catalog import CatalogEntry
    from pairscore.models.files import WeightsKind
    from pairscore.models.store import Copy

__all__ = ["HELP", "app"]

HELP = """The models: list them, show one, fetch one, remove one.

Examples:

  pairscore models
  pairscore models show all-minilm-l6
  pairscore models pull cross-encoder/ms-marco-MiniLM-L6-v2 --to ./model
  pairscore models remove cross-encoder/ms-marco-MiniLM-L6-v2

Without a verb they are listed. Cross-encoders score pairs; bi-encoders (task
embedding) make a vector of each text. A folder with a model, and a hub id
(owner/name), can be used wherever a model's name is asked for."""

LIST_HELP = """List the models known by name, and the others in this machine's hub cache.

Only cross-encoders (sequence classification) and bi-encoders (sentence
transformers that pool) are listed; the network is not asked.

Examples:

  pairscore models list
  pairscore models list --json"""

SHOW_HELP = """Show what a model's numbers mean, where it lies, and what can run it.

Of a known model that is not on this machine, what is known of it; the network
is not asked.

Examples:

  pairscore models show ms-marco-minilm-l12
  pairscore models show ./model --json
  pairscore models show owner/name@revision:onnx/model_O4.onnx"""

PULL_HELP = """Fetch a model from the hub, pinned to a commit and verified by sha256.

It goes into the hub cache, where its name then finds it without network. With
--to it goes into a plain folder, for an image or another machine: copy it, and
give the folder as --model there.

Examples:

  pairscore models pull cross-encoder/ms-marco-MiniLM-L6-v2
  pairscore models pull owner/name --revision v1.0 --backend all
  pairscore models pull owner/name:onnx/model_O4.onnx --to ./model"""

REMOVE_HELP = """Remove a model from the hub cache: all its revisions, or the one that is named.

The hub cache is shared with other programs: they lose the model too.

Examples:

  pairscore models remove cross-encoder/ms-marco-MiniLM-L6-v2
  pairscore models remove owner/name --revision main --yes"""


class Wanted(StrEnum):
    """For which backend weights are fetched."""

    ONNX = "onnx"
    TORCH = "torch"
    ALL = "all"


_KINDS: Final[dict[Wanted | None, tuple[WeightsKind, ...] | None]] = {
    None: None,
    Wanted.ONNX: ("onnx",),
    Wanted.TORCH: ("safetensors",),
    Wanted.ALL: ("onnx", "safetensors"),
}

app = typer.Typer(
    name="models",
    help=HELP,
    invoke_without_command=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A name from the list, or a hub id (owner/name).",
        autocompletion=completion.models,
    ),
]
CachedArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A name from the list, or a hub id (owner/name).",
        autocompletion=completion.cached_models,
    ),
]
RevisionOption = Annotated[
    str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit on the hub.")
]


@app.callback()
def models(
    context: typer.Context,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """List the models if no verb is given; `HELP` is what the user reads."""
    if context.invoked_subcommand is None:
        list_(as_json=as_json, quiet=quiet)
    elif as_json or quiet:
        flag = "--json" if as_json else "--quiet"
        raise SettingError(f"{flag} stands before the verb; put it behind the verb")


@app.command("list", help=LIST_HELP)
def list_(as_json: options.JsonOption = False, quiet: options.QuietOption = False) -> None:
    """List the models; `LIST_HELP` is what the user reads."""
    # Here and below, because `--help` must not pay for the hub's client.
    from pairscore.models import store
    from pairscore.models.catalog import list_models

    with progress.waiting("looking at the models on this machine", shown=not quiet):
        cached = store.cached_copies()
        known = [(entry, _here(entry, cached)) for entry in list_models()]
    ids = {hub_id for entry, _ in known for hub_id in entry.hub_ids}
    others = [copy for copy in cached if copy.name not in ids]
    if as_json:
        rows = [{**asdict(entry), "here": [copy_facts(c) for c in here]} for entry, here in known]
        output.print_json([*rows, *_strangers(others)])
        return
    _print_catalogue(known)
    if cached:
        output.say("In the hub cache:\n")
        _print_copies(cached)


@app.command("show", help=SHOW_HELP)
def show(
    name: NameArgument,
    *,
    revision: RevisionOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Show a model; `SHOW_HELP` is what the user reads."""
    from pairscore.models.catalog import find
    from pairscore.models.resolve import resolve

    entry = find(name)
    try:
        with progress.waiting("verifying the model's files", shown=not quiet):
            files = resolve(name, revision=revision, local_files_only=True)
    except ModelOfflineError:
        if entry is None:
            raise
        facts = asdict(entry)
        if not quiet:
            output.note(f"note: not on this machine; fetch it with: pairscore models pull {name}")
    else:
        facts = shown_facts(files)
    if as_json:
        output.print_json(facts)
    else:
        _print_facts(facts)


@app.command("pull", help=PULL_HELP)
def pull(
    name: NameArgument,
    *,
    revision: RevisionOption = None,
    backend: Annotated[
        Wanted | None,
        typer.Option(
            help="Fetch the weights that this backend reads; all fetches what there is of both. "
            "Without it ONNX, or else safetensors."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Into this new folder instead of the hub cache."),
    ] = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Fetch a model; `PULL_HELP` is what the user reads."""
    from pairscore.models import store

    with store.progress_bars(shown=not quiet and _moves_its_cursor()):
        pulled = store.pull(name, revision=revision, kinds=_KINDS[backend], to=to)
    if not pulled.is_fresh and not quiet:
        output.note("note: the hub was not reached; this is what the hub cache holds")
    facts = files_facts(pulled.files)
    if as_json:
        output.print_json({**facts, "is_fresh": pulled.is_fresh})
    else:
        _print_facts(facts)


@app.command("remove", help=REMOVE_HELP)
def remove(
    name: CachedArgument,
    *,
    revision: RevisionOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Remove a model; `REMOVE_HELP` is what the user reads."""
    del quiet  # what is asked is asked in any case
    from pairscore.models import store

    doomed = store.remove(name, revision=revision, dry_run=True)
    if not yes:
        for copy in doomed:
            output.note(f"{copy.name} {copy.revision} {megabytes(copy.num_bytes)} {copy.folder}")
        typer.confirm("Remove from the hub cache?", abort=True, err=True)
    removed = store.remove(name, revision=revision)
    if as_json:
        output.print_json([copy_facts(copy) for copy in removed])
        return
    for copy in removed:
        output.say(f"removed {copy.name} {copy.revision} ({megabytes(copy.num_bytes)})")


def _moves_its_cursor() -> bool:
    """Whether standard error is a terminal on which the hub's client can draw its bars."""
    if not sys.stderr.isatty():
        return False
    from rich.console import Console

    return not Console(stderr=True).is_dumb_terminal


def _here(entry: CatalogEntry, cached: tuple[Copy, ...]) -> list[Copy]:
    from pairscore.models import store

    bundled = [store.bundled_copy(entry)] if entry.bundled else []
    return [*bundled, *(copy for copy in cached if copy.name in entry.hub_ids)]


def _strangers(copies: list[Copy]) -> list[dict[str, Any]]:
    """One row a model that the catalogue does not know, with its revisions; what only it says stays empty."""
    rows: dict[str, dict[str, Any]] = {}
    for copy in copies:
        row = rows.setdefault(
            copy.name,
            {
                "name": copy.name,
                "hub_ids": [copy.name],
                "task": None,
                "scale": None,
                "dimension": None,
                "max_length": None,
                "licence": None,
                "bundled": False,
                "summary": None,
                "here": [],
            },
        )
        row["here"].append(copy_facts(copy))
    return list(rows.values())


def _print_catalogue(known: list[tuple[CatalogEntry, list[Copy]]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "task", "output"):
        table.add_column(heading, no_wrap=True)
    table.add_column("max length", justify="right")
    for heading in ("licence", "where", "what it is for"):
        table.add_column(heading)
    for entry, here in known:
        cached = " (in the cache)" if here and not entry.bundled else ""
        where = "bundled" if entry.bundled else f"hub: {entry.hub_ids[0]}{cached}"
        table.add_row(
            entry.name,
            entry.task,
            entry.scale or f"{entry.dimension} numbers",
            str(entry.max_length),
            entry.licence,
            where,
            entry.summary,
        )
    output.print_table(table)


def _print_copies(copies: tuple[Copy, ...]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "revision", "branch or tag", "weights", "backends"):
        table.add_column(heading, overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    for copy in copies:
        facts = copy_facts(copy)
        table.add_row(
            copy.name,
            copy.revision[:12],
            ", ".join(copy.refs),
            ", ".join(copy.weights) or "none that is read",
            ", ".join(facts["backends"]),
            megabytes(copy.num_bytes),
        )
    output.print_table(table)


def _print_facts(facts: dict[str, Any]) -> None:
    """One fact a line, its name first; nothing is cut, so that paths and digests can be copied."""
    width = max(len(name) for name in facts) + 2
    for name, value in facts.items():
        if name == "num_bytes":
            output.say(f"{'size':<{width}}{megabytes(value)}")
        elif isinstance(value, dict):
            for number, (key, text) in enumerate(value.items()):
                output.say(f"{_title(name) if not number else '':<{width}}{key}: {text}")
        elif isinstance(value, bool):
            output.say(f"{_title(name):<{width}}{'yes' if value else 'no'}")
        elif value not in (None, [], (), ""):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            output.say(f"{_title(name):<{width}}{text}")


def _title(name: str) -> str:
    return name.replace("_", " ")
