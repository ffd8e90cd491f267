"""What a model was made for: relevance, similarity or classification.

Several labels are a classification. For one label the activation alone does not tell: many rerankers put out a
sigmoid, because a model without a stored activation gets one. So these are asked, in this order:

1. the catalogue, if the model's name or hub id stands there;
2. the head of the model's `README.md`: the task and the data sets of semantic similarity mean similarity, and win
   over what follows, because sentence-transformers writes ``reranker`` and ``text-ranking`` into the head of every
   model with one label, those for similarity too;
3. the same head: a reranker's tags mean relevance;
4. the activation: Identity means relevance, a sigmoid means similarity.

The answer is a word for people and for the load-time checks. No score and no scale depends on it.
"""

from __future__ import annotations

from typing import Final, Literal

from pairscore.models.catalog import find
from pairscore.models.facts import Facts
from pairscore.values import Task

__all__ = ["purpose_of"]

_SIMILARITY: Final = frozenset(
    {
        "cross-encoder-correlation", "duplicate-detection", "paraphrase-identification", "quora",
        "quora-duplicates", "semantic-similarity", "semantic-textual-similarity", "sentence-similarity", "sts",
        "sts-benchmark", "stsb", "stsbenchmark", "stsb_multi_mt", "text-similarity",
    }
)  # fmt: skip
_RELEVANCE: Final = frozenset(
    {
        "cross-encoder-reranking", "ms_marco", "msmarco", "passage-ranking", "ranking", "rerank", "reranker",
        "reranking", "text-ranking",
    }
)  # fmt: skip


def purpose_of(
    facts: Facts, *, name: str, num_labels: int, activation: Literal["identity", "sigmoid"]
) -> Task:
    """The task, by the rule above."""
    if num_labels > 1:
        return "classification"
    entry = find(name)
    if entry is not None:
        return entry.task
    if facts.tags & _SIMILARITY:
        return "similarity"
    if facts.tags & _RELEVANCE:
        return "relevance"
    return "relevance" if activation == "identity" else "similarity"
