"""What stands on the pages and is not run here, each with the reason; and how it is looked at instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.docs.pages import Block
from tests.docs.shell import statements

__all__ = ["NOT_COMPARED", "NOT_RUN", "NotRun", "reason", "what_runs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NotRun:
    """Commands, or a block of Python.

    Attributes:
        text: how the command begins, or what only this block of Python holds.
        why: the reason.
        page: where; every page if it is nothing.
    """

    text: str
    why: str
    page: str = ""


_MACHINE = "needs images, a cluster or root; tests/test_deploy.py reads the files that it names"
_BENCHMARK = "takes minutes, and needs a machine of its own"
_EXAMPLE = "tests/e2e/test_examples.py runs it"
_TRAINING = "takes minutes; the command of docs/distilling.md is run"
_RAY_SERVING = "needs a Ray cluster; tests/e2e/test_ray_serving.py runs it on one of its own"

NOT_RUN: Final = (
    NotRun(text="pairscore serve --ray", why=_RAY_SERVING),
    NotRun(text="docker ", why=_MACHINE),
    NotRun(text="kubectl ", why=_MACHINE),
    NotRun(text="sudo ", why=_MACHINE),
    NotRun(text="for replica in", why=_MACHINE, page="docs/deploy.md"),
    NotRun(text="for pod in", why=_MACHINE, page="docs/deploy.md"),
    NotRun(
        text="pairscore keys new search-team --file deploy/", why=_MACHINE, page="docs/deploy.md"
    ),
    NotRun(text="curl http://127.0.0.1:8080", why=_MACHINE, page="docs/deploy.md"),
    NotRun(text="python benchmarks/", why=_BENCHMARK),
    NotRun(text="OMP_WAIT_POLICY=passive .venv-oracle", why=_BENCHMARK, page="docs/encoding.md"),
    NotRun(text="python tools/", why=_BENCHMARK, page="docs/experiments.md"),
    NotRun(text="python examples/", why=_EXAMPLE, page="docs/duplicates.md"),
    NotRun(text="pairscore distil ", why=_TRAINING, page="docs/experiments.md"),
    NotRun(
        text="pairscore doctor --model ./my-model --backend torch --network",
        why="needs torch, and a network",
        page="docs/doctor.md",
    ),
    NotRun(
        text="pairscore convert FLOAT32_FOLDER --output OUT",
        why="stands for the rows of a table, each with its options; the page's first command is run",
        page="docs/converting.md",
    ),
    NotRun(
        text="pairscore convert --compare FLOAT32_GRAPH",
        why="compares models that were made for it",
        page="docs/experiments.md",
    ),
    NotRun(
        text="pairscore evaluate stsb/dev.tsv --bi-encoder OUT",
        why="measures a model that was made for it",
        page="docs/experiments.md",
    ),
    NotRun(
        text="pairscore serve --model ./my-model --backend torch --device cuda",
        why="needs a GPU",
        page="docs/scaling.md",
    ),
    NotRun(
        text='pairscore score --input "s3://',
        why="needs an object store; tests/unit/test_batch_storage.py has URLs",
        page="docs/batch.md",
    ),
    NotRun(text='device="cuda', why="needs GPUs", page="docs/backends.md"),
    NotRun(text='"owner/name"', why="needs transformers, and a hub", page="docs/models.md"),
    NotRun(text="https://host:443", why="needs a Milvus cluster", page="docs/retrievers.md"),
    NotRun(text="milvus+http://host", why="needs a Milvus cluster", page="docs/retrievers.md"),
)
"""Each must still be found on its page."""

NOT_COMPARED: Final[dict[str, str]] = {}
"""Blocks of output below a command that are not compared: a line of theirs, and why."""


def _entries(block: Block) -> Iterator[NotRun]:
    return (entry for entry in NOT_RUN if entry.page in ("", block.page))


def reason(block: Block, text: str) -> NotRun | None:
    """The entry that keeps a statement of shell, or a block of Python, from being run."""
    first = next((line for line in text.splitlines() if line.strip() and line[0] != "#"), "")
    for entry in _entries(block):
        if entry.text in text if block.language == "python" else first.startswith(entry.text):
            return entry
    return None


def what_runs(block: Block, text: str) -> str:
    """Of a block's text what can be run; nothing where that is none of it."""
    if block.language == "python":
        return "" if reason(block, text) else text
    kept = [part for part in statements(text) if not reason(block, part)]
    return "".join(kept) if any(_says_something(part) for part in kept) else ""


def _says_something(part: str) -> bool:
    return any(line.strip() and not line.startswith("#") for line in part.splitlines())
