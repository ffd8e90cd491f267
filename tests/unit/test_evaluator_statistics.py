"""Intervals and paired tests of a training's measures: whole queries are drawn, and both sides see the same draws."""

from __future__ import annotations

import numpy as np
import pytest

from pairscore.evaluation.significance import mean_difference
from pairscore.training.evaluator_calibration import calibration_measures
from pairscore.training.evaluator_labels import class_measures, two_class_measures
from pairscore.training.evaluator_statistics import Measure, difference, interval, mean_of


@pytest.mark.parametrize("data", ["classification", "correlation", "nli"])
def test_a_weight_of_two_is_a_pair_that_stands_twice(data):
    """So that a bootstrap sample is measured as the sample itself would be."""
    rng = np.random.default_rng(8)
    groups, counts = np.arange(40), rng.integers(1, 4, size=40)
    again = np.repeat(groups, counts)
    labels = rng.integers(0, 2, size=40)
    if data == "nli":
        logits = rng.normal(size=(40, 2))
        one = class_measures(logits, labels, groups)
        other = class_measures(logits[again], labels[again], np.arange(len(again)))
    else:
        logits = rng.normal(size=40)
        family = {"classification": two_class_measures, "correlation": calibration_measures}[data]
        truth = labels > 0 if data == "classification" else labels.astype(float)
        one = family(logits, truth, groups)
        other = family(logits[again], truth[again], np.arange(len(again)))
    names = {"classification": ("average_precision", "auc"), "correlation": ("brier",)}

    for name in names.get(data, ("accuracy", "macro_f1")):
        weighted = one[name].weighted(counts[np.newaxis].astype(float))[0]
        assert weighted == pytest.approx(other[name].value)


def test_a_mean_over_queries_is_compared_by_the_evaluation_room():
    """Interval and p are exactly those of `significance.mean_difference`."""
    rng = np.random.default_rng(9)
    after, before = rng.random(50), rng.random(50)
    found = difference(mean_of(after, np.arange(50)), mean_of(before, np.arange(50)))

    assert found == mean_difference(after, before)


def test_pairs_of_one_query_are_drawn_together():
    """Ten copies of each value are no more evidence than one: the interval stays as wide."""
    values = np.random.default_rng(10).random(30)
    alone = interval(mean_of(values, np.arange(30)))
    copies = interval(mean_of(np.repeat(values, 10), np.repeat(np.arange(30), 10)))
    as_if_free = interval(mean_of(np.repeat(values, 10), np.arange(300)))

    assert copies.high - copies.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert as_if_free.high - as_if_free.low < 0.5 * (copies.high - copies.low)


def test_the_p_of_grouped_means_swaps_whole_queries():
    """Copies of a difference do not make it surer."""
    before, after = np.zeros(8), np.array([1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, 1.0])
    groups = np.repeat(np.arange(8), 5)
    alone = difference(mean_of(after, np.arange(8)), mean_of(before, np.arange(8)))
    copies = difference(mean_of(np.repeat(after, 5), groups), mean_of(np.repeat(before, 5), groups))

    assert copies.p == alone.p


def test_an_error_of_calibration_lies_within_its_interval():
    """Samples of a distance lie above it; they are moved back, and never below 0."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=400)
        probabilities = 1.0 / (1.0 + np.exp(-logits))
        # Off by noise that cancels out within a bin.
        truth = np.clip(probabilities + 0.2 * rng.choice([-1.0, 1.0], size=400), 0.0, 1.0)
        measure = calibration_measures(logits, truth, np.arange(400))["ece_calibrated"]
        found = interval(measure)

        assert found.low >= 0.0
        assert found.low < measure.value < found.high
        assert abs((found.low + found.high) / 2.0 - measure.value) < 0.003


def test_one_query_has_no_interval():
    """It says nothing of how queries vary."""
    found = interval(Measure(weighted=lambda w: w.sum(axis=1), groups=np.zeros(5, np.int64)))

    assert np.isnan(found.low)
