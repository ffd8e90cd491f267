"""Recommendations: the fewest candidates that are not significantly worse, in words; and honest silence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pairscore.evaluation.compare_advice import advise, chosen_depth, milliseconds
from pairscore.evaluation.compare_records import (
    Compared,
    Depth,
    Estimate,
    Pairwise,
    Speed,
    ThresholdFit,
)
from pairscore.evaluation.significance import Difference, Interval

FIT = ThresholdFit(value=1.25, scale="logit", f1=0.9, held_out_f1=0.8, precision=0.95, recall=0.85)


def _estimate(value: float) -> Estimate:
    return Estimate(value=value, interval=Interval(value - 0.05, value + 0.05))


def _speed(p50_ms: float) -> Speed:
    return Speed(num_timed=40, p50_ms=p50_ms, p95_ms=2 * p50_ms, cpu_s_per_1000=p50_ms)


def _depth(number: int, quality: float, *, best: float, p: float | None) -> Depth:
    below = None
    if p is not None:
        lost = best - quality
        below = Difference(lost, Interval(lost - 0.02, lost + 0.02), p)
    return Depth(
        num_candidates=number,
        quality=_estimate(quality),
        speed=_speed(10.0 * number) if number else None,
        below_best=below,
    )


def _system(name: str, quality: float, *, p50_ms: float, threshold: ThresholdFit | None = None):
    return Compared(
        name=name,
        detail="a model",
        scale="logit",
        scores=np.zeros(1),
        measures={"nDCG@10": _estimate(quality)},
        speed=_speed(p50_ms),
        threshold=threshold,
    )


def _test(first: str, second: str, p: float) -> Pairwise:
    return Pairwise(
        first=first,
        second=second,
        measure="nDCG@10",
        difference=Difference(0.1, Interval(0.0, 0.2), p),
        adjusted_p=p,
    )


CROSS = _system("cross-encoder", 0.7, p50_ms=900.0, threshold=FIT)
BI = _system("bi-encoder", 0.6, p50_ms=9.0)
DEPTHS = (
    _depth(0, 0.50, best=0.72, p=0.001),
    _depth(10, 0.60, best=0.72, p=0.01),
    _depth(20, 0.70, best=0.72, p=0.30),
    _depth(50, 0.72, best=0.72, p=None),
)


def _advised(*, depths=DEPTHS, p: float = 0.001, num_queries: int = 50):
    return advise(
        [CROSS, BI],
        measure="nDCG@10",
        pairwise=[_test("cross-encoder", "bi-encoder", p)],
        depths=depths,
        num_queries=num_queries,
    )


def test_the_fewest_candidates_that_are_not_significantly_worse() -> None:
    """With why, what they take, and what cannot be excluded."""
    found = _advised()

    text = " ".join(found.sentences)
    assert found.num_candidates == 20
    assert "the fewest that are not significantly below the best" in text
    assert "0.7000 in 200 ms a query" in text
    assert "p 0.300" in text
    assert "a loss of up to 0.040 cannot be excluded" in text
    assert "largest that was tried (50)" in text


def test_where_fewer_are_worse_the_best_is_taken() -> None:
    """And nothing is said of a loss."""
    depths = (*DEPTHS[:2], _depth(20, 0.70, best=0.72, p=0.02), DEPTHS[3])

    found = _advised(depths=depths)

    assert found.num_candidates == 50
    assert "fewer candidates are significantly worse" in " ".join(found.sentences)
    assert "cannot be excluded" not in " ".join(found.sentences)


def test_reranking_that_does_not_help_is_said_so() -> None:
    """No candidates, whether it is no better or clearly worse; the two are told apart."""
    level = (_depth(0, 0.70, best=0.71, p=0.6), _depth(10, 0.71, best=0.71, p=None))
    worse = (_depth(0, 0.70, best=0.70, p=None), _depth(10, 0.60, best=0.70, p=0.001))

    for depths, said, with_ten in (
        (level, "is not shown to help", "0.7100"),
        (worse, "makes it worse", "0.6000"),
    ):
        found = _advised(depths=depths)

        text = " ".join(found.sentences)
        assert found.num_candidates == 0
        assert f"reranking {said}" in text
        assert f"{with_ten} with 10 candidates" in text


def test_a_depth_that_is_no_worse_needs_no_test() -> None:
    """Two depths of the same quality: the smaller one."""
    depths = (_depth(10, 0.7, best=0.7, p=0.0001), _depth(20, 0.7, best=0.7, p=None))

    chosen = chosen_depth(depths)

    assert chosen is not None
    assert chosen.num_candidates == 10
    assert chosen_depth(()) is None


def test_the_best_system_and_whom_it_beats() -> None:
    """A difference that may be chance is called so, and the quickest of the equals is named."""
    clear, level = _advised(p=0.001), _advised(p=0.4)

    assert (clear.system, level.system) == ("cross-encoder", "cross-encoder")
    assert "significantly above bi-encoder" in clear.sentences[0]
    assert "not above bi-encoder, of which bi-encoder is the quickest" in level.sentences[0]


@pytest.mark.parametrize("num_queries", [1, 19])
def test_too_few_queries_recommend_nothing(num_queries: int) -> None:
    """But a threshold, where there are labels enough for one."""
    found = _advised(num_queries=num_queries)

    assert (found.system, found.num_candidates) == (None, None)
    assert f"{num_queries} queries" in found.sentences[0]
    assert found.threshold == FIT


def test_the_threshold_names_its_scale() -> None:
    """With F1 on these pairs and on held-out ones."""
    said = _advised().sentences[-1]

    for part in ("1.25", "'logit'", "F1 0.900", "precision 0.950", "0.800 on held-out queries"):
        assert part in said


def test_the_threshold_is_that_of_the_system_to_use() -> None:
    """Where the bi-encoder is better, its own; where a run is, which has none, the cross-encoder's."""
    own = replace(FIT, value=0.77, scale="cosine", f1=0.95)
    better = replace(_system("bi-encoder", 0.8, p50_ms=9.0), threshold=own)
    run = _system("run first", 0.9, p50_ms=9.0)

    found = advise([CROSS, better], measure="nDCG@10", pairwise=(), depths=DEPTHS, num_queries=50)
    of_run = advise(
        [CROSS, better, run], measure="nDCG@10", pairwise=(), depths=DEPTHS, num_queries=50
    )

    assert (found.threshold, found.threshold_of) == (own, "bi-encoder")
    assert "0.77 for the bi-encoder, on the scale 'cosine'" in found.sentences[-1]
    assert (of_run.system, of_run.threshold_of) == ("run first", "cross-encoder")


def test_without_labels_enough_there_is_no_threshold() -> None:
    """And it says how many it would take."""
    found = advise([BI], measure="nDCG@10", pairwise=(), depths=DEPTHS, num_queries=50)

    assert found.threshold is None
    assert "at least 10 related and 10 unrelated" in found.sentences[-1]


def test_a_measure_that_is_not_defined_recommends_no_system() -> None:
    """NaN is not the best."""
    nothing = _system("cross-encoder", math.nan, p50_ms=1.0)

    found = advise([nothing], measure="nDCG@10", pairwise=(), depths=(), num_queries=50)

    assert found.system is None


def test_times_for_people() -> None:
    """Three digits, seconds from a thousand milliseconds on."""
    assert milliseconds(0.14567) == "0.146 ms"
    assert milliseconds(12.345) == "12.3 ms"
    assert milliseconds(1972.2) == "1.97 s"
