"""NVIDIA's ranking: passages as objects, and logits."""

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
    QUERY,
    TEXTS,
    refusal,
)

MakeClient = Callable[..., Any]

SHARED = ["/v1/ranking", "/ranking", "/v1/retrieval/nvidia/some-model/reranking"]
OWN = ["/nvidia/v1/ranking", "/nvidia/ranking"]
BODY = {"query": {"text": QUERY}, "passages": [{"text": text} for text in TEXTS]}
TOO_LONG = {"query": {"text": "q"}, "passages": [{"text": "short"}, {"text": LONG}]}


def _message(response: Any, status: int) -> str:
    """The message of an error, checked to be of NVIDIA's shape."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"object", "message", "type", "requestId"}
    assert body["object"] == "error"
    assert body["requestId"] == response.headers["x-request-id"]
    message: str = body["message"]
    return message


@pytest.mark.parametrize("path", SHARED + OWN)
def test_the_whole_answer(client: TestClient, path: str) -> None:
    """Best first, equal ones in their order, each with its logit and not with a probability."""
    response = client.post(path, json={"model": MODEL, **BODY, "truncate": "END"})

    assert response.status_code == 200, response.text
    answer = response.json()
    usage = answer.pop("usage")
    assert usage["prompt_tokens"] == usage["total_tokens"] > 0
    assert answer == {
        "rankings": [
            {"index": position, "logit": logit}
            for position, logit in zip(ORDER, LOGITS, strict=True)
        ]
    }
    assert response.headers["x-pairscore-scale"] == "logit"


def test_strings_do_too(client: TestClient) -> None:
    """A query and passages without their objects are read as they are."""
    plain = client.post(SHARED[0], json={"query": QUERY, "passages": TEXTS})

    assert plain.json() == client.post(SHARED[0], json=BODY).json()


def test_nulls_and_unknown_fields(client: TestClient) -> None:
    """Null is as not given, and what nobody knows is ignored; an image that is null is none."""
    passages = [{"text": text, "image": None, "id": 1} for text in TEXTS]
    nulls = {"model": None, "truncate": None, "deadline_ms": None, "usage": 1}

    answer = client.post(SHARED[0], json={**BODY, "passages": passages, **nulls}).json()

    assert answer == client.post(SHARED[0], json=BODY).json()


@pytest.mark.parametrize("path", SHARED)
@pytest.mark.parametrize("truncate", [None, "END"])
def test_too_long_is_cut_and_told(client: TestClient, path: str, truncate: str | None) -> None:
    """Without a wish, and with END."""
    response = client.post(path, json={**TOO_LONG, "truncate": truncate})

    told = {rank["index"]: rank.get("truncated") for rank in response.json()["rankings"]}
    assert told == {0: None, 1: True}
    assert response.headers["x-pairscore-truncated"] == "1"


@pytest.mark.parametrize(
    ("path", "truncate"),
    [*((path, "NONE") for path in SHARED + OWN), *((path, None) for path in OWN)],
)
def test_too_long_is_refused(client: TestClient, path: str, truncate: str | None) -> None:
    """With NONE, which is also what null means below `/nvidia/`."""
    message = _message(client.post(path, json={**TOO_LONG, "truncate": truncate}), 422)

    assert "pair 1 is too long" in message
    assert client.post(path, json={**TOO_LONG, "truncate": "END"}).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"passages": [{"text": "a"}, {"image": "data:secret"}]}, "passages[1] is an object"),
        ({"passages": [{"text": "a", "image": "data:secret"}]}, "reads no images"),
        ({"query": {"text": "a", "image": "data:secret"}}, "query is an object"),
        ({"query": {"words": "a"}}, "it needs text"),
        ({"query": {"text": 5}}, "it needs text"),
        ({"query": None}, "query is null"),
        ({"passages": [5]}, "passages[0] is a number"),
        ({"passages": {"text": "a"}}, "passages is an object"),
        ({"truncate": "START"}, "truncate is"),
    ],
)
def test_bodies_that_make_no_sense(client: TestClient, wrong: Any, words: str) -> None:
    """With the place and the reason, and without an image's content."""
    message = _message(client.post(SHARED[0], json={**BODY, **wrong}), 422)

    assert words in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("settings", "model", "status"),
    [
        ({}, MODEL, 200),
        ({}, "nvidia/nv-rerankqa-mistral-4b-v3", 404),
        ({"model_aliases": "nvidia/x"}, "nvidia/x", 200),
        ({"any_model": True}, "what/ever", 200),
    ],
)
def test_the_model(make_client: MakeClient, settings: Any, model: str, status: int) -> None:
    """The served name, an alias, any if the operator says so."""
    response = make_client(**settings).post(OWN[0], json={**BODY, "model": model})

    if status == 200:
        assert response.status_code == 200
    else:
        assert "is not served here" in _message(response, status)


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
        ("unknown model", 404),
        ("no key", 401),
        ("media type", 415),
        ("overload", 429),
        ("model failure", 500),
        ("memory", 503),
    ],
)
@pytest.mark.parametrize("path", [*SHARED, OWN[0]])
def test_errors(make_client: MakeClient, path: str, kind: str, status: int) -> None:
    """Of NVIDIA's shape, also where the body was not read; an overload says when to come back."""
    response = refusal(kind, make_client, path, BODY)

    assert "secret" not in _message(response, status)
    assert ("retry-after" in response.headers) == (status in {429, 503})
