"""One request for each way in which it can fail, and scores that are known, for the dialects of hosted services."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from httpx2 import Response

from pairscore.road.backends.fake import FakeBackend

MakeClient: TypeAlias = Callable[..., Any]
Body: TypeAlias = dict[str, Any]

QUERY = "red fox"
TEXTS = ["blue sky", "red fox", "red wine", "blue sky"]
"""All of its words are the query's: the second. Half of them: the third. None, and equal: the others."""
ORDER = [1, 2, 0, 3]
MODEL = "ms-marco-minilm-l12"
LONG = "word " * 2000
KEY = "psk_" + "k" * 43


def sigmoid(logit: float) -> float:
    """The probability of a logit."""
    return 1 / (1 + math.exp(-logit))


PROBABILITIES = [sigmoid(8), sigmoid(0), sigmoid(-8), sigmoid(-8)]
LOGITS = [8.0, 0.0, -8.0, -8.0]


def refusal(kind: str, make_client: MakeClient, path: str, body: Body) -> Response:
    """What is answered to a request that fails in this way; `body` is a good one."""
    (documents,) = (name for name, value in body.items() if isinstance(value, list))
    bodies: dict[str, Body] = {
        "wrong type": {**body, documents: [5]},
        "no list": {**body, documents: "one"},
        "empty list": {**body, documents: []},
        "nothing to read": {**body, documents: [{"id": 1}]},
        "no query": {name: value for name, value in body.items() if name != "query"},
        "unknown model": {**body, "model": "another"},
        "too many": {**body, documents: ["x"] * 4},
    }
    if kind in bodies:
        settings = {"max_pairs": 3} if kind == "too many" else {}
        return make_client(**settings).post(path, json=bodies[kind])
    others = {
        "empty": lambda: _raw(make_client(), path, b""),
        "bad JSON": lambda: _raw(make_client(), path, b'{"query": '),
        "a list": lambda: _raw(make_client(), path, b"[]"),
        "media type": lambda: make_client().post(path, content=b"{}"),
        "no key": lambda: make_client(api_keys=f"a={KEY}").post(path, json=body),
        "overload": lambda: _overload(make_client, path, body, documents),
        "model failure": lambda: _failing(make_client, RuntimeError("secret")).post(
            path, json=body
        ),
        "memory": lambda: _failing(make_client, MemoryError("secret")).post(path, json=body),
    }
    response: Response = others[kind]()
    return response


def _raw(client: Any, path: str, content: bytes) -> Response:
    response: Response = client.post(
        path, content=content, headers={"Content-Type": "application/json"}
    )
    return response


def _failing(make_client: MakeClient, error: Exception) -> Any:
    backend = FakeBackend()
    client = make_client(backend)
    # Only now, because a model that cannot score at all does not start.
    backend.error = error
    return client


def _overload(make_client: MakeClient, path: str, body: Body, documents: str) -> Response:
    backend, gate = FakeBackend(), threading.Event()
    client = make_client(backend, max_queue_tokens=50, budget=50)
    runs, backend.gate = backend.num_runs, gate
    try:
        with ThreadPoolExecutor(1) as pool:
            admitted = pool.submit(client.post, path, json={**body, documents: ["x"]})
            end = time.monotonic() + 20
            while backend.num_runs == runs:
                assert time.monotonic() < end
                time.sleep(0.002)
            refused: Response = client.post(path, json={**body, documents: ["word " * 100]})
            gate.set()
            assert admitted.result(20).status_code == 200
    finally:
        gate.set()
    return refused
