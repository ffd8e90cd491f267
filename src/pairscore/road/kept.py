"""Small results that were measured and are kept in a cache folder; a folder that cannot be written is no error."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["keep", "kept", "name_of"]

_log = logging.getLogger("pairscore.road")


def name_of(facts: Sequence[Any]) -> str:
    """A file's name that changes with every fact that a result depends on; the facts are JSON values."""
    return f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.json"


def kept(path: Path) -> dict[str, Any] | None:
    """What was kept; None if nothing readable lies there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def keep(path: Path, content: dict[str, Any]) -> bool:
    """Keep a result, and say whether that was possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Replaced whole, so that a process killed in the middle leaves nothing half-written.
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".", suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            json.dump(content, file, indent=1)
        os.replace(file.name, path)  # noqa: PTH105 - of two names, not of two paths
    except OSError as error:
        _log.info("%s could not be kept: %s", path, error.strerror or error)
        return False
    return True
