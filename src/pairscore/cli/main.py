"""The door of the command line: the app, its verbs, and what a user sees when something goes wrong.

A user never sees a traceback that was not asked for with `--debug`. Nothing heavy is imported here:
each verb imports what it needs when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pairscore import __version__
from pairscore.cli import (
    batch_options,
    calibrate,
    compare,
    convert,
    dedupe,
    demo,
    distil,
    doctor,
    evaluate,
    exits,
    explain,
    failures,
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
    welcome,
)

__all__ = ["app", "run"]

_HELP = """Score pairs of texts with cross-encoders: offline, on the CPU, in a file or as a service.

Examples:

  pairscore demo
  pairscore score "how many live in berlin" "Berlin has 3.5 million people."
  pairscore score --input pairs.csv --output scores.csv
  pairscore rank "how many live in berlin" documents.txt
  pairscore serve

`pairscore VERB --help` says more about each verb."""


_JSON = f"{__name__}.json"


class Door(TyperGroup):
    """Runs a verb, and turns every failure into one message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options before the verb; whether a failure is told in JSON is known from here on."""
        if not args and not ctx.resilient_parsing:
            # Before typer reads options, for which it loads what they are checked with.
            welcome.welcome(self.commands)
            raise typer.Exit
        ctx.meta[_JSON] = failures.asks_for_json(args)
        with _usage(as_json=ctx.meta[_JSON]):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for."""
        as_json = bool(ctx.meta.get(_JSON))
        try:
            with _usage(as_json=as_json):
                result = super().invoke(ctx)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except BaseException as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise typer.Exit(_answer(error, as_json=as_json)) from error
        return result


@contextmanager
def _usage(*, as_json: bool) -> Iterator[None]:
    """What the command line itself refuses; for people it is typer that prints it."""
    try:
        yield
    except (typer.Abort, typer.TyperException) as error:
        failures.suggest(error)
        if not as_json:
            raise
        failure = failures.usage_failure(error)
        failures.tell(failure, as_json=True)
        raise typer.Exit(failure.exit_code) from error


def _answer(error: BaseException, *, as_json: bool) -> int:
    """Say what went wrong, and give the exit code; what is no failure is re-raised."""
    if isinstance(error, BrokenPipeError):
        _let_go_of_stdout()
        return exits.NO_READER
    failure = failures.failure_of(error)
    if failure is None:
        raise error
    failures.tell(failure, as_json=as_json)
    return failure.exit_code


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
    invoke_without_command=True,
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
    context: typer.Context,
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
    if context.invoked_subcommand is None:
        welcome.welcome(list(getattr(context.command, "commands", {})))


app.command("demo", help=demo.HELP)(demo.demo)
app.command("score", cls=batch_options.BatchCommand, help=score.HELP)(score.score)
app.command("rank", cls=batch_options.BatchCommand, help=rank.HELP)(rank.rank)
app.command("explain", help=explain.HELP)(explain.explain)
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
