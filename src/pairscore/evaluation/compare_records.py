"""What a comparison finds, as frozen records: quality with intervals, gaps, times, tests, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.evaluation.significance import Difference, Interval

__all__ = [
    "Advice",
    "Compared",
    "Comparison",
    "Depth",
    "Estimate",
    "Gap",
    "Kind",
    "Pairwise",
    "Reliability",
    "ReliabilityBin",
    "Row",
    "Speed",
    "ThresholdFit",
]

DoubleArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Kind: TypeAlias = Literal["pairs", "rankings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A measured quality.

    Attributes:
        value: the number; NaN where it is not defined.
        interval: its 95 % confidence interval; NaN where there is too little to say one.
    """

    value: float
    interval: Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """How far related and unrelated pairs lie apart, on one system's own scale.

    Attributes:
        num_related: pairs that belong together.
        num_unrelated: pairs that do not.
        mean_related: their mean score.
        mean_unrelated: theirs.
        standardised: the gap in pooled standard deviations (Cohen's d), which alone can be compared between
            scales; NaN where the pairs of a kind are too few or all the same.
        auc: how probably a related pair has a higher score than an unrelated one.
    """

    num_related: int
    num_unrelated: int
    mean_related: float
    mean_unrelated: float
    standardised: float
    auc: float

    @property
    def value(self) -> float:
        """The gap in the system's own units."""
        return self.mean_related - self.mean_unrelated


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """What scoring took in this run, measured in turn with the other systems.

    Attributes:
        num_timed: queries, or single pairs, that were timed.
        p50_ms: milliseconds of one, median.
        p95_ms: milliseconds of one, 95th percentile.
        cpu_s_per_1000: CPU seconds of all cores for 1,000 of them.
        price_per_1000: of 1,000 of them one after another on this machine, in the currency of its price; None
            if no price was given.
    """

    num_timed: int
    p50_ms: float
    p95_ms: float
    cpu_s_per_1000: float
    price_per_1000: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdFit:
    """The threshold with the best F1.

    Attributes:
        value: a pair with this score or more counts as related.
        scale: what the score means.
        f1: on the pairs that it was chosen on, which flatters it.
        held_out_f1: F1 where each fold's threshold was chosen on the other four; NaN for too few queries.
        precision: on the pairs that it was chosen on.
        recall: likewise.
    """

    value: float
    scale: str
    f1: float
    held_out_f1: float
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One system.

    Attributes:
        name: a short one.
        detail: which model, or whose statistics.
        scale: what its scores mean.
        scores: of all pairs, shape (num_pairs,), float64.
        measures: quality by the measure's name.
        gap: None without labels of both kinds.
        speed: None for what this run did not measure, such as a run from a file.
        prepared_s: seconds for what was done once before any query; 0 for nothing.
        threshold: None where there are too few labelled pairs.
    """

    name: str
    detail: str
    scale: str
    scores: DoubleArray
    measures: Mapping[str, Estimate] = field(default_factory=dict)
    gap: Gap | None = None
    speed: Speed | None = None
    prepared_s: float = 0.0
    threshold: ThresholdFit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairwise:
    """The test between two systems.

    Attributes:
        first: the name of the one.
        second: the name of the other.
        measure: by what.
        difference: first minus second.
        adjusted_p: p after Holm's correction for all the tests of the table.
    """

    first: str
    second: str
    measure: str
    difference: Difference
    adjusted_p: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """What reranking the best so many candidates gives.

    Attributes:
        num_candidates: how many the cross-encoder reads; the others keep their order behind them. 0 is the
            first stage alone.
        quality: in the main measure.
        speed: of the cross-encoder alone; None for the first stage.
        below_best: the best depth's quality minus this one's; None for the best itself.
    """

    num_candidates: int
    quality: Estimate
    speed: Speed | None
    below_best: Difference | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Pairs of nearly the same probability: their mean probability, the part that is related, and how many."""

    probability: float
    frequency: float
    num_pairs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """How honest the cross-encoder's probabilities are on these pairs.

    Attributes:
        bins: of equal mass, from the least likely up.
        ece: expected calibration error.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One pair with every system's score of it, for the table side by side.

    Attributes:
        first: its first text, shortened.
        second: its second text, shortened.
        grade: what people said; None for an unjudged one.
        scores: by the system's name.
    """

    first: str
    second: str
    grade: float | None
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """What follows from the comparison.

    Attributes:
        system: the one to use; None where the data does not say.
        num_candidates: how many to rerank, 0 for none; None where the data does not say.
        threshold: which score counts as related; None where the data does not say.
        threshold_of: whose score that is: the system's to use, or the cross-encoder's where that has none.
        sentences: the same with the reasons, for people.
    """

    system: str | None = None
    num_candidates: int | None = None
    threshold: ThresholdFit | None = None
    threshold_of: str | None = None
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """Everything that one comparison found.

    Attributes:
        name: of the data.
        kind: pairs, or candidates of queries.
        num_pairs: pairs that every system scored.
        num_queries: queries, or distinct first texts.
        main_measure: what tests, depths and advice are about; empty without labels.
        related_means: in words, which pairs count as related.
        related: whether each pair is, shape (num_pairs,).
        known: whether that is known of it, shape (num_pairs,).
        systems: one entry for each.
        pairwise: the test between each two.
        depths: from 0 up; empty for pairs.
        reliability: None where labels are too few.
        rows: pairs side by side.
        rows_are: in words, which pairs those are.
        advice: what follows.
        notes: what a reader must know.
    """

    name: str
    kind: Kind
    num_pairs: int
    num_queries: int
    main_measure: str
    related_means: str
    related: BoolArray
    known: BoolArray
    systems: tuple[Compared, ...]
    pairwise: tuple[Pairwise, ...] = ()
    depths: tuple[Depth, ...] = ()
    reliability: Reliability | None = None
    rows: tuple[Row, ...] = ()
    rows_are: str = ""
    advice: Advice = field(default_factory=Advice)
    notes: tuple[str, ...] = ()

    def system(self, name: str) -> Compared | None:
        """One system by its name; None if it was not compared."""
        return next((system for system in self.systems if system.name == name), None)

    @property
    def unit(self) -> str:
        """What latency and cost are of."""
        return "query" if self.kind == "rankings" else "pair"
