"""What the teachers say of all pairs: computed once, kept on disk as it is done, and joined to one target a pair.

The logits of each teacher are records of a stage in a work folder, appended portion by portion; a run that was killed
goes on behind the last record. The stage's key names the teacher (weights, tokenizer, backend), how it reads, and the
pairs, so that nothing stale is ever used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore import __version__
from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import SettingError
from pairscore.retrieval.mining_work import Stage, WorkFolder
from pairscore.road.ranking import check_one_number
from pairscore.values import FloatArray

__all__ = ["Advance", "Combine", "Pair", "TeacherLogits", "combined", "teacher_logits"]

Pair: TypeAlias = tuple[str, str]
Advance: TypeAlias = Callable[[int], None]
"""Called with the number of pairs that are done since the last call."""
Combine: TypeAlias = Literal["standardized", "raw"]
"""How several teachers become one target: each one's logits brought to one mean and spread first, or as they are."""

# What is scored, and then kept, at once: what a kill -9 loses. Always the same pairs, whoever was killed where, because
# in float32 a logit's last digit may depend on what is scored together with it.
_PORTION: Final = 512
_RECORD: Final = np.dtype([("logit", "<f4"), ("truncated", "?")])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TeacherLogits:
    """What one teacher says.

    Attributes:
        logits: of all pairs in their order, shape (num_pairs,), float32.
        num_truncated: pairs of which a text was cut, because the teacher cannot read so much.
        num_kept: pairs that an earlier run had scored.
    """

    logits: FloatArray
    num_truncated: int
    num_kept: int


def teacher_logits(
    model: CrossEncoder,
    pairs: Sequence[Pair],
    *,
    sha256: str,
    work: WorkFolder,
    advance: Advance = lambda _: None,
) -> TeacherLogits:
    """Score all pairs with one teacher, or take what is kept of an earlier run and score the rest.

    Args:
        model: the teacher; one label.
        pairs: what it scores.
        sha256: of the pairs, in their order.
        work: where its logits are kept.
        advance: told of pairs that are done, those of an earlier run first.

    Raises:
        ModelUnsupportedError: the model has several labels, and so no one logit.
        OutputFileError: the disk is full; what was done is kept.
        InputError, BackendError: a pair cannot be scored, or the model failed.
    """
    check_one_number(model.card.name, model.card.labels)
    key = _key(model, sha256, num_pairs=len(pairs))
    name = hashlib.sha256(model.fingerprint.encode()).hexdigest()[:12]
    stage = work.stage(f"teacher-{name}", key=key, dtype=_RECORD)
    num_kept = len(stage)
    if num_kept < len(pairs):
        num_kept -= num_kept % _PORTION
        with work.writing():
            stage.truncate(num_kept)
    advance(num_kept)
    for start in range(num_kept, len(pairs), _PORTION):
        portion = pairs[start : start + _PORTION]
        records = _records(model, portion)
        with work.writing():
            stage.append(records)
        advance(len(portion))
    return _read(stage, num_kept=num_kept)


def combined(teachers: Sequence[FloatArray], *, combine: Combine) -> FloatArray:
    """One target a pair: the mean of the teachers.

    With ``standardized`` each teacher's logits lose their mean and are divided by their standard deviation; the mean
    of these gets the mean and the standard deviation of the first teacher, whose scale the student so takes over. With
    ``raw`` the logits are averaged as they are, which makes sense for teachers of one scale.

    Args:
        teachers: logits of the same pairs, each of shape (num_pairs,), float32.
        combine: how; of one teacher the logits are left alone.

    Returns:
        float32, shape (num_pairs,).

    Raises:
        SettingError: a teacher gives all pairs the same logit, and so has no spread.
    """
    if len(teachers) == 1:
        return teachers[0]
    stacked = np.stack(teachers).astype(np.float64)
    if combine == "raw":
        averaged: FloatArray = stacked.mean(axis=0).astype(np.float32)
        return averaged
    means, deviations = stacked.mean(axis=1), stacked.std(axis=1)
    if not deviations.all():
        raise SettingError(
            f"teacher {int(np.argmin(deviations)) + 1} gives all {stacked.shape[1]:,} pairs the same logit; "
            "leave it out, or give pairs that differ"
        )
    mean = ((stacked - means[:, None]) / deviations[:, None]).mean(axis=0)
    # A mean of several varies less than each of them.
    spread = float(mean.std()) or 1.0
    target: FloatArray = (mean / spread * deviations[0] + means[0]).astype(np.float32)
    return target


def _key(model: CrossEncoder, sha256: str, *, num_pairs: int) -> dict[str, Any]:
    return {
        # Another version may compute a logit in another way.
        "model": f"{model.fingerprint}:{__version__}",
        "max_length": model.max_length,
        "truncation": str(model.config.truncation_side),
        "pairs": sha256,
        "num_pairs": num_pairs,
    }


def _records(model: CrossEncoder, pairs: Sequence[Pair]) -> npt.NDArray[Any]:
    scored = model.score(pairs)
    records = np.empty(len(pairs), dtype=_RECORD)
    records["logit"], records["truncated"] = scored.logits, scored.truncated
    return records


def _read(stage: Stage, *, num_kept: int) -> TeacherLogits:
    records = stage.read()
    return TeacherLogits(
        logits=np.ascontiguousarray(records["logit"], dtype=np.float32),
        num_truncated=int(records["truncated"].sum()),
        num_kept=num_kept,
    )
