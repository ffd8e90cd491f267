"""vLLM's score and rerank: on their own paths, and `/score`, which is shared with this service's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.dialects.hosted import (
    KEY,
    LOGITS,
    LONG,
    MODEL,
    ORDER,
    PROBABILITIES,
    QUERY,
    TEXTS,
    refusal,
)

from pairscore.road.backends.fake import FakeBackend

MakeClient = Callable[..., Any]

SCORES = ["/score", "/v1/score", "/vllm/score", "/vllm/v1/score"]
RERANKS = ["/vllm/rerank", "/vllm/v1/rerank", "/vllm/v2/rerank"]
SCORE = {"queries": QUERY, "documents": TEXTS}
RERANK = {"query": QUERY, "documents": TEXTS}
IN_ORDER = [PROBABILITIES[ORDER.index(position)] for position in range(4)]
NULLS = (
    *("model", "truncate_prompt_tokens", "truncation_side", "use_activation"),
    *("max_tokens_per_query", "max_tokens_per_doc", "priority", "instruction", "deadline_ms"),
)


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _values(response: Any) -> list[float]:
    assert response.status_code == 200, response.text
    return [entry["score"] for entry in response.json()["data"]]


def _error(response: Any, status: int = 400) -> Any:
    """The whole of an error, checked to be of vLLM's shape."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["code"] == status
    return body["error"]


@pytest.mark.parametrize("path", SCORES)
def test_the_whole_score(client: TestClient, path: str) -> None:
    """Probabilities in the order of the request, not sorted; nothing more and nothing less than vLLM."""
    response = client.post(path, json={"model": MODEL, **SCORE})

    assert response.status_code == 200, response.text
    answer = response.json()
    num_tokens = answer["usage"]["prompt_tokens"]
    assert num_tokens > 0
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "id": f"score-{response.headers['x-request-id']}",
        "object": "list",
        "model": MODEL,
        "data": [
            {"index": position, "object": "score", "score": pytest.approx(score)}
            for position, score in enumerate(IN_ORDER)
        ],
        "usage": {
            "prompt_tokens": num_tokens,
            "total_tokens": num_tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }
    assert response.headers["x-pairscore-scale"] == "probability"


@pytest.mark.parametrize(
    "names",
    [("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2")],
)
@pytest.mark.parametrize("path", SCORES)
def test_the_names_of_the_sides(client: TestClient, path: str, names: tuple[str, str]) -> None:
    """Each of vLLM's four pairs of keys, in both bodies that are shared and that are its own."""
    first, second = names

    assert _values(client.post(path, json={first: QUERY, second: TEXTS})) == pytest.approx(IN_ORDER)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (QUERY, "red fox", [0]),
        ([QUERY], ["red fox"], [0]),
        (QUERY, ["red fox", "red wine"], [0, 1]),
        ([QUERY], ["red fox", "red wine"], [0, 1]),
        ([QUERY, "x"], ["red wine", "red fox"], [1, 2]),
        ({"content": [_part("red"), _part("fox")]}, "red fox", [0]),
        (QUERY, [{"content": "red fox"}, {"text": "red wine"}, "blue"], [0, 1, 2]),
    ],
)
def test_the_shapes_of_pairs(client: TestClient, first: Any, second: Any, expected: Any) -> None:
    """One and one, one against many, as many as many; texts, or objects with parts."""
    values = _values(client.post("/vllm/score", json={"text_1": first, "text_2": second}))

    assert values == pytest.approx([PROBABILITIES[place] for place in expected])


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        (["a", "b"], ["a"], "text_1"),
        (["a", "b"], ["a", "b", "c"], "text_1"),
        (["a", "b"], "a", "text_1"),
        ([], ["a"], None),
        ("a", [], None),
        ("a", None, "text_2"),
        (None, "a", "text_1"),
        ("a", 7, "text_2"),
        ("a", ["b", 7], "text_2"),
        ("a", [["b"]], "text_2"),
        ("a", {"words": "b"}, "text_2"),
        ("a", {"content": 5}, "text_2"),
    ],
)
def test_shapes_that_fit_nothing(client: TestClient, first: Any, second: Any, field: str) -> None:
    """400, with the field."""
    response = client.post("/v1/score", json={"text_1": first, "text_2": second})

    error = _error(response)
    assert (error["type"], error["param"]) == ("BadRequestError", field)


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/vllm/score", {"data_1": "a", "data_2": ["b", "image"]}, "data_2[1]"),
        ("/vllm/rerank", {"query": "image", "documents": ["a"]}, "query"),
        ("/vllm/rerank", {"query": "a", "documents": ["a", "image"]}, "documents[1]"),
    ],
)
def test_images_are_refused(client: TestClient, path: str, body: Any, place: str) -> None:
    """With the place and the reason, and without the image's address."""
    image = {"content": [_part("a"), {"type": "image_url", "image_url": {"url": "data:secret"}}]}
    full = json.loads(json.dumps(body).replace('"image"', json.dumps(image)))

    error = _error(client.post(path, json=full))
    assert error["message"].startswith(f"{place} is an object")
    assert "content[1] is image_url" in error["message"]
    assert "reads only texts" in error["message"]
    assert "secret" not in error["message"]


@pytest.mark.parametrize("path", RERANKS)
def test_the_whole_ranking(client: TestClient, path: str) -> None:
    """Best first, equal ones in the order of the request, and always with the document."""
    response = client.post(path, json={"model": MODEL, **RERANK, "return_documents": False})

    assert response.status_code == 200, response.text
    answer = response.json()
    num_tokens = answer["usage"]["prompt_tokens"]
    assert num_tokens > 0
    assert answer == {
        "id": f"rerank-{response.headers['x-request-id']}",
        "model": MODEL,
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
        "results": [
            {
                "index": position,
                "document": {"text": TEXTS[position], "multi_modal": None},
                "relevance_score": pytest.approx(score),
            }
            for position, score in zip(ORDER, PROBABILITIES, strict=True)
        ],
    }


def test_documents_of_a_ranking(client: TestClient) -> None:
    """One text is a list of one; parts come back as parts, and a text as a text."""
    parts = [_part("red"), _part("fox")]

    one = client.post(RERANKS[0], json={"query": QUERY, "documents": "red fox"}).json()
    many = client.post(
        RERANKS[0],
        json={
            "query": {"content": parts},
            "documents": ["blue", {"content": parts}, {"text": "red"}],
        },
    ).json()

    assert [result["document"]["text"] for result in one["results"]] == ["red fox"]
    assert [(result["index"], result["document"]) for result in many["results"]] == [
        (1, {"text": None, "multi_modal": parts}),
        (2, {"text": "red", "multi_modal": None}),
        (0, {"text": "blue", "multi_modal": None}),
    ]


@pytest.mark.parametrize(
    ("top_n", "expected"), [(None, 4), (0, 4), (1, 1), (3, 3), (4, 4), (99, 4)]
)
def test_top_n(client: TestClient, top_n: int | None, expected: int) -> None:
    """That many of the best; null, 0 and more than there are return all."""
    results = client.post(RERANKS[0], json={**RERANK, "top_n": top_n}).json()["results"]

    assert [result["index"] for result in results] == ORDER[:expected]


def test_logits(client: TestClient) -> None:
    """Only use_activation: false answers with logits, and the header says so."""
    for given, scores, scale in [
        (False, LOGITS, "logit"),
        (True, PROBABILITIES, "probability"),
        (None, PROBABILITIES, "probability"),
    ]:
        ranked = client.post(RERANKS[0], json={**RERANK, "use_activation": given})
        scored = client.post("/v1/score", json={**SCORE, "use_activation": given})
        assert [result["relevance_score"] for result in ranked.json()["results"]] == pytest.approx(
            scores
        )
        assert sorted(_values(scored), reverse=True) == pytest.approx(scores)
        assert ranked.headers["x-pairscore-scale"] == scored.headers["x-pairscore-scale"] == scale


@pytest.mark.parametrize(("path", "body"), [("/vllm/score", SCORE), (RERANKS[0], RERANK)])
def test_nulls_and_unknown_fields(client: TestClient, path: str, body: Any) -> None:
    """Null is as not given, and what nobody knows, or what no model here can use, changes nothing."""
    plain = client.post(path, json=body).json()
    nulls = client.post(path, json={**body, **dict.fromkeys(NULLS)}).json()
    more = client.post(
        path,
        json={**body, "user": "me", "padding": True, "cache_salt": "x", "instruction": "Be kind."},
    ).json()

    for answer in (plain, nulls, more):
        answer.pop("id")
        answer.pop("created", None)
    assert plain == nulls == more


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
def test_too_long_is_cut_and_told_where_paths_are_shared(client: TestClient, path: str) -> None:
    """Without a wish: `truncated` at that pair alone, and the number in the header."""
    response = client.post(path, json={"queries": "q", "documents": ["short", LONG]})

    assert [entry.get("truncated") for entry in response.json()["data"]] == [None, True]
    assert response.headers["x-pairscore-truncated"] == "1"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, {"queries": "q", "documents": ["short", LONG]}) for path in SCORES[2:]),
        *((path, {"query": "q", "documents": ["short", LONG]}) for path in RERANKS),
    ],
)
def test_too_long_is_refused_as_vllm_does(client: TestClient, path: str, body: Any) -> None:
    """Below `/vllm/` null refuses it, and -1 cuts it and tells."""
    error = _error(client.post(path, json=body))
    assert "pair 1 is too long" in error["message"]
    assert "the limit is 512" in error["message"]

    cut = client.post(path, json={**body, "truncate_prompt_tokens": -1})
    assert cut.status_code == 200
    assert cut.headers["x-pairscore-truncated"] == "1"
    answer = cut.json()
    results = answer.get("data") or answer["results"]
    assert {result["index"]: result.get("truncated") for result in results} == {0: None, 1: True}


@pytest.mark.parametrize("path", ["/score", "/vllm/score"])
@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_length_that_holds_no_pair_is_refused(client: TestClient, path: str, length: int) -> None:
    """400, with what to send instead."""
    error = _error(client.post(path, json={**SCORE, "truncate_prompt_tokens": length}))

    assert error["param"] == "truncate_prompt_tokens"
    assert "at least 8" in error["message"]


@pytest.mark.parametrize("path", ["/score", "/vllm/score"])
@pytest.mark.parametrize(("length", "expected"), [(8, 8), (256, 256), (512, 512), (10**9, 512)])
def test_a_length_of_the_pair(client: TestClient, path: str, length: int, expected: int) -> None:
    """The pair is cut to it, or to what the model can read, and that is told."""
    body = {**SCORE, "documents": ["red " * 700], "truncate_prompt_tokens": length}
    answer = client.post(path, json=body)

    assert answer.json()["usage"]["prompt_tokens"] == expected
    assert answer.headers["x-pairscore-truncated"] == "1"


def test_limits_of_tokens(client: TestClient) -> None:
    """A document and a query are cut to their limits, from the side that was named; 0 is no limit."""
    body = {"queries": "red fox", "documents": "red wine"}
    path = "/vllm/score"
    limited = client.post(path, json={**body, "max_tokens_per_doc": 1})
    left = client.post(path, json={**body, "max_tokens_per_doc": 1, "truncation_side": "left"})
    query = client.post(path, json={**body, "documents": "fox", "max_tokens_per_query": 1})
    none = client.post(path, json={**body, "max_tokens_per_doc": 0, "max_tokens_per_query": 0})

    # All, none, none and half of the document's words are the query's.
    assert [_values(r)[0] for r in (limited, left, query, none)] == pytest.approx(
        [PROBABILITIES[0], PROBABILITIES[2], PROBABILITIES[2], PROBABILITIES[1]]
    )
    assert limited.json()["data"][0]["truncated"] is True
    assert "truncated" not in none.json()["data"][0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens_per_doc": -1},
        {"max_tokens_per_query": -1},
        {"max_tokens_per_doc": "5"},
        {"truncate_prompt_tokens": -2},
        {"truncation_side": "middle"},
        {"use_activation": 1},
        {"priority": 1.5},
        {"priority": -1_000_001},
        {"model": 5},
        {"deadline_ms": 0},
    ],
)
def test_values_that_make_no_sense(client: TestClient, wrong: Any) -> None:
    """400 and not 422, with the field."""
    (field,) = wrong

    for path, body in (("/v1/score", SCORE), (RERANKS[0], RERANK)):
        assert _error(client.post(path, json={**body, **wrong}))["param"] == field
    assert _error(client.post(RERANKS[0], json={**RERANK, "top_n": -1}))["param"] == "top_n"


@pytest.mark.parametrize(
    ("settings", "model", "status"),
    [
        ({}, MODEL, 200),
        ({}, "", 200),
        ({}, "BAAI/bge-reranker-base", 404),
        ({"model_aliases": "BAAI/bge-reranker-base"}, "BAAI/bge-reranker-base", 200),
        ({"any_model": True}, "what/ever", 200),
    ],
)
def test_the_model(make_client: MakeClient, settings: Any, model: str, status: int) -> None:
    """The served name, an alias, any if the operator says so; the answer has the real one."""
    client = make_client(**settings)
    for path, body in ((SCORES[2], SCORE), (RERANKS[0], RERANK)):
        response = client.post(path, json={**body, "model": model})
        if status == 200:
            assert response.status_code == 200
            assert response.json()["model"] == MODEL
        else:
            error = _error(response, status)
            assert (error["type"], error["param"]) == ("NotFoundError", "model")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("empty", (400, "BadRequestError")),
        ("bad JSON", (400, "BadRequestError")),
        ("a list", (400, "BadRequestError")),
        ("wrong type", (400, "BadRequestError")),
        ("empty list", (400, "BadRequestError")),
        ("nothing to read", (400, "BadRequestError")),
        ("too many", (400, "BadRequestError")),
        ("unknown model", (404, "NotFoundError")),
        ("no key", (401, "Unauthorized")),
        ("media type", (415, "Unsupported Media Type")),
        ("overload", (429, "Too Many Requests")),
        ("model failure", (500, "InternalServerError")),
        ("memory", (503, "Service Unavailable")),
    ],
)
@pytest.mark.parametrize(("path", "body"), [("/v1/score", SCORE), (RERANKS[1], RERANK)])
def test_errors(
    make_client: MakeClient, path: str, body: Any, kind: str, expected: tuple[int, str]
) -> None:
    """Of vLLM's shape, also where the body was not read; an overload says when to come back."""
    status, type_ = expected
    response = refusal(kind, make_client, path, body)

    error = _error(response, status)
    assert error["type"] == type_
    assert "secret" not in error["message"]
    assert ("retry-after" in response.headers) == (status in {429, 503})
    assert ("www-authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize(
    ("body", "status", "keys"),
    [
        ({"text_a": "a", "text_b": "a"}, 200, {"text_a", "text_b", "score"}),
        ({"text_a": "a", "text_b": "a", "text_1": "x", "text_2": "y"}, 200, {"text_a"}),
        ({"text_1": "a", "text_2": "a"}, 200, {"data", "usage"}),
        ({"queries": "a", "documents": "a", "query": "b"}, 200, {"data", "usage"}),
        ({}, 422, {"text_a"}),
        ({"documents": ["a"], "query": "a"}, 422, {"text_a", "/rerank"}),
        ({"items": ["a"]}, 422, {"text_a"}),
        ({"text_a": "a", "text_2": "b"}, 422, {"text_b"}),
        ({"text_b": "a", "text_1": "b"}, 422, {"text_a"}),
    ],
)
def test_whose_body_it_is_at_the_shared_path(
    client: TestClient, body: Any, status: int, keys: set[str]
) -> None:
    """text_a or text_b is this service's own, vLLM's names are vLLM's; what is neither is told of text_a and text_b."""
    response = client.post("/score", json=body)

    assert response.status_code == status, response.text
    if status == 200:
        assert keys <= set(response.json())
    else:
        assert "request_id" in response.json()["error"]
        assert all(key in response.json()["error"]["message"] for key in keys)


def test_half_of_a_pair_at_the_shared_path(client: TestClient) -> None:
    """It is vLLM's, so its error is, too: the other half's name."""
    error = _error(client.post("/score", json={"text_1": "a"}))

    assert error["message"] == "text_2 is missing; text_1 goes with it"


def test_a_million_wrong_entries_cost_little(client: TestClient) -> None:
    """The first one ends the check."""
    response = client.post("/vllm/score", json={"queries": "a", "documents": [1] * 5000})

    assert "more, in details" not in _error(response)["message"]


def test_every_document_is_counted(make_client: MakeClient) -> None:
    """The limit holds for what is scored; a single long text is one document and not a thousand letters."""
    client = make_client(FakeBackend(), max_pairs=2)

    for path, body in (
        ("/vllm/score", {"queries": "a", "documents": "a long single text"}),
        ("/vllm/rerank", {"query": "a", "documents": "a long single text"}),
        ("/vllm/score", {"queries": ["a", "b"], "documents": ["c", "d"]}),
    ):
        assert client.post(path, json=body).status_code == 200
    assert (
        "2" in _error(client.post("/vllm/score", json={"queries": "a", "items": TEXTS}))["message"]
    )


def test_half_a_character_is_refused(client: TestClient) -> None:
    """In whichever field it stands."""
    for body in (
        b'{"text_1": "\\ud800", "text_2": "a"}',
        b'{"data_1": "a", "data_2": ["\\ud800"]}',
    ):
        response = client.post(
            "/vllm/score", content=body, headers={"Content-Type": "application/json"}
        )
        assert "half a character" in _error(response)["message"]


def test_a_key_opens_it(make_client: MakeClient) -> None:
    """`Authorization: Bearer`, as vLLM's clients send it."""
    client = make_client(api_keys=f"a={KEY}")
    headers = {"Authorization": f"Bearer {KEY}"}

    assert client.post(RERANKS[0], json=RERANK, headers=headers).status_code == 200
