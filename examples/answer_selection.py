"""One question, many answers: which one answers it, and does any of them?

    python examples/answer_selection.py
    python examples/answer_selection.py --judged DATA/trec_dl19        # measured, on a judged collection of your own

Three things that a score alone does not say. The order is easy: the cross-encoder reads the question with each answer. A
probability is only worth something once it is calibrated, here on labelled answers to other questions. And where no
answer is good enough, the honest answer is none: a threshold, chosen on the same labelled answers, says when.

With ``--judged`` half of a collection's questions choose the threshold, and the other half say what it is worth: once with
their answers among the candidates, and once without, where "no answer" is the right one.

The questions and answers in this file were written for it and may be used by anybody (CC0).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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
# Of a judged collection: the grade from which on a text is an answer, how many candidates of a question are read, and how
# often an answer that is given should be right.
RIGHT_FROM = 2
NUM_CANDIDATES = 50
MIN_PRECISION = 0.8


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


@dataclass(frozen=True)
class Question:
    """One judged question: the logits of its judged candidates in the order of the first ranking, and which are right."""

    logits: FloatArray
    right: np.ndarray

    def without_answers(self) -> Question:
        """What is left where nobody wrote an answer."""
        return Question(self.logits[~self.right], self.right[~self.right])


def read_questions(folder: Path, encoder: CrossEncoder) -> tuple[list[Question], str]:
    """The questions of a judged collection that have a right and a wrong candidate, scored; and what they are.

    What nobody judged is left out: nobody knows whether it is an answer.
    """
    from pairscore.evaluation.datasets import read_beir

    judged = read_beir(folder, depth=NUM_CANDIDATES)
    name, run = next(iter(judged.runs.items()))
    found = []
    for query_id, ranking in run.rankings.items():
        grades = judged.qrels.get(query_id, {})
        ids = [
            i
            for i in ranking.document_ids[:NUM_CANDIDATES]
            if i in grades and i in judged.documents
        ]
        right = np.array([grades[i] >= RIGHT_FROM for i in ids], dtype=bool)
        if right.any() and not right.all():
            query = judged.queries[query_id]
            scores = encoder.score([(query, judged.documents[i].full_text) for i in ids])
            found.append(Question(scores.logits, right))
    return (
        found,
        f"{len(found)} questions of {judged.name}, judged candidates among the best {NUM_CANDIDATES} of {name}",
    )


def measure(folder: Path, encoder: CrossEncoder) -> None:
    """Print how often the chosen answer is right, and how often there is rightly none."""
    questions, what = read_questions(folder, encoder)
    choosing, measured = questions[::2], questions[1::2]
    picked = choose_cut(
        np.concatenate([one.logits for one in choosing]),
        np.concatenate([one.right for one in choosing]).tolist(),
        scale="logit",
        min_precision=MIN_PRECISION,
    )
    least = picked.cut.value
    print(what)
    print(
        f"threshold {least:.2f} (logit), chosen on {len(choosing)} of them; measured on the other {len(measured)}:"
    )
    firsts = sum(bool(one.right[0]) for one in measured)
    bests = sum(bool(one.right[np.argmax(one.logits)]) for one in measured)
    print(f"  the first ranking's first is right    {firsts:3d}")
    print(f"  the cross-encoder's best is right     {bests:3d}")
    answered = [one for one in measured if one.logits.max() >= least]
    right = sum(bool(one.right[np.argmax(one.logits)]) for one in answered)
    print(f"  with the threshold: answered          {len(answered):3d}, right {right}")
    without = [one.without_answers() for one in measured]
    fooled = sum(bool(one.logits.max() >= least) for one in without)
    print(
        f"  their answers taken away: no answer   {len(without) - fooled:3d}, a wrong one {fooled}"
    )


def show(encoder: CrossEncoder) -> None:
    """Choose a threshold on the labelled answers of this file, then answer from the documents beside it."""
    texts = DOCUMENTS.read_text(encoding="utf-8").splitlines()
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Show, or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--judged", type=Path, help="a judged collection, as `pairscore evaluate` reads it"
    )
    folder: Path | None = parser.parse_args(arguments).judged
    with CrossEncoder() as encoder:
        if folder is None:
            show(encoder)
        else:
            measure(folder, encoder)


if __name__ == "__main__":
    main()
