"""Which models are served, as each kind of client asks; and `/info` in the words of TEI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.dialects.hosted import KEY, MODEL

import pairscore
from pairscore.engine import preparing
from pairscore.road.backends.fake import FakeBackend

MakeClient = Callable[..., Any]

LISTS = {
    "/v1/models": "pairscore",
    "/v3/models": "pairscore",
    "/nvidia/v1/models": "pairscore",
    "/vllm/v1/models": "vllm",
    "/vllm/models": "vllm",
    "/infinity/models": "infinity",
    "/infinity/v1/models": "infinity",
}
ALIASES = "BAAI/bge-reranker-base, mine"
TEI = {
    "model_id": MODEL,
    "model_dtype": "unknown",
    "served_model_name": MODEL,
    "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
    "max_input_length": 512,
    "max_batch_requests": None,
    "auto_truncate": True,
    "version": pairscore.__version__,
    "sha": None,
    "docker_label": None,
}


@pytest.mark.parametrize("path", LISTS)
def test_the_list(client: TestClient, path: str) -> None:
    """OpenAI's keys, vLLM's and Infinity's in one entry, whose owner is the one that each client knows."""
    answer = client.get(path).json()

    assert set(answer) == {"object", "data"}
    assert answer["object"] == "list"
    (entry,) = answer["data"]
    assert isinstance(entry.pop("created"), int)
    weight = entry["memory_bytes"]
    assert weight >= 0
    assert entry.pop("stats") == {
        "queue_fraction": 0.0,
        "queue_absolute": 0,
        "results_pending": 0,
        "batch_tokens": 512,
    }
    assert entry == {
        "id": MODEL,
        "object": "model",
        "owned_by": LISTS[path],
        "root": MODEL,
        "parent": None,
        "max_model_len": 512,
        "permission": [],
        "backend": "fake",
        "capabilities": ["rerank"],
        "state": "loaded",
        "memory_bytes": weight,
        "last_used": None,
        "error": None,
    }


def test_the_list_without_a_version_has_no_owner(client: TestClient) -> None:
    """Infinity's client asks there, and takes no owner but Infinity, or none."""
    (entry,) = client.get("/models").json()["data"]

    assert "owned_by" not in entry
    assert {"id", "object", "stats", "parent"} <= set(entry)


def test_aliases_are_entries(make_client: MakeClient) -> None:
    """After the model's own name, which is the root of each; a name that stands twice is listed once."""
    client = make_client(model_aliases=f"{ALIASES}, {MODEL}")

    entries = client.get("/v1/models").json()["data"]

    assert [entry["id"] for entry in entries] == [MODEL, "BAAI/bge-reranker-base", "mine"]
    assert {entry["root"] for entry in entries} == {MODEL}


@pytest.mark.parametrize(
    "prefix", ["/v1/models", "/models", "/vllm/v1/models", "/nvidia/v1/models"]
)
@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (MODEL, MODEL),
        ("mine", "mine"),
        ("BAAI/bge-reranker-base", "BAAI/bge-reranker-base"),
        ("BAAI%2Fbge-reranker-base", "BAAI/bge-reranker-base"),
    ],
)
def test_one(make_client: MakeClient, prefix: str, asked: str, name: str) -> None:
    """By its name or an alias, with or without slashes: the entry of the list."""
    client = make_client(model_aliases=ALIASES)

    listed = {entry["id"]: entry for entry in client.get(prefix).json()["data"]}

    assert client.get(f"{prefix}/{asked}").json() == listed[name]


def test_a_slash_at_the_end_is_the_list(client: TestClient) -> None:
    """A client that joins paths without care gets what it wants."""
    assert client.get("/v1/models/").json() == client.get("/v1/models").json()


@pytest.mark.parametrize(
    ("path", "kind", "code"),
    [
        ("/v1/models/un/known", "invalid_request_error", "model_not_found"),
        ("/models/unknown", "invalid_request_error", "model_not_found"),
        ("/v3/models/unknown", "invalid_request_error", "model_not_found"),
        ("/vllm/v1/models/unknown", "NotFoundError", 404),
    ],
)
def test_an_unknown_one(client: TestClient, path: str, kind: str, code: Any) -> None:
    """404 as OpenAI says it, and as vLLM says it below its prefix."""
    response = client.get(path)

    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == (kind, "model", code)
    assert MODEL in error["message"]


def test_any_model_is_there_if_the_operator_says_so(make_client: MakeClient) -> None:
    """Under the name that was asked for, which scoring takes too; the root is the real one."""
    entry = make_client(any_model=True).get("/v1/models/gpt/5").json()

    assert (entry["id"], entry["root"]) == ("gpt/5", MODEL)


@pytest.mark.parametrize(
    "path", [*LISTS, "/models", "/v1/models/x", "/tei/info", "/info", "/infinity/health"]
)
def test_a_key_is_needed(make_client: MakeClient, path: str) -> None:
    """Where keys are set; the answer is JSON, asks for one, and tells nothing of the model."""
    client = make_client(api_keys=f"a={KEY}")

    refused = client.get(path)
    answered = client.get(path, headers={"Authorization": f"Bearer {KEY}"})

    assert refused.status_code == 401
    assert "www-authenticate" in refused.headers
    assert refused.json()
    assert MODEL not in refused.text
    assert answered.status_code in {200, 404}
    assert answered.status_code == 200 or path == "/v1/models/x"


@pytest.mark.parametrize("path", ["/v1/models", "/vllm/models", "/infinity/models"])
def test_it_is_not_for_posting(client: TestClient, path: str) -> None:
    """405, which names what is."""
    response = client.post(path, json={})

    assert response.status_code == 405
    assert "GET" in response.headers["allow"]


def test_info_in_teis_words(make_client: MakeClient) -> None:
    """Every field of TEI's, with the values that hold here: the settings' and the model's."""
    client = make_client(FakeBackend(), max_pairs=7, max_connections=11)

    info = client.get("/tei/info").json()

    assert info.pop("model_sha").startswith("sha256:")
    assert info.pop("max_client_batch_size") == 7
    assert info.pop("max_concurrent_requests") == 11
    assert info.pop("max_batch_tokens") == client.get("/info").json()["budget"]
    assert info.pop("tokenization_workers") == preparing._NUM_THREADS
    assert info == TEI


def test_info_has_both(client: TestClient) -> None:
    """What `/info` said before it still says, beside TEI's fields."""
    info, tei = client.get("/info").json(), client.get("/tei/info").json()

    assert tei.items() <= info.items()
    assert set(info) - set(tei) == {
        *("model", "revision", "sha256", "backend", "scale", "num_workers", "budget", "cache"),
        *("calibration", "limits", "models", "index", "versions"),
        *("bi_encoder", "may_control", "explain"),
    }


@pytest.mark.parametrize(
    ("name", "dtype"), [("torch", "float32"), ("torch-bfloat16", "bfloat16"), ("onnx", "unknown")]
)
def test_the_dtype(make_client: MakeClient, name: str, dtype: str) -> None:
    """What the backend computes in, if it is known; an ONNX file may hold several."""

    class Named(FakeBackend):
        """Bears another name."""

        @property
        def name(self) -> str:
            """The name in question."""
            return name

    assert make_client(Named()).get("/tei/info").json()["model_dtype"] == dtype


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/x", "/tei/info"])
def test_before_the_model_is_loaded(make_client: MakeClient, path: str) -> None:
    """503, as everywhere, and not an error of the server."""
    client = make_client()
    client.portal.call(client.app.state.parts.runtime.close)

    response = client.get(path)

    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]


@pytest.mark.parametrize("path", ["/v3/rerank", "/v3/v1/rerank", "/reranking"])
def test_further_names_of_rerank(client: TestClient, path: str) -> None:
    """OpenVINO Model Server's spellings and llama.cpp's answer as the paths that they stand for."""
    same = "/rerank" if path == "/reranking" else "/v1/rerank"
    for body in (
        {"query": "red fox", "documents": ["blue", "red fox"], "return_documents": True},
        {"query": "red fox", "documents": []},
    ):
        mine, other = (
            client.post(where, json=body, headers={"X-Request-ID": "one"}) for where in (path, same)
        )
        assert mine.status_code == other.status_code
        assert _without_time(mine.json()) == _without_time(other.json())


def _without_time(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "created"}
