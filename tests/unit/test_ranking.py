"""Logits to scores to order."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.errors import ScaleError, SettingError
from pairscore.models.card import Card
from pairscore.road.ranking import against_rest, check_one_scale, hits, scores_of, sigmoid
from pairscore.values import Scores, Threshold

CARD = Card(
    task="relevance",
    name="m",
    revision=None,
    activation="identity",
    max_length=512,
    pad_id=0,
)


def _scores(logits: list[float], activation: str = "identity") -> Scores:
    return scores_of(
        np.array(logits, dtype=np.float32),
        card=replace(CARD, activation=activation),
        num_tokens=[3] * len(logits),
        truncated=[False] * len(logits),
    )


@given(st.floats(-1e6, 1e6))
def test_sigmoid_is_within_0_and_1_and_right(x: float) -> None:
    """No overflow, no warning, and the textbook's value where the textbook's formula holds."""
    value = float(sigmoid([x])[0])

    assert 0.0 <= value <= 1.0
    if abs(x) < 500:
        assert value == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-6)


def test_sigmoid_keeps_confident_scores_apart() -> None:
    """Half precision would call both of these 1.0."""
    assert sigmoid([9.0])[0] < sigmoid([11.0])[0] < 1.0


def test_ties_keep_the_order_of_the_input() -> None:
    """Equal scores do not change places."""
    assert [hit.corpus_id for hit in hits(_scores([1.0, 2.0, 1.0, 2.0]))] == [1, 3, 0, 2]


def test_top_k_beyond_the_length_gives_all() -> None:
    """Asking for more than there is is no error."""
    assert len(hits(_scores([1.0, 2.0]), top_k=9)) == 2


@pytest.mark.parametrize("top_k", [0, -1, True])
def test_top_k_below_one_is_refused(top_k: int) -> None:
    """Zero and -1 never silently drop or keep documents."""
    with pytest.raises(SettingError, match="top_k"):
        hits(_scores([1.0]), top_k=top_k)


def test_min_score_cuts_the_tail() -> None:
    """Only documents at or above the threshold remain."""
    assert [hit.corpus_id for hit in hits(_scores([1.0, -2.0, 3.0]), min_score=1.0)] == [2, 0]


def test_a_similarity_model_gives_unit_scores() -> None:
    """With a sigmoid in the card, score and probability are the same and the scale says so."""
    made = _scores([0.0, 2.0], activation="sigmoid")

    assert made.scale == "unit"
    assert made.scores.tolist() == made.probabilities.tolist()


def test_a_relevance_model_gives_logits() -> None:
    """With the identity in the card, the score is the logit."""
    made = _scores([0.0, 2.0])

    assert made.scale == "logit"
    assert made.scores.tolist() == made.logits.tolist() == [0.0, 2.0]


@pytest.mark.parametrize(("min_score", "expected"), [(1e39, 0), (-1e39, 2), (float("inf"), 0)])
def test_a_least_score_that_no_float32_holds(min_score: float, expected: int) -> None:
    """It is compared as it is, above or below everything."""
    assert len(hits(_scores([1.0, 2.0]), min_score=min_score)) == expected


_LOGITS = np.array([[2.0, -1.0, 0.5], [-3.0, 4.0, 0.0]], dtype=np.float32)


def test_several_labels_give_named_probabilities_that_sum_to_one() -> None:
    """Labels that exclude each other share one probability: the softmax."""
    card = replace(CARD, task="classification", labels=("no", "yes", "maybe"))
    made = scores_of(_LOGITS, card=card, num_tokens=[3, 3], truncated=[False, False])

    assert made.probabilities.shape == (2, 3)
    expected = np.exp(_LOGITS[0]) / np.exp(_LOGITS[0]).sum()
    assert made.named(0) == pytest.approx(dict(zip(("no", "yes", "maybe"), expected, strict=True)))


def test_labels_that_do_not_exclude_each_other_have_a_sigmoid_each() -> None:
    """Of a model that may say yes to all of them."""
    card = replace(CARD, task="classification", labels=("a", "b", "c"), exclusive=False)
    made = scores_of(_LOGITS, card=card, num_tokens=[3, 3], truncated=[False, False])

    assert made.probabilities == pytest.approx(1 / (1 + np.exp(-_LOGITS)))


@pytest.mark.parametrize("label", [0, 1, 2])
def test_one_label_against_the_rest_keeps_its_softmax(label: int) -> None:
    """The sigmoid of a label's log-odds is the probability that the softmax gives it."""
    wanted = np.exp(_LOGITS[:, label]) / np.exp(_LOGITS).sum(axis=1)

    assert sigmoid(against_rest(_LOGITS, label)) == pytest.approx(wanted, rel=1e-6)


def test_one_label_against_the_rest_does_not_overflow() -> None:
    """Far from zero, log-odds stay finite where the probabilities are 0 and 1."""
    assert against_rest(np.array([[400.0, -400.0]], dtype=np.float32), 0).tolist() == [800.0]


def test_several_labels_have_no_order() -> None:
    """A ranking needs one number; the message says how to get it."""
    card = replace(CARD, task="classification", labels=("no", "yes", "maybe"))
    made = scores_of(_LOGITS, card=card, num_tokens=[3, 3], truncated=[False, False])

    with pytest.raises(SettingError, match="label="):
        hits(made)


@pytest.mark.parametrize("value", [-0.1, 1.1, 4.0])
def test_a_threshold_beyond_the_unit_scale_is_refused(value: float) -> None:
    """Nobody means a threshold that lets all pass, or none; the message translates it."""
    with pytest.raises(ScaleError, match=f"probabilities with {float(sigmoid([value])[0]):.4g}"):
        hits(_scores([1.0], activation="sigmoid"), min_score=value)


def test_a_threshold_knows_its_scale() -> None:
    """One that was found on the same scale cuts; one of the other scale is refused with its translation."""
    unit, logit = _scores([0.0, 2.0], activation="sigmoid"), _scores([0.0, 2.0])

    assert [hit.corpus_id for hit in hits(unit, min_score=Threshold(0.6, "unit"))] == [1]
    assert [hit.corpus_id for hit in hits(logit, min_score=Threshold(0.6, "logit"))] == [1]
    with pytest.raises(ScaleError, match=r"logits with 0.4055"):
        hits(logit, min_score=Threshold(0.6, "unit"))
    with pytest.raises(ScaleError, match=r"probabilities with 0.6457"):
        hits(unit, min_score=Threshold(0.6, "logit"))


def test_scores_of_different_scales_are_not_compared() -> None:
    """Logits beside similarities, or other labels: refused; the same meaning passes."""
    logit, unit = _scores([0.0]), _scores([0.0], activation="sigmoid")

    check_one_scale(logit, _scores([3.0]))
    with pytest.raises(ScaleError, match="compare their probabilities"):
        check_one_scale(logit, unit)
    with pytest.raises(ScaleError, match="label="):
        check_one_scale(logit, replace(logit, labels=("a", "b")))


def test_the_least_probability_cuts_whatever_the_scale() -> None:
    """It means the same for every model; beyond 0 to 1 it means nothing."""
    for activation in ("identity", "sigmoid"):
        made = _scores([0.0, 2.0], activation=activation)
        assert [hit.corpus_id for hit in hits(made, min_probability=0.6)] == [1]
        with pytest.raises(ScaleError, match="from 0 to 1"):
            hits(made, min_probability=2)
