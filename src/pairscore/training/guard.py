"""The guard set inside the package: small data on which a forgetful training shows.

It was written by this project, in English, and comes under the package's licence: 120 short questions of 24 topics, each
with one answer, and 60 couples of sentences graded from 0 to 1 by who wrote them. It guards against forgetting and measures
nothing else: no model is better for a higher figure on it, and it says nothing of other languages, longer texts or your own
field. A recipe may name a guard set of its own, and should where there is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from pairscore.training.data import LabelledPair, RankedList, TrainingData, training_data
from pairscore.training.report import Part, part_of
from pairscore.values import Task

__all__ = ["QUESTIONS", "SENTENCES", "guard_parts", "guard_questions", "guard_sentences"]

QUESTIONS: Final = "guard-questions"
SENTENCES: Final = "guard-sentences"

_FOLDER: Final = "guard"
_NUM_NEAR: Final = 5
_WORD: Final = re.compile(r"\w{4,}")


def guard_parts(task: Task | None) -> tuple[Part, ...]:
    """The parts that show whether a base model's old work is forgotten.

    Args:
        task: what the base model was made for: ``relevance`` is guarded by the questions, ``similarity`` by the
            sentences, and a base whose work is not known (None) by both. A model with several labels, or one that makes
            vectors, has no work that this set knows.
    """
    parts: list[Part] = []
    if task in (None, "relevance"):
        parts.append(part_of("guard", guard_questions(), "relevance"))
    if task in (None, "similarity"):
        parts.append(part_of("guard", guard_sentences(), "similarity"))
    return tuple(parts)


def guard_questions() -> TrainingData:
    """120 questions, each with its answer and nine answers to others, as ranked lists.

    The nine are hard: the four other answers of the question's topic, and of the other topics the five that share most
    words of four letters and more with question and answer.
    """
    entries = [
        _Entry(line["topic"], line["query"], line["answer"]) for line in _lines("questions.jsonl")
    ]
    rows = []
    for number, entry in enumerate(entries):
        others = (*_same_topic(entry, entries), *_nearest(entry, entries))
        rows.append(
            RankedList(
                query=entry.query,
                documents=(entry.answer, *(other.answer for other in others)),
                labels=(1.0, *(0.0 for _ in others)),
                place=f"{QUESTIONS}, line {number + 1}",
            )
        )
    return training_data(rows, name=QUESTIONS, kind="lists", labels="binary")


def guard_sentences() -> TrainingData:
    """60 couples of sentences, ten of each grade from 0 to 1 in steps of 0.2."""
    rows = [
        LabelledPair(
            query=line["first"],
            document=line["second"],
            label=float(line["grade"]),
            place=f"{SENTENCES}, line {number + 1}",
        )
        for number, line in enumerate(_lines("sentences.jsonl"))
    ]
    return training_data(rows, name=SENTENCES, kind="pairs", labels="graded", max_label=1.0)


@dataclass(frozen=True, slots=True)
class _Entry:
    topic: str
    query: str
    answer: str

    @property
    def words(self) -> frozenset[str]:
        return frozenset(_WORD.findall(f"{self.query} {self.answer}".casefold()))


def _same_topic(entry: _Entry, entries: Sequence[_Entry]) -> list[_Entry]:
    return [other for other in entries if other.topic == entry.topic and other != entry]


def _nearest(entry: _Entry, entries: Sequence[_Entry]) -> list[_Entry]:
    """The entries of other topics that share most words; of equals the first of the file."""
    strangers = [other for other in entries if other.topic != entry.topic]
    words = entry.words
    strangers.sort(key=lambda other: -len(words & other.words))
    return strangers[:_NUM_NEAR]


def _lines(name: str) -> list[dict[str, Any]]:
    text = resources.files("pairscore.training").joinpath(_FOLDER, name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]
