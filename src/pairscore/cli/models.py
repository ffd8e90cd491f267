"""`pairscore models`: the models that can be asked for by name."""

from __future__ import annotations

from dataclasses import asdict

from pairscore.cli import options, output

__all__ = ["HELP", "models"]

HELP = """List the models that are known by name.

Examples:

  pairscore models
  pairscore models --json

A folder with an ONNX cross-encoder, and a hub id (owner/name), can be used too."""


def models(as_json: options.JsonOption = False) -> None:
    """List the catalogue; `HELP` is what the user reads."""
    from pairscore.models.catalog import list_models

    entries = list_models()
    if as_json:
        output.print_json([asdict(entry) for entry in entries])
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "task", "scale"):
        table.add_column(heading, no_wrap=True)
    table.add_column("max length", justify="right")
    for heading in ("licence", "where", "what it is for"):
        table.add_column(heading)
    for entry in entries:
        where = "bundled" if entry.bundled else f"hub: {entry.hub_ids[0]}"
        table.add_row(
            entry.name,
            entry.task,
            entry.scale,
            str(entry.max_length),
            entry.licence,
            where,
            entry.summary,
        )
    output.print_table(table)
