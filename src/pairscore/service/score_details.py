"""`POST /v1/score/details`: the score of one pair, and what the model read of either text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, FiniteFloat

from pairscore.engine.records import Answer
from pairscore.road.reading import PairReading, TextReading, read_pair
from pairscore.service import answering, bodies
from pairscore.service.described import posted, responses
from pairscore.service.dialects.faults import NATIVE
from pairscore.service.dialects.records import Ask
from pairscore.service.fleet_member import Member
from pairscore.service.long_documents import WindowsAsk
from pairscore.service.parts import Parts, PartsOfApp
from pairscore.service.routes import FAULTS
from pairscore.service.schemas import SCORE_EXAMPLES, TextPair

__all__ = ["DetailsRequest", "DetailsResponse", "described", "router"]

_HEADERS: Final = {
    answering.MODEL_HEADER: "The model that scored.",
    answering.SCALE_HEADER: "logit: unbounded relevance; unit: from 0 to 1.",
    answering.CALIBRATION_HEADER: "How the probability was calibrated; left out if it was not.",
    answering.TRUNCATED_HEADER: "1 if a text was cut, else 0.",
    answering.TIMING_HEADER: "Milliseconds to tokenize, in the queue, in the model, and in all.",
}
_FAULTS: Final = {
    status: FAULTS[status] for status in (401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)
}


class DetailsRequest(TextPair):
    """One pair that is to be scored and looked at."""

    model: str | None = Field(default=None, description="The model's name, or an alias of it.")
    deadline_ms: int | None = Field(
        default=None,
        ge=1,
        le=86_400_000,
        description="Milliseconds in which the answer is of use; what cannot be finished by then is not started, and "
        "answered with 504.",
    )

    shape: ClassVar[str] = '{"text_a": "...", "text_b": "..."}'


class TextDetails(BaseModel):
    """What the model read of one text."""

    num_tokens: int = Field(
        description="The text's own tokens, without special ones, before anything is cut."
    )
    num_tokens_read: int = Field(description="Those of them that the model read.")
    num_chars: int = Field(description="Its characters, in code points.")
    read: tuple[int, int] = Field(
        description="What the model read: the first character, counted in code points from 0, and the one behind "
        "the last; [0, num_chars] if nothing was cut."
    )


class DetailsResponse(BaseModel):
    """A score, and how it came about."""

    model: str = Field(description="The model that scored.")
    scale: str = Field(description="logit: unbounded relevance; unit: similarity from 0 to 1.")
    calibration: str | None = Field(
        description="How the probability was calibrated: platt or isotonic; null if it is the plain sigmoid."
    )
    logit: FiniteFloat = Field(description="What the model's head put out.")
    score: FiniteFloat = Field(description="On `scale`.")
    probability: FiniteFloat = Field(
        description="From the logit, 0 to 1: its sigmoid, or what a calibration makes of it."
    )
    truncated: bool = Field(description="Whether a text was cut.")
    num_tokens: int = Field(
        description="Tokens of the pair as the model read it, special ones included."
    )
    max_length: int = Field(description="Tokens of a pair that it can read.")
    text_a: TextDetails
    text_b: TextDetails


router = APIRouter()


def described() -> Iterator[tuple[type[BaseModel], Literal["validation", "serialization"]]]:
    """The body that the documentation refers to."""
    yield DetailsRequest, "validation"


@router.post(
    "/v1/score/details",
    summary="Score a pair, and say what of it was read",
    tags=[NATIVE],
    response_model=DetailsResponse,
    responses=responses(_FAULTS, headers=_HEADERS),
    openapi_extra=posted(DetailsRequest, SCORE_EXAMPLES),
)
async def score_details(request: Request, parts: PartsOfApp) -> Response:
    """The score of `/score`, with the logit behind it, the tokens of either text, and where a text that is too long was cut.

    A long text is always cut here, never read in windows.
    """
    raw = await bodies.raw_body(request)
    body = await bodies.on_thread(raw, partial(bodies.checked, raw, DetailsRequest, parts.settings))
    ask = Ask(
        pairs=[(body.text_a, body.text_b)],
        model=answering.asked_model(request, body.model),
        # Of windows there is no single cut to tell of.
        windows=WindowsAsk("truncate"),
        deadline_ms=body.deadline_ms,
    )
    member = answering.check_model(ask.model, parts)
    answering.check_labels(member)
    answer = await answering.scored(request, parts, ask)
    content = await _content(parts, member, ask, answer)
    return Response(content, headers=answering.score_headers(answer), media_type="application/json")


async def _content(parts: Parts, member: Member, ask: Ask, answer: Answer) -> str:
    (pair,) = ask.pairs
    # Held, so that the tokenizer that is asked belongs to a model that is in memory.
    async with parts.runtime.fleet.using(member, timeout_s=parts.settings.timeout_s) as engine:
        road = engine.road
        read = await to_thread.run_sync(partial(read_pair, road.tokenizer, pair))
        return _response(answer, read, max_length=road.max_length).model_dump_json()


def _response(answer: Answer, read: PairReading, *, max_length: int) -> DetailsResponse:
    scores = answer.scores
    return DetailsResponse(
        model=scores.model,
        scale=scores.scale,
        calibration=scores.calibration,
        logit=float(scores.logits[0]),
        score=float(scores.scores[0]),
        probability=float(scores.probabilities[0]),
        truncated=bool(scores.truncated[0]),
        num_tokens=int(scores.num_tokens[0]),
        max_length=max_length,
        text_a=_details(read.text_a),
        text_b=_details(read.text_b),
    )


def _details(read: TextReading) -> TextDetails:
    return TextDetails(
        num_tokens=read.num_tokens,
        num_tokens_read=read.num_tokens_read,
        num_chars=read.num_chars,
        read=(read.start, read.end),
    )
