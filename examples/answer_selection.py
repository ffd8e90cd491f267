"""One question, many answers: which one answers it, and does any of them?

    python examples/answer_selection.py

Three things that a score alone does not say. The order is easy: the cross-encoder reads the question with each answer. A
probability is only worth something once it is calibrated, here on labelled answers to other questions. And where no
answer is good enough, the honest answer is none: a threshold, chosen on the same labelled answers, says when.

The questions and answers were written for this example and may be used by anybody (CC0).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pairscore import CrossEncoder
from pairscore.errors import MissingExtraError
from pairscore.retrieval.cuts import ChosenCut, choose_cut
from pairscore.values import FloatArray

# Labelled: each question, what answers it, and what only speaks of the same things.
LABELLED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "How long does sourdough bread keep?": (
        (
            "Kept in a linen bag, a sourdough loaf stays good for four to five days.",
            "Sourdough bread keeps for about five days, longer than bread made with yeast.",
        ),
        (
            "Sourdough rises by wild yeast and lactic acid bacteria instead of baker's yeast.",
            "Bread was among the first things that people baked.",
        ),
    ),
    "Why is the sky blue?": (
        (
            "Air scatters the short waves of sunlight more than the long ones, and short waves look blue to us.",
            "The sky is blue because air scatters blue light more than red light.",
        ),
        (
            "Blue is the favourite colour of most people who were ever asked.",
            "The sky has no border: the air becomes thinner with every kilometre.",
        ),
    ),
    "What is the boiling point of water on a high mountain?": (
        (
            "At 3,000 metres water boils at about 90 degrees Celsius, because the air presses less on it.",
            "Roughly one degree less for each 300 metres: about 85 degrees at the height of Mont Blanc.",
        ),
        (
            "Water freezes at 0 degrees Celsius and takes more room as ice.",
            "Mont Blanc is 4,806 metres high and was first climbed in 1786.",
        ),
    ),
    "How do I get red wine out of a tablecloth?": (
        (
            "Blot it at once, pour on salt or soda water, and wash the cloth in cold water with some vinegar.",
            "Red wine comes out of a tablecloth with salt, put on while the spot is wet, and a cold wash.",
        ),
        (
            "Red wine gets its colour from the skins of the grapes.",
            "A tablecloth should hang down about thirty centimetres on each side.",
        ),
    ),
    "When should tomatoes be planted outside?": (
        ("After the last night of frost, in the middle of May in most of central Europe.",),
        (
            "Tomatoes came to Europe from the Americas in the sixteenth century.",
            "Tomatoes need a warm and sunny place that rain does not reach.",
        ),
    ),
    "How many bones does an adult have?": (
        ("A grown-up person has 206 bones; babies have more, which grow together later.",),
        (
            "Bones are made of calcium phosphate and collagen.",
            "The longest bone is the one in the thigh.",
        ),
    ),
}

# To be answered from documents.txt: the first has its answers there, the second has none.
QUESTIONS = ("How do I mend a flat tyre?", "How do I oil a squeaking door?")
DOCUMENTS = Path(__file__).with_name("documents.txt")
NUM_SHOWN = 5


@dataclass(frozen=True)
class Sample:
    """The labelled answers, scored."""

    logits: FloatArray
    positive: list[bool]
    questions: list[str]


def score_sample(encoder: CrossEncoder) -> Sample:
    """Score every text with every question: what answers another question is a wrong answer, too."""
    rows = [
        (question, text, text in LABELLED[question][0])
        for question in LABELLED
        for right, wrong in LABELLED.values()
        for text in (*right, *wrong)
    ]
    logits = encoder.score([(question, answer) for question, answer, _ in rows]).logits
    return Sample(
        logits=logits,
        positive=[positive for _, _, positive in rows],
        questions=[question for question, _, _ in rows],
    )


def calibrated(sample: Sample, logits: FloatArray) -> np.ndarray | None:
    """Honest probabilities by Platt's method; None where scikit-learn is not installed."""
    try:
        from pairscore.evaluation.calibration import Labelled, calibrate
    except ImportError:
        return None
    data = Labelled.of(sample.logits.tolist(), positive=sample.positive, queries=sample.questions)
    return np.asarray(calibrate(data, method="platt").curve(logits))


def answer(
    question: str,
    texts: list[str],
    *,
    encoder: CrossEncoder,
    sample: Sample,
    picked: ChosenCut,
) -> None:
    """Print the best answers in order, and which one is chosen, if any."""
    scores = encoder.score([(question, text) for text in texts])
    honest = calibrated(sample, scores.logits)
    print(f"\n{question}")
    print("  rank    logit  sigmoid  calibrated  answer")
    order = np.argsort(-scores.logits, kind="stable")
    for rank, i in enumerate(order[:NUM_SHOWN], start=1):
        shown = "         -" if honest is None else f"{honest[i]:10.3f}"
        mark = "*" if scores.logits[i] >= picked.cut.value else " "
        numbers = f"{scores.logits[i]:8.2f}  {scores.probabilities[i]:7.3f}  {shown}"
        print(f"  {rank:4d}{mark}{numbers}  {texts[i][:60]}")
    best = order[0]
    good = scores.logits[best] >= picked.cut.value
    print(f"  -> {texts[best] if good else 'no answer: none of these is good enough'}")


def main() -> None:
    """Choose a threshold, then answer."""
    texts = DOCUMENTS.read_text(encoding="utf-8").splitlines()
    with CrossEncoder() as encoder:
        sample = score_sample(encoder)
        picked = choose_cut(sample.logits, sample.positive, scale="logit", min_precision=1.0)
        print(
            f"threshold {picked.cut.value:.2f} (logit): the lowest with no wrong answer above it among "
            f"{picked.num_pairs} labelled ones; {picked.recall:.0%} of the right ones are above it"
        )
        for question in QUESTIONS:
            answer(question, texts, encoder=encoder, sample=sample, picked=picked)
    if calibrated(sample, sample.logits) is None:
        missing = MissingExtraError(feature="calibration", extra="evaluate")
        print(f"\nnot calibrated: {missing}", file=sys.stderr)


if __name__ == "__main__":
    main()
