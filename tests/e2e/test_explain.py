"""Explanations by the real model: the sentence with the answer counts most, and each number is the difference of two scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from pairscore import CrossEncoder
from pairscore.explaining.records import Explanation
from pairscore.explaining.units import Span, without

QUERY = "How many people live in Berlin?"
DOCUMENT = (
    "Berlin is well known for its museums. Berlin has a population of 3,520,031 registered inhabitants in an area of "
    "891.82 square kilometers. It lies on the Spree."
)


@pytest.fixture(scope="module")
def found(encoder: CrossEncoder) -> Explanation:
    """Of the question and a document that answers it."""
    return encoder.explain(QUERY, DOCUMENT)


def test_the_sentence_with_the_population_counts_most(found: Explanation) -> None:
    """And in it the number."""
    best = max(found.sentences, key=lambda unit: unit.contribution or 0.0)
    word = max(found.words, key=lambda unit: unit.contribution or 0.0)

    assert "population" in best.text
    assert (best.contribution or 0.0) > 5
    assert word.text == "3,520,031"


def test_each_contribution_is_the_difference_of_two_predictions(
    encoder: CrossEncoder, golden: dict[str, Any], found: Explanation
) -> None:
    """Each pair predicted alone."""
    tolerance = golden["invariance_tolerance"] * 2
    whole = float(encoder.predict((QUERY, DOCUMENT)))

    assert found.logit == pytest.approx(whole, abs=tolerance)
    for unit in (*found.sentences, *found.words[:6]):
        document = without(DOCUMENT, Span(unit.start, unit.end))
        alone = float(encoder.predict((QUERY, document)))
        assert unit.contribution == pytest.approx(whole - alone, abs=tolerance)


def test_of_a_document_that_is_cut_too(encoder: CrossEncoder, golden: dict[str, Any]) -> None:
    """What is read has the score of the whole, and differences are of what is read."""
    document = "It lies on the Spree, and many people go there in summer. " * 60
    explained = encoder.explain(QUERY, f"{DOCUMENT} {document}", units="sentences", max_pairs=4)
    read = f"{DOCUMENT} {document}"[: explained.read[1]]
    first = explained.sentences[0]
    pairs = [(QUERY, read), (QUERY, without(read, Span(first.start, first.end)))]
    (whole,), (less,) = (encoder.predict([pair]).tolist() for pair in pairs)

    assert explained.truncated
    assert explained.logit == pytest.approx(whole, abs=golden["tolerance"])
    assert first.contribution == pytest.approx(whole - less, abs=golden["tolerance"])


def test_the_command() -> None:
    """A process of its own, JSON for machines."""
    done = subprocess.run(
        [sys.executable, "-m", "pairscore", "explain", QUERY, "--input", "-", "--json"],
        input=DOCUMENT.encode(),
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    answer = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    best = max(answer["sentences"], key=lambda unit: unit["contribution"])
    assert "population" in best["text"]
    assert answer["cost"]["num_pairs"] == 1 + len(answer["sentences"]) + len(answer["words"])
