"""Under which licence a model comes: what the catalogue knows, or what the model's own page says."""

from __future__ import annotations

import re
from typing import Final

from pairscore.models.catalog import find
from pairscore.models.files import ModelFiles
from pairscore.models.manifest import MANIFEST, read_manifest

__all__ = ["licence_of"]

_PAGE: Final = "README.md"
# The hub's pages begin with facts in YAML between two lines of dashes.
_HEAD: Final = re.compile(r"\A---\s*\n(.*?)^---", re.DOTALL | re.MULTILINE)
_LICENCE: Final = re.compile(r"^license:\s*['\"]?([^'\"#\n]+)", re.MULTILINE)


def licence_of(files: ModelFiles) -> str | None:
    """The licence's identifier, as the catalogue or the head of the model's `README.md` writes it; else None."""
    entry = None
    if files.source != "folder":
        entry = find(files.name.partition(":")[0])
    else:
        manifest = read_manifest(files.folder / MANIFEST)
        entry = find(manifest.name) if manifest is not None and manifest.name else None
    if entry is not None:
        return entry.licence
    try:
        page = (files.folder / _PAGE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head = _HEAD.match(page)
    found = _LICENCE.search(head[1]) if head else None
    return found[1].strip() if found else None
