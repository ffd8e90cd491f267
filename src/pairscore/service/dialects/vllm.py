"""vLLM: `/score` with its four pairs of keys, and `/rerank`; the rest of its fields as far as they make sense here.

Where vLLM shares a path with others, what is too long is cut and told; below `/vllm/` it is refused unless
`truncate_prompt_tokens` says otherwise, as vLLM does. Wire format:
`vllm/entrypoints/pooling/scoring/{protocol,io_processor,serving}.py` of that project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, Field, FiniteFloat
from pydantic_core import PydanticCustomError

from pairscore.config import MIN_PAIR_TOKENS, Truncation
from pairscore.errors import EmptyInputError
from pairscore.service.dialects.bodies import RankingBody, all_or, query_and
from pairscore.service.dialects.content import (
    CONTENT,
    ContentDocuments,
    ContentText,
    ContentTexts,
    joined,
)
from pairscore.service.dialects.documents import Document, read_documents
from pairscore.service.dialects.records import Ask, Found, Operation, Usage
from pairscore.service.refusals import Refusal
from pairscore.service.schemas import Timed

__all__ = ["RERANK", "SCORE", "STRICT_SCORE"]

_DIALECT: Final = "vLLM"
_WHOLE_MODEL: Final = -1
_SIDES: Final = (
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
    ("text_1", "text_2"),
)
# What nobody else calls a field; `documents` and `items` say little.
_OWN_KEYS: Final = frozenset({"queries", "data_1", "data_2", "text_1", "text_2"})


class _VllmOptions(Timed):
    """What every body of vLLM may say."""

    model: str | None = Field(default=None, description="The model's name, or an alias of it.")
    truncate_prompt_tokens: int | None = Field(
        default=None,
        ge=_WHOLE_MODEL,
        description="Tokens of a pair, at least 8; -1 cuts to what the model can read; null does so too, but below "
        "`/vllm/` it refuses what is too long.",
    )
    truncation_side: Literal["left", "right"] | None = Field(
        default=None, description="The end that is cut; null cuts as the server does."
    )
    use_activation: bool | None = Field(
        default=None, description="false answers with logits, null and true with probabilities."
    )
    max_tokens_per_query: int | None = Field(
        default=None, ge=0, description="Tokens of a query that are read; 0 and null: all."
    )
    max_tokens_per_doc: int | None = Field(
        default=None, ge=0, description="Tokens of a document that are read; 0 and null: all."
    )
    priority: int | None = Field(
        default=None, ge=-999, le=999, description="Requests with a lower number go first."
    )
    instruction: str | None = Field(
        default=None, description="Ignored: no model that is served here has a template for it."
    )

    def truncation(self, *, strict: bool) -> Truncation:
        """How the texts are cut; `strict` says whether null refuses what is too long."""
        wanted = self.truncate_prompt_tokens
        if wanted is not None and wanted != _WHOLE_MODEL and wanted < MIN_PAIR_TOKENS:
            message = (
                f"truncate_prompt_tokens is {wanted}; send at least {MIN_PAIR_TOKENS}, or -1 to cut to what "
                "the model can read"
            )
            raise Refusal("BodyError", message, details=[("truncate_prompt_tokens", message)])
        return Truncation(
            side=self.truncation_side,
            max_query_tokens=all_or(self.max_tokens_per_query),
            max_document_tokens=all_or(self.max_tokens_per_doc),
            max_pair_tokens=None if wanted == _WHOLE_MODEL else wanted,
            strict=strict and wanted is None,
        )


class VllmScore(_VllmOptions):
    """Two sides to score against each other, as vLLM takes them: one and one, one and many, or as many as many."""

    shape: ClassVar[str] = '{"queries": "...", "documents": ["...", "..."]}'
    counted: ClassVar[str | None] = "pairs"

    queries: ContentTexts | None = Field(default=None, description="Goes with documents, or items.")
    documents: ContentTexts | None = None
    items: ContentTexts | None = None
    data_1: ContentTexts | None = Field(default=None, description="Goes with data_2.")
    data_2: ContentTexts | None = None
    text_1: ContentTexts | None = Field(default=None, description="Goes with text_2.")
    text_2: ContentTexts | None = None

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """What is to be scored.

        Raises:
            Refusal: the sides do not fit each other, or one is missing.
            EmptyInputError: a side is empty.
        """
        names = self._names()
        first, second = (getattr(self, name) for name in names)
        for name, side in zip(names, (first, second), strict=True):
            if not side:
                raise EmptyInputError(f"{name} is empty; send at least one text")
        if len(first) == 1:
            first = first * len(second)
        if len(first) != len(second):
            message = (
                f"{names[0]} has {len(first):,} texts and {names[1]} {len(second):,}; "
                "send one and one, one and many, or as many as many"
            )
            raise Refusal("BodyError", message, details=[(names[0], message)])
        return list(zip(first, second, strict=True))

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """The texts of both sides."""
        for name in self._names():
            for position, text in enumerate(getattr(self, name)):
                yield f"{name}[{position}]", text

    def _names(self) -> tuple[str, str]:
        """What the body calls its two sides."""
        for names in _SIDES:
            if all(getattr(self, name) is not None for name in names):
                return names
        for pair in _SIDES:
            for name, other in (pair, pair[::-1]):
                if getattr(self, name) is not None:
                    message = f"{other} is missing; {name} goes with it"
                    raise Refusal("BodyError", message, details=[(other, message)])
        message = f"there are no texts; the body is {self.shape}"
        raise Refusal("BodyError", message, details=[("queries", message)])


class VllmRerank(_VllmOptions, RankingBody):
    """Documents to put in order for a query, as vLLM takes them."""

    query: ContentText = Field(
        description="What is looked for: a text, or an object with text parts."
    )
    documents: ContentDocuments = Field(
        min_length=1, description="The candidates: one or many texts, or objects with text parts."
    )
    top_n: int | None = Field(
        default=None, ge=0, description="How many to return; 0 and null return all."
    )


class VllmScoreUsage(BaseModel):
    """Tokens that the model read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    prompt_tokens_details: None


class VllmScored(BaseModel):
    """One pair of vLLM's with its score."""

    index: int
    object: Literal["score"]
    score: FiniteFloat
    truncated: bool = Field(default=True, description="true if it was cut; else left out.")


class VllmScoreResult(BaseModel):
    """Scores, in the order of the request."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[VllmScored]
    usage: VllmScoreUsage


class VllmDocument(BaseModel):
    """A document as it came: as a text, or in parts."""

    text: str | None
    multi_modal: list[Any] | None


class VllmRank(BaseModel):
    """One document in a ranking of vLLM."""

    index: int
    document: VllmDocument
    relevance_score: FiniteFloat
    truncated: bool = Field(default=True, description="true if it was cut; else left out.")


class VllmRerankResult(BaseModel):
    """A ranking of vLLM, best first."""

    id: str
    model: str
    usage: Usage
    results: list[VllmRank]


def _ask_score(body: VllmScore, *, strict: bool) -> Ask:
    return Ask(
        pairs=body.pairs,
        model=body.model,
        raw=body.use_activation is False,
        truncation=body.truncation(strict=strict),
        windows=body.windows,
        deadline_ms=body.deadline_ms,
        priority=body.priority or 0,
    )


def _ask_rerank(body: VllmRerank) -> Ask:
    documents = _documents(body.documents)
    return Ask(
        pairs=query_and(body.query, documents),
        documents=documents,
        model=body.model,
        top_n=all_or(body.top_n),
        min_score=body.min_score,
        raw=body.use_activation is False,
        truncation=body.truncation(strict=True),
        windows=body.windows,
        deadline_ms=body.deadline_ms,
        priority=body.priority or 0,
    )


def _documents(given: Sequence[str | Mapping[str, Any]]) -> list[Document]:
    in_parts = {
        position: _text_of(entry, position)
        for position, entry in enumerate(given)
        if not isinstance(entry, str) and CONTENT in entry
    }
    documents = read_documents(
        ["" if position in in_parts else entry for position, entry in enumerate(given)]
    )
    for position, text in in_parts.items():
        documents[position] = Document(text, given[position])
    return documents


def _text_of(entry: Mapping[str, Any], position: int) -> str:
    try:
        return joined(entry)
    except PydanticCustomError as error:
        place = f"documents[{position}]"
        message = f"{place} is an object; {error.message()}"
        raise Refusal("BodyError", message, details=[(place, message)]) from None


def _told(found: Found, position: int) -> Mapping[str, bool]:
    """The field `truncated`, where there is something to tell."""
    return {"truncated": True} if found.cut(position) else {}


def _scores(_: VllmScore, found: Found) -> bytes:
    data = [
        VllmScored(index=position, object="score", score=value, **_told(found, position))
        for position, value in enumerate(found.values.tolist())
    ]
    result = VllmScoreResult(
        id=f"score-{found.request_id}",
        object="list",
        created=found.created,
        model=found.model,
        data=data,
        usage=VllmScoreUsage(
            prompt_tokens=found.num_tokens,
            total_tokens=found.num_tokens,
            completion_tokens=0,
            prompt_tokens_details=None,
        ),
    )
    # What was not set is `truncated` alone; what is null stays, as vLLM has it.
    return result.model_dump_json(exclude_unset=True).encode()


def _ranking(_: VllmRerank, found: Found) -> bytes:
    results = [
        VllmRank(
            index=position,
            document=_returned(found.ask.documents[position]),
            relevance_score=float(found.values[position]),
            **_told(found, position),
        )
        for position in found.best()
    ]
    result = VllmRerankResult(
        id=f"rerank-{found.request_id}",
        model=found.model,
        usage=found.usage,
        results=results,
    )
    return result.model_dump_json(exclude_unset=True).encode()


def _returned(document: Document) -> VllmDocument:
    parts = document.field(CONTENT)
    in_parts = isinstance(parts, list)
    return VllmDocument(
        text=None if in_parts else document.text, multi_modal=parts if in_parts else None
    )


def _fits(keys: Mapping[str, Any]) -> bool:
    native = any(name.startswith(("text_a", "text_b")) for name in keys)
    return not native and not _OWN_KEYS.isdisjoint(keys)


def _score(*, strict: bool) -> Operation[VllmScore]:
    return Operation(
        dialect=_DIALECT,
        summary="Score one pair, one against many, or many pairs (vLLM)",
        body=VllmScore,
        result=VllmScoreResult,
        ask=partial(_ask_score, strict=strict),
        write=_scores,
        shape="vllm",
        fits=_fits,
        examples={
            "one against many": {
                "summary": "A query and documents, scored in their order, as vLLM takes them",
                "value": {
                    "queries": "What is the capital of France?",
                    "documents": [
                        "The capital of Brazil is Brasilia.",
                        "The capital of France is Paris.",
                    ],
                },
            }
        },
    )


SCORE: Final = _score(strict=False)
STRICT_SCORE: Final = _score(strict=True)
RERANK: Final = Operation(
    dialect=_DIALECT,
    summary="Put documents in order for a query (vLLM)",
    body=VllmRerank,
    result=VllmRerankResult,
    ask=_ask_rerank,
    write=_ranking,
    shape="vllm",
)
