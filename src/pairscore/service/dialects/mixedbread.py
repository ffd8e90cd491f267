"""Mixedbread's rerank: `input` in, `data` with `score` out.

Wire format: https://www.mixedbread.com/api-reference/endpoints/reranking and the models of the `mixedbread` package,
in which `usage`, `model`, `top_k` and `return_input` of an answer are never missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, FailFast, Field, FiniteFloat

from pairscore.service.dialects.bodies import all_or, query_and
from pairscore.service.dialects.documents import Given, read_documents
from pairscore.service.dialects.records import Ask, Found, Operation, Usage
from pairscore.service.schemas import Timed

__all__ = ["RERANKING"]

_MAX_RANK_FIELDS: Final = 64


class MixedbreadReranking(Timed):
    """Texts or objects to put in order for a query, as Mixedbread takes them."""

    shape: ClassVar[str] = '{"query": "...", "input": ["...", "..."]}'
    counted: ClassVar[str | None] = "input"

    query: str = Field(description="What is looked for.")
    input: Annotated[list[Given], FailFast()] = Field(
        min_length=1,
        description="The candidates: texts, or objects with `text` (or the fields of `rank_fields`).",
    )
    model: str | None = Field(default=None, description="The model's name, or an alias of it.")
    # Every field is looked up in every object.
    rank_fields: list[str] | None = Field(
        default=None,
        max_length=_MAX_RANK_FIELDS,
        description="The fields of objects that the model reads; a.b is the field b inside of a.",
    )
    top_k: int | None = Field(
        default=None, ge=0, description="How many to return; 0 and null return all."
    )
    return_input: bool | None = Field(
        default=None, description="Put each text or object into its result."
    )
    raw_scores: bool | None = Field(
        default=None, description="Logits, not probabilities; not a field of Mixedbread's own."
    )

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """The query and the candidates that are texts; objects are checked by what is read of them."""
        yield "query", self.query
        for position, given in enumerate(self.input):
            if isinstance(given, str):
                yield f"input[{position}]", given


class MixedbreadRank(BaseModel):
    """One candidate in a ranking of Mixedbread."""

    index: int
    score: FiniteFloat
    input: Any = Field(default=None, description="The candidate as it came, if asked for.")
    object: Literal["rank_result"] = "rank_result"
    truncated: bool | None = Field(default=None, description="true if it was cut; else left out.")


class MixedbreadResult(BaseModel):
    """A ranking of Mixedbread, best first."""

    usage: Usage
    model: str
    data: list[MixedbreadRank]
    object: Literal["list"] = "list"
    top_k: int = Field(description="How many were asked for; else how many there are.")
    return_input: bool


def _ask(body: MixedbreadReranking) -> Ask:
    fields = body.rank_fields or ()
    # Taken apart once: a path may be as long as a body.
    nested = {path: path.split(".") for path in fields if "." in path}
    given = [_reaching(entry, nested) for entry in body.input]
    documents = read_documents(given, rank_fields=fields, field="input")
    return Ask(
        pairs=query_and(body.query, documents),
        documents=documents,
        model=body.model,
        top_n=all_or(body.top_k),
        raw=bool(body.raw_scores),
        windows=body.windows,
        deadline_ms=body.deadline_ms,
    )


def _reaching(entry: Any, nested: Mapping[str, Sequence[str]]) -> Any:
    """An object that also has the fields inside of its fields that were named, under their whole paths."""
    if not nested or not isinstance(entry, Mapping):
        return entry
    return {**{path: _at(entry, names) for path, names in nested.items()}, **entry}


def _at(entry: Mapping[str, Any], names: Sequence[str]) -> Any:
    found: Any = entry
    for name in names:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _write(body: MixedbreadReranking, found: Found) -> bytes:
    data = [
        MixedbreadRank(
            index=position,
            score=float(found.values[position]),
            input=body.input[position] if body.return_input else None,
            truncated=found.cut(position),
        )
        for position in found.best()
    ]
    result = MixedbreadResult(
        usage=found.usage,
        model=found.model,
        data=data,
        top_k=all_or(body.top_k) or len(data),
        return_input=bool(body.return_input),
    )
    return result.model_dump_json(exclude_none=True).encode()


RERANKING: Final = Operation(
    dialect="Mixedbread",
    summary="Put texts or objects in order for a query (Mixedbread)",
    body=MixedbreadReranking,
    result=MixedbreadResult,
    ask=_ask,
    write=_write,
    shape="mixedbread",
    fits=lambda keys: "input" in keys,
    examples={
        "mixedbread": {
            "summary": "Objects, best first, read by two of their fields",
            "value": {
                "model": "ms-marco-minilm-l12",
                "query": "Who wrote To Kill a Mockingbird?",
                "input": [
                    {"title": "Moby-Dick", "author": "Herman Melville"},
                    {"title": "To Kill a Mockingbird", "author": "Harper Lee"},
                ],
                "rank_fields": ["title", "author"],
                "top_k": 2,
            },
        }
    },
)
