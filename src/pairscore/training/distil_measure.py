"""What a student keeps of its teacher, and what it gains: both measured in one run, on texts that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from pairscore.convert.in_turn import InTurn, score_in_turn
from pairscore.convert.parity import Parity, parity_of
from pairscore.convert.parity_texts import ParityTexts
from pairscore.cross_encoder import CrossEncoder
from pairscore.evaluation.cached import CachedCrossEncoder
from pairscore.evaluation.datasets import Judged
from pairscore.evaluation.evaluate import RankingOptions, evaluate_runs
from pairscore.evaluation.rankings import Measured
from pairscore.evaluation.significance import Difference, mean_difference
from pairscore.training.distil_scores import Advance, Pair
from pairscore.values import FloatArray

__all__ = [
    "MEASURE",
    "Kept",
    "OpenModel",
    "Quality",
    "measure_kept",
    "measure_quality",
    "targets_of",
]

OpenModel: TypeAlias = Callable[[], CrossEncoder]
"""Loads a model; whoever calls it closes it."""

MEASURE: Final = "nDCG@10"
"""What the quality of an order is measured by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A student and its teacher on the same pairs.

    Attributes:
        parity: the student's logits against the target: the teacher's, or of several teachers their mean.
        speed: the first teacher, called the reference, and the student in turn.
    """

    parity: Parity
    speed: InTurn


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """How well a student and its teachers order a judged collection.

    Attributes:
        collection: its name.
        run: the name of the first ranking that was reranked.
        num_queries: judged queries.
        num_pairs: pairs that each model scored.
        before: nDCG@10 of the first ranking.
        teachers: by name, nDCG@10 of each teacher's order.
        student: nDCG@10 of the student's order.
        best_teacher: the name of the teacher with the highest.
        difference: the student less the best teacher, query by query.
    """

    collection: str
    run: str
    num_queries: int
    num_pairs: int
    before: float
    teachers: Mapping[str, float] = field(hash=False)
    student: float
    best_teacher: str
    difference: Difference

    @property
    def kept_percent(self) -> float:
        """The student's nDCG@10 in per cent of the best teacher's; NaN where that is 0."""
        best = self.teachers[self.best_teacher]
        return 100.0 * self.student / best if best else float("nan")

    @property
    def gain_kept_percent(self) -> float:
        """Of what the best teacher gains over the first ranking, what the student gains, in per cent.

        Below 0 where the student orders worse than that ranking; NaN where the teacher gains nothing.
        """
        gain = self.teachers[self.best_teacher] - self.before
        return 100.0 * (self.student - self.before) / gain if gain > 0.0 else float("nan")


def measure_kept(
    *,
    teacher: OpenModel,
    student: OpenModel,
    texts: ParityTexts,
    targets: Mapping[Pair, float],
    advance: Callable[[int], None] = lambda _: None,
) -> Kept:
    """Score the same pairs with both in turn, and hold the student against the targets.

    Args:
        teacher: the first teacher.
        student: what is judged.
        texts: pairs that the student was not trained on.
        targets: by pair, what the student was to say; all pairs of the texts are there.
        advance: told how many pairs both have scored so far.

    Raises:
        ModelError: one of them cannot be used.
        BackendError: one of them failed.
    """
    with teacher() as reference, student() as converted:
        speed = score_in_turn(texts, reference=reference, converted=converted, advance=advance)
    wanted = np.asarray([targets[pair] for pair in texts.pairs], dtype=np.float32)
    return Kept(parity=parity_of(texts, wanted, speed.converted), speed=speed)


def measure_quality(
    judged: Judged,
    *,
    teachers: Mapping[str, OpenModel],
    student: OpenModel,
    depth: int,
    advance: Advance = lambda _: None,
) -> Quality:
    """Rerank a judged collection with each teacher and with the student.

    Args:
        judged: the collection, with a first ranking; of several the first is taken.
        teachers: by name.
        student: what is judged.
        depth: documents of each query that are reranked.
        advance: told of pairs that were scored.

    Raises:
        EmptyInputError: the collection has no first ranking, or no candidate with a text.
        MissingExtraError: the extra that measures is not installed.
        InputError, BackendError: a pair cannot be scored, or a model failed.
    """
    found: dict[str, Measured] = {}
    for name, open_model in teachers.items():
        found[name] = _order(judged, open_model, depth=depth, advance=advance).after
    own = _order(judged, student, depth=depth, advance=advance)
    best = max(found, key=lambda name: found[name].mean)
    return Quality(
        collection=judged.name,
        run=next(iter(judged.runs)),
        num_queries=len(judged.queries),
        num_pairs=own.num_pairs,
        before=own.before,
        teachers={name: measured.mean for name, measured in found.items()},
        student=own.after.mean,
        best_teacher=best,
        difference=mean_difference(own.after.values, found[best].values),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    before: float
    after: Measured
    num_pairs: int


def _order(judged: Judged, open_model: OpenModel, *, depth: int, advance: Advance) -> _Order:
    with ExitStack() as stack:
        scorer = CachedCrossEncoder(stack.enter_context(open_model()))
        options = RankingOptions(depth=depth, measures=(MEASURE,))
        report = evaluate_runs(judged, scorer, options, advance=advance).runs[0]
    return _Order(
        before=report.quality[MEASURE].mean,
        after=report.quality_after[MEASURE],
        num_pairs=report.num_reranked,
    )


def targets_of(pairs: Sequence[Pair], logits: FloatArray) -> dict[Pair, float]:
    """By pair, what the teachers say of it."""
    return dict(zip(pairs, logits.tolist(), strict=True))
