"""Ours against sentence-transformers, torch and float32, on the same weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscore import CrossEncoder

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

# Below it lies what has nothing to do with the query.
LOWEST = -10.0
ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "benchmarks" / "work" / "reference"
SUBJECTS = (
    "a solar panel",
    "the river Danube",
    "sourdough bread",
    "a bicycle chain",
    "rent in Berlin",
)
QUESTIONS = (
    "how long does {} last",
    "what does {} cost",
    "who invented {}",
    "is {} good for health",
)
ANSWERS = (
    "With good care {} lasts about twenty years, although the guarantee often ends after ten.",
    "Prices for {} rose by seven per cent last year, says the federal statistics office.",
    "Nobody knows for certain who came up with {}; the first written record is from 1764.",
    "Doctors see no harm in {}, and some studies even report a small benefit.",
    "The museum opens at nine and closes at five, except on Mondays.",
)


@pytest.fixture(scope="module")
def reference() -> Any:
    """The reference implementation on the dequantized float32 weights."""
    from sentence_transformers import CrossEncoder as Reference

    if not (REFERENCE / "model.safetensors").is_file():
        tool = ROOT / "tools" / "build_bundled_model.py"
        subprocess.run([sys.executable, str(tool), "--reference", str(REFERENCE)], check=True)
    return Reference(str(REFERENCE), device="cpu")


@pytest.fixture(scope="module")
def made_pairs() -> list[tuple[str, str]]:
    """Each question with each answer, about every subject: 500 pairs, right ones and wrong ones."""
    return [
        (question.format(asked), answer.format(told))
        for asked in SUBJECTS
        for told in SUBJECTS
        for question in QUESTIONS
        for answer in ANSWERS
    ]


def test_logits_are_near_and_in_the_same_order(
    encoder: CrossEncoder, reference: Any, made_pairs: list[tuple[str, str]]
) -> None:
    """A mean difference under 0.14, and a rank correlation above 0.999 where there is an order.

    Passages about another subject all get the model's lowest score, -11.3 to -11.0: among them the order
    is noise in float32 too, so ranks are compared over the pairs about one subject.
    """
    from scipy.stats import spearmanr

    theirs = reference.predict(made_pairs)
    ours = encoder.predict(made_pairs)
    related = theirs > LOWEST

    assert related.sum() == len(SUBJECTS) * len(QUESTIONS) * len(ANSWERS)
    assert np.abs(ours - theirs)[related].mean() < 0.14
    assert np.abs(ours - theirs)[~related].mean() < 0.14
    assert spearmanr(ours[related], theirs[related]).statistic > 0.999


def test_rank_has_the_same_shape(encoder: CrossEncoder, reference: Any) -> None:
    """The same keys, the same types, the same order."""
    query, documents = "what does bread cost", [answer.format("bread") for answer in ANSWERS]
    ours = encoder.rank(query, documents, top_k=3, return_documents=True)
    theirs = reference.rank(query, documents, top_k=3, return_documents=True)

    assert [set(entry) for entry in ours] == [set(entry) for entry in theirs]
    assert [entry["corpus_id"] for entry in ours] == [entry["corpus_id"] for entry in theirs]
    assert ours[0]["text"] == theirs[0]["text"]


def test_one_pair_gives_a_scalar_in_both(encoder: CrossEncoder, reference: Any) -> None:
    """The same call, the same kind of answer."""
    pair = ("a query", "a document")

    assert np.ndim(encoder.predict(pair)) == np.ndim(reference.predict(pair)) == 0


def test_a_torch_activation_works(encoder: CrossEncoder, reference: Any) -> None:
    """Code that passes torch's Sigmoid keeps working, and gives the same 0..1 scores."""
    import torch

    pairs = [("what does bread cost", answer.format("bread")) for answer in ANSWERS]
    ours = encoder.predict(pairs, activation_fn=torch.nn.Sigmoid())
    theirs = reference.predict(pairs, activation_fn=torch.nn.Sigmoid())

    assert ours == pytest.approx(theirs, abs=0.05)


@pytest.mark.timeout(600)
def test_building_the_model_again_gives_the_bundled_file(tmp_path: Path) -> None:
    """The committed weights are what the tool makes, byte for byte."""
    tool = ROOT / "tools" / "build_bundled_model.py"
    subprocess.run([sys.executable, str(tool), "--output", str(tmp_path)], check=True)
    bundled = ROOT / "src/pairscore/models/bundled/ms-marco-minilm-l12"

    for name in ("model.onnx", "tokenizer.json", "config.json", "manifest.json"):
        assert (tmp_path / name).read_bytes() == (bundled / name).read_bytes(), name
