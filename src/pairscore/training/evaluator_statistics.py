"""A measure as a function of how often each query counts: so its value, its interval and a paired test come of one piece.

Pairs of one query are alike, so whole queries are drawn again and not pairs. Where a measure is a mean with one value
for each query, `pairscore.evaluation.significance` does it; for all others the draws are made here, in its way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.evaluation.significance import (
    DEFAULT_LEVEL,
    Difference,
    Interval,
    bootstrap_interval,
    mean_difference,
    randomisation_test,
)

__all__ = ["DoubleArray", "GroupArray", "Measure", "Weighted", "difference", "interval", "mean_of"]

DoubleArray: TypeAlias = npt.NDArray[np.float64]
GroupArray: TypeAlias = npt.NDArray[np.int64]
Weighted: TypeAlias = Callable[[DoubleArray], DoubleArray]
"""Weights of shape (num_samples, num_items) to the measure's values, shape (num_samples,)."""

_CHUNK: Final = 1_000_000
_NUM_RESAMPLES: Final = 10_000
# Of very many pairs fewer samples are drawn, so that no measure takes longer than some seconds.
_MAX_DRAWN: Final = 5_000_000
_FEWEST_SAMPLES: Final = 1_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measure:
    """One measure of one model's logits.

    Attributes:
        weighted: the measure of items that count as often as the weights say.
        groups: which items share a query and are drawn together, shape (num_items,), numbers from 0.
        items: of a mean, its values, shape (num_items,); None for what is no mean.
        higher_is_better: False of errors.
        biased: whether samples lie to one side of the value, as those of a sum of distances do: noise never makes a
            distance smaller than none. Then the samples' mean is moved onto the value.
    """

    weighted: Weighted
    groups: GroupArray
    items: DoubleArray | None = None
    higher_is_better: bool = True
    biased: bool = False

    @property
    def value(self) -> float:
        """The measure itself; 0 where it is not defined, as the correlation of scores that are all the same."""
        found = float(self.weighted(np.ones((1, len(self.groups))))[0])
        return found if math.isfinite(found) else 0.0

    @property
    def num_groups(self) -> int:
        """How many queries there are."""
        return int(self.groups.max()) + 1

    @property
    def alone(self) -> bool:
        """Whether every query has one item."""
        return self.num_groups == len(self.groups)


def mean_of(items: DoubleArray, groups: GroupArray, *, higher_is_better: bool = True) -> Measure:
    """The mean of some values as a measure.

    Args:
        items: shape (num_items,).
        groups: of these items, shape (num_items,).
        higher_is_better: False of errors.
    """

    def weighted(weights: DoubleArray) -> DoubleArray:
        total: DoubleArray = (weights @ items) / weights.sum(axis=1)
        return total

    return Measure(weighted=weighted, groups=groups, items=items, higher_is_better=higher_is_better)


def interval(measure: Measure, *, seed: int = 0) -> Interval:
    """The 95 % interval: BCa of a mean with a value for each query, else percentiles of samples of whole queries.

    Returns:
        NaN for fewer than two queries.
    """
    if measure.items is not None and measure.alone:
        return bootstrap_interval(measure.items, seed=seed)
    if measure.num_groups < 2:  # noqa: PLR2004 - one query says nothing of how queries vary
        return Interval(math.nan, math.nan)
    samples = _sampled(measure, seed=seed)
    if not measure.biased:
        return _percentiles(samples)
    found = _percentiles(_moved(samples, measure.value))
    # A distance is never below 0, wherever its samples were moved.
    return Interval(max(0.0, found.low), found.high)


def difference(after: Measure, before: Measure, *, seed: int = 0) -> Difference:
    """How far a measure lies above that of other logits for the same items, paired.

    The interval is of samples that both share. p is Fisher's randomisation test of a mean, in which all pairs of a
    query are swapped together; of another measure it is that of the percentile interval, twice the share of samples on
    the side of zero where fewer lie (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 15.4).

    Returns:
        The difference; interval and p are NaN for fewer than two queries.
    """
    if after.items is not None and before.items is not None and after.alone:
        return mean_difference(after.items, before.items, seed=seed)
    value = after.value - before.value
    if after.num_groups < 2:  # noqa: PLR2004 - one query says nothing of how queries vary
        return Difference(value, Interval(math.nan, math.nan), math.nan)
    apart = _sampled(after, seed=seed) - _sampled(before, seed=seed)
    apart = apart[np.isfinite(apart)]
    if after.biased:
        apart = _moved(apart, value)
    return Difference(value, _percentiles(apart), _p_value(after, before, apart, seed=seed))


def _p_value(after: Measure, before: Measure, apart: DoubleArray, *, seed: int) -> float:
    if after.items is None or before.items is None:
        tail = min(int((apart <= 0.0).sum()), int((apart >= 0.0).sum()))
        return min(1.0, 2.0 * (tail + 1.0) / (len(apart) + 1.0))
    # The sum over a query's pairs changes its sign when they are swapped, all of them together.
    sums = [np.bincount(item.groups, weights=item.items) for item in (after, before)]
    return randomisation_test(*sums, num_resamples=_NUM_RESAMPLES, seed=seed)


# An interval and a difference want the same samples of the same two measures.
@lru_cache(maxsize=2)
def _sampled(measure: Measure, *, seed: int) -> DoubleArray:
    """The measure of every sample, NaN where it is not defined; equal seeds draw equal samples."""
    blocks = _weights(measure.groups, measure.num_groups, seed=seed)
    return np.concatenate([np.atleast_1d(measure.weighted(weights)) for weights in blocks])


def _weights(groups: GroupArray, num_groups: int, *, seed: int) -> Iterator[DoubleArray]:
    """How often each item counts in each sample, in blocks of shape (num_samples, num_items)."""
    random, num_items = np.random.default_rng(seed), len(groups)
    num_resamples = min(_NUM_RESAMPLES, max(_FEWEST_SAMPLES, _MAX_DRAWN // num_items))
    block = max(1, _CHUNK // num_items)
    for start in range(0, num_resamples, block):
        count = min(block, num_resamples - start)
        drawn = random.integers(0, num_groups, size=(count, num_groups))
        rows = np.arange(count)[:, np.newaxis] * num_groups
        counts = np.bincount((drawn + rows).ravel(), minlength=drawn.size)
        yield counts.reshape(count, num_groups)[:, groups].astype(np.float64)


def _moved(samples: DoubleArray, value: float) -> DoubleArray:
    """Samples whose mean is the value."""
    found: DoubleArray = samples - samples.mean() + value
    return found


def _percentiles(samples: DoubleArray) -> Interval:
    finite = samples[np.isfinite(samples)]
    if not len(finite):
        return Interval(math.nan, math.nan)
    edges = np.quantile(finite, [(1.0 - DEFAULT_LEVEL) / 2.0, (1.0 + DEFAULT_LEVEL) / 2.0])
    return Interval(float(edges[0]), float(edges[1]))
