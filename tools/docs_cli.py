"""The pages of the command line: `docs/cli.md`, and `docs/cli/VERB.md` for each verb, from the verbs' own help."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

__all__ = ["cli_pages"]

_FIRST: Final = """# The command line

`pairscore VERB --help` says on the terminal what these pages say; they are generated from it by `make docs`.

| verb | |
|---|---|
"""
_PLAIN: Final = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "100"}


def cli_pages() -> Mapping[str, str]:
    """Every page by its name: the index first, then a page for each verb, with the verbs inside it."""
    verbs = list(_verbs())
    with ThreadPoolExecutor() as pool:
        shown = dict(zip(verbs, pool.map(_help, verbs), strict=True))
    tops = [verb for verb in verbs if verb and " " not in verb]
    pages = {"docs/cli.md": _index(tops, shown[""])}
    for top in tops:
        inner = [verb for verb in verbs if verb.startswith(f"{top} ")]
        parts = [f"# pairscore {top}\n\n{_block(shown[top])}"]
        parts += [f"## pairscore {verb}\n\n{_block(shown[verb])}" for verb in inner]
        pages[f"docs/cli/{top}.md"] = "\n".join(parts)
    return pages


def _index(tops: list[str], shown: str) -> str:
    lines = {top: _short_help(top) for top in tops}
    rows = [f"| [`pairscore {top}`](cli/{top}.md) | {lines[top]} |" for top in tops]
    return _FIRST + "\n".join(rows) + f"\n\n## pairscore\n\n{_block(shown)}"


def _block(shown: str) -> str:
    return f"```text\n{shown}\n```\n"


def _short_help(verb: str) -> str:
    """The first sentence of a verb's help, as the list of all verbs shows it."""
    found: str = _command().commands[verb].get_short_help_str(limit=200)
    return found.replace("|", r"\|")


def _command() -> Any:
    from typer.main import get_command

    from pairscore.cli.main import app

    return get_command(app)


def _verbs() -> Iterator[str]:
    """Every verb of the command line, each group before what is in it."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        yield " ".join(words)
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            yield from below(inner, (*words, name))

    return below(_command(), ())


def _help(verb: str) -> str:
    """A verb's help, as a terminal of 100 columns without colours shows it."""
    command = [sys.executable, "-m", "pairscore", *verb.split(), "--help"]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=kept | _PLAIN)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
