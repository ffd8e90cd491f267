"""Jina's rerank: on its own paths, and what its clients need of the shared one."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.dialects.hosted import (
    LOGITS,
    LONG,
    MODEL,
    ORDER,
    PROBABILITIES,
    QUERY,
    TEXTS,
    refusal,
)

PATHS = ["/jina/v1/rerank", "/jina/rerank"]
BODY = {"query": QUERY, "documents": TEXTS}
SHARED = "/v1/rerank"


@pytest.mark.parametrize("path", PATHS)
def test_the_whole_answer(client: TestClient, path: str) -> None:
    """Best first, with the model, the tokens and, because that is Jina's default, each document."""
    response = client.post(path, json={"model": MODEL, **BODY})

    assert response.status_code == 200, response.text
    answer = response.json()
    num_tokens = answer["usage"].pop("total_tokens")
    assert num_tokens > 0
    assert answer == {
        "model": MODEL,
        "object": "list",
        "usage": {"prompt_tokens": num_tokens},
        "results": [
            {
                "index": position,
                "relevance_score": pytest.approx(score),
                "document": {"text": TEXTS[position]},
            }
            for position, score in zip(ORDER, PROBABILITIES, strict=True)
        ],
    }
    assert response.headers["x-pairscore-scale"] == "probability"
    assert response.headers["x-pairscore-truncated"] == "0"


@pytest.mark.parametrize(("given", "there"), [(True, True), (None, True), (False, False)])
def test_return_documents(client: TestClient, *, given: bool | None, there: bool) -> None:
    """Only false leaves the documents out; null is as not given."""
    results = client.post(PATHS[0], json={**BODY, "return_documents": given}).json()["results"]

    assert ["document" in result for result in results] == [there] * 4


def test_objects(client: TestClient) -> None:
    """An object is read as its text, and comes back as it was; strings may stand beside it."""
    documents = [{"text": "blue sky", "id": 7, "note": None}, {"text": "red fox"}, "red wine"]

    results = client.post(PATHS[0], json={"query": {"text": QUERY}, "documents": documents}).json()[
        "results"
    ]

    assert [(result["index"], result["document"]) for result in results] == [
        (1, {"text": "red fox"}),
        (2, {"text": "red wine"}),
        (0, documents[0]),
    ]
    assert results[0]["relevance_score"] == pytest.approx(PROBABILITIES[0])


def test_a_text_beside_an_image_is_read(client: TestClient) -> None:
    """A document that has a text is scored by it."""
    body = {"query": QUERY, "documents": [{"text": "red fox", "image": "https://example.org/a"}]}

    assert client.post(PATHS[0], json=body).json()["results"][0][
        "relevance_score"
    ] == pytest.approx(PROBABILITIES[0])


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"query": QUERY, "documents": ["a", {"image": "https://example.org/a"}]}, "documents[1]"),
        ({"query": QUERY, "documents": [{"image": "aGk=", "text": None}]}, "documents[0]"),
        ({"query": {"image": "https://example.org/a"}, "documents": ["a"]}, "query"),
    ],
)
def test_images_are_refused(client: TestClient, body: Any, place: str) -> None:
    """The model reads text; the reason is told, with the place and what to send."""
    response = client.post(PATHS[0], json=body)

    assert response.status_code == 422
    detail = response.json()["detail"]
    assert detail.startswith(f"{place} is an object")
    assert 'images cannot be read here, only text: send a string, or {"text": "..."}' in detail
    assert "example.org" not in detail


@pytest.mark.parametrize("query", [5, {"text": 5}, {"words": "a"}, ["a"], None])
def test_a_query_that_is_none(client: TestClient, query: Any) -> None:
    """A text, or an object with one."""
    response = client.post(PATHS[0], json={**BODY, "query": query})

    assert response.status_code == 422
    assert "query is" in response.json()["detail"]


@pytest.mark.parametrize(
    ("top_n", "expected"), [(None, 4), (0, 4), (1, 1), (3, 3), (4, 4), (99, 4)]
)
def test_top_n(client: TestClient, top_n: int | None, expected: int) -> None:
    """That many of the best; null, 0 and more than there are return all."""
    results = client.post(PATHS[0], json={**BODY, "top_n": top_n}).json()["results"]

    assert [result["index"] for result in results] == ORDER[:expected]


@pytest.mark.parametrize("top_n", [-1, 1.5, "2", True])
def test_a_top_n_that_is_none(client: TestClient, top_n: Any) -> None:
    """A whole number from 0."""
    response = client.post(PATHS[0], json={**BODY, "top_n": top_n})

    assert response.status_code == 422
    assert "top_n" in response.json()["detail"]


def test_nulls_and_unknown_fields(client: TestClient) -> None:
    """Null is as not given in every field that may be left out, and what nobody knows is ignored."""
    names = (
        "model top_n return_documents truncation max_query_length max_doc_length raw_scores "
        "min_score max_tokens_per_query max_tokens_per_doc deadline_ms"
    )
    body = {**BODY, **dict.fromkeys(names.split()), "return_embeddings": [1, {"x": None}]}

    assert client.post(PATHS[0], json=body).json() == client.post(PATHS[0], json=BODY).json()


def test_raw_scores(client: TestClient) -> None:
    """Logits, if they are asked for, and the header says so."""
    response = client.post(PATHS[0], json={**BODY, "raw_scores": True})

    scores = [result["relevance_score"] for result in response.json()["results"]]
    assert scores == pytest.approx(LOGITS)
    assert response.headers["x-pairscore-scale"] == "logit"


def test_min_score(client: TestClient) -> None:
    """Results below it are left out."""
    results = client.post(PATHS[0], json={**BODY, "min_score": 0.4}).json()["results"]

    assert [result["index"] for result in results] == ORDER[:2]


def test_truncation_is_told(client: TestClient) -> None:
    """A document that was cut says so; one that was not says nothing."""
    response = client.post(PATHS[0], json={"query": "word", "documents": ["sky", LONG]})

    results = {result["index"]: result for result in response.json()["results"]}
    assert results[1]["truncated"] is True
    assert "truncated" not in results[0]
    assert response.headers["x-pairscore-truncated"] == "1"


def test_truncation_that_is_off(client: TestClient) -> None:
    """A pair that is too long is refused then; one that fits is scored."""
    refused = client.post(PATHS[0], json={"query": "q", "documents": [LONG], "truncation": False})
    fitting = client.post(PATHS[0], json={**BODY, "truncation": False})

    assert refused.status_code == 422
    assert "tokens" in refused.json()["detail"]
    assert fitting.status_code == 200


@pytest.mark.parametrize("field", ["max_doc_length", "max_tokens_per_doc"])
def test_a_limit_of_tokens_for_a_document(client: TestClient, field: str) -> None:
    """Jina's name and that of others: what lies beyond is not read; 0 sets none."""
    body = {"query": QUERY, "documents": ["red fox jumps high"]}

    cut = client.post(PATHS[0], json={**body, field: 2}).json()["results"][0]
    whole = client.post(PATHS[0], json={**body, field: 0}).json()["results"][0]

    assert cut["relevance_score"] == pytest.approx(PROBABILITIES[0])
    assert whole["relevance_score"] < cut["relevance_score"]


@pytest.mark.parametrize("field", ["max_query_length", "max_tokens_per_query"])
def test_a_limit_of_tokens_for_the_query(client: TestClient, field: str) -> None:
    """Likewise of the query."""
    body = {"query": "red fox", "documents": ["fox"]}

    cut = client.post(PATHS[0], json={**body, field: 1}).json()["results"][0]
    whole = client.post(PATHS[0], json={**body, field: 0}).json()["results"][0]

    assert cut["relevance_score"] < 0.1
    assert whole["relevance_score"] > 0.9


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (None, {}),
        ("", {}),
        (MODEL, {}),
        ("jina-reranker-v3", {"model_aliases": "x, jina-reranker-v3"}),
        ("whatever", {"any_model": True}),
    ],
)
def test_the_name_of_the_model(make_client: Any, model: str | None, settings: Any) -> None:
    """None, the served one, an alias or, if the operator says so, any; the answer names the served one."""
    answer = make_client(**settings).post(PATHS[0], json={**BODY, "model": model}).json()

    assert answer["model"] == MODEL


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("empty", 422),
        ("bad JSON", 422),
        ("a list", 422),
        ("wrong type", 422),
        ("no list", 422),
        ("empty list", 422),
        ("nothing to read", 422),
        ("no query", 422),
        ("too many", 422),
        ("media type", 415),
        ("no key", 401),
        ("unknown model", 404),
        ("overload", 429),
        ("model failure", 500),
        ("memory", 503),
    ],
)
@pytest.mark.parametrize("path", [PATHS[0], SHARED])
def test_errors(make_client: Any, kind: str, status: int, path: str) -> None:
    """Each has `detail`, a text, which the clients raise; the shared path says 400 where Jina says 422."""
    response = refusal(kind, make_client, path, BODY)

    assert response.status_code == (400 if path == SHARED and status == 422 else status)
    answer = response.json()
    assert isinstance(answer["detail"], str)
    assert answer["detail"]
    assert path == SHARED or set(answer) == {"detail"}
    assert "results" not in answer
    assert "secret" not in response.text
    assert response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status in {429, 503})


@pytest.mark.parametrize("path", [PATHS[0], SHARED])
def test_an_answer_as_haystack_reads_it(client: TestClient, path: str) -> None:
    """JinaRanker indexes `results`, `model` and `usage`, and takes results by `index`; so does LlamaIndex."""
    body = {"model": MODEL, **BODY, "top_n": 2}

    answer = client.post(path, json=body).json()

    assert [result["index"] for result in answer["results"]] == ORDER[:2]
    assert [result["relevance_score"] for result in answer["results"]] == pytest.approx(
        PROBABILITIES[:2]
    )
    assert answer["model"] == MODEL
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] > 0


def test_an_answer_as_open_webui_reads_it(client: TestClient) -> None:
    """It asks for as many as it sends, sorts by `index` and pairs the scores with its documents."""
    body = {"model": MODEL, **BODY, "top_n": len(TEXTS)}

    results = client.post(SHARED, json=body).json()["results"]

    by_index = sorted(results, key=lambda result: result["index"])
    assert [result["index"] for result in by_index] == [0, 1, 2, 3]
    assert all(0 <= result["relevance_score"] <= 1 for result in by_index)


@pytest.mark.parametrize("path", [PATHS[0], SHARED])
def test_an_answer_as_rerankers_reads_it(client: TestClient, path: str) -> None:
    """With `return_documents` each document is an object with `text`."""
    body = {"model": MODEL, **BODY, "top_n": 4, "return_documents": True}

    results = client.post(path, json=body).json()["results"]

    assert [result["document"]["text"] for result in results] == [TEXTS[place] for place in ORDER]
