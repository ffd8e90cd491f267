"""The bundled similarity model gives the stored numbers, in 0 to 1, and orders sentences as people would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pairscore import CrossEncoder

STORED: dict[str, Any] = json.loads(
    Path(__file__).with_name("similarity.json").read_text(encoding="utf-8")
)
PAIRS = [(entry["query"], entry["document"]) for entry in STORED["pairs"]]


@pytest.fixture(scope="module")
def similarity() -> Iterator[CrossEncoder]:
    """The model, open for these tests."""
    with CrossEncoder("sts-minilm") as model:
        yield model


def test_stored_scores(similarity: CrossEncoder) -> None:
    """Every stored pair, on any CPU, within the one tolerance."""
    stored = [entry["logit"] for entry in STORED["pairs"]]

    assert similarity.score(PAIRS).logits.tolist() == pytest.approx(stored, abs=STORED["tolerance"])


def test_a_score_is_the_same_alone(similarity: CrossEncoder) -> None:
    """And in any batch."""
    alone = [float(similarity.score([pair]).logits[0]) for pair in PAIRS]

    assert similarity.score(PAIRS).logits.tolist() == pytest.approx(
        alone, abs=STORED["invariance_tolerance"]
    )


def test_scores_lie_between_0_and_1_and_are_said_to(similarity: CrossEncoder) -> None:
    """The score is the probability, on the unit scale; paraphrases are high and strangers low."""
    found = similarity.score(PAIRS)

    assert found.scale == "unit"
    assert found.scores.tolist() == pytest.approx(found.probabilities.tolist())
    assert found.scores[0] > 0.6
    assert found.scores[1] < 0.1
    assert found.scores[2] > 0.8


def test_the_order_of_the_sentences_matters_little(similarity: CrossEncoder) -> None:
    """It was trained on both orders."""
    turned = similarity.score([(b, a) for a, b in PAIRS]).scores

    assert abs(similarity.score(PAIRS).scores - turned).max() < 0.1
