"""Every verb of the command line, and for those that are quick without weights a command line that does some work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner, Result

from pairscore.cli.main import app

FAKE = ("--backend", "fake")

NOT_RUN = {
    "convert": "needs weights",
    "distil": "needs torch",
    "models pull": "needs a hub",
    "models remove": "needs a hub cache with a model",
    "train": "needs torch",
}
"""Verbs that no table runs, and why; tests of their own do."""


def verbs() -> dict[str, Any]:
    """All verbs with their commands; a group is one if it does something by itself."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", {})
        if words and (not inner or command.invoke_without_command):
            yield " ".join(words), command
        for name, one in inner.items():
            yield from below(one, (*words, name))

    return dict(below(get_command(app), ()))


def run(verb: str, *args: object) -> Result:
    """A verb in this process."""
    return CliRunner().invoke(app, [*verb.split(), *map(str, args)])


class Cases:
    """Command lines over small files in a folder.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        texts = ["berlin people", "berlin people live", "snow in berlin", "mountains of snow"]
        self._write("documents.txt", "".join(f"{text}\n" for text in texts))
        self._write(
            "documents.csv", "id,text\n" + "".join(f"d{i},{t}\n" for i, t in enumerate(texts))
        )
        rows = [(f"berlin {n // 3}", f"berlin {n} of {n % 7}", int(n % 3 == 0)) for n in range(90)]
        lines = "".join(f"{a},{b},{label}\n" for a, b, label in rows)
        self._write("pairs.csv", f"query,document,label\n{lines}")
        self._write(
            "few.csv",
            "query,document,label\nberlin people,berlin people,1\nsnow,snow in berlin,1\n",
        )
        corpus = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
        self._write("corpus.jsonl", "\n".join(corpus) + "\n")

    def prepare(self) -> None:
        """Make what verbs need that only look at something."""
        for verb in ("index build", "keys new"):
            done = run(verb, *self.args(verb), "--quiet")
            assert done.exit_code == 0, done.output

    def args(self, verb: str) -> tuple[object, ...]:
        """What stands behind a verb."""
        return self._all()[verb]

    def names(self) -> set[str]:
        """The verbs that can be run."""
        return set(self._all())

    def _all(self) -> dict[str, tuple[object, ...]]:
        at = self.folder
        index, keys = at / "index", at / "keys.toml"
        return {
            "demo": FAKE,
            "score": ("-i", at / "pairs.csv", "-o", at / "scores.csv", "--overwrite", *FAKE),
            "rank": ("berlin", at / "documents.txt", *FAKE),
            "explain": ("berlin people", "people live in berlin", *FAKE),
            "search": ("berlin", "-i", index, *FAKE),
            "calibrate": ("-p", at / "pairs.csv", "-o", at / "c.json", "--overwrite", *FAKE),
            "evaluate": (at / "pairs.csv", "--no-cache", *FAKE),
            "compare": FAKE,
            "dedupe": (at / "documents.csv", "--threshold", "-8", *FAKE),
            "negatives": (
                *(at / "few.csv", "--corpus", at / "corpus.jsonl"),
                *("-o", at / "n.jsonl", "--overwrite", *FAKE),
            ),
            "doctor": ("--no-speed", *FAKE),
            "index build": (at / "documents.csv", "-i", index, *FAKE),
            "index info": (index,),
            "index compact": (index,),
            "models": (),
            "models list": (),
            "models show": ("ms-marco-minilm-l12",),
            "keys new": ("somebody", "-f", keys) if not keys.exists() else ("else",),
            "keys list": ("-f", keys),
            "keys revoke": ("somebody", "-f", keys),
            "serve": ("--check",),
        }

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")
