"""What a request wants and what it gets, in nobody's dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from pydantic import BaseModel

from pairscore.config import Truncation
from pairscore.engine.records import Answer
from pairscore.road.ranking import least
from pairscore.road.tokenization import Pair
from pairscore.service.dialects.documents import Document
from pairscore.service.long_documents import WindowsAsk
from pairscore.service.schemas import Body
from pairscore.values import FloatArray, Scale, Scores

__all__ = ["Ask", "Found", "Headers", "Operation", "Usage"]

BodyT = TypeVar("BodyT", bound=Body)
Headers: TypeAlias = Mapping[str, str]


class Usage(BaseModel):
    """Tokens that the model read."""

    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What a request wants.

    Attributes:
        pairs: what is to be scored, in the order of the request.
        documents: the documents of a ranking, in that order; empty where pairs are scored.
        model: the model's name as the caller gave it; None takes the one that is served.
        top_n: how many of the best to return; None returns all.
        min_score: the lowest score to return, on the scale that the answer has; None returns all.
        raw: whether the answer holds logits; else it holds probabilities, 0 to 1.
        truncation: how the texts are cut.
        windows: what becomes of long documents.
        deadline_ms: milliseconds in which the answer is of use; None sets no deadline here.
        priority: requests with a lower number go first.

    Raises:
        ScaleError: `min_score` is beyond the scale that the answer has.
    """

    pairs: Sequence[Pair]
    documents: Sequence[Document] = ()
    model: str | None = None
    top_n: int | None = None
    min_score: float | None = None
    raw: bool = False
    truncation: Truncation = field(default_factory=Truncation)
    windows: WindowsAsk = field(default_factory=WindowsAsk)
    deadline_ms: int | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        if self.min_score is not None:
            least(self.min_score, scale=self.scale)

    @property
    def scale(self) -> Scale:
        """What the answer's numbers mean."""
        return "logit" if self.raw else "unit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a request gets.

    Attributes:
        ask: what was wanted.
        answer: the engine's.
        request_id: as the answer's header has it.
        created: when, in whole seconds since 1970.
    """

    ask: Ask
    answer: Answer
    request_id: str
    created: int

    @property
    def scores(self) -> Scores:
        """What is said of the pairs, in the order of the request."""
        return self.answer.scores

    @property
    def model(self) -> str:
        """The model that scored."""
        return self.scores.model

    @property
    def values(self) -> FloatArray:
        """The scores on the scale that was asked for, shape (num_pairs,), float32."""
        return self.scores.logits if self.ask.raw else self.scores.probabilities

    @property
    def num_tokens(self) -> int:
        """Tokens that the model read, of all pairs."""
        return int(self.scores.num_tokens.sum())

    @property
    def usage(self) -> Usage:
        """The same, as most dialects tell it."""
        return Usage(prompt_tokens=self.num_tokens, total_tokens=self.num_tokens)

    def best(self) -> list[int]:
        """Positions in the request, the best first, as many as were asked for; equal ones keep their order.

        The logits decide: far from zero, probabilities are equal that logits still tell apart.
        """
        order = np.argsort(-self.scores.logits, kind="stable")
        if self.ask.min_score is not None:
            # In float64, because a caller may send what no float32 can hold.
            order = order[self.values[order].astype(np.float64) >= self.ask.min_score]
        positions: list[int] = order[: self.ask.top_n].tolist()
        return positions

    def span(self, position: int) -> tuple[int, int] | None:
        """The best window of a document that was read in windows, else None, which answers leave out."""
        windows = self.scores.windows
        return None if windows is None else windows.span(position)

    def num_windows(self, position: int) -> int | None:
        """How many windows it was read in, likewise."""
        windows = self.scores.windows
        return None if windows is None else int(windows.num_windows[position])

    def cut(self, position: int) -> bool | None:
        """True for a pair whose texts were cut, else None, which answers leave out."""
        return bool(self.scores.truncated[position]) or None


def _no_headers(_: Found) -> Headers:
    return {}


def _fits(_: Mapping[str, Any]) -> bool:
    """Takes every body: the last one of a path's operations."""
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation(Generic[BodyT]):
    """One thing that a dialect can be asked to do.

    Attributes:
        dialect: the name under which it stands in the documentation.
        summary: what it does, in a few words.
        body: what is posted.
        result: what is answered, for the documentation.
        ask: what a body wants.
        write: the answer's bytes.
        shape: how its errors look, one of `faults.SHAPES`.
        headers: more headers of a good answer.
        fits: whether a body is this one's, where several share a path; the first that fits gets it.
        takes_labels: whether the answer can hold several labels of a pair; a ranking needs one number.
        examples: bodies that can be tried.
    """

    dialect: str
    summary: str
    body: type[BodyT]
    result: Any
    ask: Callable[[BodyT], Ask]
    write: Callable[[BodyT, Found], bytes]
    shape: str
    headers: Callable[[Found], Headers] = _no_headers
    fits: Callable[[Mapping[str, Any]], bool] = _fits
    takes_labels: bool = False
    examples: Mapping[str, object] = field(default_factory=dict)
