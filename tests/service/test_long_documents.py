"""Long documents over HTTP: by request, by setting, in every dialect, and never cut in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pairscore.service.answering import TRUNCATED_HEADER, WINDOWS_HEADER

FILLER = " ".join(f"Item number {i} was a matter of talk in the room." for i in range(120))
DOCUMENT = FILLER + " 💙 In the end they chose titanium. " + FILLER
QUERY = "they chose titanium"
CHUNK = {"long_documents": "chunk", "chunking": {"window_tokens": 100}}


def test_a_ranking_finds_the_passage(client: Any) -> None:
    """With the best window's code points and the number of windows; the header of cuts says none."""
    body = {"query": QUERY, "documents": ["Nothing here.", DOCUMENT], **CHUNK}
    answer = client.post("/rerank", json=body)
    best = answer.json()["results"][0]

    assert best["corpus_id"] == 1
    assert best["num_windows"] > 10
    assert not best["truncated"]
    start, end = best["span"]
    assert "titanium" in DOCUMENT[start:end]
    assert answer.headers[TRUNCATED_HEADER] == "0"
    assert WINDOWS_HEADER not in answer.headers


def test_nothing_changes_for_who_does_not_ask(client: Any) -> None:
    """No new keys, and the cut is told as ever."""
    result = client.post("/rerank", json={"query": QUERY, "documents": [DOCUMENT]}).json()
    (entry,) = result["results"]

    assert entry["truncated"]
    assert not {"span", "num_windows"} & set(entry)


def test_pairs_are_read_in_windows_too(client: Any) -> None:
    """`/score` and `/score/batch`."""
    pair = {"text_a": QUERY, "text_b": DOCUMENT}
    one = client.post("/score", json={**pair, **CHUNK}).json()
    many = client.post("/score/batch", json={"pairs": [pair, pair], **CHUNK}).json()

    assert one["num_windows"] > 10
    assert [entry["span"] for entry in many] == [one["span"]] * 2


def test_the_limit_of_windows_is_told(client: Any) -> None:
    """In the header, and as a cut."""
    chunking = {"window_tokens": 100, "max_windows": 2}
    body = {"query": QUERY, "documents": [DOCUMENT, "short"], "chunking": chunking}
    answer = client.post("/rerank", json=body)

    assert answer.headers[WINDOWS_HEADER] == "1"
    assert answer.headers[TRUNCATED_HEADER] == "1"
    assert [entry["truncated"] for entry in answer.json()["results"]].count(True) == 1


@pytest.mark.parametrize(
    ("path", "body", "results", "score"),
    [
        ("/v1/rerank", {"query": QUERY, "documents": ["x"]}, "results", "relevance_score"),
        ("/v2/rerank", {"query": QUERY, "documents": ["x"]}, "results", "relevance_score"),
        ("/jina/v1/rerank", {"query": QUERY, "documents": ["x"]}, "results", "relevance_score"),
        ("/voyage/v1/rerank", {"query": QUERY, "documents": ["x"]}, "data", "relevance_score"),
        ("/vllm/rerank", {"query": QUERY, "documents": ["x"]}, "results", "relevance_score"),
        ("/infinity/rerank", {"query": QUERY, "documents": ["x"]}, "results", "relevance_score"),
        ("/tei/rerank", {"query": QUERY, "texts": ["x"]}, None, "score"),
        ("/mixedbread/v1/reranking", {"query": QUERY, "input": ["x"]}, "data", "score"),
        (
            "/nvidia/v1/ranking",
            {"query": {"text": QUERY}, "passages": [{"text": "x"}]},
            "rankings",
            "logit",
        ),
    ],
)
def test_every_dialect_reads_long_documents(
    client: Any, path: str, body: dict[str, Any], results: str | None, score: str
) -> None:
    """By the same two fields, and strict ones no longer refuse what windows can read."""
    text: Any = {"text": DOCUMENT} if "passages" in body else DOCUMENT
    name = next(key for key in body if key != "query")
    answer = client.post(path, json={**body, name: [text], **CHUNK})
    (entry,) = answer.json() if results is None else answer.json()[results]

    assert answer.status_code == 200
    assert answer.headers[TRUNCATED_HEADER] == "0"
    assert score in entry
    assert not entry.get("truncated")


def test_the_operator_can_make_it_the_rule(make_client: Any) -> None:
    """Requests that say nothing are read in windows; who wants a cut says so."""
    client = make_client(long_documents="chunk", max_windows=5)
    body = {"query": QUERY, "documents": [DOCUMENT]}
    ruled = client.post("/rerank", json=body)
    cut = client.post("/rerank", json={**body, "long_documents": "truncate"})

    assert ruled.json()["results"][0]["num_windows"] == 5
    assert "num_windows" not in cut.json()["results"][0]


def test_more_windows_than_the_operator_allows_are_refused(make_client: Any, problem: Any) -> None:
    """With both numbers and the setting's name."""
    client = make_client(max_windows=5)
    body = {"query": QUERY, "documents": [DOCUMENT], "chunking": {"max_windows": 6}}
    error = problem(client.post("/rerank", json=body), 422)

    assert "received 6, the limit is 5" in error["message"]
    assert "max-windows" in error["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"long_documents": "both"},
        {"chunking": {"aggregate": "median"}},
        {"chunking": {"window_tokens": 2}},
        {"chunking": {"window_tokens": 20, "overlap_tokens": 11}},
        {"long_documents": "truncate", "chunking": {}},
    ],
)
def test_what_makes_no_sense_is_refused(client: Any, problem: Any, wrong: dict[str, Any]) -> None:
    """As a fault of the body, with the field."""
    error = problem(client.post("/rerank", json={"query": QUERY, "documents": ["x"], **wrong}), 422)

    assert error["details"]


def test_a_call_of_many_queries_passes_it_on(client: Any) -> None:
    """What the call says holds for queries that say nothing of their own."""
    query = {"query": QUERY, "documents": [DOCUMENT]}
    queries = [query, {**query, "long_documents": "truncate"}]
    answer = client.post("/v1/rerank/batch", json={"queries": queries, **CHUNK})
    lines = [line for line in map(_loads, answer.text.splitlines()) if "index" in line]
    found = {line["index"]: line["results"][0] for line in lines}

    assert found[0]["num_windows"] > 10
    assert "num_windows" not in found[1]


def _loads(line: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(line)
    return value
