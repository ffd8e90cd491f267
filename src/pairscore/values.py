"""The frozen records that travel the road of a pair.

They carry data and say nothing about where it comes from; only numpy is known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Batch",
    "Best",
    "Embeddings",
    "Encoded",
    "FloatArray",
    "Hit",
    "IntArray",
    "Scale",
    "Scores",
    "Task",
    "Threshold",
    "Windows",
]

FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]
Scale: TypeAlias = Literal["logit", "unit"]
"""What a score means: ``logit`` is unbounded relevance, ``unit`` a similarity from 0 to 1."""
Task: TypeAlias = Literal["relevance", "similarity", "classification", "embedding"]
"""What a model was made for; ``classification`` has several labels, such as contradiction and entailment.

``embedding`` is a bi-encoder's: it makes a vector of each text, and scores no pairs.
"""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenized pair, special tokens included, nothing padded.

    Attributes:
        ids: token ids, shape (num_tokens,), int64.
        type_ids: 0 for the query's segment, 1 for the document's, shape (num_tokens,), int64.
        truncated: whether anything was cut to fit the model.
    """

    ids: IntArray
    type_ids: IntArray
    truncated: bool

    @property
    def num_tokens(self) -> int:
        """How many tokens the model will read."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch as a backend gets it: padded to its longest row, on the right or, as a decoder may ask, on the left.

    Attributes:
        ids: token ids, shape (num_pairs, longest), int64.
        attention_mask: 1 for a token, 0 for padding, shape (num_pairs, longest), int64.
        type_ids: segment ids, shape (num_pairs, longest), int64.
    """

    ids: IntArray
    attention_mask: IntArray
    type_ids: IntArray

    @property
    def num_pairs(self) -> int:
        """How many pairs the batch holds."""
        return int(self.ids.shape[0])


@dataclass(frozen=True, slots=True)
class Windows:
    """How the documents of some pairs were read in windows, in the order of the pairs.

    Positions are characters (Python's, so code points) of the document as the caller gave it.

    Attributes:
        num_windows: windows that were read of each document, shape (num_pairs,), int64.
        starts: where the best window begins, shape (num_pairs,), int64.
        ends: where it ends, exclusive, shape (num_pairs,), int64.
        limited: whether the document goes on behind the most windows that it may have, and that was not
            read, shape (num_pairs,), bool.
    """

    num_windows: IntArray
    starts: IntArray
    ends: IntArray
    limited: npt.NDArray[np.bool_]

    @property
    def num_limited(self) -> int:
        """How many documents have more windows than they may."""
        return int(self.limited.sum())

    def span(self, position: int) -> tuple[int, int]:
        """The best window of one document: text[start:end]."""
        return int(self.starts[position]), int(self.ends[position])


@dataclass(frozen=True, slots=True)
class Best:
    """The likeliest label of a pair, with its score and probability; None for a model that has no labels."""

    label: str | None
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of some pairs, in the order in which the pairs were given.

    A model with several labels gives a column for each: where it says shape (num_pairs,) below it is then
    (num_pairs, num_labels), in the order of `labels`.

    Attributes:
        logits: what the model's head put out, shape (num_pairs,), float32.
        scores: what the caller asked for, shape (num_pairs,), float32; `scale` says what it means.
        probabilities: from float64 arithmetic, shape (num_pairs,), float32: sigmoid(logit), or what a
            calibration makes of it; of several labels that exclude each other, the softmax.
        scale: ``logit`` when scores are the logits, ``unit`` when they are from 0 to 1.
        num_tokens: tokens the model read for each pair, shape (num_pairs,), int64.
        truncated: whether a text of the pair was cut, shape (num_pairs,), bool.
        model: the name of the model that scored.
        labels: the labels' names; empty for a model that puts out one number.
        calibration: the method that made the probabilities; None for none.
        windows: how long documents were read; None if they were not read in windows.
    """

    logits: FloatArray
    scores: FloatArray
    probabilities: FloatArray
    scale: Scale
    num_tokens: IntArray
    truncated: npt.NDArray[np.bool_]
    model: str
    labels: tuple[str, ...] = ()
    calibration: str | None = None
    windows: Windows | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def num_truncated(self) -> int:
        """How many pairs had a text cut."""
        return int(self.truncated.sum())

    def best(self, position: int) -> Best:
        """The one number of a pair; of several labels the likeliest one's."""
        if not self.labels:
            score, probability = self.scores[position], self.probabilities[position]
            return Best(None, float(score), float(probability))
        column = int(np.argmax(self.logits[position]))
        return Best(
            self.labels[column],
            float(self.scores[position, column]),
            float(self.probabilities[position, column]),
        )

    def named(self, position: int) -> dict[str, float]:
        """The probability of each label for one pair; empty for a model that puts out one number."""
        if not self.labels:
            return {}
        return dict(zip(self.labels, self.probabilities[position].tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of some texts, in the order in which the texts were given.

    Attributes:
        vectors: shape (num_texts, dimension), float32.
        num_tokens: tokens the model read of each text, prompt and special tokens included, shape (num_texts,),
            int64.
        truncated: whether the text was cut, shape (num_texts,), bool.
        model: the name of the model that made them.
    """

    vectors: FloatArray
    num_tokens: IntArray
    truncated: npt.NDArray[np.bool_]
    model: str

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def num_truncated(self) -> int:
        """How many texts were cut."""
        return int(self.truncated.sum())


@dataclass(frozen=True, slots=True)
class Threshold:
    """The least score that counts, and the scale on which it was found.

    A threshold of logits says nothing of scores from 0 to 1, nor the other way round: where the scales differ,
    it is refused (`pairscore.road.ranking.least`).

    Attributes:
        value: the score.
        scale: what it means.
    """

    value: float
    scale: Scale


@dataclass(frozen=True, slots=True)
class Hit:
    """One document in a ranking.

    Attributes:
        corpus_id: the document's position in the list that was given.
        score: on the scale of the model.
        probability: sigmoid(logit), or what a calibration makes of it.
        truncated: whether the document was cut.
    """

    corpus_id: int
    score: float
    probability: float
    truncated: bool
