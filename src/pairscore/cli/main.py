"""The door of the command line: the app, its verbs, and what a user sees when something goes wrong.

A user never sees a traceback that was not asked for with `--debug`. Nothing heavy is imported here:
each verb imports what it needs when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pairscore import __version__
from pairscore.cli import (
    calibrate,
    compare,
    convert,
    dedupe,
    distil,
    doctor,
    evaluate,
    exits,
    index,
    keys,
    models,
    negatives,
    output,
    rank,
    score,
    search,
    serve,
    train,
)
from pairscore.errors import PairscoreError

__all__ = ["app", "run"]

_HELP = """Score pairs of texts with cross-encoders: offline, on the CPU, in a file or as a service.

Examples:

  pairscore score "how many live in berlin" "Berlin has 3.5 million people."
  pairscore score --input pairs.csv --output scores.csv
  pairscore rank "how many live in berlin" documents.txt
  pairscore serve

`pairscore VERB --help` says more about each verb."""


class Door(TyperGroup):
    """Runs a verb, and turns every failure into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except BaseException as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise typer.Exit(_answer(error)) from error
        return result


def _answer(error: BaseException) -> int:
    """Say what went wrong, and give the exit code; what is no failure is re-raised."""
    if isinstance(error, BrokenPipeError):
        _let_go_of_stdout()
        return exits.NO_READER
    if isinstance(error, KeyboardInterrupt):
        output.note("stopped")
        return 128 + int(getattr(error, "number", 2))
    if isinstance(error, PairscoreError):
        output.fail("\n".join([output.for_shell(error), *getattr(error, "__notes__", ())]))
        return exits.exit_code(error)
    if isinstance(error, MemoryError):
        output.fail("out of memory; lower --num-workers or --max-length, or give it more memory")
        return exits.NO_MEMORY
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        output.fail(f"{error.strerror or error}{where}")
        return exits.FAILED_IO
    if isinstance(error, Exception):
        output.fail(
            f"this is a bug in pairscore: {type(error).__name__}: {error}; "
            "to see where, run it again with --debug before the verb, and report what it prints"
        )
        return exits.INTERNAL
    raise error


def _let_go_of_stdout() -> None:
    """Nobody reads standard output any more, and Python would complain when it flushes it at the end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


app = typer.Typer(
    name="pairscore",
    cls=Door,
    help=_HELP,
    epilog=exits.HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        output.say(f"pairscore {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the verb; the door reads them from the context."""
    del version, debug


app.command("score", help=score.HELP)(score.score)
app.command("rank", help=rank.HELP)(rank.rank)
app.command("search", help=search.HELP)(search.search)
app.command("calibrate", help=calibrate.HELP)(calibrate.calibrate)
app.command("evaluate", help=evaluate.HELP)(evaluate.evaluate)
app.command("compare", help=compare.HELP)(compare.compare)
app.command("convert", help=convert.HELP)(convert.convert)
app.command("dedupe", help=dedupe.HELP)(dedupe.dedupe)
app.command("train", help=train.HELP)(train.train)
app.command("negatives", help=negatives.HELP)(negatives.negatives)
app.command("distil", help=distil.HELP)(distil.distil)
app.command("doctor", help=doctor.HELP)(doctor.doctor)
app.add_typer(index.app, name="index")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.command("serve", cls=serve.ServeCommand, help=serve.HELP)(serve.serve)


def run() -> None:
    """The `pairscore` command."""
    app(prog_name="pairscore")
