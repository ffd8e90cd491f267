"""Write the pages that can be generated, or check that they are up to date.

    python tools/build_docs.py            # write
    python tools/build_docs.py --check    # exit 1 and name what is stale

What the pages are made of: the command line's own help (`docs_cli`), the service's settings, routes and metrics
(`docs_reference`), the tree of errors (`docs_errors`), the public names (`docs_api`), and each file's own first sentence
(`docs_files`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from docs_api import api_page
from docs_cli import cli_pages
from docs_errors import errors_page
from docs_files import files_page
from docs_reference import metrics_page, routes_page, settings_page

ROOT: Final = Path(__file__).resolve().parent.parent
_OWNED: Final = ("docs/cli", "docs/reference")
"""Folders in which every page is generated: one that is not any more is removed."""


def main() -> None:
    """Write or check."""
    check = "--check" in sys.argv[1:]
    pages = generated_pages()
    stale = [name for name, text in pages.items() if _read(name) != text]
    left_over = [name for name in _present() if name not in pages]
    if check and (stale or left_over):
        sys.exit(f"not up to date: {', '.join([*stale, *left_over])}; run: make docs")
    for name in stale:
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[name], encoding="utf-8")
        print(f"wrote {name}")
    for name in left_over:
        (ROOT / name).unlink()
        print(f"removed {name}")


def generated_pages() -> Mapping[str, str]:
    """Every generated page by its name."""
    return {
        **cli_pages(),
        "docs/openapi.json": openapi(),
        "docs/reference/settings.md": settings_page(),
        "docs/reference/errors.md": errors_page(),
        "docs/reference/routes.md": routes_page(),
        "docs/reference/metrics.md": metrics_page(),
        "docs/reference/api.md": api_page(),
        "docs/files.md": files_page(),
    }


def openapi() -> str:
    """The service's OpenAPI document."""
    from pairscore.service.app import create_app

    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _present() -> list[str]:
    return sorted(
        str(path.relative_to(ROOT)) for folder in _OWNED for path in (ROOT / folder).glob("*.md")
    )


def _read(name: str) -> str:
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    main()
