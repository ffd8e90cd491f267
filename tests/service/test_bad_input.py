"""What each wrong request is told: never a traceback, always the value, the limit and the remedy."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

JSON = {"Content-Type": "application/json"}
ROUTES = ("/score", "/score/batch", "/rerank")


def test_too_many_pairs(make_client, problem) -> None:
    """More pairs than allowed: the limit, the value and both spellings of the option."""
    client = make_client(max_pairs=3)
    pair = {"text_a": "a", "text_b": "b"}

    assert client.post("/score/batch", json={"pairs": [pair] * 3}).status_code == 200
    error = problem(client.post("/score/batch", json={"pairs": [pair] * 1204}), 422)

    assert error["type"] == "LimitError"
    for part in ("pairs", "1,204", " 3;", "--max-pairs", "PAIRSCORE_MAX_PAIRS"):
        assert part in error["message"]


def test_too_many_documents(make_client, problem) -> None:
    """Documents count as pairs do."""
    client = make_client(max_pairs=3)

    error = problem(client.post("/rerank", json={"query": "q", "documents": ["d"] * 4}), 422)

    for part in ("documents", " 4,", " 3;", "--max-pairs", "PAIRSCORE_MAX_PAIRS"):
        assert part in error["message"]


@pytest.mark.parametrize(
    ("route", "body", "place"),
    [
        ("/score", {"text_a": "x" * 51, "text_b": ""}, "text_a"),
        (
            "/score/batch",
            {"pairs": [{"text_a": "", "text_b": ""}, {"text_a": "", "text_b": "x" * 51}]},
            "pairs[1].text_b",
        ),
        ("/rerank", {"query": "x" * 51, "documents": ["d"]}, "query"),
        ("/rerank", {"query": "q", "documents": ["d", "é" * 51]}, "documents[1]"),
    ],
)
def test_too_long_a_text(make_client, problem, route: str, body: Any, place: str) -> None:
    """The text is named by its place; characters are counted, not bytes."""
    error = problem(make_client(max_chars=50).post(route, json=body), 422)

    assert error["type"] == "LimitError"
    for part in (f"in {place}:", " 51,", " 50;", "--max-chars", "PAIRSCORE_MAX_CHARS"):
        assert part in error["message"]


def test_a_text_at_the_limit_is_scored(make_client) -> None:
    """A limit is what is still allowed."""
    body = {"text_a": "é" * 50, "text_b": "b"}

    assert make_client(max_chars=50).post("/score", json=body).status_code == 200


def test_a_megabyte_of_text(client: TestClient, problem) -> None:
    """By default a 1 MB document is refused by its characters; with the limit raised it is cut."""
    body = {"text_a": "q", "text_b": "word " * 200_000}

    assert "1,000,000" in problem(client.post("/score", json=body), 422)["message"]


def test_a_megabyte_of_text_where_it_is_allowed(make_client) -> None:
    """The limit can really be raised."""
    body = {"text_a": "q", "text_b": "word " * 200_000}

    response = make_client(max_chars=2_500_000).post("/score", json=body)

    assert response.json()["truncated"] is True


def test_too_many_bytes_announced(make_client, problem) -> None:
    """A body that announces too much is refused with 413 before it is read."""
    body = {"text_a": "x" * 3000, "text_b": ""}

    error = problem(make_client(max_body_bytes=2000).post("/score", json=body), 413)

    for part in ("bytes", "3,0", "2,000", "--max-body-bytes", "PAIRSCORE_MAX_BODY_BYTES"):
        assert part in error["message"]


def _ask(app: Any, chunks: list[bytes], headers: list[tuple[bytes, bytes]]) -> tuple[int, Any, int]:
    """Post chunks straight to an app; the status, the body, and how many chunks were asked for."""
    waiting = list(chunks)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/score",
        "raw_path": b"/score",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "headers": [(b"content-type", b"application/json"), *headers],
    }
    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body), len(chunks) - len(waiting)


def test_too_many_bytes_streamed() -> None:
    """A body that announces nothing is counted as it comes, and is not read to its end."""
    app = create_app(ServiceSettings(backend="fake", max_body_bytes=2500))

    status, body, num_read = _ask(app, [b"x" * 1000] * 50, [])

    assert status == 413
    assert num_read == 3
    for part in ("3,000", "2,500", "--max-body-bytes", "PAIRSCORE_MAX_BODY_BYTES"):
        assert part in body["error"]["message"]


def test_a_lying_content_length() -> None:
    """What comes counts, whatever was announced; nonsense in the header is no crash."""
    app = create_app(ServiceSettings(backend="fake", max_body_bytes=2500))

    assert _ask(app, [b"x" * 1000] * 9, [(b"content-length", b"10")])[0] == 413
    assert _ask(app, [b"{}"], [(b"content-length", b"9" * 6000)])[0] == 413
    assert _ask(app, [b"{}"], [(b"content-length", b"-1")])[0] == 422
    assert _ask(app, [b"{}"], [(b"content-length", b"\xb2")])[0] == 422


@pytest.mark.parametrize(
    ("route", "body", "parts"),
    [
        ("/score", {"textA": "a", "textB": "b"}, ["text_a", "'textA'", "did you mean"]),
        ("/score", {"text1": "a", "text2": "b"}, ["text_a", "'text1'", "did you mean"]),
        ("/score", {"sentence1": "a", "sentence2": "b"}, ["text_a", "'sentence1'"]),
        ("/score", {"query": "a", "document": "b"}, ["text_a", "'query'"]),
        ("/score", {"text_a": "a", "text2": "b"}, ["text_b", "'text2'"]),
        ("/score", {"text_a": "a", "tekst_b": "b"}, ["text_b", "'tekst_b'"]),
        ("/score", {}, ["text_a is missing", '{"text_a": "...", "text_b": "..."}']),
        ("/score", {"pairs": []}, ["/score/batch"]),
        ("/score", [{"text_a": "a", "text_b": "b"}], ["/score/batch", '{"pairs": [']),
        ("/score", "text", ["a string", '{"text_a": "..."']),
        ("/score", None, ["null", '{"text_a": "..."']),
        ("/score", {"text_a": 5, "text_b": "b"}, ["text_a", "a number, 5", "string"]),
        ("/score", {"text_a": True, "text_b": "b"}, ["text_a", "a boolean", "string"]),
        ("/score", {"text_a": ["a"], "text_b": "b"}, ["text_a", "a list", "string"]),
        ("/score", {"text_a": None, "text_b": "b"}, ["text_a", "null", "string"]),
        ("/score/batch", [{"text_a": "a", "text_b": "b"}], ["bare list", '{"pairs": [{"text_a"']),
        ("/score/batch", {"text_a": "a", "text_b": "b"}, ["pairs", "/score as it is"]),
        ("/score/batch", {"inputs": []}, ["pairs is missing", "'inputs'"]),
        ("/score/batch", {"pairs": []}, ["empty", "at least one"]),
        ("/score/batch", {"pairs": {}}, ["pairs", "must be a list"]),
        ("/score/batch", {"pairs": [["a", "b"]]}, ["pairs[0]", '{"text_a": "...', "a list"]),
        (
            "/score/batch",
            {"pairs": [{"textA": "a", "text_b": "b"}]},
            ["pairs[0].text_a", "'textA'"],
        ),
        ("/rerank", {"query": "q"}, ["documents is missing", '"documents": ["...']),
        ("/rerank", {"query": "q", "docs": ["d"]}, ["documents", "'docs'", "did you mean"]),
        ("/rerank", {"query": "q", "passages": ["d"]}, ["documents", "'passages'"]),
        ("/rerank", {"question": "q", "documents": ["d"]}, ["query", "'question'"]),
        ("/rerank", {"query": "q", "documents": []}, ["documents", "empty"]),
        ("/rerank", {"query": "q", "documents": "d"}, ["documents", "a list", "also for one"]),
        ("/rerank", {"query": "q", "documents": [{"id": 7}]}, ["documents[0]", "nothing to read"]),
        ("/rerank", {"query": "q", "documents": ["d", 5]}, ["documents[1]", "a number, 5"]),
        ("/rerank", {"query": "q", "documents": ["d"], "top_k": 0}, ["top_k", "0", "at least 1"]),
        ("/rerank", {"query": "q", "documents": ["d"], "top_k": "3"}, ["top_k", "'3'"]),
        ("/rerank", {"query": "q", "documents": ["d"], "top_k": True}, ["top_k", "True"]),
        (
            "/rerank",
            {"query": "q", "documents": ["d"], "return_documents": 1},
            ["return_documents", "true or false"],
        ),
    ],
)
def test_wrong_shapes_are_told_the_right_one(
    client: TestClient, problem, route: str, body: Any, parts: list[str]
) -> None:
    """The 422 names the field, what was sent and what to send instead."""
    response = client.post(route, content=json.dumps(body).encode(), headers=JSON)
    error = problem(response, 422)

    for part in parts:
        assert part in error["message"]
    assert error["details"][0]["message"] in error["message"]


def test_all_faults_of_a_pair_are_listed(client: TestClient, problem) -> None:
    """Details hold a line for each field that is wrong."""
    error = problem(client.post("/score", json={"textA": "a", "text_b": 7}), 422)

    assert [detail["field"] for detail in error["details"]] == ["text_a", "text_b"]
    assert "1 more" in error["message"]


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{", "not JSON"),
        (b"{'text_a': 'a', 'text_b': 'b'}", "not JSON"),
        (b'{"text_a": "a", "text_b": "b"} trailing', "not JSON"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b'{"text_a": "caf\xe9", "text_b": "b"}', "UTF-8"),
        (b'{"text_a": "\xed\xa0\x80", "text_b": "b"}', "UTF-8"),
        (b'{"text_a": "\\ud800", "text_b": "b"}', "surrogate"),
        (b'{"text_a": "\\ud800x", "text_b": "b"}', "surrogate"),
        (b'{"text_a": "a", "text_b": "\\udc00"}', "surrogate"),
        (b'{"\\ud800": "a"}', "surrogate"),
        (b'{"text_a": "a\x00", "text_b": "b"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"pairs":' * 10_000, "not JSON"),
        (b'{"text_a": NaN, "text_b": "b"}', "nan"),
        (b'{"text_a": -Infinity, "text_b": "b"}', "inf"),
        (b'{"text_a": ' + b"9" * 4000 + b', "text_b": "b"}', "a number"),
        (b'{"text_a": ' + b"9" * 9000 + b', "text_b": "b"}', "number"),
        (b'{"text_a": 1e999, "text_b": "b"}', "a number"),
        (b"NaN", "an object"),
    ],
)
@pytest.mark.parametrize("route", ROUTES)
def test_bytes_that_are_no_body(
    client: TestClient, problem, route: str, raw: bytes, part: str
) -> None:
    """Whatever the bytes are, the answer is a 422 that can be read."""
    error = problem(client.post(route, content=raw, headers=JSON), 422)

    # Only /score asks for text_a; the other routes miss their own field first.
    assert part in error["message"] or (route != "/score" and "is missing" in error["message"])


@pytest.mark.parametrize(
    "media_type", [None, "text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"]
)
def test_a_body_that_is_not_declared_as_json(
    client: TestClient, problem, media_type: str | None
) -> None:
    """The answer is the header to send, as curl takes it."""
    headers = {} if media_type is None else {"Content-Type": media_type}

    error = problem(client.post("/score", content=b'{"text_a": "a"}', headers=headers), 415)

    assert "Content-Type: application/json" in error["message"]


def test_unknown_paths_and_methods(client: TestClient, problem) -> None:
    """Both get the one shape, and the remedy."""
    missing = problem(client.get("/nope"), 404)
    method = client.get("/score")

    assert "/nope" in missing["message"]
    assert "POST /score" in missing["message"]
    assert "use POST" in problem(method, 405)["message"]
    assert method.headers["allow"] == "POST"


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "text_a",
                    "text_b",
                    "textA",
                    "pairs",
                    "query",
                    "documents",
                    "top_k",
                    "return_documents",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def shared_client() -> Any:
    """One app for all examples of a fuzz."""
    app = create_app(ServiceSettings(backend="fake", max_pairs=2, max_chars=6))
    with TestClient(app) as client:
        yield client


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    route=st.sampled_from(ROUTES),
    raw=_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
)
def test_no_body_ever_breaks_the_service(
    shared_client: TestClient, problem, route: str, raw: bytes
) -> None:
    """Any bytes get a score or a refusal in the one shape."""
    response = shared_client.post(route, content=raw, headers=JSON)

    if response.status_code != 200:
        assert problem(response, 422)["message"]


_TEXT = st.text(max_size=8)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=_TEXT, documents=st.lists(_TEXT, min_size=1, max_size=2))
def test_every_text_within_the_limits_is_ranked(
    shared_client: TestClient, problem, query: str, documents: list[str]
) -> None:
    """A good body is never refused, and every document comes back once, unchanged."""
    body = {"query": query, "documents": documents, "return_documents": True}
    response = shared_client.post("/rerank", json=body)

    if max(map(len, [query, *documents])) > 6:
        assert problem(response, 422)["type"] == "LimitError"
        return
    results = response.json()["results"]
    assert sorted(result["corpus_id"] for result in results) == list(range(len(documents)))
    assert all(result["text"] == documents[result["corpus_id"]] for result in results)


@pytest.mark.parametrize(
    "unit", [b"[],", b"1,", b'{"a":1},', b'"",', b'"\\\\",', b'{"text_a":"","text_b":""},', b"[[],"]
)
@pytest.mark.parametrize("route", ROUTES)
def test_a_large_body_of_anything_but_text(
    client: TestClient, problem, route: str, unit: bytes
) -> None:
    """What would take a hundred times its bytes in memory is refused before it is read."""
    raw = b'{"text_a": "", "x": [' + unit * (1_000_000 // len(unit)) + b"1]}"

    error = problem(client.post(route, content=raw, headers=JSON), 422)

    assert error["type"] == "LimitError"
    assert "--max-pairs" in error["message"]


@pytest.mark.parametrize("end", [b'"', b"\\", b'\\"', b""])
def test_a_large_body_whose_string_never_ends(client: TestClient, problem, end: bytes) -> None:
    """Read once from end to end, not once from each of its quotes."""
    raw = b'{"text_a": "' + b'a\\"' * 1_000_000 + end

    error = problem(client.post("/score", content=raw, headers=JSON), 422)

    assert "not JSON" in error["message"]


def test_a_large_body_of_text_is_read(client: TestClient) -> None:
    """Brackets, commas and quotes within texts count for nothing, nor do white space and other fields."""
    document = 'a [list], {of} "quoted" \\ things; ' * 20
    entry = {"text_a": "q", "text_b": document, "id": 12345, "tags": ["a", "b"], "meta": {"n": 1.5}}
    raw = json.dumps({"pairs": [entry] * 900}, indent=8).encode()

    response = client.post("/score/batch", content=raw, headers=JSON)

    assert len(raw) > 256 * 1024
    assert response.status_code == 200
    assert response.json()[899]["text_b"] == document
