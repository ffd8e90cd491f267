"""The pages of the documentation, and what stands in them as code: fenced blocks, and commands within a sentence."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "BY_NAME",
    "PAGES",
    "ROOT",
    "SHELLS",
    "Block",
    "blocks_of",
    "indented_blocks",
    "inline_commands",
    "is_help",
    "name_of",
]

ROOT = Path(__file__).parents[2]
SHELLS = frozenset({"bash", "sh", "console"})
"""The languages of blocks that a shell reads."""

_FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|~{3,})(?P<language>[\w+-]*)")
_SPAN = re.compile(r"(?<!`)`(pairscore\s[^`]+)`(?!`)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: the page's path from the project's root.
        line: of the fence, from 1.
        language: the word behind the fence; nothing where there is none.
        text: what stands between the fences.
        follows: whether nothing but blank lines stand between it and the block before it.
    """

    page: str
    line: int
    language: str
    text: str
    follows: bool

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    """The path from the project's root."""
    return page.relative_to(ROOT).as_posix()


def is_help(page: Path) -> bool:
    """Whether it is generated from `--help`: its commands are examples, one by one and not as a session."""
    return name_of(page).startswith(("docs/cli.md", "docs/cli/"))


def _pages() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield ROOT / "CONTRIBUTING.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


PAGES = tuple(_pages())
BY_NAME = {name_of(page): page for page in PAGES}
"""Every page by its path from the project's root."""


def blocks_of(page: Path) -> tuple[Block, ...]:
    """The fenced blocks of a page, in its order."""
    return tuple(_blocks(page.read_text(encoding="utf-8"), page=name_of(page)))


def _blocks(text: str, *, page: str) -> Iterator[Block]:
    lines = iter(enumerate(text.splitlines(), start=1))
    follows = False
    for number, line in lines:
        opened = _FENCE.match(line)
        if opened is None:
            follows = follows and not line.strip()
            continue
        body = []
        for _, inner in lines:
            if inner.strip() == opened["fence"]:
                break
            body.append(inner)
        else:
            raise ValueError(f"{page}:{number}: the block has no end")
        shown = textwrap.dedent("\n".join(body)) + "\n"
        language = opened["language"]
        yield Block(page=page, line=number, language=language, text=shown, follows=follows)
        follows = True


def without_blocks(text: str) -> str:
    """The page with its fenced blocks left empty, each line where it was."""
    kept, fence = [], ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if fence:
            kept.append("")
            fence = "" if line.strip() == fence else fence
        elif found:
            fence = found["fence"]
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)


def indented_blocks(page: Path) -> list[int]:
    """Lines at which code begins that is indented instead of fenced, and so has no language."""
    lines = without_blocks(page.read_text(encoding="utf-8")).splitlines()
    return [
        number
        for number, (before, line) in enumerate(zip(["", *lines], lines, strict=False), start=1)
        if line.startswith("    ") and line.strip() and not before.strip()
    ]


def inline_commands(page: Path) -> list[tuple[int, str]]:
    """Each `pairscore ...` of a sentence or a table, and its line; spans that are broken over two lines too."""
    text = without_blocks(page.read_text(encoding="utf-8"))
    found = []
    for span in _SPAN.finditer(text):
        if "\n\n" not in span[1]:
            line = text.count("\n", 0, span.start()) + 1
            found.append((line, " ".join(span[1].split())))
    return found
