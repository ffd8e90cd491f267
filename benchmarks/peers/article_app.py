"""The plain way to put a cross-encoder behind HTTP: a FastAPI app around sentence-transformers.

It is what tutorials show: the model is loaded once, and `async` handlers call `predict` themselves, so that
nothing else is answered while the model computes. Runs in `.venv-oracle`::

    .venv-oracle/bin/python benchmarks/peers/article_app.py --model FOLDER --port 9000
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field
from sentence_transformers import CrossEncoder

MODEL_VARIABLE = "ARTICLE_APP_MODEL"
_MAX_LENGTH, _MAX_PAIRS = 512, 100

models: dict[str, Any] = {}


class Pair(BaseModel):
    """Two texts."""

    text_a: str = Field(min_length=1)
    text_b: str = Field(min_length=1)


class Batch(BaseModel):
    """Up to 100 pairs."""

    pairs: list[Pair] = Field(min_length=1, max_length=_MAX_PAIRS)


class Score(BaseModel):
    """The pair, and its score."""

    text_a: str
    text_b: str
    score: float


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load the model before the first request."""
    models["cross_encoder"] = CrossEncoder(os.environ[MODEL_VARIABLE], max_length=_MAX_LENGTH)
    yield
    models.clear()


app = FastAPI(title="Text similarity", lifespan=lifespan)


@app.post("/score")
async def score(pair: Pair) -> Score:
    """Score one pair."""
    value = models["cross_encoder"].predict([(pair.text_a, pair.text_b)])[0]
    return Score(text_a=pair.text_a, text_b=pair.text_b, score=float(value))


@app.post("/score/batch")
async def score_batch(batch: Batch) -> list[Score]:
    """Score many pairs; the answer is in their order."""
    values = models["cross_encoder"].predict([(pair.text_a, pair.text_b) for pair in batch.pairs])
    return [
        Score(text_a=pair.text_a, text_b=pair.text_b, score=float(value))
        for pair, value in zip(batch.pairs, values, strict=True)
    ]


@app.get("/health")
async def health() -> dict[str, Any]:
    """Whether the model is loaded."""
    return {"status": "ok", "model_loaded": "cross_encoder" in models}


def main() -> int:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=os.environ.get(MODEL_VARIABLE), help="float32 folder")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    if not options.model:
        parser.error(f"name the model's folder with --model or {MODEL_VARIABLE}")
    os.environ[MODEL_VARIABLE] = options.model
    uvicorn.run(app, host="127.0.0.1", port=options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
