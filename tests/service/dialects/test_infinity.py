"""Infinity's rerank: on its own paths, with its errors, and what its client needs of the shared path."""

from __future__ import annotations

from collections.abc import Callable
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

MakeClient = Callable[..., Any]

PATHS = ["/infinity/rerank", "/infinity/v1/rerank"]
BODY = {"query": QUERY, "documents": TEXTS}


@pytest.mark.parametrize("path", PATHS)
def test_the_whole_answer(client: TestClient, path: str) -> None:
    """Best first, equal ones in their order; the document is null unless asked for."""
    response = client.post(path, json={"model": MODEL, **BODY})

    assert response.status_code == 200, response.text
    answer = response.json()
    num_tokens = answer["usage"]["prompt_tokens"]
    assert num_tokens > 0
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "object": "rerank",
        "results": [
            {"relevance_score": pytest.approx(score), "index": position, "document": None}
            for position, score in zip(ORDER, PROBABILITIES, strict=True)
        ],
        "model": MODEL,
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
        "id": f"infinity-{response.headers['x-request-id']}",
    }


def test_documents_are_strings(client: TestClient) -> None:
    """As its client wants them, also where an object was sent."""
    body = {"query": QUERY, "documents": [{"text": "red fox", "id": 3}, "blue"]}

    results = client.post(PATHS[0], json={**body, "return_documents": True}).json()["results"]

    assert [result["document"] for result in results] == ["red fox", "blue"]


def test_raw_scores(client: TestClient) -> None:
    """Logits on true, probabilities else."""
    for given, scores in ((True, LOGITS), (False, PROBABILITIES), (None, PROBABILITIES)):
        results = client.post(PATHS[0], json={**BODY, "raw_scores": given}).json()["results"]
        assert [result["relevance_score"] for result in results] == pytest.approx(scores)


@pytest.mark.parametrize(("top_n", "expected"), [(None, 4), (1, 1), (4, 4), (99, 4)])
def test_top_n(client: TestClient, top_n: int | None, expected: int) -> None:
    """That many of the best; null and more than there are return all."""
    results = client.post(PATHS[0], json={**BODY, "top_n": top_n}).json()["results"]

    assert [result["index"] for result in results] == ORDER[:expected]


def test_nulls_and_unknown_fields(client: TestClient) -> None:
    """Null is as not given, and what nobody knows is ignored."""
    names = "model top_n return_documents raw_scores min_score max_tokens_per_doc deadline_ms"
    body = {**BODY, **dict.fromkeys(names.split()), "rank_fields": ["x"], "more": [1]}

    results = [client.post(PATHS[0], json=given).json()["results"] for given in (body, BODY)]

    assert results[0] == results[1]


def test_what_is_cut_is_told(client: TestClient) -> None:
    """Always cut, as Infinity does; and told, as it does not."""
    response = client.post(PATHS[0], json={"query": "q", "documents": ["short", LONG]})

    told = {result["index"]: result.get("truncated") for result in response.json()["results"]}
    assert told == {0: None, 1: True}
    assert response.headers["x-pairscore-truncated"] == "1"


@pytest.mark.parametrize(
    ("settings", "model", "status"),
    [
        ({}, MODEL, 200),
        ({}, None, 200),
        ({}, "default/not-specified", 200),
        ({}, "another", 400),
        ({"model_aliases": "another"}, "another", 200),
        ({"any_model": True}, "what/ever", 200),
    ],
)
def test_the_model(make_client: MakeClient, settings: Any, model: str, status: int) -> None:
    """The served name, an alias, and what the client sends for want of a name; an unknown one is 400."""
    response = make_client(**settings).post(PATHS[0], json={**BODY, "model": model})

    assert response.status_code == status
    if status == 200:
        assert response.json()["model"] == MODEL
    else:
        error = response.json()["error"]
        assert (error["type"], error["param"], error["code"]) == (None, None, 400)
        assert "'another' is not served here" in error["message"]


@pytest.mark.parametrize(
    ("wrong", "loc"),
    [
        ({"documents": ["a", 5]}, ["body", "documents", 1]),
        ({"documents": []}, ["body", "documents"]),
        ({"documents": "one"}, ["body", "documents"]),
        ({"documents": [{"id": 1}]}, ["body", "documents", 0]),
        ({"query": 5}, ["body", "query"]),
        ({"top_n": 0}, ["body", "top_n"]),
        ({"top_n": -1}, ["body", "top_n"]),
        ({"return_documents": "yes"}, ["body", "return_documents"]),
    ],
)
def test_validation(client: TestClient, wrong: Any, loc: Any) -> None:
    """FastAPI's shape, which the client reads: where it is, what is wrong, and of what kind."""
    response = client.post(PATHS[0], json={**BODY, **wrong})

    assert response.status_code == 422
    (found,) = response.json()["detail"]
    assert set(found) == {"loc", "msg", "type"}
    assert found["loc"] == loc
    assert found["msg"].startswith(loc[1])


@pytest.mark.parametrize("kind", ["empty", "bad JSON", "a list", "too many"])
def test_validation_of_the_whole_body(make_client: MakeClient, kind: str) -> None:
    """The same shape where it is no field's fault."""
    response = refusal(kind, make_client, PATHS[0], BODY)

    assert response.status_code == 422
    (found,) = response.json()["detail"]
    assert found["loc"] == ["body"]
    assert found["msg"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [("media type", 415), ("overload", 429), ("model failure", 500), ("memory", 503)],
)
def test_errors(make_client: MakeClient, kind: str, status: int) -> None:
    """Infinity's own shape; an overload says when to come back, and nothing inner is told."""
    response = refusal(kind, make_client, PATHS[0], BODY)

    assert response.status_code == status
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == (None, None, status)
    assert "secret" not in error["message"]
    assert ("retry-after" in response.headers) == (status in {429, 503})


def test_a_missing_key(make_client: MakeClient) -> None:
    """As Infinity says it, with the header that asks for one."""
    response = refusal("no key", make_client, PATHS[0], BODY)

    assert response.status_code == 401
    assert response.json() == {"detail": "Unauthorized"}
    assert response.headers["www-authenticate"] == "Bearer"


def test_health(client: TestClient) -> None:
    """The time, which moves."""
    first, second = (client.get("/infinity/health").json()["unix"] for _ in range(2))

    assert 1_700_000_000 < first < second


def test_the_shared_path_has_what_the_client_needs(client: TestClient) -> None:
    """`/rerank` gives the keys without which its strict models cannot be made."""
    answer = client.post("/rerank", json=BODY).json()

    assert answer["object"] == "rerank"
    assert {"id", "created", "model"} <= set(answer)
    assert set(answer["usage"]) == {"prompt_tokens", "total_tokens"}
    assert all({"index", "relevance_score"} <= set(result) for result in answer["results"])
