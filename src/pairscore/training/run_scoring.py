"""Scorers for the evaluators: a folder's model as any user would run it, and its logits kept on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import OutputFileError
from pairscore.models.calibration import CALIBRATION_CHECK
from pairscore.replacing import replacing
from pairscore.training.evaluator_statistics import DoubleArray
from pairscore.training.evaluators import Scorer
from pairscore.training.report import Part
from pairscore.values import FloatArray

__all__ = ["Scored", "keep_logits", "kept_logits", "open_scorer"]

Scored = Callable[[int, int], None]
"""Told how many pairs are scored, and how many there are."""

# Few enough that a bar moves, enough that neighbours of like length are found.
_CHUNK: Final = 512
_WEIGHTS: Final = "weights"
# A calibration that lies there was fitted for older weights, and no logit passes through it. What a model of the
# user's own data makes of the package's canary pairs is for those to judge who load it later.
_SKIPPED: Final = (CALIBRATION_CHECK, "order")


@contextmanager
def open_scorer(
    folder: str | Path, *, max_length: int | None, scored: Scored | None = None
) -> Iterator[Scorer]:
    """A model in a folder as a function from pairs to logits: safetensors run in float32 on torch, ONNX on the CPU.

    Args:
        folder: of safetensors, or of an ONNX file.
        max_length: tokens of a pair; None takes the model's own.
        scored: told how far it is.

    Raises:
        ModelError: the model cannot be used.
        MissingExtraError: its backend is not installed.
    """
    on_torch = not (Path(folder) / "model.onnx").is_file()
    with CrossEncoder(
        folder,
        max_length=max_length,
        backend="torch" if on_torch else "onnx",
        # Or a GPU would take half precision, and the comparison would be of numbers and not of weights.
        dtype="float32" if on_torch else None,
        skip_checks=_SKIPPED,
        local_files_only=True,
    ) as model:
        yield lambda pairs: _logits(model, pairs, scored)


def _logits(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], scored: Scored | None
) -> FloatArray:
    parts = []
    for start in range(0, len(pairs), _CHUNK):
        parts.append(model.score(pairs[start : start + _CHUNK]).logits)
        if scored is not None:
            scored(min(start + _CHUNK, len(pairs)), len(pairs))
    logits: FloatArray = np.concatenate(parts)
    return logits


def keep_logits(
    path: Path, logits: Mapping[str, DoubleArray], parts: Sequence[Part], *, weights: str
) -> None:
    """Write the logits of all parts, so that a resumed run does not score again.

    Args:
        path: the file, replaced whole.
        logits: by the parts' names.
        parts: what was scored.
        weights: names the model that gave them: its sha256.

    Raises:
        OutputFileError: there is no room, or it may not be written.
    """
    arrays: dict[str, Any] = {
        _WEIGHTS: np.array(weights),
        **{part.sha256: logits[part.name] for part in parts},
    }
    try:
        with replacing(path) as half, half.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise OutputFileError(
            f"{str(path)!r} cannot be written: {error.strerror or error}"
        ) from error


def kept_logits(
    path: Path, parts: Sequence[Part], *, weights: str
) -> dict[str, DoubleArray] | None:
    """The logits that were kept, by the parts' names; None where they are of other weights, or those of a part are missing."""
    try:
        # Opened here, because the library leaves a broken file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            same = str(file[_WEIGHTS]) == weights
            found = {part.name: file[part.sha256] for part in parts}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    fits = all(len(found[part.name]) == len(part.evaluator.pairs) for part in parts)
    return found if same and fits else None
