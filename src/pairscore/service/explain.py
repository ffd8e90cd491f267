"""`POST /v1/explain`: what each sentence and each word of a document contributes to the pair's logit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, FiniteFloat

from pairscore.errors import LimitError
from pairscore.explaining.records import MIN_PAIRS, Explanation, UnitKind
from pairscore.service import answering, bodies
from pairscore.service.described import posted, responses
from pairscore.service.dialects.faults import NATIVE
from pairscore.service.explain_call import ExplainAsk, ExplainCall
from pairscore.service.parts import PartsOfApp
from pairscore.service.routes import FAULTS
from pairscore.service.schemas import TextPair
from pairscore.service.settings import ServiceSettings, option
from pairscore.service.waiting import deadline_of

__all__ = ["described", "router"]

_HEADERS: Final = {
    answering.MODEL_HEADER: "The model that scored; characters outside ASCII are percent-encoded.",
    answering.CALIBRATION_HEADER: "How the probability was calibrated; left out if it was not.",
    answering.SCALE_HEADER: "logit: unbounded relevance; unit: from 0 to 1.",
    answering.TRUNCATED_HEADER: "1 if the pair was too long and was cut, else 0.",
    answering.TIMING_HEADER: "Milliseconds to tokenize, in the queue, in the model, and in all.",
}
_FAULTS: Final = {
    status: FAULTS[status] for status in (401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)
}

router = APIRouter()


class ExplainRequest(TextPair):
    """One pair whose score is to be explained."""

    shape: ClassVar[str] = '{"text_a": "...", "text_b": "...", "units": "both"}'

    model: str | None = Field(default=None, description="The model's name, or an alias of it.")
    units: UnitKind = Field(
        default="both", description="What is left out of text_b, one at a time: its parts."
    )
    max_pairs: int | None = Field(
        default=None,
        ge=MIN_PAIRS,
        description="Pairs that the model may read; null: as many as the server allows. Sentences are measured first, "
        "then the words of those that count most.",
    )
    deadline_ms: int | None = Field(
        default=None,
        ge=1,
        le=86_400_000,
        description="Milliseconds in which the answer is of use; what cannot be finished by then is answered with 504.",
    )


class UnitBody(BaseModel):
    """One sentence or word."""

    start: int = Field(description="Its first character in text_b, in code points from 0.")
    end: int = Field(description="The one behind its last.")
    text: str
    contribution: FiniteFloat | None = Field(
        description="The logit with it minus the logit without it; null where it was not read, because the text was cut."
    )


class CostBody(BaseModel):
    """What the explanation took."""

    num_pairs: int = Field(description="Distinct pairs that were scored.")
    num_tokens: int = Field(description="Tokens that the model read in all of them.")
    ms: float = Field(description="From the question to the answer.")


class ExplainResponse(BaseModel):
    """Why a pair has its score. Contributions do not add up to the logit."""

    model: str
    scale: Literal["logit", "unit"]
    calibration: str | None = Field(description="null if the probability is the plain sigmoid.")
    logit: FiniteFloat
    score: FiniteFloat = Field(description="On `scale`.")
    probability: FiniteFloat
    truncated: bool
    read: tuple[int, int] = Field(
        description="The characters of text_b that the model reads; units are left out of these."
    )
    sentences: list[UnitBody] = Field(description="In their order; empty if only words are wanted.")
    words: list[UnitBody] = Field(description="In their order; empty if only sentences are.")
    cost: CostBody
    limited: bool = Field(
        description="Whether there were more units than may be measured; those that were not are left out."
    )


_DOCUMENT: Final = "Berlin is well known for its museums. Berlin has a population of 3,520,031 registered inhabitants."
_EXAMPLES: Final[dict[str, object]] = {
    "sentences and words": {
        "summary": "Which sentence answers the question, and which words of it",
        "value": {"text_a": "How many people live in Berlin?", "text_b": _DOCUMENT},
    },
    "sentences": {
        "summary": "Sentences only: quicker",
        "value": {
            "text_a": "How many people live in Berlin?",
            "text_b": _DOCUMENT,
            "units": "sentences",
        },
    },
}


def described() -> Iterator[tuple[type[BaseModel], Literal["validation", "serialization"]]]:
    """The body that the documentation refers to."""
    yield ExplainRequest, "validation"


@router.post(
    "/v1/explain",
    summary="Say why a pair has its score",
    tags=[NATIVE],
    response_model=ExplainResponse,
    responses=responses(_FAULTS, headers=_HEADERS),
    openapi_extra=posted(ExplainRequest, _EXAMPLES),
)
async def explain(request: Request, parts: PartsOfApp) -> Response:
    """Each sentence and word of `text_b` is left out, one at a time, and the pair is scored again.

    A contribution is the logit with the unit minus the logit without it. A text that is too long is cut, whatever the
    server does with long documents elsewhere; what was not read has no contribution.
    """
    raw = await bodies.raw_body(request)
    body = await bodies.on_thread(raw, partial(bodies.checked, raw, ExplainRequest, parts.settings))
    member = answering.check_model(answering.asked_model(request, body.model), parts)
    call = ExplainCall(request, parts, member)
    found, answer = await call.answer(_ask(request, body, parts.settings))
    num_units = len(found.sentences) + len(found.words)
    content = await answering.written(num_units, partial(_written, found))
    # Of the pair itself: the answer has all that it was compared with.
    headers = answering.score_headers(answer, num_truncated=int(found.truncated))
    return Response(content, headers=headers, media_type="application/json")


def _ask(request: Request, body: ExplainRequest, settings: ServiceSettings) -> ExplainAsk:
    most = settings.max_explain_pairs
    if body.max_pairs is not None and body.max_pairs > most:
        raise LimitError(
            limit="pairs an explanation (max_pairs)",
            value=body.max_pairs,
            maximum=most,
            option=option("max_explain_pairs"),
        )
    given_s = deadline_of(request, deadline_ms=body.deadline_ms)
    return ExplainAsk(
        pair=(body.text_a, body.text_b),
        units=body.units,
        max_pairs=body.max_pairs or most,
        limit_s=settings.timeout_s if given_s is None else given_s,
    )


def _written(found: Explanation) -> bytes:
    return ExplainResponse.model_validate(found.as_dict()).model_dump_json().encode()
