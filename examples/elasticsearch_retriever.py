"""Search in your own Elasticsearch: a `Retriever` over plain HTTP, to copy and to change.

The index has the fields `title` and `text` (text), `vector` (dense_vector, similarity cosine) and `metadata` (object):

    python examples/elasticsearch_retriever.py http://localhost:9200 docs "how do foxes hunt?"
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pairscore import BiEncoder, CrossEncoder
from pairscore.errors import FilterError, SearchIndexError
from pairscore.retrieval.base import Candidate, Condition, Document, Filter, Mode
from pairscore.retrieval.conditions import check_condition
from pairscore.retrieval.pipeline import SearchPipeline
from pairscore.values import FloatArray

RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


class ElasticsearchRetriever:
    """Finds documents in one index; any number of threads may ask at once."""

    name = "elasticsearch"
    modes: frozenset[Mode] = frozenset({"dense", "bm25"})

    def __init__(
        self,
        url: str,
        index: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._url = f"{url.rstrip('/')}/{index}"
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._timeout_s = timeout_s
        (found,) = self._ask("_mapping").values()
        metadata = found["mappings"]["properties"].get("metadata", {}).get("properties", {})
        # A text is compared as a whole through its keyword, which dynamic mapping makes.
        self._fields = {"id": "_id", "title": "title.keyword"} | {
            column: f"metadata.{column}" + (".keyword" if field.get("type") == "text" else "")
            for column, field in metadata.items()
        }

    def by_words(self, query: str, *, limit: int, where: Filter = ()) -> Sequence[Candidate]:
        """The documents with the query's words, by BM25."""
        words = {"query": query, "fields": ["title", "text"], "type": "cross_fields"}
        found = {"bool": {"must": {"multi_match": words}, "filter": self._filters(where)}}
        hits = self._ask("_search", {"query": found, "size": limit})["hits"]["hits"]
        return [Candidate(document=document_of(hit), score=hit["_score"]) for hit in hits]

    def by_vector(
        self, vector: FloatArray, *, limit: int, where: Filter = ()
    ) -> Sequence[Candidate]:
        """The documents nearest to a vector; Elasticsearch scores them by (1 + cosine) / 2."""
        near = {"field": "vector", "query_vector": vector.tolist(), "filter": self._filters(where)}
        near |= {"k": limit, "num_candidates": max(100, limit)}
        hits = self._ask("_search", {"knn": near, "size": limit})["hits"]["hits"]
        return [Candidate(document=document_of(hit), score=2 * hit["_score"] - 1) for hit in hits]

    def close(self) -> None:
        """Nothing is held between two questions."""

    def _filters(self, where: Filter) -> list[dict[str, Any]]:
        return [self._filter(check_condition(condition)) for condition in where]

    def _filter(self, condition: Condition) -> dict[str, Any]:
        if condition.column not in self._fields:
            known = ", ".join(self._fields)
            raise FilterError(f"no document has a column {condition.column!r}; known: {known}")
        field, value = self._fields[condition.column], condition.value
        if condition.operator in RANGES:
            return {"range": {field: {RANGES[condition.operator]: value}}}
        if condition.operator == "in":
            return {"terms": {field: value}}
        equal = {"term": {field: value}}
        if condition.operator == "==":
            return equal
        return {"bool": {"must": {"exists": {"field": field}}, "must_not": equal}}

    def _ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self._url}/{path}", data=data, headers=self._headers)  # noqa: S310 - your own server
        try:
            with urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise SearchIndexError(f"{self._url} answers {error.code} to {path}") from error
        except (OSError, ValueError) as error:
            raise SearchIndexError(f"{self._url} does not answer: {error}") from error


def document_of(hit: Mapping[str, Any]) -> Document:
    """What was stored under a hit."""
    source = hit["_source"]
    return Document(
        id=hit["_id"],
        text=source["text"],
        title=source.get("title", ""),
        metadata=source.get("metadata", {}),
    )


def main(url: str, index: str, query: str) -> None:
    """Print the ten best documents, read by the bundled cross-encoder."""
    with BiEncoder() as encoder, CrossEncoder() as reranker:
        retriever = ElasticsearchRetriever(url, index)
        with SearchPipeline(retriever, encoder=encoder, reranker=reranker) as pipeline:
            for hit in pipeline.search(query, top_k=10).hits:
                print(f"{hit.score:8.3f}  {hit.document.id}  {hit.document.full_text[:80]}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
