"""Which model, told without loading it: where these words are the same, so are the scores."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, cast

from pairscore.batch.records import ModelChoice
from pairscore.models.resolve import file_sha256, resolve
from pairscore.road.backends.opening import BackendName, kind_of

__all__ = ["model_identity"]

_DIGITS: Final = 16


def model_identity(choice: ModelChoice) -> dict[str, Any]:
    """A model's name, its weights and its small files by their sha256, and how it is opened.

    How many threads run it is left out: no score depends on that.

    Raises:
        ModelError: it cannot be found, fetched or verified.
    """
    options = dict(choice.options)
    backend = cast("BackendName", options.get("backend", "onnx"))
    files = resolve(
        choice.name,
        revision=options.get("revision"),
        local_files_only=bool(options.get("local_files_only")),
        kind=kind_of(backend),
    )
    calibration = options.get("calibration")
    if calibration is not None:
        options["calibration"] = file_sha256(Path(calibration))
    return {
        "name": files.name,
        "revision": files.revision,
        "weights_sha256": files.sha256,
        "files_sha256": _small_files(files.folder),
        "max_length": choice.max_length,
        "max_chars": choice.max_chars,
        **{name: value for name, value in options.items() if value not in (None, (), [])},
    }


def _small_files(folder: Path) -> str:
    """Of the tokenizer, the card and the calibration beside the weights."""
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.json"))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_DIGITS]
