"""What a training is judged by: which measures fit which data, and their values for a model's logits.

An evaluator knows no model: it takes a scorer, a function from pairs to logits. So the same one measures sentence-
transformers' model while it trains, the base model before, and the converted file that is served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from pairscore.errors import BackendError, NonFiniteScoreError, SettingError
from pairscore.models.calibration import PlattCurve
from pairscore.training.data import TrainingData, scaled
from pairscore.training.evaluator_calibration import calibration_measures, confidence_measures
from pairscore.training.evaluator_labels import (
    best_threshold,
    class_measures,
    correlation_measures,
    two_class_measures,
)
from pairscore.training.evaluator_ranking import (
    CUT,
    Rankable,
    ranking_measures,
    ranks_before,
    triplet_accuracy,
)
from pairscore.training.evaluator_rows import Judged, judged
from pairscore.training.evaluator_statistics import DoubleArray, Measure
from pairscore.training.recipe import Task
from pairscore.values import FloatArray

__all__ = ["Evaluator", "LogitEvaluator", "Scorer", "evaluator_for"]

Scorer: TypeAlias = Callable[[Sequence[tuple[str, str]]], FloatArray]
"""Pairs to logits, before any activation: shape (num_pairs,), of several labels (num_pairs, num_labels)."""

_Family: TypeAlias = Callable[[DoubleArray], dict[str, Measure]]


class Evaluator(Protocol):
    """What the trainer knows of an evaluator."""

    @property
    def name(self) -> str:
        """What is measured, in a word."""

    @property
    def primary(self) -> str:
        """The measure by which the best checkpoint is chosen; higher is better."""

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        """Score all pairs and measure; every value is finite."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LogitEvaluator:
    """Judged pairs and the measures that fit them.

    Attributes:
        name: ``reranking``, ``correlation``, ``classification`` or ``nli``.
        primary: the measure that decides; higher is better.
        judged: the pairs with their labels.
        num_labels: logits that a pair has.
        families: each makes measures of logits; the first one's hold the primary.
        order_before: measures of the file's own order, where it has one that is a ranking.
        has_threshold: whether the best threshold is told.
    """

    name: str
    primary: str
    judged: Judged
    num_labels: int
    families: tuple[_Family, ...]
    order_before: Mapping[str, Measure] = field(default_factory=dict)
    has_threshold: bool = False

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """What has to be scored, in the order of the logits."""
        return self.judged.pairs

    def evaluate(self, scorer: Scorer) -> dict[str, float]:
        """Score all pairs and measure.

        Args:
            scorer: gives the pairs' logits, before any activation.

        Returns:
            Values by the measures' names, all finite; with two classes ``f1_threshold`` too, on the logits' scale.

        Raises:
            BackendError: the logits have another shape than the labels need.
            NonFiniteScoreError: one is NaN or infinite.
        """
        logits = self.score(scorer)
        values = {name: measure.value for name, measure in self.measures(logits).items()}
        threshold = self.threshold(logits)
        return values if threshold is None else {**values, "f1_threshold": threshold}

    def score(self, scorer: Scorer) -> DoubleArray:
        """The logits of all pairs as float64, checked.

        Raises:
            BackendError, NonFiniteScoreError: as `evaluate`.
        """
        logits = np.asarray(scorer(self.pairs), dtype=np.float64)
        if self.num_labels == 1 and logits.ndim == 2 and logits.shape[1] == 1:  # noqa: PLR2004 - a column
            logits = logits[:, 0]
        wanted = (len(self.pairs), self.num_labels) if self.num_labels > 1 else (len(self.pairs),)
        if logits.shape != wanted:
            raise BackendError(
                f"the scorer gave logits of shape {logits.shape}; these labels need {wanted}: "
                "use a model with as many labels as the data has"
            )
        if not np.isfinite(logits).all():
            raise NonFiniteScoreError(
                f"{int((~np.isfinite(logits)).sum()):,} of {logits.size:,} logits are NaN or infinite, so nothing can "
                "be measured; lower the learning rate, or train in float32"
            )
        return logits

    def measures(self, logits: DoubleArray) -> dict[str, Measure]:
        """All measures of logits that `score` gave."""
        found: dict[str, Measure] = {}
        for family in self.families:
            for name, measure in family(logits).items():
                found.setdefault(name, measure)
        return found

    def threshold(self, logits: DoubleArray) -> float | None:
        """The logit from which a pair counts as positive with the best F1; None where there are not two classes."""
        return best_threshold(logits, self.judged.labels > 0.0) if self.has_threshold else None


def evaluator_for(data: TrainingData, task: Task | None = None) -> LogitEvaluator:
    """The evaluator that fits data and task.

    ================================================  ===============  =================
    data                                              evaluator        primary
    ================================================  ===============  =================
    classes                                           nli              accuracy
    a teacher's logits, pairs or lists                correlation      spearman
    lists; triplets; pairs without labels             reranking        ndcg@10
    pairs of a relevance model that can be ranked     reranking        ndcg@10
    other pairs labelled 0 and 1                      classification   average_precision
    other graded pairs                                correlation      spearman
    ================================================  ===============  =================

    Pairs can be ranked if most of them belong to queries whose documents have at least two different labels.

    Args:
        data: labelled rows; grades are brought to 0..1.
        task: what a score shall say; None reads it off the data: relevance where it can be ranked.

    Raises:
        SettingError: there is no row, every label is the same, or the labels do not fit the task.
    """
    if not len(data):
        raise SettingError(
            f"{data.name} holds no row, and nothing can be measured on it; give another file, or a larger fraction"
        )
    _check_task(data, task)
    found = judged(scaled(data))
    if float(np.ptp(found.labels)) == 0.0:
        raise SettingError(
            f"every label of {data.name} is {found.labels[0]:g}, so no model can be told from another on it; "
            "add pairs with other labels"
        )
    if data.labels == "classes":
        return _nli(found, data)
    if data.labels == "teacher" and not len(found.couples):
        return _correlation(found, unit=False)
    rankable = Rankable.of(found.groups, found.labels)
    if data.kind != "pairs" or data.labels == "none":
        return _reranking(found, rankable, has_order=data.kind == "lists")
    can_rank = 2 * rankable.num_pairs >= len(found.pairs)
    if can_rank and task in (None, "relevance"):
        return _reranking(found, rankable, has_order=False, binary=data.labels == "binary")
    if data.labels == "binary":
        return _classification(found)
    return _correlation(found, unit=task != "relevance")


def _check_task(data: TrainingData, task: Task | None) -> None:
    if (task == "nli") != (data.labels == "classes") and task is not None:
        raise SettingError(
            f"the task is {task!r} and {data.name} has {data.labels} labels; "
            "the task 'nli' needs classes, and classes need the task 'nli'"
        )


def _nli(found: Judged, data: TrainingData) -> LogitEvaluator:
    classes = found.labels.astype(np.int64)
    return LogitEvaluator(
        name="nli",
        primary="accuracy",
        judged=found,
        num_labels=max(len(data.label_names), int(classes.max()) + 1),
        families=(
            lambda logits: class_measures(logits, classes, found.groups),
            lambda logits: confidence_measures(logits, classes, found.groups),
        ),
    )


def _correlation(found: Judged, *, unit: bool) -> LogitEvaluator:
    """Of scores with grades; where the score is a sigmoid, its distance from the grade is calibration."""
    sigmoid = PlattCurve(slope=1.0, intercept=0.0)

    def correlations(logits: DoubleArray) -> dict[str, Measure]:
        scores = sigmoid(logits) if unit else logits
        return correlation_measures(scores, found.labels, found.groups)

    families: tuple[_Family, ...] = (correlations,)
    if unit and found.labels.min() >= 0.0 and found.labels.max() <= 1.0:
        families += (_calibration(found),)
    return LogitEvaluator(
        name="correlation", primary="spearman", judged=found, num_labels=1, families=families
    )


def _classification(found: Judged) -> LogitEvaluator:
    return LogitEvaluator(
        name="classification",
        primary="average_precision",
        judged=found,
        num_labels=1,
        families=(_two_classes(found), _calibration(found)),
        has_threshold=True,
    )


def _reranking(
    found: Judged, rankable: Rankable, *, has_order: bool, binary: bool = False
) -> LogitEvaluator:
    if not rankable.places:
        raise SettingError(
            "no query has documents with different labels, so nothing can be ranked; give each query a document that "
            "belongs to it and one that does not"
        )
    families: tuple[_Family, ...] = (lambda logits: ranking_measures(logits, rankable),)
    if len(found.couples):
        families += (_triplets(found),)
    if binary:
        families += (_two_classes(found), _calibration(found))
    order = ranks_before(rankable) if has_order else None
    return LogitEvaluator(
        name="reranking",
        primary=f"ndcg@{CUT}",
        judged=found,
        num_labels=1,
        families=families,
        order_before={} if order is None else ranking_measures(order, rankable),
        has_threshold=binary,
    )


def _two_classes(found: Judged) -> _Family:
    return lambda logits: two_class_measures(logits, found.labels > 0.0, found.groups)


def _calibration(found: Judged) -> _Family:
    return lambda logits: calibration_measures(logits, found.labels, found.groups)


def _triplets(found: Judged) -> _Family:
    groups = found.groups[found.couples[:, 0]]
    # Queries of triplets alone are numbered anew, without holes.
    groups = np.unique(groups, return_inverse=True)[1]
    return lambda logits: {"triplet_accuracy": triplet_accuracy(logits, found.couples, groups)}
