"""What the service says of itself: a worker that dies, an old canary, the model that is served, scores out of the cache."""

from __future__ import annotations

import time
from typing import Any

from tests.service.test_overload import LONG, PAIR

from pairscore.road.backends.fake import FakeBackend


def test_a_worker_that_dies(make_client: Any, problem: Any) -> None:
    """Its callers get 503 and may come again; readiness drops until the canary has sung."""

    class Death(BaseException):
        pass

    backend = FakeBackend()
    client = make_client(backend)
    assert client.get("/readyz").status_code == 200
    backend.error = Death()
    response = client.post("/score", json=PAIR)

    told = problem(response, 503)
    assert told["type"] == "WorkerError"
    assert "Death" not in told["message"]
    assert response.headers["retry-after"] == "1"
    unready = client.get("/readyz")
    assert unready.status_code == 503
    assert unready.json()["checks"]["canary"] != "ok"
    assert client.get("/livez").status_code == 200

    backend.error = None
    assert client.post("/score", json=PAIR).status_code == 200
    client.app.state.parts.runtime.engine._look_now.set()
    end = time.monotonic() + 20
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_canary_that_is_too_old(make_client: Any) -> None:
    """A model that stops scoring rightly makes the service unready, and nothing else."""
    backend = FakeBackend()
    client = make_client(backend, canary_max_age_s=0.3)
    backend.logit = 1.0
    end = time.monotonic() + 20
    while client.get("/readyz").status_code == 200:
        assert time.monotonic() < end
        time.sleep(0.02)

    assert "canary" in client.get("/readyz").text
    assert client.get("/health").status_code == 200
    assert client.post("/score", json=PAIR).status_code == 200


def test_info_says_what_is_served(client: Any) -> None:
    """Model, sha256, backend, scale, limits and versions."""
    info = client.get("/info").json()

    assert info["model"] == "ms-marco-minilm-l12"
    assert len(info["sha256"]) == 64
    assert info["backend"] == "fake"
    assert info["scale"] == "logit"
    assert info["limits"]["max_pairs"] == 1000
    assert info["limits"]["max_length"] == 512
    assert {"pairscore", "onnxruntime", "python"} <= set(info["versions"])


def test_scores_out_of_the_cache(make_client: Any) -> None:
    """The second time nothing is run, the answer is the same, and the metrics say so; off is off."""
    backend = FakeBackend()
    client = make_client(backend)
    first = client.post("/score", json=LONG).json()
    runs = backend.num_runs
    assert client.post("/score", json=LONG).json() == first
    assert backend.num_runs == runs
    assert "pairscore_cache_hits_total 1.0" in client.get("/metrics").text

    other = FakeBackend()
    uncached = make_client(other, cache_bytes=0)
    runs = other.num_runs
    for _ in range(2):
        assert uncached.post("/score", json=LONG).json() == first
    assert other.num_runs == runs + 2
