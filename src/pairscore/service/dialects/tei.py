"""text-embeddings-inference 1.9: `/rerank` with `texts`, `/predict`, `/info`.

The answer is a bare list. Wire format: `router/src/http/types.rs` of that project.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    FailFast,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from pairscore.config import Truncation, TruncationSide
from pairscore.service.dialects.documents import read_documents
from pairscore.service.dialects.records import Ask, Found, Headers, Operation
from pairscore.service.refusals import Refusal
from pairscore.service.schemas import Timed

__all__ = ["PREDICT", "RERANK"]

_DIALECT: Final = "TEI"
_MS: Final = 1000.0
_PAIR: Final = 2

_Side: TypeAlias = Literal["left", "right", "Left", "Right"]


class _TeiBody(Timed):
    """What every body of TEI may say."""

    truncate: bool | None = Field(
        default=None, description="Whether to cut what is too long; null cuts, false refuses it."
    )
    truncation_direction: _Side | None = Field(
        default=None, description="The end that is cut; null cuts as the server does."
    )
    raw_scores: bool | None = Field(default=None, description="Logits, not probabilities.")

    @property
    def truncation(self) -> Truncation:
        """How the texts are cut."""
        side: TruncationSide | None = None
        if self.truncation_direction is not None:
            side = "left" if self.truncation_direction.lower() == "left" else "right"
        return Truncation(side=side, strict=self.truncate is False)


class TeiRerank(_TeiBody):
    """Texts to put in order for a query, as TEI takes them."""

    shape: ClassVar[str] = '{"query": "...", "texts": ["...", "..."]}'
    counted: ClassVar[str | None] = "texts"

    query: str = Field(description="What is looked for.")
    texts: Annotated[list[str], FailFast()] = Field(description="The candidates.")
    return_text: bool | None = Field(default=None, description="Put each text into its result.")
    top_n: int | None = Field(
        default=None,
        ge=0,
        description="How many of the best to return; not a field of TEI's own, but clients send it.",
    )

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """The query and the texts."""
        yield "query", self.query
        yield from ((f"texts[{position}]", text) for position, text in enumerate(self.texts))


class TeiRank(BaseModel):
    """One text in a ranking of TEI."""

    index: int
    text: str | None = None
    score: FiniteFloat
    truncated: bool | None = Field(default=None, description="true if it was cut; else left out.")


def _text_or_texts(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
    return value if texts else check(value)


_Input: TypeAlias = Annotated[
    str, WrapValidator(_text_or_texts, json_schema_input_type=str | list[str])
]


class TeiPredict(_TeiBody):
    """A text, a pair, or a batch of these, as TEI takes them; only pairs can be scored here."""

    shape: ClassVar[str] = '{"inputs": ["...", "..."]} or {"inputs": [["...", "..."], ...]}'
    counted: ClassVar[str | None] = "inputs"

    inputs: Annotated[list[_Input], FailFast()] = Field(
        description="A pair of texts, or a list of pairs."
    )

    @property
    def is_batch(self) -> bool:
        """Whether it holds a list of pairs."""
        return any(not isinstance(entry, str) for entry in self.inputs)

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """All texts."""
        for position, entry in enumerate(self.inputs):
            for text in [entry] if isinstance(entry, str) else entry:
                yield f"inputs[{position}]", text


class TeiPrediction(BaseModel):
    """The score of one label."""

    score: FiniteFloat
    label: str


_RANKS: Final = TypeAdapter(list[TeiRank])
_PREDICTION: Final = TypeAdapter(list[TeiPrediction])
_PREDICTIONS: Final = TypeAdapter(list[list[TeiPrediction]])
# What a model with one logit calls it, as the model's own configuration does.
_LABEL: Final = "LABEL_0"


def _ask(body: TeiRerank) -> Ask:
    documents = read_documents(body.texts, field="texts")
    return Ask(
        pairs=[(body.query, document.text) for document in documents],
        documents=documents,
        top_n=body.top_n or None,
        raw=bool(body.raw_scores),
        truncation=body.truncation,
        windows=body.windows,
        deadline_ms=body.deadline_ms,
    )


def _ranks(body: TeiRerank, found: Found) -> bytes:
    ranks = [
        TeiRank(
            index=position,
            text=body.texts[position] if body.return_text else None,
            score=float(found.values[position]),
            truncated=found.cut(position),
        )
        for position in found.best()
    ]
    return _RANKS.dump_json(ranks, exclude_none=True)


def _ask_prediction(body: TeiPredict) -> Ask:
    # Nothing at all is no pair of nothing: it is refused further on, as empty.
    alone = body.inputs and not body.is_batch
    entries: list[Any] = [body.inputs] if alone else list(body.inputs)
    pairs = []
    for position, entry in enumerate(entries):
        if isinstance(entry, str) or len(entry) != _PAIR:
            place = f"inputs[{position}]" if body.is_batch else "inputs"
            number = 1 if isinstance(entry, str) else len(entry)
            message = (
                f"{place} has {number} of the two texts of a pair; send a pair as a list of two texts, "
                "and several as a list of such lists"
            )
            raise Refusal("BodyError", message, details=[(place, message)])
        pairs.append((entry[0], entry[1]))
    return Ask(
        pairs=pairs,
        raw=bool(body.raw_scores),
        truncation=body.truncation,
        windows=body.windows,
        deadline_ms=body.deadline_ms,
    )


def _predictions(body: TeiPredict, found: Found) -> bytes:
    values = found.values.reshape(len(found.scores), -1).tolist()
    results = [_prediction(row, found.scores.labels or (_LABEL,)) for row in values]
    return _PREDICTIONS.dump_json(results) if body.is_batch else _PREDICTION.dump_json(results[0])


def _prediction(values: Sequence[float], labels: Sequence[str]) -> list[TeiPrediction]:
    """The labels of one pair, the likeliest first."""
    entries = zip(values, labels, strict=True)
    best = sorted(entries, key=lambda entry: entry[0], reverse=True)
    return [TeiPrediction(score=value, label=label) for value, label in best]


def _headers(found: Found) -> Headers:
    """Times in milliseconds and counts, under TEI's own names."""
    timing = found.answer.timing
    seconds = {
        "x-compute-time": timing.total_s,
        "x-total-time": timing.total_s,
        "x-tokenization-time": timing.tokenize_s,
        "x-queue-time": timing.queue_s,
        "x-inference-time": timing.inference_s,
    }
    return {
        "x-compute-type": "cpu",
        "x-compute-tokens": str(found.num_tokens),
        "x-compute-characters": str(sum(len(a) + len(b) for a, b in found.ask.pairs)),
        **{name: str(round(value * _MS)) for name, value in seconds.items()},
    }


RERANK: Final = Operation(
    dialect=_DIALECT,
    summary="Put texts in order for a query (TEI)",
    body=TeiRerank,
    result=list[TeiRank],
    ask=_ask,
    write=_ranks,
    shape="tei",
    headers=_headers,
    fits=lambda keys: "texts" in keys and "documents" not in keys,
    examples={
        "texts": {
            "summary": "Texts, best first",
            "value": {
                "query": "What is Deep Learning?",
                "texts": ["Deep Learning is not...", "Deep learning is..."],
            },
        }
    },
)
PREDICT: Final = Operation(
    dialect=_DIALECT,
    summary="Score a pair, or pairs (TEI)",
    body=TeiPredict,
    result=list[TeiPrediction] | list[list[TeiPrediction]],
    ask=_ask_prediction,
    write=_predictions,
    shape="tei",
    headers=_headers,
    takes_labels=True,
    examples={
        "a pair": {
            "summary": "One pair",
            "value": {"inputs": ["What is Deep Learning?", "Deep learning is..."]},
        }
    },
)
