"""Mixedbread's rerank: on its own paths, and at `/v1/reranking`, which llama.cpp's clients share."""

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

SHARED = "/v1/reranking"
OWN = "/mixedbread/v1/reranking"
PATHS = [OWN, "/mixedbread/v1/rerank", "/mixedbread/reranking", SHARED]
BODY = {"query": QUERY, "input": TEXTS}


@pytest.mark.parametrize("path", PATHS)
def test_the_whole_answer(client: TestClient, path: str) -> None:
    """Best first, under `data`; what the package's models require is all there."""
    response = client.post(path, json={"model": MODEL, **BODY})

    assert response.status_code == 200, response.text
    answer = response.json()
    num_tokens = answer["usage"].pop("total_tokens")
    assert num_tokens > 0
    assert answer == {
        "usage": {"prompt_tokens": num_tokens},
        "model": MODEL,
        "data": [
            {"index": position, "score": pytest.approx(score), "object": "rank_result"}
            for position, score in zip(ORDER, PROBABILITIES, strict=True)
        ],
        "object": "list",
        "top_k": 4,
        "return_input": False,
    }
    assert response.headers["x-pairscore-scale"] == "probability"


@pytest.mark.parametrize(("given", "there"), [(True, True), (None, False), (False, False)])
def test_return_input(client: TestClient, *, given: bool | None, there: bool) -> None:
    """Only true puts the candidates in, a text as a text and an object whole; the answer repeats it."""
    objects = [{"text": "red fox", "id": 7, "note": None, "at": {"page": [1, None]}}, "red wine"]

    answer = client.post(OWN, json={"query": QUERY, "input": objects, "return_input": given}).json()

    assert answer["return_input"] is there
    assert [result.get("input") for result in answer["data"]] == (objects if there else [None] * 2)


def test_rank_fields(client: TestClient) -> None:
    """Only the named fields are read, in their order; without names all but `id` and `metadata`."""
    objects = [
        {"title": "red fox", "text": "blue sky"},
        {"title": "blue sky", "text": "red fox"},
        "red fox",
    ]

    def scores(fields: Any) -> dict[int, float]:
        body = {"query": "title : red fox", "input": objects, "rank_fields": fields}
        data = client.post(OWN, json=body).json()["data"]
        return {result["index"]: result["score"] for result in data}

    by_title, by_text = scores(["title"]), scores(None)
    assert by_title[0] == pytest.approx(PROBABILITIES[0])
    assert by_title[1] == pytest.approx(0.5)
    assert by_text[1] == pytest.approx(PROBABILITIES[0])
    assert by_text[0] == pytest.approx(PROBABILITIES[3])
    assert by_title[2] == by_text[2] == pytest.approx(PROBABILITIES[0])
    assert scores([]) == by_text


def test_rank_fields_inside_of_fields(client: TestClient) -> None:
    """A path with dots reaches into objects; a field with that very name goes first; nothing is added to the input."""
    objects = [
        {"page": {"body": "blue sky"}},
        {"page": {"body": "page . body : red fox"}},
        {"page.body": "page . body : red fox", "page": {"body": "sky"}},
        {"page": "a text", "title": "t"},
    ]
    body = {"query": "page . body : red fox", "input": objects, "return_input": True}

    data = client.post(OWN, json={**body, "rank_fields": ["page.body", "title"]}).json()["data"]

    assert [result["index"] for result in data[:2]] == [1, 2]
    assert data[0]["score"] == data[1]["score"] == pytest.approx(PROBABILITIES[0])
    assert all(result["input"] == objects[result["index"]] for result in data)


@pytest.mark.parametrize("fields", [["other"], ["a.b.c"], ["text.a"]])
def test_rank_fields_that_nothing_has(client: TestClient, fields: list[str]) -> None:
    """An object without any of the fields is refused, with its place and the names."""
    response = client.post(
        OWN, json={"query": "q", "input": ["a", {"text": "b", "a": None}], "rank_fields": fields}
    )

    assert response.status_code == 422
    assert (
        f"input[1] is an object with nothing to read; give it one of {fields[0]}"
        in (response.json()["detail"])
    )


def test_too_many_rank_fields(client: TestClient) -> None:
    """Every field is looked up in every object, so there is an end to them."""
    fields = [f"f{number}" for number in range(65)]
    body = {"query": "q", "input": [{"f1": "a"}]}

    assert client.post(OWN, json={**body, "rank_fields": fields[:64]}).status_code == 200
    refused = client.post(OWN, json={**body, "rank_fields": fields})
    assert refused.status_code == 422
    assert "at most 64" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("top_k", "expected", "told"),
    [(None, 4, 4), (0, 4, 4), (1, 1, 1), (3, 3, 3), (4, 4, 4), (99, 4, 99)],
)
def test_top_k(client: TestClient, top_k: int | None, expected: int, told: int) -> None:
    """That many of the best; null, 0 and more than there are return all. The answer repeats it."""
    answer = client.post(OWN, json={**BODY, "top_k": top_k}).json()

    assert [result["index"] for result in answer["data"]] == ORDER[:expected]
    assert answer["top_k"] == told


@pytest.mark.parametrize("top_k", [-1, 1.5, "2", True])
def test_a_top_k_that_is_none(client: TestClient, top_k: Any) -> None:
    """A whole number."""
    response = client.post(OWN, json={**BODY, "top_k": top_k})

    assert response.status_code == 422
    assert "top_k" in response.json()["detail"]


def test_nulls_and_unknown_fields(client: TestClient) -> None:
    """Null is as not given in every field that may be left out, and what nobody knows is ignored."""
    names = "model rank_fields top_k return_input raw_scores deadline_ms"
    body = {**BODY, **dict.fromkeys(names.split()), "rewrite_query": True, "instruction": {}}

    assert client.post(OWN, json=body).json() == client.post(OWN, json=BODY).json()


def test_raw_scores(client: TestClient) -> None:
    """Logits, if they are asked for, and the header says so."""
    response = client.post(OWN, json={**BODY, "raw_scores": True})

    assert [result["score"] for result in response.json()["data"]] == pytest.approx(LOGITS)
    assert response.headers["x-pairscore-scale"] == "logit"


def test_truncation_is_told(client: TestClient) -> None:
    """A candidate that was cut says so; one that was not says nothing."""
    response = client.post(OWN, json={"query": "word", "input": ["sky", LONG]})

    data = {result["index"]: result for result in response.json()["data"]}
    assert data[1]["truncated"] is True
    assert "truncated" not in data[0]
    assert response.headers["x-pairscore-truncated"] == "1"


@pytest.mark.parametrize(("place", "text"), [("query", "q" * 11), ("input[1]", "i" * 11)])
def test_too_many_characters(make_client: Any, place: str, text: str) -> None:
    """The limit on a text's length holds for the query, for texts and for what is read of objects."""
    client = make_client(max_chars=10)
    query, candidate = (text, "a") if place == "query" else ("q", text)

    for entry in (candidate, {"text": candidate}):
        response = client.post(OWN, json={"query": query, "input": ["a", entry]})
        assert response.status_code == 422
        assert f"characters in {place}" in response.json()["detail"]


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (None, {}),
        ("", {}),
        (MODEL, {}),
        (
            "mixedbread-ai/mxbai-rerank-large-v2",
            {"model_aliases": "x, mixedbread-ai/mxbai-rerank-large-v2"},
        ),
        ("whatever", {"any_model": True}),
    ],
)
def test_the_name_of_the_model(make_client: Any, model: str | None, settings: Any) -> None:
    """None, the served one, an alias or, if the operator says so, any; the answer names the served one."""
    answer = make_client(**settings).post(OWN, json={**BODY, "model": model}).json()

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
def test_errors(make_client: Any, kind: str, status: int) -> None:
    """The status that the package maps to an error of its own, and `detail`."""
    response = refusal(kind, make_client, OWN, BODY)

    assert response.status_code == status
    answer = response.json()
    assert set(answer) == {"detail"}
    assert isinstance(answer["detail"], str)
    assert answer["detail"]
    assert "secret" not in response.text
    assert response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status in {429, 503})


@pytest.mark.parametrize("kind", ["empty list", "no list", "empty"])
def test_the_remedy_is_in_the_words_of_the_dialect(make_client: Any, kind: str) -> None:
    """A body without candidates is shown how it should look: with `input`."""
    detail = refusal(kind, make_client, OWN, BODY).json()["detail"]

    assert '{"query": "...", "input": ["...", "..."]}' in detail


@pytest.mark.parametrize(
    ("kind", "status"), [("wrong type", 422), ("unknown model", 404), ("no key", 401)]
)
def test_errors_on_the_shared_path(make_client: Any, kind: str, status: int) -> None:
    """A body with `input` gets Mixedbread's statuses there, too; what fails before has `detail` as well."""
    response = refusal(kind, make_client, SHARED, BODY)

    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)


def test_documents_are_llama_cpps(client: TestClient) -> None:
    """Without `input` the shared path is the union of `/v1/rerank`."""
    body = {"model": MODEL, "query": QUERY, "documents": TEXTS, "top_n": 2}

    answer = client.post(SHARED, json=body).json()

    assert [result["index"] for result in answer["results"]] == ORDER[:2]
    assert {"model", "object", "usage"} <= set(answer)


def test_texts_are_teis(client: TestClient) -> None:
    """With `texts` it is answered as TEI does, which is what llama.cpp does there."""
    answer = client.post(SHARED, json={"query": QUERY, "texts": TEXTS}).json()

    assert [rank["index"] for rank in answer] == ORDER


def test_nothing_to_rank_on_the_shared_path(client: TestClient) -> None:
    """A body with neither is told so, in a shape that every client there can read."""
    response = client.post(SHARED, json={"query": QUERY})

    assert response.status_code == 400
    assert {"detail", "message", "error"} <= set(response.json())
