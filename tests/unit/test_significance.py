"""Intervals and tests: against scipy, against cases that can be counted by hand, and against what must never be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from pairscore.errors import InputError, SettingError
from pairscore.evaluation import significance
from pairscore.evaluation.resampling import weighted_correlations
from pairscore.evaluation.significance import (
    bootstrap_interval,
    correlation,
    correlation_difference,
    correlation_interval,
    holm,
    mean_difference,
    randomisation_test,
)


@pytest.fixture
def random() -> np.random.Generator:
    """The same numbers in every run."""
    return np.random.default_rng(7)


def test_interval_of_a_mean_is_that_of_student(random: np.random.Generator) -> None:
    """Of many values that are normal, bootstrap and Student's t say nearly the same."""
    values = random.normal(0.5, 0.2, size=400)

    found = bootstrap_interval(values)

    expected = stats.t.interval(0.95, 399, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.002)
    assert values.mean() in found


def test_interval_follows_skewed_values(random: np.random.Generator) -> None:
    """A long tail on the right makes the interval reach further to the right."""
    values = random.exponential(size=60)

    found = bootstrap_interval(values)

    assert found.high - values.mean() > 1.1 * (values.mean() - found.low)


def test_interval_of_many_values(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Percentiles take over where BCa would cost too much, and say the same."""
    values = random.normal(size=500)
    by_bca = bootstrap_interval(values)

    monkeypatch.setattr(significance, "_MAX_FOR_BCA", 10)
    by_percentiles = bootstrap_interval(values)

    assert by_percentiles != by_bca
    assert by_percentiles.low == pytest.approx(by_bca.low, abs=0.01)


def test_interval_holds_the_truth_as_often_as_it_says(random: np.random.Generator) -> None:
    """Of 300 intervals of 80 %, about 240 hold the true mean."""
    held = sum(
        0.0 in bootstrap_interval(random.normal(size=25), level=0.8, num_resamples=400)
        for _ in range(300)
    )

    assert 210 <= held <= 265


@pytest.mark.parametrize("function", [bootstrap_interval])
def test_interval_of_too_little(function) -> None:
    """One value has no interval; equal values have one of no width."""
    alone = function([0.4])

    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    assert function([0.4] * 5) == significance.Interval(0.4, 0.4)


def test_same_seed_same_numbers(random: np.random.Generator) -> None:
    """Everything depends on the data and the seed alone."""
    one, other = random.normal(size=(2, 25))

    assert bootstrap_interval(one) == bootstrap_interval(one)
    assert bootstrap_interval(one) != bootstrap_interval(one, seed=1)
    assert randomisation_test(one, other) == randomisation_test(one, other)
    assert randomisation_test(one, other) != randomisation_test(one, other, seed=1)
    assert correlation_difference(one, other, one + other) == correlation_difference(
        one, other, one + other
    )


def test_few_queries_are_counted_exactly() -> None:
    """Three queries that all win: of eight ways to swap, two lie as far apart."""
    assert randomisation_test([0.5, 0.6, 0.9], [0.4, 0.4, 0.4]) == 2 / 8


def test_exact_test_is_scipys(random: np.random.Generator) -> None:
    """Twelve queries, all 4,096 ways: the same p as `scipy.stats.permutation_test`."""
    one = random.normal(0.3, 1.0, size=12)
    other = random.normal(size=12)

    expected = stats.permutation_test(
        (one, other),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert randomisation_test(one, other) == pytest.approx(expected.pvalue)


def test_sampled_test_is_near_the_exact_one(random: np.random.Generator) -> None:
    """Where there are too many ways, some are drawn."""
    one, other = random.normal(0.6, 1.0, size=14), random.normal(size=14)

    exact = randomisation_test(one, other)
    sampled = randomisation_test(one, other, num_resamples=2**14 - 1)

    assert exact != sampled
    assert sampled == pytest.approx(exact, abs=0.02)


def test_many_queries_agree_with_students_test(random: np.random.Generator) -> None:
    """Smucker et al. find the two nearly the same on real runs."""
    one = random.normal(size=200)
    other = one + random.normal(0.03, 0.2, size=200)

    assert randomisation_test(one, other) == pytest.approx(
        stats.ttest_rel(one, other).pvalue, abs=0.01
    )


def test_p_is_never_zero_and_has_two_sides(random: np.random.Generator) -> None:
    """However clear it is, chance is not excluded; who is first does not matter."""
    one = random.normal(size=60)

    p = randomisation_test(one + 1.0, one, num_resamples=999)

    assert p == 1 / 1000
    assert randomisation_test(one, one + 1.0, num_resamples=999) == p
    assert randomisation_test(one, one) == 1.0


def test_rounding_does_not_hide_a_way_that_is_as_far() -> None:
    """0.1 + 0.2 and 0.3 are equally far, whatever floats say."""
    # Of 16 ways, the sums ±0.6 and ±0.0 occur by different roundings; +0.6 and -0.6 are the only extremes.
    assert randomisation_test([0.1, 0.2, 0.3], [0.0, 0.0, 0.0]) == 2 / 8
    assert randomisation_test([0.1, 0.2, -0.3], [0.0, 0.0, 0.0]) == 1.0


def test_mean_difference_says_all_three(random: np.random.Generator) -> None:
    """Value, interval and p of one comparison belong together."""
    one = random.normal(size=80)
    found = mean_difference(one + 0.1 + 0.05 * random.normal(size=80), one)

    assert found.value == pytest.approx(0.1, abs=0.03)
    assert 0.0 not in found.interval
    assert found.p < 0.001


@pytest.mark.parametrize("kind", ["spearman", "pearson"])
def test_correlation_is_scipys(kind, random: np.random.Generator) -> None:
    """Also of a resampled list with ties: counts and mean ranks give what scipy gives of the copies."""
    grades = random.integers(0, 5, size=40).astype(float)
    scores = np.round(grades + random.normal(size=40), 1)
    drawn = random.integers(0, 40, size=40)
    weights = np.bincount(drawn, minlength=40).astype(float)[np.newaxis]

    found = weighted_correlations(scores, grades, weights, kind=kind)

    function = stats.spearmanr if kind == "spearman" else stats.pearsonr
    assert found[0] == pytest.approx(function(scores[drawn], grades[drawn]).statistic)


def test_area_is_scikit_learns(random: np.random.Generator) -> None:
    """Also of a resampled list with ties."""
    grades = random.integers(0, 2, size=60).astype(float)
    scores = np.round(grades + random.normal(size=60), 1)
    drawn = random.integers(0, 60, size=60)
    weights = np.bincount(drawn, minlength=60).astype(float)[np.newaxis]

    found = weighted_correlations(scores, grades, weights, kind="auc")

    assert found[0] == pytest.approx(roc_auc_score(grades[drawn], scores[drawn]))
    assert correlation(scores, grades, kind="auc") == pytest.approx(roc_auc_score(grades, scores))


def test_interval_of_a_correlation_is_that_of_fisher(random: np.random.Generator) -> None:
    """Of normal values, Pearson's interval is nearly Fisher's."""
    grades = random.normal(size=150)
    scores = grades + random.normal(size=150)

    found = correlation_interval(scores, grades, kind="pearson")

    expected = stats.pearsonr(scores, grades).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.03)


def test_difference_of_correlations(random: np.random.Generator) -> None:
    """The better of two lists is found, and the scale of its numbers does not matter."""
    grades = random.normal(size=60)
    good, bad = grades + 0.5 * random.normal(size=60), grades + 2.0 * random.normal(size=60)

    found = correlation_difference(good, bad, grades)
    scaled = correlation_difference(np.exp(good), bad, grades)
    equal = correlation_difference(good, good, grades)

    value = stats.spearmanr(good, grades).statistic - stats.spearmanr(bad, grades).statistic
    assert found.value == pytest.approx(value)
    assert found.value in found.interval
    assert found.p < 0.001
    assert scaled == found
    assert (equal.value, equal.p) == (0.0, 1.0)


def test_very_many_values_take_fewer_samples() -> None:
    """Some thousand pairs get all samples, a million the fewest that say something."""
    fewer = significance._fewer

    assert fewer(10_000, 1_500, most=20_000_000) == 10_000
    assert fewer(10_000, 4_000, most=20_000_000) == 5_000
    assert fewer(10_000, 1_000_000, most=20_000_000) == 1_000
    assert fewer(500, 1_000_000, most=20_000_000) == 500


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0, 1.0], [1.0]], ids=["constant", "a single pair"])
def test_what_has_no_correlation_has_no_interval(scores) -> None:
    """NaN, not an error and not a number."""
    grades = [float(place) for place in range(len(scores))]

    found = correlation_difference(scores, scores, grades)

    assert math.isnan(correlation_interval(scores, grades).low)
    assert math.isnan(found.value)
    assert math.isnan(found.p)


def test_holm_as_counted_by_hand() -> None:
    """Smallest times three, next times two, never below the one before; NaN is no test."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([0.02, math.nan])[0] == 0.02
    assert math.isnan(holm([0.02, math.nan])[1])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: bootstrap_interval([]), InputError),
        (lambda: bootstrap_interval([0.1, math.nan]), InputError),
        (lambda: bootstrap_interval([0.1, 0.2], level=95), SettingError),
        (lambda: bootstrap_interval([0.1, 0.2], num_resamples=0), SettingError),
        (lambda: randomisation_test([0.1, 0.2], [0.1]), InputError),
        (lambda: correlation_interval([0.1, 0.2, 0.3], [0.1, 0.2]), InputError),
    ],
    ids=["empty", "NaN", "level", "no samples", "lengths", "lengths of grades"],
)
def test_nonsense_is_refused(call, error) -> None:
    """With the value and the remedy in the message."""
    with pytest.raises(error):
        call()
