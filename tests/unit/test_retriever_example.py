"""The example of a retriever of one's own, against a small server that answers as Elasticsearch's `_search` does."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.contract.retrievers import (
    DOCUMENTS,
    ENCODER,
    MemoryRetriever,
    ids_of,
    vector_of,
    where_is,
)

from pairscore import CrossEncoder
from pairscore.errors import FilterError, SearchIndexError
from pairscore.retrieval.base import Condition, Document, Operator, Retriever
from pairscore.retrieval.pipeline import SearchPipeline

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "elasticsearch_retriever.py"
RANGES: dict[str, Operator] = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


class StandIn(BaseHTTPRequestHandler):
    """Elasticsearch, as far as its documentation of these requests goes; what it does not know is an error 400."""

    documents: MemoryRetriever
    keys: list[str]

    def do_GET(self) -> None:
        """The mapping that dynamic mapping makes of the documents."""
        metadata = {
            "year": {"type": "long"},
            "price": {"type": "float"},
            "lang": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
            "open": {"type": "boolean"},
        }
        properties = {"title": {"type": "text"}, "metadata": {"properties": metadata}}
        self._answer({"docs-000001": {"mappings": {"properties": properties}}}, path="/_mapping")

    def do_POST(self) -> None:
        """A search by words or by a vector."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        limit = body.pop("size")
        try:
            hits = self._words(body["query"], limit) if "query" in body else self._near(body, limit)
        except (KeyError, ValueError) as error:
            self._answer({"error": str(error)}, path="/_search", status=400)
        else:
            self._answer({"hits": {"hits": hits}}, path="/_search")

    def _words(self, query: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        match = query["bool"]["must"]["multi_match"]
        assert match["fields"] == ["title", "text"]
        where = tuple(_condition(one) for one in query["bool"]["filter"])
        found = self.documents.by_words(match["query"], limit=limit, where=where)
        return [_hit(one.document, one.score) for one in found]

    def _near(self, body: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        knn = body["knn"]
        assert knn["field"] == "vector"
        assert knn["num_candidates"] >= knn["k"] == limit
        where = tuple(_condition(one) for one in knn["filter"])
        vector = np.array(knn["query_vector"], dtype=np.float32)
        found = self.documents.by_vector(vector, limit=limit, where=where)
        return [_hit(one.document, (1 + one.score) / 2) for one in found]

    def _answer(self, body: dict[str, Any], *, path: str, status: int = 200) -> None:
        self.keys.append(self.headers.get("Authorization", ""))
        if self.path != f"/docs{path}":
            status = 404
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """It is quiet."""


def _hit(document: Document, score: float) -> dict[str, Any]:
    source = {"title": document.title, "text": document.text, "metadata": dict(document.metadata)}
    return {"_id": document.id, "_score": score, "_source": source}


def _condition(clause: dict[str, Any]) -> Condition:
    """The condition that a clause of a filter stands for."""
    ((kind, inner),) = clause.items()
    if kind == "bool":
        different = _condition(inner["must_not"])
        assert inner["must"] == {"exists": {"field": next(iter(inner["must_not"]["term"]))}}
        return Condition(column=different.column, operator="!=", value=different.value)
    ((field, value),) = inner.items()
    column = field.removeprefix("metadata.").removesuffix(".keyword").replace("_id", "id")
    if kind == "range":
        ((name, value),) = value.items()
        return Condition(column=column, operator=RANGES[name], value=value)
    if kind == "terms":
        return Condition(column=column, operator="in", value=tuple(value))
    return Condition(column=column, operator={"term": "=="}[kind], value=value)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example, loaded as a script would be."""
    spec = importlib.util.spec_from_file_location("elasticsearch_retriever", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> MemoryRetriever:
    """The documents, searched exactly."""
    retriever = MemoryRetriever.create(tmp_path_factory.mktemp("exact"), encoder=ENCODER)
    retriever.add(DOCUMENTS)
    return retriever


@pytest.fixture(scope="module")
def server(exact: MemoryRetriever) -> Iterator[ThreadingHTTPServer]:
    """The stand-in, on this machine only."""
    StandIn.documents, StandIn.keys = exact, []
    with ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.fixture
def retriever(example: ModuleType, server: ThreadingHTTPServer) -> Any:
    """The example's class, pointed at the stand-in."""
    url = f"http://127.0.0.1:{server.server_port}/"
    return example.ElasticsearchRetriever(url, "docs", headers={"Authorization": "ApiKey abc"})


def test_it_is_a_retriever(retriever: Any) -> None:
    """It fits the protocol, and its requests have the key."""
    assert isinstance(retriever, Retriever)
    assert StandIn.keys[-1] == "ApiKey abc"


def test_it_finds_by_words_and_by_vectors(retriever: Any, exact: MemoryRetriever) -> None:
    """Whole documents in the server's order; the scores of vectors are cosines again."""
    words, near = (
        retriever.by_words("fox river", limit=7),
        retriever.by_vector(vector_of("fox"), limit=7),
    )

    assert list(words) == list(exact.by_words("fox river", limit=7))
    right = exact.by_vector(vector_of("fox"), limit=7)
    assert [one.document for one in near] == [one.document for one in right]
    assert [one.score for one in near] == pytest.approx([one.score for one in right], abs=1e-6)


@pytest.mark.parametrize(
    ("column", "operator", "value"),
    [
        *(("year", operator, 2011) for operator in ("==", "!=", "<", "<=", ">", ">=")),
        ("lang", "!=", "en"),
        ("lang", "in", ("en", "de")),
        ("open", "==", True),
        ("id", "in", ("d1", "d2")),
        ("title", "==", "river"),
    ],
)
def test_conditions_become_filters(
    retriever: Any, exact: MemoryRetriever, column: str, operator: Operator, value: object
) -> None:
    """Each operator, by words and by vectors."""
    where = where_is(column, operator, value)

    for search, right in (
        (
            retriever.by_words("fox", limit=60, where=where),
            exact.by_words("fox", limit=60, where=where),
        ),
        (
            retriever.by_vector(vector_of("fox"), limit=60, where=where),
            exact.by_vector(vector_of("fox"), limit=60, where=where),
        ),
    ):
        assert ids_of(search) == ids_of(right)


def test_what_is_wrong_is_an_error_of_ours(
    example: ModuleType, retriever: Any, server: ThreadingHTTPServer
) -> None:
    """A column nobody has, an index nobody made, a server that is away."""
    with pytest.raises(FilterError, match="known: id, title, year"):
        retriever.by_words("fox", limit=1, where=where_is("yaer", "==", 1))
    with pytest.raises(SearchIndexError, match="404"):
        example.ElasticsearchRetriever(f"http://127.0.0.1:{server.server_port}", "other")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SearchIndexError, match="does not answer"):
            example.ElasticsearchRetriever(url, "docs", timeout_s=0.2)


def test_a_pipeline_searches_with_it(retriever: Any, fake_encoder: CrossEncoder) -> None:
    """Retrieved from the server, read by a cross-encoder."""
    with SearchPipeline(retriever, encoder=ENCODER, reranker=fake_encoder) as pipeline:
        result = pipeline.search("fox story8", top_k=5, where=where_is("year", ">", 1990))

    assert len(result.hits) == 5
    assert "d8" in {hit.document.id for hit in result.hits}


def test_the_page_shows_the_example_as_it_is() -> None:
    """Who copies it from docs/retrievers.md gets what was tested."""
    source = EXAMPLE.read_text(encoding="utf-8")
    shown = source[source.index("RANGES =") : source.index("def main")].strip()

    assert shown in (ROOT / "docs" / "retrievers.md").read_text(encoding="utf-8")
