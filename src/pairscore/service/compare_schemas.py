"""The body of `/v1/compare`, and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, FailFast, Field, FiniteFloat

from pairscore.engine.records import Answer
from pairscore.service.comparer import Cosines
from pairscore.service.dialects.records import Usage
from pairscore.service.schemas import Body, TextPair

__all__ = ["EXAMPLES", "CompareRequest", "CompareResponse", "response_of"]


class CompareRequest(Body):
    """Pairs to score with both kinds of model, at least one."""

    shape: ClassVar[str] = '{"pairs": [{"text_a": "...", "text_b": "..."}]}'
    counted: ClassVar[str | None] = "pairs"

    # The first bad entry ends the check: a million of them would cost seconds to list.
    pairs: Annotated[list[TextPair], FailFast()] = Field(min_length=1)
    model: str | None = Field(
        default=None, description="The cross-encoder's name, or an alias of it."
    )
    deadline_ms: int | None = Field(
        default=None,
        ge=1,
        le=86_400_000,
        description="Milliseconds in which the answer is of use, the bi-encoder's part included; what cannot be finished "
        "by then is answered with 504.",
    )

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """Both texts of each pair."""
        for index, pair in enumerate(self.pairs):
            for place, text in pair.all_texts():
                yield f"pairs[{index}].{place}", text


class CompareResult(BaseModel):
    """One pair as both models see it."""

    index: int = Field(description="The pair's position in the request, from 0.")
    cosine: FiniteFloat = Field(
        description="Of the two texts' vectors, which the bi-encoder made of each by itself: -1 to 1."
    )
    cosine_truncated: bool = Field(
        description="Whether a text was too long for the bi-encoder and was cut."
    )
    logit: FiniteFloat = Field(description="What the cross-encoder's head put out.")
    score: FiniteFloat = Field(description="The cross-encoder's, on `scale`.")
    probability: FiniteFloat = Field(
        description="From the logit, 0 to 1: its sigmoid, or what a calibration makes of it."
    )
    truncated: bool = Field(
        description="Whether the pair was too long for the cross-encoder and a text was cut."
    )


class CompareResponse(BaseModel):
    """What both models say, in the order of the pairs."""

    model: str = Field(description="The cross-encoder.")
    bi_encoder: str = Field(description="The model that made the vectors.")
    scale: str = Field(
        description="Of `score`: logit, unbounded relevance; unit, similarity from 0 to 1."
    )
    results: list[CompareResult]
    usage: Usage


def response_of(answer: Answer, cosines: Cosines, *, bi_encoder: str) -> CompareResponse:
    """What is answered."""
    scores = answer.scores
    num_tokens = int(scores.num_tokens.sum()) + cosines.num_tokens
    return CompareResponse(
        model=scores.model,
        bi_encoder=bi_encoder,
        scale=scores.scale,
        results=[
            CompareResult(
                index=index,
                cosine=float(cosines.values[index]),
                cosine_truncated=bool(cosines.truncated[index]),
                logit=float(scores.logits[index]),
                score=float(scores.scores[index]),
                probability=float(scores.probabilities[index]),
                truncated=bool(scores.truncated[index]),
            )
            for index in range(len(scores))
        ],
        usage=Usage(prompt_tokens=num_tokens, total_tokens=num_tokens),
    )


EXAMPLES: Final[dict[str, object]] = {
    "close words, another meaning": {
        "summary": "Two pairs of like words; the cross-encoder tells them further apart",
        "value": {
            "pairs": [
                {
                    "text_a": "how to change a flat tyre",
                    "text_b": "Loosen the lug nuts, jack the car up, and swap the wheel for the spare.",
                },
                {
                    "text_a": "how to change a flat tyre",
                    "text_b": "A flat tyre ended the race of the favourite on the third day.",
                },
            ]
        },
    },
}
