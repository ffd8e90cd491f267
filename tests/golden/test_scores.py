"""The bundled model gives the stored numbers, and is near the numbers its authors published."""

from __future__ import annotations

from typing import Any

import pytest

from pairscore import CrossEncoder

BERLIN = "How many people live in Berlin?"
PUBLISHED = {
    "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.": 9.218911,
    "Berlin is well known for its museums.": -4.0780287,
}


def test_stored_scores(
    encoder: CrossEncoder, golden: dict[str, Any], golden_pairs: list[tuple[str, str]]
) -> None:
    """Every stored pair, on any CPU, within the one tolerance."""
    stored = [entry["logit"] for entry in golden["pairs"]]

    assert encoder.score(golden_pairs).logits.tolist() == pytest.approx(
        stored, abs=golden["tolerance"]
    )


@pytest.mark.parametrize(
    ("document", "published"), PUBLISHED.items(), ids=["population", "museums"]
)
def test_the_pairs_of_the_models_card(
    encoder: CrossEncoder, document: str, published: float
) -> None:
    """Within 0.20 of what the model's authors published."""
    assert float(encoder.predict((BERLIN, document))) == pytest.approx(published, abs=0.20)


def test_the_articles_pairs_are_ordered_as_it_says(encoder: CrossEncoder) -> None:
    """The right answer beats the restaurant, by far."""
    query = "How do I reset my password?"
    good = "Click 'Forgot Password' on the login page to reset your credentials."
    bad = "Our restaurant serves Italian and Japanese cuisine."
    scores = encoder.predict([(query, good), (query, bad)])

    assert scores[0] > 0 > scores[1]
    assert scores[0] - scores[1] > 10
