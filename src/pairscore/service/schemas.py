"""The bodies of requests and answers, with the examples that /docs runs.

Texts are strict strings: a number is refused, not turned into one. Fields that nobody knows are ignored.
How much a body may hold is no part of its shape; `bodies` checks it against the settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat

from pairscore.config import LongDocuments
from pairscore.service.long_documents import ChunkingOptions, WindowsAsk, asked_windows

__all__ = [
    "BATCH_EXAMPLES",
    "RERANK_EXAMPLES",
    "SCORE_EXAMPLES",
    "Alive",
    "BatchRequest",
    "Body",
    "Health",
    "InfinityHealth",
    "Info",
    "InfoExplain",
    "InfoIndex",
    "InfoModel",
    "Limits",
    "Problem",
    "ProblemBody",
    "ProblemDetail",
    "Ready",
    "ScoreRequest",
    "ScoreResult",
    "TeiInfo",
    "TeiLabels",
    "TextPair",
    "Timed",
]


class Body(BaseModel):
    """What is posted.

    Attributes:
        shape: how the body looks, for messages to people.
        counted: the field whose length is limited, if any.
        limited_by: the setting that limits it, and the pairs that the body may hold.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    shape: ClassVar[str] = "{}"
    counted: ClassVar[str | None] = None
    limited_by: ClassVar[str] = "max_pairs"

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """Every text with its place in the body, for the checks of length and content."""
        yield from ()


class Timed(Body):
    """What every scoring request may say: of its time, and of long documents."""

    deadline_ms: int | None = Field(
        default=None,
        ge=1,
        le=86_400_000,
        description="Milliseconds in which the answer is of use; what cannot be finished by then is not "
        "started, and answered with 504. The header X-Request-Timeout says the same in seconds.",
    )
    long_documents: LongDocuments | None = Field(
        default=None,
        description="truncate cuts a document that is too long, chunk reads it in windows; null: chunk if `chunking` "
        "is given, else as the server does.",
    )
    chunking: ChunkingOptions | None = Field(
        default=None, description="How it is read in windows; null: as the server does."
    )

    @property
    def windows(self) -> WindowsAsk:
        """What is wanted of long documents.

        Raises:
            Refusal: it contradicts itself.
        """
        return asked_windows(self.long_documents, self.chunking)


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

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """Both texts."""
        yield from (("text_a", self.text_a), ("text_b", self.text_b))


class ScoreRequest(TextPair, Timed):
    """One pair to score."""


class BatchRequest(Timed):
    """Pairs to score, at least one."""

    shape: ClassVar[str] = '{"pairs": [{"text_a": "...", "text_b": "..."}]}'
    counted: ClassVar[str | None] = "pairs"

    # The first bad entry ends the check: a million of them would cost seconds to list.
    pairs: Annotated[list[TextPair], FailFast()] = Field(min_length=1)

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """Both texts of each pair."""
        for index, pair in enumerate(self.pairs):
            for place, text in pair.all_texts():
                yield f"pairs[{index}].{place}", text


class ScoreResult(BaseModel):
    """One pair with its score; the texts are those received."""

    text_a: str
    text_b: str
    score: FiniteFloat = Field(description="On the scale that the header X-Pairscore-Scale names.")
    probability: FiniteFloat = Field(
        description="From the model's logit, 0 to 1: its sigmoid, or what a calibration makes of it."
    )
    truncated: bool = Field(description="Whether the pair was too long and a text was cut.")
    span: tuple[int, int] | None = Field(
        default=None,
        description="The best window of text_b, if it is read in windows: its first character and the one behind "
        "its last, counted in code points from 0; else left out.",
    )
    num_windows: int | None = Field(
        default=None, description="Windows of text_b that were read; left out likewise."
    )
    label: str | None = Field(
        default=None,
        description="The likeliest label, whose score and probability these are; left out if the model has "
        "no labels.",
    )
    labels: dict[str, FiniteFloat] | None = Field(
        default=None, description="The probability of each label; left out likewise."
    )


class Health(BaseModel):
    """Whether the model is loaded."""

    status: str = Field(description="ok, or loading.", examples=["ok"])
    model_loaded: bool = Field(examples=[True])


class InfinityHealth(BaseModel):
    """What Infinity says of its health."""

    unix: float = Field(description="Seconds since 1970.")


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
    max_batch_pairs: int
    max_chars: int
    max_body_bytes: int
    max_length: int = Field(description="Tokens of a pair; a longer document is cut.")
    max_queue_tokens: int
    timeout_s: float | None


class TeiLabels(BaseModel):
    """The labels of a model; one that puts out one number has one."""

    id2label: dict[str, str]
    label2id: dict[str, int]


class TeiInfo(BaseModel):
    """What is served, in the words of text-embeddings-inference."""

    model_id: str = Field(description="As served_model_name.")
    model_sha: str | None = Field(description="The model's revision.")
    model_dtype: str = Field(
        description="float32, float16 or bfloat16; unknown of an ONNX file, whose matrices may differ."
    )
    served_model_name: str
    model_type: dict[Literal["reranker", "classifier"], TeiLabels] = Field(
        description="reranker: it puts out one number; classifier: it tells labels apart."
    )
    max_concurrent_requests: int = Field(description="Connections at once.")
    max_input_length: int = Field(description="Tokens of a pair that the model can read.")
    max_batch_tokens: int = Field(description="Padded tokens that one micro-batch may hold.")
    max_batch_requests: int | None = Field(description="null: only tokens limit a micro-batch.")
    max_client_batch_size: int = Field(description="Pairs or documents that a request may hold.")
    auto_truncate: bool = Field(description="Whether what is too long is cut unless asked not to.")
    tokenization_workers: int = Field(description="Threads that tokenize.")
    version: str = Field(description="Of this service.")
    sha: str | None
    docker_label: str | None


class InfoModel(BaseModel):
    """One of the models that were declared."""

    name: str = Field(description="What to send as `model`.")
    state: str = Field(description="loaded, loading, unloaded or failed.")
    pinned: bool = Field(description="Whether it stays when memory for others is short.")
    memory_bytes: int = Field(description="What it takes in memory now.")
    last_used: int | None = Field(description="In seconds since 1970; null for never.")
    error: str | None = Field(description="Why it could not be loaded, if it could not.")
    revision: str | None
    sha256: str | None = Field(
        description="Of the weights, once it was loaded; and so are the rest."
    )
    backend: str | None
    scale: str | None


class InfoIndex(BaseModel):
    """The index that `/v1/search` searches in."""

    kind: str = Field(description="lancedb or milvus.")
    encoder: str | None = Field(description="The bi-encoder; null where only words are looked up.")
    modes: list[str] = Field(description="How it can be searched, the best way first.")


class InfoExplain(BaseModel):
    """What `/v1/explain` allows."""

    max_pairs: int = Field(description="Pairs that one request may have the model read.")


class Info(TeiInfo):
    """What is served, and how; with the fields that text-embeddings-inference has there."""

    model: str
    revision: str | None
    sha256: str = Field(description="Of the weights.")
    backend: str
    scale: str = Field(description="logit: unbounded relevance; unit: similarity from 0 to 1.")
    calibration: str | None = Field(
        description="How probabilities are calibrated: platt or isotonic; null if they are the plain sigmoid."
    )
    num_workers: int = Field(description="Threads that each run one micro-batch.")
    budget: int = Field(description="Padded tokens that one micro-batch may hold.")
    cache: bool = Field(description="Whether scores are kept for pairs that come again.")
    limits: Limits
    models: list[InfoModel] = Field(description="All of them, the default first.")
    index: InfoIndex | None = Field(description="null: the server has none.")
    bi_encoder: str | None = Field(
        description="The bi-encoder of /v1/compare, loaded at its first call; null: it is turned off."
    )
    may_control: bool = Field(
        description="Whether whoever asks, with this key, may load and unload models."
    )
    explain: InfoExplain
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
