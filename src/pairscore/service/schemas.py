"""The bodies of requests and answers, with the examples that /docs runs.

Texts are strict strings: a number is refused, not turned into one. Fields that nobody knows are ignored.
How much a body may hold is no part of its shape; `bodies` checks it against the settings.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat

__all__ = [
    "BATCH_EXAMPLES",
    "RERANK_EXAMPLES",
    "SCORE_EXAMPLES",
    "Alive",
    "BatchRequest",
    "Body",
    "Health",
    "Info",
    "Limits",
    "Problem",
    "ProblemBody",
    "ProblemDetail",
    "RankedResult",
    "Ready",
    "RerankRequest",
    "RerankResult",
    "ScoreRequest",
    "ScoreResult",
    "TextPair",
]


class Body(BaseModel):
    """What is posted.

    Attributes:
        shape: how the body looks, for messages to people.
        counted: the field whose length is limited, if any.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    shape: ClassVar[str] = "{}"
    counted: ClassVar[str | None] = None


class _Timed(Body):
    """What every scoring request may say of its time."""

    deadline_ms: int | None = Field(
        default=None,
        ge=1,
        le=86_400_000,
        description="Milliseconds in which the answer is of use; what cannot be finished by then is not "
        "started, and answered with 504. The header X-Request-Timeout says the same in seconds.",
    )


class TextPair(Body):
    """Two texts that are read together."""

    shape: ClassVar[str] = '{"text_a": "...", "text_b": "..."}'

    text_a: str = Field(
        description="The first text: the query, for a relevance model.",
        examples=["How many people live in Berlin?"],
    )
    text_b: str = Field(
        description="The second text: the document, for a relevance model.",
        examples=["Berlin has a population of 3,520,031 registered inhabitants."],
    )


class ScoreRequest(TextPair, _Timed):
    """One pair to score."""


class BatchRequest(_Timed):
    """Pairs to score, at least one."""

    shape: ClassVar[str] = '{"pairs": [{"text_a": "...", "text_b": "..."}]}'
    counted: ClassVar[str | None] = "pairs"

    # The first bad entry ends the check: a million of them would cost seconds to list.
    pairs: Annotated[list[TextPair], FailFast()] = Field(min_length=1)


class RerankRequest(_Timed):
    """Documents to put in order for a query."""

    shape: ClassVar[str] = '{"query": "...", "documents": ["...", "..."]}'
    counted: ClassVar[str | None] = "documents"

    query: str = Field(description="What is looked for.")
    documents: Annotated[list[str], FailFast()] = Field(
        min_length=1, description="The candidates, as texts."
    )
    top_k: int | None = Field(
        default=None, ge=1, description="How many of the best to return; null returns all."
    )
    return_documents: bool = Field(
        default=False, description="Put each document's text into its result."
    )


class ScoreResult(BaseModel):
    """One pair with its score; the texts are those received."""

    text_a: str
    text_b: str
    score: FiniteFloat = Field(description="On the scale that the header X-Pairscore-Scale names.")
    probability: FiniteFloat = Field(description="The sigmoid of the model's logit, 0 to 1.")
    truncated: bool = Field(description="Whether the pair was too long and a text was cut.")


class RankedResult(BaseModel):
    """One document in a ranking."""

    corpus_id: int = Field(description="The document's position in the request, from 0.")
    score: FiniteFloat = Field(description="On the scale that the answer names.")
    probability: FiniteFloat = Field(description="The sigmoid of the model's logit, 0 to 1.")
    truncated: bool = Field(description="Whether the document was too long and was cut.")
    text: str | None = Field(
        default=None, description="The document, if return_documents is true; else left out."
    )


class RerankResult(BaseModel):
    """A ranking, best first; equal scores keep the order of the request."""

    model: str = Field(description="The model that scored.")
    scale: str = Field(description="logit: unbounded relevance; unit: similarity from 0 to 1.")
    results: list[RankedResult]


class Health(BaseModel):
    """Whether the model is loaded."""

    status: str = Field(description="ok, or loading.", examples=["ok"])
    model_loaded: bool = Field(examples=[True])


class Alive(BaseModel):
    """That the process answers."""

    status: str = Field(examples=["alive"])


class Ready(BaseModel):
    """Whether requests should be sent here."""

    ready: bool
    checks: dict[str, str] = Field(
        description="Each check, with ok or with what speaks against it.",
        examples=[
            {"model": "ok", "accepting": "ok", "workers": "ok", "canary": "ok", "queue": "ok"}
        ],
    )


class Limits(BaseModel):
    """What one request may hold, and what all together."""

    max_pairs: int
    max_chars: int
    max_body_bytes: int
    max_length: int = Field(description="Tokens of a pair; a longer document is cut.")
    max_queue_tokens: int
    timeout_s: float | None


class Info(BaseModel):
    """What is served, and how."""

    model: str
    revision: str | None
    sha256: str = Field(description="Of the weights.")
    backend: str
    scale: str = Field(description="logit: unbounded relevance; unit: similarity from 0 to 1.")
    num_workers: int = Field(description="Threads that each run one micro-batch.")
    budget: int = Field(description="Padded tokens that one micro-batch may hold.")
    cache: bool = Field(description="Whether scores are kept for pairs that come again.")
    limits: Limits
    versions: dict[str, str]


class ProblemDetail(BaseModel):
    """One thing that is wrong with a body."""

    field: str = Field(examples=["pairs[0].text_a"])
    message: str


class Problem(BaseModel):
    """What went wrong and what to do."""

    type: str = Field(description="The kind of error.", examples=["LimitError"])
    message: str = Field(description="The value, the limit and the remedy.")
    request_id: str = Field(description="What to quote to the operator.")
    details: list[ProblemDetail] | None = Field(
        default=None, description="Each fault of a body, if its shape is wrong; else left out."
    )


class ProblemBody(BaseModel):
    """The body of every answer that is an error."""

    error: Problem


SCORE_EXAMPLES: Final[dict[str, object]] = {
    "an answer to a question": {
        "summary": "A question and its answer: a high score",
        "value": {
            "text_a": "How many people live in Berlin?",
            "text_b": "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        },
    },
    "no answer": {
        "summary": "A question and another fact: a low score",
        "value": {
            "text_a": "How many people live in Berlin?",
            "text_b": "New York City is famous for the Metropolitan Museum of Art.",
        },
    },
}

BATCH_EXAMPLES: Final[dict[str, object]] = {
    "two pairs": {
        "summary": "Two pairs; the first one scores higher",
        "value": {
            "pairs": [
                {
                    "text_a": "how do vaccines work",
                    "text_b": "A vaccine trains the immune system to recognise a pathogen.",
                },
                {
                    "text_a": "how do vaccines work",
                    "text_b": "The stadium holds eighty thousand people.",
                },
            ]
        },
    },
}

_DOCUMENTS = [
    "Loosen the lug nuts, jack the car up, and swap the wheel for the spare.",
    "Basil grows best in a warm and sunny place.",
    "A puncture in a bicycle's inner tube can be patched in ten minutes.",
]

RERANK_EXAMPLES: Final[dict[str, object]] = {
    "all": {
        "summary": "All documents, best first",
        "value": {"query": "how to change a flat tyre", "documents": _DOCUMENTS},
    },
    "the best two": {
        "summary": "The best two, with their texts",
        "value": {
            "query": "how to change a flat tyre",
            "documents": _DOCUMENTS,
            "top_k": 2,
            "return_documents": True,
        },
    },
}
