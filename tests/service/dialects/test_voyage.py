"""Voyage's rerank: on its own paths, and at `/v1/rerank` where `top_k` tells it."""

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

SHARED = "/v1/rerank"
PATHS = ["/voyage/v1/rerank", "/voyage/rerank", SHARED]
# As the package sends it: top_k and truncation are always there.
BODY = {"query": QUERY, "documents": TEXTS, "model": MODEL, "top_k": None, "truncation": True}


@pytest.mark.parametrize("path", PATHS)
def test_the_whole_answer(client: TestClient, path: str) -> None:
    """Best first, under `data`, with no document unless asked for, and one count of tokens."""
    response = client.post(path, json=BODY)

    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["usage"]["total_tokens"] > 0
    assert answer == {
        "object": "list",
        "data": [
            {"relevance_score": pytest.approx(score), "index": position}
            for position, score in zip(ORDER, PROBABILITIES, strict=True)
        ],
        "model": MODEL,
        "usage": {"total_tokens": answer["usage"]["total_tokens"]},
    }
    assert response.headers["x-pairscore-scale"] == "probability"


@pytest.mark.parametrize(("given", "there"), [(True, True), (None, False), (False, False)])
def test_return_documents(client: TestClient, *, given: bool | None, there: bool) -> None:
    """Only true puts the documents in, each as a string."""
    data = client.post(PATHS[0], json={**BODY, "return_documents": given}).json()["data"]

    documents = [TEXTS[position] for position in ORDER] if there else [None] * 4
    assert [result.get("document") for result in data] == documents


def test_objects(client: TestClient) -> None:
    """Objects are read too; what the model read comes back, as a string."""
    documents = [{"text": "red fox", "id": 1}, {"title": "blue", "id": 2}]

    data = client.post(
        PATHS[0], json={"query": QUERY, "documents": documents, "return_documents": True}
    ).json()["data"]

    assert [result["document"] for result in data] == ["red fox", "title: blue"]


@pytest.mark.parametrize(
    ("top_k", "expected"), [(None, 4), (0, 4), (1, 1), (3, 3), (4, 4), (99, 4)]
)
@pytest.mark.parametrize("path", [PATHS[0], SHARED])
def test_top_k(client: TestClient, path: str, top_k: int | None, expected: int) -> None:
    """That many of the best; null, 0 and more than there are return all."""
    data = client.post(path, json={**BODY, "top_k": top_k}).json()["data"]

    assert [result["index"] for result in data] == ORDER[:expected]


@pytest.mark.parametrize("top_k", [-1, 1.5, "2", True])
def test_a_top_k_that_is_none(client: TestClient, top_k: Any) -> None:
    """A whole number."""
    response = client.post(PATHS[0], json={**BODY, "top_k": top_k})

    assert response.status_code == 400
    assert "top_k" in response.json()["detail"]


def test_nulls_and_unknown_fields(client: TestClient) -> None:
    """Null is as not given in every field that may be left out, and what nobody knows is ignored."""
    names = (
        "model top_k return_documents truncation raw_scores min_score max_tokens_per_query "
        "max_tokens_per_doc deadline_ms"
    )
    body = {"query": QUERY, "documents": TEXTS}

    least = client.post(PATHS[0], json=body)
    most = client.post(PATHS[0], json={**body, **dict.fromkeys(names.split()), "encoding": [{}]})

    assert least.json() == most.json() == client.post(PATHS[0], json=BODY).json()


@pytest.mark.parametrize("path", [PATHS[0], SHARED])
def test_raw_scores(client: TestClient, path: str) -> None:
    """Logits, if they are asked for, and the header says so."""
    response = client.post(path, json={**BODY, "raw_scores": True})

    scores = [result["relevance_score"] for result in response.json()["data"]]
    assert scores == pytest.approx(LOGITS)
    assert response.headers["x-pairscore-scale"] == "logit"


def test_truncation_is_told(client: TestClient) -> None:
    """A document that was cut says so; one that was not says nothing."""
    response = client.post(PATHS[0], json={**BODY, "query": "word", "documents": ["sky", LONG]})

    data = {result["index"]: result for result in response.json()["data"]}
    assert data[1]["truncated"] is True
    assert "truncated" not in data[0]
    assert response.headers["x-pairscore-truncated"] == "1"


@pytest.mark.parametrize("path", [PATHS[0], SHARED])
def test_truncation_that_is_off(client: TestClient, path: str) -> None:
    """A pair that is too long is refused then, as a bad request; one that fits is scored."""
    refused = client.post(path, json={**BODY, "documents": ["sky", LONG], "truncation": False})
    fitting = client.post(path, json={**BODY, "truncation": False})

    assert refused.status_code == 400
    assert set(refused.json()) == {"detail"}
    assert "tokens" in refused.json()["detail"]
    assert fitting.status_code == 200


def test_a_limit_of_tokens_and_no_truncation(client: TestClient) -> None:
    """What is cut to a limit that the request set itself was meant to be."""
    body = {**BODY, "query": "word", "documents": [LONG], "truncation": False}

    assert client.post(PATHS[0], json={**body, "max_tokens_per_doc": 8}).status_code == 200


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (None, {}),
        ("", {}),
        (MODEL, {}),
        ("rerank-2.5", {"model_aliases": "x, rerank-2.5"}),
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
        ("empty", 400),
        ("bad JSON", 400),
        ("a list", 400),
        ("wrong type", 400),
        ("no list", 400),
        ("empty list", 400),
        ("nothing to read", 400),
        ("no query", 400),
        ("too many", 400),
        ("unknown model", 400),
        ("media type", 415),
        ("no key", 401),
        ("overload", 429),
        ("model failure", 500),
        ("memory", 503),
    ],
)
def test_errors(make_client: Any, kind: str, status: int) -> None:
    """Each has `detail`, without which the package says no more than that the answer is invalid."""
    response = refusal(kind, make_client, PATHS[0], BODY)

    assert response.status_code == status
    answer = response.json()
    assert set(answer) == {"detail"}
    assert isinstance(answer["detail"], str)
    assert answer["detail"]
    assert "secret" not in response.text
    assert response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status in {429, 503})


@pytest.mark.parametrize(("kind", "status"), [("wrong type", 400), ("no key", 401)])
def test_errors_on_the_shared_path(make_client: Any, kind: str, status: int) -> None:
    """They have `detail` too, whether the body was read already or not."""
    response = refusal(kind, make_client, SHARED, BODY)

    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)


def test_no_such_path(client: TestClient) -> None:
    """Below the prefix an unknown path is told in this shape, and stays 404."""
    response = client.post("/voyage/v1/nothing", json={})

    assert response.status_code == 404
    assert set(response.json()) == {"detail"}


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"top_k": 2}, "data"),
        ({"top_k": None}, "data"),
        ({"top_k": 2, "return_documents": True}, "data"),
        ({"top_k": 2, "top_n": 2}, "results"),
        ({"top_k": 2, "top_n": None}, "results"),
        ({"top_n": 2}, "results"),
        ({"truncation": True}, "results"),
        ({}, "results"),
    ],
)
def test_whose_body_it_is(client: TestClient, fields: Any, key: str) -> None:
    """At the shared path `top_k`, null too, without `top_n` is Voyage's; all else is the union's."""
    answer = client.post(SHARED, json={"query": QUERY, "documents": TEXTS, **fields}).json()

    assert {"data", "results"} & set(answer) == {key}


def test_texts_are_teis(client: TestClient) -> None:
    """A body with `texts` stays TEI's, whatever else it says."""
    answer = client.post(SHARED, json={"query": QUERY, "texts": TEXTS, "top_k": 2}).json()

    assert [rank["index"] for rank in answer] == ORDER
