"""What makes one set of pages fit both a code host and the site: pages from outside `docs/`, and links that leave it.

mkdocs calls these functions (`hooks` in mkdocs.yml). On a code host a page links to a file of the checkout by its
relative path; on the site the same link leads to the page that was made of the file, or to the file where the code lies.
A link to what is not there stays as it is, and mkdocs refuses it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["on_files", "on_page_markdown"]

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = "https://github.com/pairscore/pairscore"
_BUNDLED: Final = "src/pairscore/models/bundled"
FROM_OUTSIDE: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    **{
        f"{_BUNDLED}/{model}/{page}.md": f"models/{model}{end}.md"
        for model in ("ms-marco-minilm-l12", "sts-minilm", "all-minilm-l6")
        for page, end in (("MODEL", ""), ("PARITY", "-parity"))
    },
}
"""Pages of the site that are no file of `docs/`: where each lies in the checkout, and its name on the site."""
_SOURCES: Final = {page: source for source, page in FROM_OUTSIDE.items()}

_FENCED: Final = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*?$", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
_CODE_IN_TABLE: Final = re.compile(r"`[^`\n]*`")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside `docs/`."""
    from mkdocs.structure.files import File

    for source, page in FROM_OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """A page as the site needs it."""
    return outside_code(markdown, lambda text: _linked(_tabled(text), page.file.src_uri))


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """A page with something changed everywhere but in its blocks of code."""
    parts, end = [], 0
    for block in _FENCED.finditer(markdown):
        parts += [change(markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(markdown[end:])])


def _linked(text: str, page: str) -> str:
    here = posixpath.dirname(_SOURCES.get(page, f"docs/{page}"))

    def lead(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, match[1]))
        there = FROM_OUTSIDE.get(target)
        if there is None and target.startswith("docs/") and page in _SOURCES:
            there = target.removeprefix("docs/")
        if there is not None:
            return posixpath.relpath(there, posixpath.dirname(page) or ".")
        if not target.startswith("docs/") and (ROOT / target).exists():
            return f"{SOURCE}/{'tree' if (ROOT / target).is_dir() else 'blob'}/main/{target}"
        return match[1]

    return _LINK.sub(lead, text)


def _tabled(text: str) -> str:
    """A bar inside code needs a backslash in a table on a code host, and shows it on the site."""
    return "\n".join(
        _CODE_IN_TABLE.sub(lambda code: code[0].replace(r"\|", "|"), line)
        if line.startswith("|")
        else line
        for line in text.split("\n")
    )
