"""`pairscore demo`: rank real passages, and see what the numbers mean."""

from __future__ import annotations

from typing import Annotated

import typer

from pairscore.cli import options, output, progress
from pairscore.cli.demo_page import as_json_of, print_demo
from pairscore.cli.demo_run import read_topics, run_demo

__all__ = ["HELP", "demo"]

HELP = """Rank passages that come with pairscore, and see what the numbers mean.

BM25, which counts words, puts the passages in a first order; the cross-encoder
inside the package reads each of them together with the query, and orders them
anew. Then a few pairs are scored by a bi-encoder and by two cross-encoders,
side by side. It takes a few seconds, and no network.

Examples:

  pairscore demo
  pairscore demo --query "what colour is the evening sky?"
  pairscore demo --json

With --query all passages are ranked for it, and the five best are shown."""


def demo(
    *,
    query: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="A query of your own, for all of the passages."),
    ] = None,
    backend: Annotated[
        options.BackendChoice,
        typer.Option(help="What runs the models; fake counts common words, without weights."),
    ] = options.BackendChoice.ONNX,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Rank, compare, tell; `HELP` is what the user reads."""
    if query is not None:
        options.check_argument(query, name="--query")
    if backend is options.BackendChoice.FAKE and not quiet:
        output.note(options.FAKE_NOTE)
    topics = read_topics(query)
    with progress.stages({"score": ("ranking and comparing", "pairs")}, shown=not quiet) as move:
        found = run_demo(
            topics,
            backend=backend.value,
            compares=query is None,
            advance=lambda done, total: move("score", done, total),
        )
    if as_json:
        output.print_json(as_json_of(found))
    else:
        print_demo(found, quiet=quiet)
