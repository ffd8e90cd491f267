"""`/v1/search`: what it finds, what it refuses, what it does when time runs out; over documents in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.access.guarded import SECRET, sha256_of
from tests.service.searches import ROUTE, found, many
from tests.unit.retrievers import HashEncoder, MemoryRetriever

from pairscore.errors import IndexMismatchError, IndexNotFoundError, SearchIndexError
from pairscore.retrieval.base import Document
from pairscore.retrieval.opening import OpenedIndex
from pairscore.service.app import create_app
from pairscore.service.settings import SETTINGS, ServiceSettings

Start = Callable[..., TestClient]


def test_the_best_documents_with_all_that_is_known_of_them(start_search: Start) -> None:
    """Ids, texts, metadata, scores with their scale, where each one stood before, and the time of every stage."""
    client = start_search()
    response = client.post(ROUTE, json={"query": "red fox", "top_k": 2})
    answer = response.json()

    assert response.status_code == 200
    assert response.headers["x-pairscore-model"] == answer["model"] == "ms-marco-minilm-l12"
    assert response.headers["x-pairscore-truncated"] == "0"
    assert "rerank;dur=" in response.headers["server-timing"]
    assert answer["id"] == f"search-{response.headers['x-request-id']}"
    assert (answer["object"], answer["mode"], answer["partial"]) == ("search", "hybrid", False)
    assert (answer["num_candidates"], answer["num_reranked"]) == (5, 5)
    assert answer["usage"]["total_tokens"] > 20
    assert set(answer["timings"]) == {"encode", "dense", "words", "fuse", "rerank", "total"}
    assert answer["timings"]["total"] >= answer["timings"]["rerank"] > 0
    best = answer["results"][0]
    assert len(answer["results"]) == 2
    assert {name: best[name] for name in ("id", "text", "title", "metadata", "scale")} == {
        "id": "fox",
        "text": "the red fox runs over the snow",
        "title": "",
        "metadata": {"year": 2020, "lang": "en"},
        "scale": "logit",
    }
    assert (best["reranked"], best["truncated"]) == (True, False)
    assert 0 < best["probability"] < 1
    assert best["rank_before"] >= 1
    assert set(best["sources"]) == {"dense", "bm25"}


def test_scores_are_those_of_rerank(start_search: Start) -> None:
    """The server has one model, and a document's score does not depend on the road to it."""
    client = start_search()
    hits = found(client, top_k=5)["results"]
    documents = [f"{hit['title']} {hit['text']}".strip() for hit in hits]
    ranked = client.post("/rerank", json={"query": "red fox", "documents": documents}).json()

    assert [result["score"] for result in ranked["results"]] == [hit["score"] for hit in hits]


@pytest.mark.parametrize(
    ("mode", "scale", "sources"),
    [
        ("dense", "cosine", {"dense"}),
        ("bm25", "bm25", {"bm25"}),
        ("hybrid", "rrf", {"dense", "bm25"}),
    ],
)
def test_without_reranking(start_search: Start, mode: str, scale: str, sources: set[str]) -> None:
    """The first stage's order and scale; no model is named, and nothing is charged."""
    client = start_search()
    response = client.post(ROUTE, json={"query": "red fox", "mode": mode, "rerank": False})
    answer = response.json()

    assert "model" not in answer
    assert "x-pairscore-model" not in response.headers
    assert (answer["mode"], answer["num_reranked"], answer["partial"]) == (mode, 0, False)
    assert answer["usage"]["total_tokens"] == 0
    assert {hit["scale"] for hit in answer["results"]} == {scale}
    assert set(answer["results"][0]["sources"]) == sources
    assert not any("probability" in hit or hit["reranked"] for hit in answer["results"])


def test_documents_can_be_left_out(start_search: Start) -> None:
    """Ids and numbers only."""
    hit = found(start_search(), return_documents=False)["results"][0]

    assert hit["id"] == "fox"
    assert not {"text", "title", "metadata"} & set(hit)


def test_metadata_comes_back_as_it_is(start_search: Start) -> None:
    """Every kind of scalar, null too."""
    metadata = {"n": 1, "f": 0.5, "b": False, "s": "ü", "nothing": None}
    client = start_search(MemoryRetriever([Document(id="a", text="fox", metadata=metadata)]))

    assert found(client)["results"][0]["metadata"] == metadata


def test_conditions(start_search: Start) -> None:
    """All must hold; lists are for `in`, = is as ==."""
    client = start_search()
    conditions = [
        {"column": "year", "operator": ">=", "value": 2020},
        {"column": "lang", "operator": "in", "value": ["de", "fr", "en"]},
        {"column": "lang", "operator": "=", "value": "en"},
        {"column": "id", "operator": "!=", "value": "hen"},
    ]

    assert {hit["id"] for hit in found(client, filter=conditions)["results"]} == {"fox", "sky"}
    assert len(found(client, filter=None)["results"]) == 5


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"column": "colour", "value": "red"}, "colour"),
        ({"column": "year", "operator": "in", "value": 2020}, "several values"),
        ({"column": "year", "operator": ">", "value": [2020]}, "one value"),
        ({"column": "", "value": 1}, "no column"),
    ],
)
def test_conditions_that_cannot_be_held_against_documents(
    start_search: Start, problem: Any, condition: Any, said: str
) -> None:
    """422, with what is wrong."""
    refused = start_search().post(ROUTE, json={"query": "fox", "filter": [condition]})

    error = problem(refused, 422)
    assert error["type"] == "FilterError"
    assert said in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], {"query": 5}, {"query": None}, {"query": "fox", "top_k": 0}),
        *({"query": "fox", "num_candidates": 0}, {"query": "fox", "mode": "sparse"}),
        *({"query": "fox", "deadline_ms": 0}, {"query": "fox", "filter": [{"column": "a"}]}),
        *({"query": "fox", "filter": {"a": 1}}, {"query": "fox", "rerank": "no"}),
        {"query": "fox", "filter": [{"column": "a", "operator": "~", "value": 1}]},
        {"query": "fox", "filter": [{"column": "a", "value": {"b": 1}}]},
        {"query": "fox", "filter": [{"column": "a", "value": 1}] * 65},
    ],
)
def test_bodies_of_another_shape(start_search: Start, problem: Any, body: Any) -> None:
    """422, and each fault named."""
    error = problem(start_search().post(ROUTE, json=body), 422)

    assert error["type"] == "BodyError"
    assert error["details"]


def test_a_query_that_is_none(start_search: Start, problem: Any) -> None:
    """Empty or too long."""
    client = start_search(max_chars=20)

    for query, kind in (
        ("", "EmptyInputError"),
        (" ", "EmptyInputError"),
        ("x" * 21, "LimitError"),
    ):
        assert problem(client.post(ROUTE, json={"query": query}), 422)["type"] == kind


@pytest.mark.parametrize("field", ["top_k", "num_candidates"])
def test_no_more_candidates_than_pairs_in_a_request(
    start_search: Start, problem: Any, field: str
) -> None:
    """The limit names itself; the default number keeps within it."""
    client = start_search(many(9), max_pairs=4)
    error = problem(client.post(ROUTE, json={"query": "fox", field: 5}), 422)

    assert error["type"] == "LimitError"
    assert field in error["message"]
    assert "--max-pairs" in error["message"]
    assert len(found(client)["results"]) == found(client)["num_reranked"] == 4


def test_an_index_without_vectors(start_search: Start, problem: Any) -> None:
    """Is searched by words, and another mode is refused with the one that there is."""
    client = start_search(MemoryRetriever(modes=["bm25"]), encoder=False)

    assert found(client)["mode"] == "bm25"
    error = problem(client.post(ROUTE, json={"query": "fox", "mode": "hybrid"}), 422)
    assert error["details"] == [{"field": "mode", "message": error["message"]}]
    assert "'bm25'" in error["message"]


def test_nothing_found_is_an_empty_answer(start_search: Start) -> None:
    """It is no error."""
    answer = found(start_search(), query="zebra", mode="bm25")

    assert (answer["results"], answer["num_candidates"], answer["partial"]) == ([], 0, False)


def test_a_server_without_an_index_says_how_it_gets_one(client: TestClient, problem: Any) -> None:
    """404, in this service's own words, before the body is read."""
    error = problem(client.post(ROUTE, json={"query": "fox"}), 404)

    assert error["type"] == "SearchNotServedError"
    assert "--index / PAIRSCORE_INDEX" in error["message"]
    assert "index" not in client.get("/readyz").json()["checks"]
    assert client.get("/info").json()["index"] is None


def test_an_index_that_fails_is_told_without_its_paths(
    start_search: Start, problem: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """503 and a fixed sentence; the log has the cause; the next search is answered."""
    errors = [SearchIndexError("/secret/place is gone")]

    def fail(_: str) -> None:
        if errors:
            raise errors.pop()

    retriever = MemoryRetriever()
    client = start_search(retriever)
    retriever._before = fail
    error = problem(client.post(ROUTE, json={"query": "fox", "mode": "bm25"}), 503)

    assert error["type"] == "SearchIndexError"
    assert "secret" not in error["message"]
    assert "secret" in caplog.text
    assert len(found(client)["results"]) == 5


@pytest.mark.parametrize("error", [IndexMismatchError("another model"), IndexNotFoundError("no")])
def test_an_index_that_cannot_be_used_stops_the_start(error: Exception) -> None:
    """The server does not start, and whoever started it learns why."""

    def fail() -> OpenedIndex:
        raise error

    app = create_app(ServiceSettings(backend="fake"), opening=fail)

    with pytest.raises(type(error), match=str(error)), TestClient(app):
        pass
    assert app.state.parts.runtime.failure is error


def test_readiness_counts_the_index_and_the_end_closes_it(start_search: Start) -> None:
    """It is open once the server is ready, and let go of at the end."""
    retriever = MemoryRetriever()
    encoder = HashEncoder()
    opened = OpenedIndex(retriever=retriever, encoder=encoder)  # type: ignore[arg-type]
    app = create_app(ServiceSettings(backend="fake"), opening=lambda: opened)

    before = TestClient(app).get("/readyz")
    with TestClient(app) as client:
        assert client.get("/readyz").json()["checks"]["index"] == "ok"
        assert client.get("/info").json()["index"] == {
            "kind": "memory",
            "encoder": "hashed-words",
            "modes": ["hybrid", "dense", "bm25"],
        }
        # It was searched once, so that the first caller finds it warm.
        assert retriever.calls
        assert retriever.num_closed == 0

    assert before.status_code == 503
    assert (retriever.num_closed, encoder.num_closed) == (1, 1)


def test_keys_and_quotas_hold_here_too(start_search: Start, tmp_path: Path, problem: Any) -> None:
    """Without a key 401; what was read counts against the quota."""
    keys = tmp_path / "keys.toml"
    keys.write_text(
        f'[keys.one]\nsha256 = "{sha256_of(SECRET)}"\ntokens_per_minute = 30\n', encoding="utf-8"
    )
    client = start_search(keys_file=keys)
    headers = {"X-API-Key": SECRET}

    assert problem(client.post(ROUTE, json={"query": "fox"}), 401)["type"] == "KeyMissingError"
    assert client.post(ROUTE, json={"query": "fox"}, headers=headers).status_code == 200
    used_up = client.post(ROUTE, json={"query": "fox"}, headers=headers)
    assert problem(used_up, 429)["type"] == "QuotaError"


def test_another_model_is_refused_and_an_alias_is_none(start_search: Start, problem: Any) -> None:
    """As for every route that scores."""
    client = start_search(model_aliases="reranker")
    unknown = client.post(ROUTE, json={"query": "fox", "model": "gpt-9"})

    assert found(client, model="reranker")["num_reranked"] == 5
    assert problem(unknown, 404)["type"] == "ModelUnknownError"


def test_it_is_counted_and_logged_as_other_routes(start_search: Start) -> None:
    """Under its own path; pairs are those that the cross-encoder read."""
    client = start_search()
    found(client)
    metrics = client.get("/metrics").text

    assert 'pairscore_requests_total{route="/v1/search",status="200"} 1.0' in metrics
    assert 'pairscore_pairs_total{model="ms-marco-minilm-l12"} 5.0' in metrics
    assert 'pairscore_searches_total{outcome="whole"} 1.0' in metrics
    assert 'pairscore_searches_total{outcome="partial"} 0.0' in metrics
    assert 'pairscore_search_seconds_count{stage="rerank"} 1.0' in metrics


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("milvus+https://key-123@host:19530/docs", "milvus+https://***@host:19530/docs"),
        ("milvus+http://root:key-123@host:19530", "milvus+http://***@host:19530"),
        ("data@2026/index", "data@2026/index"),
        ("s3://bucket/index", "s3://bucket/index"),
    ],
)
def test_a_key_in_the_place_of_an_index_is_not_shown(given_: str, shown: str) -> None:
    """Neither in the settings' file nor in their repr; a folder is shown as it is."""
    settings_ = ServiceSettings(index=given_)
    (setting,) = (one for one in SETTINGS if one.name == "index")

    assert setting.shown(given_) == shown
    assert "key-123" not in repr(settings_)


def test_the_first_stage_can_keep_a_say(start_search: Start) -> None:
    """With all the weight the order is the first stage's, with the cross-encoder's scores."""
    client = start_search()
    plain = found(client, top_k=5)
    first = found(client, top_k=5, blend=1.0)

    assert (plain["blend"], first["blend"]) == (0.0, 1.0)
    assert [hit["rank_before"] for hit in first["results"]] == [1, 2, 3, 4, 5]
    assert {hit["id"]: hit["score"] for hit in first["results"]} == {
        hit["id"]: hit["score"] for hit in plain["results"]
    }
    assert client.post(ROUTE, json={"query": "fox", "blend": 1.5}).status_code == 422
