"""NVIDIA's reranking NIM: `/v1/ranking`, with a query and passages as objects, and logits in the answer.

Wire format: https://docs.nvidia.com/nim/nemo-retriever/text-reranking/latest/reference.html, and the clients of
LangChain (`langchain-nvidia-ai-endpoints`) and LiteLLM.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    FailFast,
    Field,
    FiniteFloat,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from pairscore.config import Truncation
from pairscore.service.dialects.bodies import query_and
from pairscore.service.dialects.documents import read_documents
from pairscore.service.dialects.records import Ask, Found, Operation, Usage
from pairscore.service.schemas import Timed

__all__ = ["RANKING", "STRICT_RANKING"]


class NvidiaText(BaseModel):
    """A query or a passage."""

    text: str


def _text(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(value, dict):
        return check(value)
    if value.get("image"):
        raise PydanticCustomError(
            "nvidia_image", "the model that is served here reads no images; send text alone"
        )
    if not isinstance(value.get("text"), str):
        raise PydanticCustomError("nvidia_text", "it needs text, a string")
    return check(value["text"])


_Text: TypeAlias = Annotated[str, WrapValidator(_text, json_schema_input_type=NvidiaText | str)]


class NvidiaRanking(Timed):
    """Passages to put in order for a query, as NVIDIA's NIM takes them."""

    shape: ClassVar[str] = '{"query": {"text": "..."}, "passages": [{"text": "..."}]}'
    counted: ClassVar[str | None] = "passages"

    query: _Text = Field(description="What is looked for.")
    passages: Annotated[list[_Text], FailFast()] = Field(
        min_length=1, description="The candidates."
    )
    model: str | None = Field(default=None, description="The model's name, or an alias of it.")
    truncate: Literal["NONE", "END"] | None = Field(
        default=None,
        description="NONE refuses what is too long, END cuts it; null cuts it too, but below `/nvidia/` it refuses.",
    )

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """The query and the passages."""
        yield "query", self.query
        yield from ((f"passages[{position}]", text) for position, text in enumerate(self.passages))


class NvidiaRank(BaseModel):
    """One passage in a ranking of NVIDIA."""

    index: int
    logit: FiniteFloat
    truncated: bool | None = Field(default=None, description="true if it was cut; else left out.")


class NvidiaResult(BaseModel):
    """A ranking of NVIDIA, best first."""

    rankings: list[NvidiaRank]
    usage: Usage


def _ask(body: NvidiaRanking, *, strict: bool) -> Ask:
    documents = read_documents(body.passages, field="passages")
    cut = body.truncate == "END" or (body.truncate is None and not strict)
    return Ask(
        pairs=query_and(body.query, documents),
        documents=documents,
        model=body.model,
        raw=True,
        truncation=Truncation(side="right" if body.truncate == "END" else None, strict=not cut),
        windows=body.windows,
        deadline_ms=body.deadline_ms,
    )


def _write(_: NvidiaRanking, found: Found) -> bytes:
    rankings = [
        NvidiaRank(
            index=position,
            logit=float(found.scores.logits[position]),
            truncated=found.cut(position),
        )
        for position in found.best()
    ]
    result = NvidiaResult(
        rankings=rankings,
        usage=found.usage,
    )
    return result.model_dump_json(exclude_none=True).encode()


def _ranking(*, strict: bool) -> Operation[NvidiaRanking]:
    return Operation(
        dialect="NVIDIA",
        summary="Put passages in order for a query (NVIDIA NIM)",
        body=NvidiaRanking,
        result=NvidiaResult,
        ask=partial(_ask, strict=strict),
        write=_write,
        shape="nvidia",
        examples={
            "passages": {
                "summary": "Passages, best first, as NVIDIA's NIM takes them",
                "value": {
                    "query": {"text": "which way should I go?"},
                    "passages": [
                        {"text": "Two roads diverged in a yellow wood."},
                        {"text": "Basil grows best in a warm and sunny place."},
                    ],
                    "truncate": "END",
                },
            }
        },
    )


RANKING: Final = _ranking(strict=False)
STRICT_RANKING: Final = _ranking(strict=True)
