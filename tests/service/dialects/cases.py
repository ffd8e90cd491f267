"""The same seven situations in each dialect, as requests and as what is kept of the answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from starlette.testclient import TestClient

from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

QUERY = "red fox"
DOCUMENTS = ["a blue sky", "the red fox jumps", "red wine"]
LONG = "red " * 600
NOW = 1_700_000_000.25
REQUEST_ID = "golden-1"
_HEADERS = (
    "content-type",
    "retry-after",
    "www-authenticate",
    "x-pairscore-model",
    "x-pairscore-scale",
    "x-pairscore-truncated",
)
_PATIENCE_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """One dialect.

    Attributes:
        path: where it is spoken.
        body: a good request.
        empty: the same with nothing to score.
        strict: what forbids every cut, where the dialect can say so; None where it cannot.
        long: fields with a pair that is too long.
        has_model: whether a request names its model.
    """

    path: str
    body: Mapping[str, Any]
    empty: Mapping[str, Any]
    strict: Mapping[str, Any] | None = None
    long: Mapping[str, Any] = field(default_factory=dict)
    has_model: bool = True


def _documents(path: str, name: str = "documents", **more: Any) -> Spoken:
    return Spoken(
        path=path,
        body={"query": QUERY, name: DOCUMENTS},
        empty={"query": QUERY, name: []},
        long={name: [LONG]},
        **more,
    )


_PASSAGES = [{"text": text} for text in DOCUMENTS]

DIALECTS = {
    "pairscore-rerank": _documents("/rerank"),
    "pairscore-score": Spoken(
        path="/score", body={"text_a": QUERY, "text_b": DOCUMENTS[1]}, empty={}, has_model=False
    ),
    "pairscore-batch": Spoken(
        path="/score/batch",
        body={"pairs": [{"text_a": QUERY, "text_b": text} for text in DOCUMENTS]},
        empty={"pairs": []},
        has_model=False,
    ),
    "union": _documents("/v1/rerank"),
    "tei-rerank": _documents("/tei/rerank", "texts", strict={"truncate": False}, has_model=False),
    "tei-predict": Spoken(
        path="/tei/predict",
        body={"inputs": [[QUERY, text] for text in DOCUMENTS]},
        empty={"inputs": []},
        strict={"truncate": False},
        long={"inputs": [[QUERY, LONG]]},
        has_model=False,
    ),
    "cohere-1": _documents("/cohere/v1/rerank"),
    "cohere-2": _documents("/cohere/v2/rerank"),
    "jina": _documents("/jina/v1/rerank"),
    "voyage": _documents("/voyage/v1/rerank", strict={"truncation": False}),
    "vllm-score": Spoken(
        path="/vllm/v1/score",
        body={"queries": QUERY, "documents": DOCUMENTS},
        empty={"queries": QUERY, "documents": []},
        strict={},
        long={"documents": [LONG]},
    ),
    "vllm-score-shared": Spoken(
        path="/v1/score",
        body={"text_1": QUERY, "text_2": DOCUMENTS},
        empty={"text_1": QUERY, "text_2": []},
    ),
    "vllm-rerank": _documents("/vllm/rerank", strict={}),
    "infinity": _documents("/infinity/rerank"),
    "mixedbread": _documents("/mixedbread/v1/reranking", "input"),
    "nvidia": Spoken(
        path="/nvidia/v1/ranking",
        body={"query": {"text": QUERY}, "passages": _PASSAGES},
        empty={"query": {"text": QUERY}, "passages": []},
        strict={},
        long={"passages": [{"text": LONG}]},
    ),
    "nvidia-shared": Spoken(
        path="/v1/ranking",
        body={"query": {"text": QUERY}, "passages": _PASSAGES},
        empty={"query": {"text": QUERY}, "passages": []},
    ),
}


def answers(spoken: Spoken) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each situation's name and what is kept of the answer."""
    body = dict(spoken.body)
    with _client() as client:
        yield "success", _asked(client, spoken.path, body)
        yield "empty", _asked(client, spoken.path, dict(spoken.empty))
        yield "bad JSON", _asked(client, spoken.path, b'{"query": "red fox", ')
        if spoken.has_model:
            yield "unknown model", _asked(client, spoken.path, {**body, "model": "other/model"})
        if spoken.strict is not None:
            long = {**body, **spoken.long, **spoken.strict}
            yield "too long, and nothing may be cut", _asked(client, spoken.path, long)
    with _client(api_keys="reader=psk_" + "k" * 43) as client:
        yield "missing key", _asked(client, spoken.path, body)
    yield "overload", _overloaded(spoken)


def _client(backend: Any = "fake", **settings: Any) -> TestClient:
    road = open_road(backend=backend)
    return TestClient(create_app(ServiceSettings(**settings), road=road))


def _asked(client: TestClient, path: str, body: Mapping[str, Any] | bytes) -> dict[str, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", "x-request-id": REQUEST_ID}
    with mock.patch("pairscore.service.answering.time.time", return_value=NOW):
        response = client.post(path, content=content, headers=headers)
    kept = {name: response.headers[name] for name in _HEADERS if name in response.headers}
    return {"status": response.status_code, "headers": kept, "body": response.text}


def _overloaded(spoken: Spoken) -> dict[str, Any]:
    """The queue holds one request that hangs in the model, and has no room for another one."""
    backend, gate = FakeBackend(), threading.Event()
    with _client(backend, max_queue_tokens=10, cache_bytes=0) as client:
        backend.gate, runs = gate, backend.num_runs
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(client.post, "/score", json={"text_a": "a", "text_b": "b c d e f"})
            try:
                end = time.monotonic() + _PATIENCE_S
                while backend.num_runs == runs:
                    assert time.monotonic() < end
                    time.sleep(0.002)
                kept = _asked(client, spoken.path, dict(spoken.body))
            finally:
                gate.set()
            assert first.result(_PATIENCE_S).status_code == 200
    return kept
