"""The bodies of `/v1/rerank/batch`, many rankings in one call, and the lines in which it is answered.

A line is one JSON object (NDJSON, https://github.com/ndjson/ndjson-spec): a ranking or an error for each query, and
one more at the end, without which a client has not got everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import BaseModel, FailFast, Field, PlainValidator
from pydantic_core import PydanticCustomError

from pairscore.service.dialects.faults import Fault
from pairscore.service.dialects.native import (
    RERANK,
    RankedResult,
    RerankRequest,
    ranked,
)
from pairscore.service.dialects.records import Ask, Found, Usage
from pairscore.service.refusals import Refusal
from pairscore.service.schemas import Problem, Timed

__all__ = [
    "EXAMPLES",
    "LINES",
    "LINES_EXAMPLE",
    "Job",
    "RerankBatchEnd",
    "RerankBatchFault",
    "RerankBatchRequest",
    "RerankBatchResult",
    "answer_line",
    "fault_line",
    "jobs_of",
    "line_of",
]


def _scalar(value: Any) -> Any:
    """One check, so that an error names one fault and not one for each kind."""
    finite = not isinstance(value, float) or math.isfinite(value)
    if finite and (value is None or isinstance(value, str | bool | int | float)):
        return value
    raise PydanticCustomError("scalar", "it must be a string, a number, true, false or null")


Scalar: TypeAlias = Annotated[
    Any, PlainValidator(_scalar, json_schema_input_type=str | float | bool | None)
]


class RerankBatchQuery(RerankRequest):
    """A body of `/rerank`; its `deadline_ms` counts from the beginning of the call, which it cannot prolong."""

    id: Scalar = Field(
        default=None, description="Comes back in the line that answers this query; null is no id."
    )


class RerankBatchRequest(Timed):
    """Queries, each with its own documents, to put in order."""

    shape: ClassVar[str] = '{"queries": [{"id": "...", "query": "...", "documents": ["..."]}]}'
    counted: ClassVar[str | None] = "queries"
    limited_by: ClassVar[str] = "max_batch_pairs"

    queries: Annotated[list[RerankBatchQuery], FailFast()] = Field(min_length=1)
    model: str | None = Field(default=None, description="The model's name, or an alias of it.")

    @property
    def num_pairs(self) -> int:
        """Pairs of all queries."""
        return sum(len(query.documents) for query in self.queries)

    @property
    def models(self) -> set[str | None]:
        """Every model that is named."""
        return {self.model, *(query.model for query in self.queries)}

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """What all queries hold, and those of their ids that are texts."""
        for position, query in enumerate(self.queries):
            if isinstance(query.id, str):
                yield f"queries[{position}].id", query.id
            for place, text in query.all_texts():
                yield f"queries[{position}].{place}", text


class RerankBatchResult(BaseModel):
    """The ranking of one query, best first; equal scores keep the order of the request."""

    index: int = Field(description="The query's position in the request, from 0.")
    id: Scalar = Field(default=None, description="The query's own id; left out if it has none.")
    model: str = Field(description="The model that scored.")
    scale: str = Field(description="logit: unbounded relevance; unit: similarity from 0 to 1.")
    results: list[RankedResult]
    usage: Usage


class RerankBatchFault(BaseModel):
    """A query that could not be answered; the other ones are."""

    index: int = Field(description="The query's position in the request, from 0.")
    id: Scalar = Field(default=None, description="The query's own id; left out if it has none.")
    error: Problem


class RerankBatchEnd(BaseModel):
    """The last line: whoever has it has everything."""

    done: Literal[True] = True
    num_queries: int = Field(description="Lines before this one.")
    num_failed: int = Field(description="How many of them are errors.")
    num_truncated: int = Field(description="Pairs that were too long and were cut.")
    usage: Usage
    seconds: float = Field(description="From the body to this line.")


LINES: Final = (RerankBatchResult, RerankBatchFault, RerankBatchEnd)
"""What a line may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One query of a call.

    Attributes:
        index: its position in the request.
        query: as it was sent.
        ask: what it wants.
    """

    index: int
    query: RerankBatchQuery
    ask: Ask


def jobs_of(body: RerankBatchRequest) -> Iterator[Job]:
    """What each query wants.

    Raises:
        Refusal: an object among the documents has nothing to read.
    """
    for index, query in enumerate(body.queries):
        ask = _ask(index, query)
        if query.long_documents is None and query.chunking is None:
            # What the call says of long documents holds for the queries that say nothing.
            ask = replace(ask, windows=body.windows)
        yield Job(index=index, query=query, ask=ask)


def _ask(index: int, query: RerankBatchQuery) -> Ask:
    try:
        return RERANK.ask(query)
    except Refusal as refusal:
        place = f"queries[{index}]."
        raise Refusal(
            refusal.kind,
            place + refusal.message,
            details=[(place + field, place + message) for field, message in refusal.details],
        ) from None


def answer_line(job: Job, found: Found) -> bytes:
    """What `/rerank` says of the query, less what is the same in every line."""
    ranking = ranked(job.query, found)
    return line_of(
        RerankBatchResult(
            index=job.index,
            id=job.query.id,
            model=ranking.model,
            scale=ranking.scale,
            results=ranking.results,
            usage=ranking.usage,
        )
    )


def fault_line(job: Job, fault: Fault) -> bytes:
    """A query that failed."""
    error = Problem(type=fault.kind, message=fault.message, request_id=fault.request_id)
    return line_of(RerankBatchFault(index=job.index, id=job.query.id, error=error))


def line_of(content: BaseModel) -> bytes:
    """One line, with its end; what is None is left out."""
    return content.model_dump_json(exclude_none=True).encode() + b"\n"


EXAMPLES: Final[dict[str, object]] = {
    "two queries": {
        "summary": "Two queries, each with its own documents",
        "value": {
            "queries": [
                {
                    "id": "tyre",
                    "query": "how to change a flat tyre",
                    "documents": [
                        "Loosen the lug nuts, jack the car up, and swap the wheel for the spare.",
                        "Basil grows best in a warm and sunny place.",
                    ],
                },
                {
                    "id": "basil",
                    "query": "where does basil grow",
                    "documents": [
                        {"text": "Basil grows best in a warm and sunny place."},
                        {"text": "The stadium holds eighty thousand people."},
                    ],
                    "top_k": 1,
                    "return_documents": False,
                },
            ]
        },
    },
}
LINES_EXAMPLE: Final = (
    '{"index":1,"id":"basil","model":"ms-marco-minilm-l12","scale":"logit","results":[{"corpus_id":0,"score":8.1,'
    '"probability":0.9997,"truncated":false,"index":0,"relevance_score":0.9997}],'
    '"usage":{"prompt_tokens":33,"total_tokens":33}}\n'
    '{"index":0,"id":"tyre","error":{"type":"OverloadError","message":"the queue is full: ...",'
    '"request_id":"8f14e45fceea467f8d3e5a1c2b7d9e00"}}\n'
    '{"done":true,"num_queries":2,"num_failed":1,"num_truncated":0,'
    '"usage":{"prompt_tokens":33,"total_tokens":33},"seconds":0.21}\n'
)
