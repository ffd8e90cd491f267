"""How sure a measured number is: confidence intervals by bootstrap, and tests of whether a difference is chance.

Everything is paired (both systems did the same queries, or the same pairs) and has a seed, so that the same data
gives the same numbers. scipy is imported inside the functions that need it, because it takes half a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.errors import InputError, SettingError
from pairscore.evaluation.resampling import (
    CHUNK,
    Correlation,
    sampled_correlations,
    weighted_correlations,
)

__all__ = [
    "DEFAULT_LEVEL",
    "Correlation",
    "Difference",
    "Interval",
    "bootstrap_interval",
    "correlation",
    "correlation_difference",
    "correlation_interval",
    "holm",
    "mean_difference",
    "randomisation_test",
]

DoubleArray: TypeAlias = npt.NDArray[np.float64]

DEFAULT_LEVEL: Final = 0.95
_NUM_RESAMPLES: Final = 10_000
_NUM_FLIPS: Final = 100_000
# Of very many values fewer samples are drawn, so that no number takes longer than some seconds.
_MAX_DRAWN: Final = 20_000_000
_MAX_FLIPPED: Final = 200_000_000
_FEWEST_SAMPLES: Final = 1_000
# Values beyond which the correction of BCa is lost in the noise, and its jackknife would cost num_values squared.
_MAX_FOR_BCA: Final = 5_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; both ends are NaN where there is too little to say one."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the first of two systems is above the second.

    Attributes:
        value: first minus second.
        interval: its confidence interval.
        p: how probable a difference as large as this is if both are equally good; two-sided.
    """

    value: float
    interval: Interval
    p: float


def bootstrap_interval(
    values: npt.ArrayLike,
    *,
    level: float = DEFAULT_LEVEL,
    num_resamples: int = _NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A confidence interval of the mean, by resampling the values with replacement.

    The bias-corrected and accelerated interval (BCa), which minds how skewed the values are; above 5,000 values,
    where that makes no difference any more, plain percentiles.
    Source: B. Efron, "Better Bootstrap Confidence Intervals", 1987; computed by `scipy.stats.bootstrap`.

    Args:
        values: one for each query, shape (num_values,).
        level: how often such an interval holds the true mean, between 0 and 1.
        num_resamples: how many samples are drawn.
        seed: of the random numbers.

    Returns:
        The interval; NaN for fewer than two values, and of no width where all are equal.

    Raises:
        InputError: a value is not finite, or they are not a list of numbers.
        SettingError: the level or the number of samples makes no sense.
    """
    numbers = _numbers(values, name="values")
    _check_settings(level, num_resamples)
    if len(numbers) < 2:  # noqa: PLR2004 - one value says nothing of how values vary
        return Interval(math.nan, math.nan)
    if float(np.ptp(numbers)) == 0.0:
        return Interval(float(numbers[0]), float(numbers[0]))
    # Here, because scipy takes half a second to import and belongs to an extra.
    from scipy.stats import bootstrap

    done = bootstrap(
        (numbers,),
        np.mean,
        vectorized=True,
        axis=-1,
        confidence_level=level,
        n_resamples=num_resamples,
        batch=max(1, CHUNK // len(numbers)),
        method="BCa" if len(numbers) <= _MAX_FOR_BCA else "percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(float(done.confidence_interval.low), float(done.confidence_interval.high))


def randomisation_test(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    num_resamples: int = _NUM_FLIPS,
    seed: int = 0,
) -> float:
    """Fisher's paired randomisation test of equal means, two-sided.

    If both systems were equally good, it would be chance which of them got which value of a query. So the two
    values of each query are swapped or not, at random, and it is counted how often the means then lie as far apart
    as they do. Every way of swapping is tried where there are no more than `num_resamples` of them.
    Source: M. Smucker, J. Allan, B. Carterette, "A Comparison of Statistical Significance Tests for Information
    Retrieval Evaluation", CIKM 2007. What was observed counts as one of the samples (B. Phipson, G. Smyth,
    "Permutation P-values Should Never Be Zero", 2010), so p is never 0.

    Args:
        first: one value for each query, shape (num_queries,).
        second: the other system's, in the same order.
        num_resamples: the most ways of swapping that are tried.
        seed: of the random numbers.

    Returns:
        p, above 0 and at most 1; 1 where no query differs.

    Raises:
        InputError: the two are not lists of finite numbers of the same length, or empty.
        SettingError: the number of samples makes no sense.
    """
    differences = _numbers(first, name="first") - _same_length(first, second)
    _check_settings(DEFAULT_LEVEL, num_resamples)
    # A query without a difference changes no sum, however it is swapped.
    differences = differences[differences != 0.0]
    if len(differences) == 0:
        return 1.0
    exact = len(differences) <= math.floor(math.log2(num_resamples))
    signs = (
        _all_signs(len(differences))
        if exact
        else _random_signs(len(differences), num_resamples, np.random.default_rng(seed))
    )
    # Sums that are equal but for rounding are equal.
    least = abs(float(differences.sum())) * (1.0 - 1e-12)
    num_as_far = sum(int((np.abs(block @ differences) >= least).sum()) for block in signs)
    if exact:
        return num_as_far / 2.0 ** len(differences)
    return (num_as_far + 1.0) / (num_resamples + 1.0)


def mean_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = DEFAULT_LEVEL, seed: int = 0
) -> Difference:
    """How far the mean of the first lies above that of the second: bootstrap interval and randomisation test.

    Raises:
        InputError, SettingError: as `bootstrap_interval` and `randomisation_test`.
    """
    differences = _numbers(first, name="first") - _same_length(first, second)
    return Difference(
        value=float(differences.mean()),
        interval=bootstrap_interval(differences, level=level, seed=seed),
        p=randomisation_test(
            first,
            second,
            num_resamples=_fewer(_NUM_FLIPS, len(differences), most=_MAX_FLIPPED),
            seed=seed,
        ),
    )


def correlation_interval(
    scores: npt.ArrayLike,
    grades: npt.ArrayLike,
    *,
    kind: Correlation = "spearman",
    level: float = DEFAULT_LEVEL,
    seed: int = 0,
) -> Interval:
    """A confidence interval of a correlation, by resampling the pairs 10,000 times (fewer above 2,000); percentiles.

    Args:
        scores: what a system says of each pair, shape (num_pairs,).
        grades: the truth, shape (num_pairs,).
        kind: which correlation.
        level: between 0 and 1.
        seed: of the random numbers.

    Returns:
        The interval; NaN for fewer than three pairs or a constant list, which correlate with nothing.

    Raises:
        InputError, SettingError: as `bootstrap_interval`.
    """
    told, truth = _numbers(scores, name="scores"), _same_length(scores, grades)
    _check_settings(level, _NUM_RESAMPLES)
    if not _correlate(told, truth):
        return Interval(math.nan, math.nan)
    num_resamples = _fewer(_NUM_RESAMPLES, len(told), most=_MAX_DRAWN)
    samples = sampled_correlations(
        (told,), truth, kind=kind, num_resamples=num_resamples, seed=seed
    )
    return _percentiles(samples[0], level)


def correlation_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    grades: npt.ArrayLike,
    *,
    kind: Correlation = "spearman",
    seed: int = 0,
) -> Difference:
    """How far the first list's correlation with the grades lies above the second's, by resampling the pairs.

    Both see the same samples, so what makes a sample easy for both does not count. p is that of the percentile
    interval: twice the share of samples on the side of zero where fewer lie (Efron and Tibshirani, "An Introduction
    to the Bootstrap", 1993, section 15.4).

    Args:
        first: one system's scores, shape (num_pairs,).
        second: the other's, on whatever scale.
        grades: the truth, shape (num_pairs,).
        kind: which correlation.
        seed: of the random numbers.

    Returns:
        The difference, with an interval of 95 %; everything NaN where one of the correlations is not defined.

    Raises:
        InputError, SettingError: as `bootstrap_interval`.
    """
    one, other = _numbers(first, name="first"), _same_length(first, second)
    truth = _same_length(first, grades)
    if not (_correlate(one, truth) and _correlate(other, truth)):
        return Difference(math.nan, Interval(math.nan, math.nan), math.nan)
    value = _weighted(one, truth, kind=kind) - _weighted(other, truth, kind=kind)
    num_resamples = _fewer(_NUM_RESAMPLES, len(one), most=_MAX_DRAWN)
    of_one, of_other = sampled_correlations(
        (one, other), truth, kind=kind, num_resamples=num_resamples, seed=seed
    )
    apart = of_one - of_other
    tail = min(int((apart <= 0.0).sum()), int((apart >= 0.0).sum()))
    p = min(1.0, 2.0 * (tail + 1.0) / (len(apart) + 1.0))
    return Difference(value, _percentiles(apart, DEFAULT_LEVEL), p)


def correlation(scores: npt.ArrayLike, grades: npt.ArrayLike, *, kind: Correlation) -> float:
    """The correlation itself; NaN where it is not defined.

    Raises:
        InputError: the two are not lists of finite numbers of the same length, or empty.
    """
    told, truth = _numbers(scores, name="scores"), _same_length(scores, grades)
    return _weighted(told, truth, kind=kind) if _correlate(told, truth) else math.nan


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust the p values of several tests so that the chance of one false alarm is that of one test.

    Source: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979. A NaN stays NaN and does not
    count as a test.
    """
    order = sorted(
        (place for place, p in enumerate(p_values) if not math.isnan(p)), key=p_values.__getitem__
    )
    adjusted, least = list(p_values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = least
    return tuple(adjusted)


def _fewer(wanted: int, num_values: int, *, most: int) -> int:
    """How many samples of so many values to draw, `most` values in all of them together."""
    return min(wanted, max(_FEWEST_SAMPLES, most // num_values))


def _numbers(values: npt.ArrayLike, *, name: str) -> DoubleArray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) == 0:
        raise InputError(f"{name} must be a list of numbers with at least one in it")
    if not np.isfinite(numbers).all():
        raise InputError(f"{name} holds NaN or infinity; leave out what was not measured")
    return numbers


def _same_length(first: npt.ArrayLike, second: npt.ArrayLike) -> DoubleArray:
    numbers, length = _numbers(second, name="second"), np.asarray(first).shape[0]
    if len(numbers) != length:
        raise InputError(
            f"the two lists hold {length:,} and {len(numbers):,} values; a paired comparison needs the "
            "same queries, in the same order"
        )
    return numbers


def _check_settings(level: float, num_resamples: int) -> None:
    if not 0.0 < level < 1.0:
        raise SettingError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    if num_resamples < 1:
        raise SettingError(f"num_resamples is {num_resamples}; at least one must be drawn")


def _all_signs(num_values: int) -> Iterator[npt.NDArray[np.float64]]:
    """Every way of giving signs to some values, in blocks of shape (at most 65,536, num_values)."""
    block, bits = 65_536, np.arange(num_values)
    for start in range(0, 2**num_values, block):
        numbers = np.arange(start, min(start + block, 2**num_values))
        yield 1.0 - 2.0 * ((numbers[:, np.newaxis] >> bits) & 1).astype(np.float64)


def _random_signs(
    num_values: int, num_resamples: int, random: np.random.Generator
) -> Iterator[npt.NDArray[np.float64]]:
    block = max(1, CHUNK // num_values)
    for start in range(0, num_resamples, block):
        count = min(block, num_resamples - start)
        drawn = random.integers(0, 2, size=(count, num_values), dtype=np.int8)
        yield 1.0 - 2.0 * drawn.astype(np.float64)


def _correlate(scores: DoubleArray, grades: DoubleArray) -> bool:
    """Whether a correlation says anything: two points lie on a line whatever they are."""
    fewest = 3
    return len(scores) >= fewest and bool(np.ptp(scores) > 0.0) and bool(np.ptp(grades) > 0.0)


def _weighted(scores: DoubleArray, grades: DoubleArray, *, kind: Correlation) -> float:
    once = np.ones((1, len(scores)))
    return float(weighted_correlations(scores, grades, once, kind=kind)[0])


def _percentiles(samples: DoubleArray, level: float) -> Interval:
    if len(samples) == 0:
        return Interval(math.nan, math.nan)
    edges = np.quantile(samples, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(edges[0]), float(edges[1]))
