"""`/v1/rerank/batch`: what its lines say, and which bodies it takes."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.access.guarded import COUNTED, SECRET, sha256_of
from tests.service.batch_calls import (
    LONGS,
    ROUTE,
    HoldingBackend,
    Reader,
    lines_of,
    make_app,
    post,
    query,
)

from pairscore.road.backends.fake import FakeBackend

JSON = {"content-type": "application/json"}


def test_each_query_is_answered_as_alone(client: TestClient) -> None:
    """200 queries get what 200 calls of /rerank would get them, to the last digit."""
    queries = [
        query(
            f"a question of number {i}",
            f"number {i}",
            {"text": "a question", "id": f"d{i}"},
            f"nothing {i} at all",
            top_k=1 + i % 3,
            return_documents=i % 2 == 0,
            raw_scores=i % 5 == 0,
        )
        for i in range(200)
    ]

    *lines, end = post(client, queries)

    num_tokens = 0
    for line in lines:
        alone = client.post("/rerank", json=queries[line["index"]]).json()
        expected = {name: alone[name] for name in ("model", "scale", "results", "usage")}
        assert line == {"index": line["index"], **expected}
        num_tokens += alone["usage"]["total_tokens"]
    assert end["usage"] == {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    assert (end["num_failed"], end["num_truncated"]) == (0, 0)
    assert end["seconds"] > 0


def test_lines_come_in_the_order_in_which_queries_are_finished() -> None:
    """A long query that was sent first does not hold up the short ones, and its line comes when it is done."""
    backend = HoldingBackend()
    app = make_app(backend)

    async def let_go_after_two(_: Any) -> None:
        if len(reader.lines) == 2:
            backend.let_go()

    async def main() -> None:
        async with app.router.lifespan_context(app):
            backend.hold()
            await reader.post([query("q", *LONGS), query("q", "a"), query("q", "b c")])

    reader = Reader(app=app, on_line=let_go_after_two)
    asyncio.run(main())

    assert reader.status == 200
    assert {line.get("index") for line in reader.lines[:2]} == {1, 2}
    assert [line.get("index") for line in reader.lines[2:]] == [0, None]


@pytest.mark.parametrize("given", ["a", "", "ü 漢", 0, 7, -1.5, True, False, 2**70])
def test_an_id_comes_back(client: TestClient, given: Any) -> None:
    """Whatever scalar it is, as it was."""
    (line, _) = post(client, [query("q", "d", id=given)])

    assert line["id"] == given
    assert type(line["id"]) is type(given)


def test_an_id_comes_back_with_an_error_too(make_client: Any) -> None:
    """The caller sees which query failed."""
    backend = FakeBackend()
    client = make_client(backend)
    backend.logit = float("nan")

    (line, end) = post(client, [query("q", "d", id="mine")])

    assert (line["index"], line["id"], end["num_failed"]) == (0, "mine", 1)
    assert "results" not in line


def test_null_is_as_not_given(client: TestClient) -> None:
    """Every optional field may be null, and unknown ones are ignored; no id is sent back then."""
    names = (
        "id top_k top_n min_score return_documents rank_fields raw_scores use_activation "
        "max_tokens_per_query max_tokens_per_doc model deadline_ms"
    )
    nulls = dict.fromkeys(names.split())

    plain, _ = post(client, [query("q r", "q", "r")])
    line, _ = post(client, [query("q r", "q", "r", **nulls, color="red")], model=None, strange=1)

    assert line == plain
    assert "id" not in line


def test_the_best_and_what_was_cut(client: TestClient) -> None:
    """Limits of a query hold for it alone; what was cut is told by each result and counted at the end."""
    queries = [
        query("a b", "a b", "c d", "a c", min_score=0.4, top_n=2),
        query("a b", "a b c d", "a", max_tokens_per_doc=2),
    ]

    *lines, end = post(client, queries)

    first, second = sorted(lines, key=lambda line: line["index"])
    assert [result["index"] for result in first["results"]] == [0, 2]
    assert {result["index"]: result["truncated"] for result in second["results"]} == {
        0: True,
        1: False,
    }
    assert end["num_truncated"] == 1


@pytest.mark.parametrize(
    ("error", "kind"), [(RuntimeError("secret"), "InternalError"), (None, "NonFiniteScoreError")]
)
def test_a_query_that_fails_fails_alone(
    make_client: Any, caplog: pytest.LogCaptureFixture, error: Exception | None, kind: str
) -> None:
    """The others are answered; the caller gets a kind, public words and the request id, the log the cause."""

    class Poisoned(FakeBackend):
        def run(self, batch: Any, *, num_threads: int = 1) -> Any:
            if error is not None and (batch.ids == self.poison).any():
                raise error
            return super().run(batch, num_threads=num_threads)

    backend = Poisoned()
    client = make_client(backend)
    road = client.app.state.parts.runtime.engine.road
    backend.poison = int(road.encode([("q", "zebra")])[0].ids[-2])
    queries = [query("q", "apple"), query("q", "zebra", "apple"), query("q", "pear")]

    with caplog.at_level(logging.ERROR, logger="pairscore.service"):
        response = client.post(ROUTE, json={"queries": queries})

    *lines, end = lines_of(response.content)
    by_index = {line["index"]: line for line in lines}
    assert "results" in by_index[0]
    assert "results" in by_index[2]
    told = by_index[1]["error"]
    assert set(told) == {"type", "message", "request_id"}
    assert told["type"] == kind
    assert told["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    assert end["num_failed"] == 1
    (record,) = [entry for entry in caplog.records if entry.name == "pairscore.service"]
    assert record.request_id == told["request_id"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "queries"),
        ({"queries": None}, "queries"),
        ({"queries": []}, "queries"),
        ({"queries": {"query": "q"}}, "queries"),
        ({"queries": ["q"]}, "queries[0]"),
        ({"queries": [query("q", "d"), {"query": "q"}]}, "queries[1].documents"),
        ({"queries": [query("q", "d"), query("q")]}, "queries[1].documents"),
        ({"queries": [query("q", "d"), query("q", "d", 3)]}, "queries[1].documents[1]"),
        ({"queries": [query("q", "d"), query("q", "d", {})]}, "queries[1].documents[1]"),
        ({"queries": [query("q", "d", id=["x"])]}, "queries[0].id"),
        ({"queries": [query("q", "d", id={})]}, "queries[0].id"),
        ({"queries": [query("q", "d", top_k=0)]}, "queries[0].top_k"),
        ({"queries": [query("q", "d")], "deadline_ms": 0}, "deadline_ms"),
        ({"queries": [query("q", "d", deadline_ms=0)]}, "queries[0].deadline_ms"),
    ],
)
def test_a_body_that_cannot_be_read(
    client: TestClient, problem: Any, body: dict[str, Any], place: str
) -> None:
    """It is refused whole and before the first line, and the place is named."""
    told = problem(client.post(ROUTE, json=body), 422)

    assert told["type"] == "BodyError"
    assert told["details"][0]["field"] == place
    assert place in told["message"]


@pytest.mark.parametrize("given", ["NaN", "1e999", "1" + "0" * 5000])
def test_an_id_that_no_json_can_give_back(client: TestClient, problem: Any, given: str) -> None:
    """It is refused before the first line, and does not break one."""
    body = f'{{"queries": [{{"id": {given}, "query": "q", "documents": ["d"]}}]}}'

    problem(client.post(ROUTE, content=body.encode(), headers=JSON), 422)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([query("q", "d")] * 13, "too many queries a request: received 13, the limit is 12"),
        ([query("q", *"abcde")] * 3, "documents in all queries together: received 15, the limit"),
        ([query("q", "d"), query("q", *"abcdef")], "queries[1].documents a request: received 6"),
        ([query("q", "d"), query("x" * 21, "d")], "characters in queries[1].query: received 21"),
        ([query("q", "d"), query("q", "x" * 21)], "characters in queries[1].documents[0]"),
        ([query("q", {"text": "x" * 21})], "characters in queries[0].documents[0]: received 21"),
        ([query("q", "d", id="x" * 21)], "characters in queries[0].id: received 21"),
    ],
)
def test_limits(make_client: Any, problem: Any, queries: list[Any], message: str) -> None:
    """Of the call and of each query, each with its own place and option."""
    client = make_client(max_batch_pairs=12, max_pairs=5, max_chars=20)

    told = problem(client.post(ROUTE, json={"queries": queries}), 422)

    assert told["type"] == "LimitError"
    assert message in told["message"]
    assert post(client, [query("q", *"abcde")] * 2)


def test_a_large_body_is_measured_by_this_routes_own_limit(make_client: Any, problem: Any) -> None:
    """What is more than a ranking may hold is not more than a call of many; what a call may not hold is refused."""
    queries = [
        query(f"question {i}", *(f"{i} {j} ".ljust(60) for j in range(10))) for i in range(600)
    ]
    body = {"queries": [{**entry, "color": ["red"] * 40} for entry in queries]}

    big = make_client(max_pairs=10)
    response = big.post(ROUTE, json=body)
    told = problem(make_client(max_pairs=10, max_batch_pairs=1000).post(ROUTE, json=body), 422)

    assert len(lines_of(response.content)) == 601
    assert "strings in the body" in told["message"]
    assert "--max-batch-pairs" in told["message"]


def test_a_model_that_is_not_served(client: TestClient, problem: Any) -> None:
    """It is refused whole, wherever it is named."""
    served = client.app.state.parts.runtime.engine.road.card.name  # type: ignore[attr-defined]
    for body in (
        {"queries": [query("q", "d")], "model": "other"},
        {"queries": [query("q", "d", model=served), query("q", "d", model="other")]},
    ):
        assert problem(client.post(ROUTE, json=body), 404)["type"] == "ModelUnknownError"
    assert post(client, [query("q", "d", model=served)], model=served)


def test_other_media_types_and_methods(client: TestClient, problem: Any) -> None:
    """They have this service's own shape of errors, here too."""
    problem(client.post(ROUTE, content=b"{}", headers={"content-type": "text/plain"}), 415)
    problem(client.get(ROUTE), 405)


@pytest.fixture
def guarded(make_client: Any, tmp_path: Any) -> TestClient:
    """A service with a key without limits and one with 60 tokens a minute."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[keys.good]\nsha256 = "{sha256_of(SECRET)}"\n'
        f'[keys.counted]\nsha256 = "{sha256_of(COUNTED)}"\ntokens_per_minute = 60\n',
        encoding="utf-8",
    )
    client: TestClient = make_client(keys_file=path)
    return client


def test_a_key_is_needed_and_charged(guarded: TestClient, problem: Any) -> None:
    """All queries of a call are charged; what goes beyond the quota is owed by the next call."""
    body = {"queries": [query("q", f"document number {i}") for i in range(20)]}
    key = {"X-API-Key": COUNTED}

    problem(guarded.post(ROUTE, json=body), 401)
    *_, end = post(guarded, body["queries"], headers=key)
    told = problem(guarded.post(ROUTE, json=body, headers=key), 429)

    assert told["type"] == "QuotaError"
    metrics = guarded.get("/metrics").text
    (charged,) = re.findall(
        r'^pairscore_key_tokens_total{key="counted"} (\S+)', metrics, re.MULTILINE
    )
    assert float(charged) == end["usage"]["total_tokens"] > 60


def test_the_log_has_the_sums(
    client: TestClient, caplog: pytest.LogCaptureFixture, failing: Callable[..., TestClient]
) -> None:
    """One line of the access log for the call, with what all its queries came to."""
    queries = [
        query("a", "b c", "c d e"),
        query("a", "b c"),
        query("d", "e f", max_tokens_per_doc=1),
    ]
    with caplog.at_level(logging.INFO, logger="pairscore.access"):
        *_, end = post(client, queries)
        post(failing(RuntimeError("x")), [query("q", "d")])

    good, bad = [vars(entry) for entry in caplog.records if entry.name == "pairscore.access"]
    assert good["route"] == bad["route"] == ROUTE
    assert (good["num_pairs"], good["num_truncated"], good["outcome"]) == (4, 1, "ok")
    assert good["num_tokens"] == end["usage"]["total_tokens"]
    assert bad["outcome"] == "error"
    assert "num_pairs" not in bad


def test_the_documentation_knows_the_lines(client: TestClient) -> None:
    """The answer is declared as lines, each of one of three kinds, all of them described."""
    schema = client.get("/openapi.json").json()
    operation = schema["paths"][ROUTE]["post"]
    content = operation["responses"]["200"]["content"]
    body = operation["requestBody"]["content"]["application/json"]

    assert set(content) == {"application/x-ndjson"}
    refs = [entry["$ref"] for entry in content["application/x-ndjson"]["schema"]["anyOf"]]
    names = [ref.rpartition("/")[2] for ref in (*refs, body["schema"]["$ref"])]
    assert len(names) == 4
    assert set(names) <= set(schema["components"]["schemas"])
    assert "done" in str(lines_of(content["application/x-ndjson"]["example"].encode())[-1])
    for example in body["examples"].values():
        assert post(client, example["value"]["queries"])
