"""What a training changed: every measure before and after, on the user's data and on a guard set, with what is chance.

The logits of both models are made apart (`score_parts`), because they need not be in memory together; `compare_parts`
makes the report of them. It holds numbers and names, and no text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from pairscore.errors import SettingError
from pairscore.evaluation.significance import Difference, Interval, holm
from pairscore.training.data import TrainingData
from pairscore.training.evaluator_statistics import DoubleArray, Measure, difference, interval
from pairscore.training.evaluators import LogitEvaluator, Scorer, evaluator_for
from pairscore.training.recipe import Task

__all__ = [
    "ALPHA",
    "MeasureReport",
    "Part",
    "PartReport",
    "Role",
    "TrainingReport",
    "compare_parts",
    "part_of",
    "score_parts",
]

Role: TypeAlias = Literal["dev", "test", "guard"]

ALPHA: Final = 0.05
"""A difference counts as more than chance if its p, adjusted for the number of parts, is below this."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """Data that both models are measured on.

    Attributes:
        role: ``dev`` chose the best checkpoint, ``test`` chose nothing, ``guard`` is the base model's old work.
        name: how the report calls it; each part has another.
        sha256: of the data.
        evaluator: what measures.
    """

    role: Role
    name: str
    sha256: str
    evaluator: LogitEvaluator


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureReport:
    """One measure of one part.

    Attributes:
        name: such as ``ndcg@10``.
        higher_is_better: False of errors.
        before: the base model's value; None where nothing was measured before.
        before_interval: its 95 % interval.
        after: the trained model's value.
        after_interval: its 95 % interval.
        change: after less before, with interval and p; None where nothing was measured before.
        p_adjusted: of a primary measure, p adjusted by Holm for the number of parts; None of the others.
        order_before: the value of the file's own order, where it is a ranking.
        order_change: after less that.
    """

    name: str
    higher_is_better: bool
    before: float | None
    before_interval: Interval | None
    after: float
    after_interval: Interval
    change: Difference | None
    p_adjusted: float | None = None
    order_before: float | None = None
    order_change: Difference | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartReport:
    """All measures of one part, the primary one first.

    Attributes:
        role: as of `Part`.
        name: as of `Part`.
        sha256: of the data.
        evaluator: the evaluator's name.
        num_pairs: pairs that were scored.
        num_queries: different first texts.
        threshold: the trained model's logit from which a pair counts as positive with the best F1; None where there are
            not two classes.
        measures: what was measured.
        verdict: what changed, in a sentence.
    """

    role: Role
    name: str
    sha256: str
    evaluator: str
    num_pairs: int
    num_queries: int
    threshold: float | None
    measures: tuple[MeasureReport, ...]
    verdict: str = ""

    @property
    def primary(self) -> MeasureReport:
        """The measure that decides."""
        return self.measures[0]

    @property
    def fell(self) -> bool:
        """Whether the primary measure fell by more than chance explains."""
        return _beyond_chance(self.primary, sign=-1.0)

    @property
    def rose(self) -> bool:
        """Whether the primary measure rose by more than chance explains."""
        return _beyond_chance(self.primary, sign=1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingReport:
    """What a training changed.

    Attributes:
        base: the name of the model before.
        model: the name of the model after.
        parts: what it was measured on, in the order in which they were given.
        measured_at: when, ISO 8601, UTC.
        version: of pairscore.
        notes: what a reader must know, a sentence each.
    """

    base: str
    model: str
    parts: tuple[PartReport, ...]
    measured_at: str
    version: str
    notes: tuple[str, ...] = ()

    @property
    def forgot(self) -> bool | None:
        """Whether a guard's primary measure fell by more than chance explains; None where no guard was compared."""
        guards = [part for part in self.parts if part.role == "guard" and part.primary.change]
        return any(part.fell for part in guards) if guards else None


def part_of(
    role: Role, data: TrainingData, task: Task | None = None, *, name: str | None = None
) -> Part:
    """Data as a part of the report.

    Raises:
        SettingError: nothing can be measured on it (`evaluator_for`).
    """
    return Part(
        role=role,
        name=data.name if name is None else name,
        sha256=data.sha256,
        evaluator=evaluator_for(data, task),
    )


def score_parts(parts: Sequence[Part], scorer: Scorer) -> dict[str, DoubleArray]:
    """One model's logits for all parts, by the parts' names.

    Raises:
        SettingError: two parts have one name.
        BackendError, NonFiniteScoreError: as `LogitEvaluator.score`.
    """
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise SettingError(
            f"two parts of a report have one name: {', '.join(names)}; give each a name of its own"
        )
    return {part.name: part.evaluator.score(scorer) for part in parts}


def compare_parts(  # noqa: PLR0913 - what a report is made of
    parts: Sequence[Part],
    *,
    before: Mapping[str, DoubleArray] | None,
    after: Mapping[str, DoubleArray],
    base: str,
    model: str,
    measured_at: str,
    version: str,
    notes: Sequence[str] = (),
) -> TrainingReport:
    """Make the report of logits that `score_parts` gave.

    Args:
        parts: what was scored.
        before: the base model's logits; None where it had no head for the task, and so nothing to compare with.
        after: the trained model's.
        base: the name of the model before.
        model: the name of the model after.
        measured_at: ISO 8601, UTC.
        version: of pairscore.
        notes: more for the reader.
    """
    measured = [
        _measured(part, None if before is None else before[part.name], after[part.name])
        for part in parts
    ]
    judged = tuple(replace(part, verdict=_verdict(part)) for part in _adjusted(measured))
    return TrainingReport(
        base=base,
        model=model,
        parts=judged,
        measured_at=measured_at,
        version=version,
        notes=(*notes, *_notes(judged)),
    )


def _measured(part: Part, before: DoubleArray | None, after: DoubleArray) -> PartReport:
    evaluator = part.evaluator
    old = {} if before is None else evaluator.measures(before)
    measures = [
        _compared(name, measure, old.get(name), evaluator.order_before.get(name))
        for name, measure in evaluator.measures(after).items()
    ]
    measures.sort(key=lambda measure: measure.name != evaluator.primary)
    return PartReport(
        role=part.role,
        name=part.name,
        sha256=part.sha256,
        evaluator=evaluator.name,
        num_pairs=len(evaluator.pairs),
        num_queries=evaluator.judged.num_queries,
        threshold=evaluator.threshold(after),
        measures=tuple(measures),
    )


def _compared(
    name: str, after: Measure, before: Measure | None, order: Measure | None
) -> MeasureReport:
    return MeasureReport(
        name=name,
        higher_is_better=after.higher_is_better,
        before=None if before is None else before.value,
        before_interval=None if before is None else interval(before),
        after=after.value,
        after_interval=interval(after),
        change=None if before is None else difference(after, before),
        order_before=None if order is None else order.value,
        order_change=None if order is None else difference(after, order),
    )


def _adjusted(parts: Sequence[PartReport]) -> Iterator[PartReport]:
    """With the primary measures' p adjusted: several parts are several chances of a false alarm."""
    changes = [part.primary.change for part in parts]
    adjusted = holm([math.nan if change is None else change.p for change in changes])
    for part, p in zip(parts, adjusted, strict=True):
        known = replace(part.primary, p_adjusted=None if math.isnan(p) else p)
        yield replace(part, measures=(known, *part.measures[1:]))


def _beyond_chance(measure: MeasureReport, *, sign: float) -> bool:
    if measure.change is None or measure.p_adjusted is None:
        return False
    return measure.change.value * sign > 0.0 and measure.p_adjusted < ALPHA


def _verdict(part: PartReport) -> str:
    measure = part.primary
    if measure.change is None or measure.before is None:
        return (
            f"{measure.name} is {measure.after:.4f}; there is no earlier value to compare it with."
        )
    low, high = measure.change.interval.low, measure.change.interval.high
    moved = (
        f"{measure.name} went from {measure.before:.4f} to {measure.after:.4f} ({measure.change.value:+.4f}, "
        f"95 % interval {low:+.4f} to {high:+.4f})"
    )
    if measure.p_adjusted is None:
        return f"{moved}: too few queries to say what is chance."
    if part.role == "guard":
        return _said_of_guard(part, moved, low)
    if part.rose or part.fell:
        return f"{'Better' if part.rose else 'Worse'}: {moved}, more than chance explains."
    return f"No difference beyond chance: {moved}."


def _said_of_guard(part: PartReport, moved: str, low: float) -> str:
    if part.fell:
        return f"Something was forgotten: {moved}, more than chance explains."
    if part.rose:
        return f"Nothing was forgotten: {moved}."
    rest = f"a loss of up to {-low:.4f} cannot be ruled out" if low < 0.0 else "a loss is unlikely"
    return f"No forgetting beyond chance: {moved}; {rest}."


def _notes(parts: Sequence[PartReport]) -> Iterator[str]:
    roles = {part.role for part in parts}
    if "dev" in roles:
        yield "The best checkpoint was chosen on the dev part, which flatters its figures there a little."
    if "test" not in roles:
        yield "No test part was given; figures of data that chose nothing need one."
    if "guard" not in roles:
        yield "No guard part was measured, so nothing can be said about forgetting."
