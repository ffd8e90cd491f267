"""What each route answers when all is well."""

from __future__ import annotations

import math
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from pairscore import CrossEncoder
from pairscore.models.resolve import resolve
from pairscore.road.backends.fake import FakeBackend
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings
from pairscore.values import Batch, FloatArray


def test_score_gives_back_the_texts_with_a_score(client: TestClient) -> None:
    """One pair in, the same pair with its numbers out; the headers name the model and the scale."""
    response = client.post("/score", json={"text_a": "a red fox", "text_b": "a red fox"})

    assert response.status_code == 200
    assert response.json() == {
        "text_a": "a red fox",
        "text_b": "a red fox",
        "score": 8.0,
        "probability": pytest.approx(1 / (1 + math.exp(-8))),
        "truncated": False,
    }
    assert response.headers["x-pairscore-model"] == "ms-marco-minilm-l12"
    assert response.headers["x-pairscore-scale"] == "logit"
    assert response.headers["x-pairscore-truncated"] == "0"


@pytest.mark.parametrize(
    "text",
    ["", "  ", "\x00", "naïve café 日本 🦊", "line\nbreak\ttab \u2028", '"quoted" \\', "<b>&"],
)
def test_texts_come_back_as_received(client: TestClient, text: str) -> None:
    """Any text, the empty one too, is scored with a finite number and is echoed unchanged."""
    answer = client.post("/score", json={"text_a": text, "text_b": text}).json()

    assert (answer["text_a"], answer["text_b"]) == (text, text)
    assert math.isfinite(answer["score"])


def test_batch_is_a_bare_list_in_order(client: TestClient) -> None:
    """Results stand in the order of the pairs and equal those of single requests."""
    pairs = [{"text_a": "red fox", "text_b": text} for text in ("blue sky", "red fox", "red wine")]

    response = client.post("/score/batch", json={"pairs": pairs})

    assert response.status_code == 200
    assert response.json() == [client.post("/score", json=pair).json() for pair in pairs]
    assert [result["text_b"] for result in response.json()] == ["blue sky", "red fox", "red wine"]
    assert len({result["score"] for result in response.json()}) == 3
    assert response.headers["x-pairscore-scale"] == "logit"


def test_rerank_puts_the_best_first(client: TestClient) -> None:
    """Results are ordered by score, name their document by position and hold no text if told so."""
    documents = ["blue sky", "red fox", "red wine", "blue sky"]
    body = {"query": "red fox", "documents": documents, "return_documents": False}

    response = client.post("/rerank", json=body)

    answer = response.json()
    assert answer["model"] == response.headers["x-pairscore-model"] == "ms-marco-minilm-l12"
    assert answer["scale"] == response.headers["x-pairscore-scale"] == "logit"
    assert [result["corpus_id"] for result in answer["results"]] == [1, 2, 0, 3]
    assert all(
        set(result)
        == {"corpus_id", "score", "probability", "truncated", "index", "relevance_score"}
        for result in answer["results"]
    )


@pytest.mark.parametrize(("top_k", "expected"), [(None, 3), (1, 1), (2, 2), (99, 3)])
def test_rerank_keeps_top_k(client: TestClient, top_k: int | None, expected: int) -> None:
    """top_k keeps the best; null and more than there are keep all."""
    body = {"query": "red fox", "documents": ["x", "red fox", "y"], "top_k": top_k}

    results = client.post("/rerank", json={**body, "return_documents": True}).json()["results"]

    assert len(results) == expected
    assert (results[0]["corpus_id"], results[0]["text"]) == (1, "red fox")


def test_truncation_is_told(client: TestClient) -> None:
    """A document that is cut says so itself and is counted in the header, on all three routes."""
    long = "word " * 2000
    pairs = [{"text_a": "q", "text_b": text} for text in ("short", long, long)]

    one = client.post("/score", json=pairs[1])
    batch = client.post("/score/batch", json={"pairs": pairs})
    ranked = client.post("/rerank", json={"query": "q", "documents": ["short", long]})

    assert one.json()["truncated"] is True
    assert one.headers["x-pairscore-truncated"] == "1"
    assert [result["truncated"] for result in batch.json()] == [False, True, True]
    assert batch.headers["x-pairscore-truncated"] == "2"
    assert {hit["corpus_id"]: hit["truncated"] for hit in ranked.json()["results"]} == {
        0: False,
        1: True,
    }
    assert ranked.headers["x-pairscore-truncated"] == "1"


def test_unknown_fields_are_ignored(client: TestClient) -> None:
    """A client may send more than is asked for."""
    body = {"text_a": "a", "text_b": "b", "model": "other", "n": [1, {"x": None}]}

    assert client.post("/score", json=body).status_code == 200


def test_other_json_media_types_are_read(client: TestClient) -> None:
    """A charset, another JSON type and a byte order mark are no reason to refuse."""
    for media_type in ("application/json; charset=utf-8", "application/vnd.api+json"):
        response = client.post(
            "/score",
            content=b'\xef\xbb\xbf{"text_a": "a", "text_b": "b"}',
            headers={"Content-Type": media_type},
        )
        assert response.status_code == 200


class _Gate(FakeBackend):
    """Holds every micro-batch until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.armed = False

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        if not self.armed:
            return super().run(batch)
        self.entered.set()
        # The end of patience, so that a service that blocks its loop fails and does not hang.
        self.opened.wait(20)
        return super().run(batch)


def test_health_answers_while_the_model_works(make_client) -> None:
    """The model is never on the event loop: /health, /metrics and refusals do not wait for it."""
    gate = _Gate()
    client = make_client(gate)
    gate.armed = True
    with ThreadPoolExecutor(8) as pool:
        slow = [
            pool.submit(client.post, "/score", json={"text_a": "a", "text_b": "b"})
            for _ in range(8)
        ]
        assert gate.entered.wait(10)
        try:
            health = client.get("/health")
            metrics = client.get("/metrics")
            refused = client.post("/score", json={})
            unfinished = not any(request.done() for request in slow)
        finally:
            gate.opened.set()

        assert health.json() == {"status": "ok", "model_loaded": True}
        assert metrics.status_code == 200
        assert refused.status_code == 422
        assert unfinished
        assert {request.result(20).status_code for request in slow} == {200}


def test_health_before_the_model_is_loaded(problem) -> None:
    """Without its start-up an app says that it is not ready, and refuses to score with a 503."""
    client = TestClient(create_app(ServiceSettings(backend="fake")))

    health = client.get("/health")
    refused = client.post("/score", json={"text_a": "a", "text_b": "b"})

    assert (health.status_code, health.json()) == (
        503,
        {"status": "loading", "model_loaded": False},
    )
    assert problem(refused, 503)["type"] == "ModelError"
    assert refused.headers["retry-after"] == "1"


def test_a_model_name_that_no_header_can_hold(tmp_path: Path) -> None:
    """A folder may have any name; the header has it percent-encoded, the body as it is."""
    folder = tmp_path / "modèle 日本"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(resolve().folder / name, folder)
    (folder / "model.onnx").touch()
    app = create_app(ServiceSettings(model=str(folder), backend="fake"))

    with TestClient(app) as client:
        response = client.post("/rerank", json={"query": "a", "documents": ["b"]})

    assert response.headers["x-pairscore-model"] == "mod%C3%A8le %E6%97%A5%E6%9C%AC"
    assert response.json()["model"] == "modèle 日本"


def test_many_requests_at_once_get_their_own_answers(client: TestClient) -> None:
    """Answers do not cross between requests that run together."""
    with CrossEncoder(backend="fake") as encoder, ThreadPoolExecutor(8) as pool:
        pairs = [(f"red fox number {i}", f"fox number {i % 7} is red") for i in range(40)]
        futures = [
            pool.submit(client.post, "/score", json={"text_a": a, "text_b": b}) for a, b in pairs
        ]
        answers = [future.result(30).json() for future in futures]

        assert [(answer["text_a"], answer["text_b"]) for answer in answers] == pairs
        np.testing.assert_allclose(
            [answer["score"] for answer in answers], encoder.predict(pairs), atol=1e-6
        )


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize(("min_score", "expected"), [(0.4, 1), (1.0, 0), (0, 2), (None, 2)])
def test_the_least_score(
    client: TestClient, path: str, min_score: float | None, expected: int
) -> None:
    """What scored less is left out."""
    body = {"query": "red fox", "documents": ["red fox", "blue"], "min_score": min_score}

    answer = client.post(path, json=body)

    assert (answer.status_code, len(answer.json()["results"])) == (200, expected)


@pytest.mark.parametrize(("min_score", "expected"), [(1e39, 0), (-1e39, 2), (0.5, 1)])
def test_the_least_logit(client: TestClient, min_score: float, expected: int) -> None:
    """Of raw scores it is one too, also where no logit can be so high or so low."""
    body = {"query": "red fox", "documents": ["red fox", "blue"], "min_score": min_score}

    answer = client.post("/rerank", json={**body, "raw_scores": True})

    assert (answer.status_code, len(answer.json()["results"])) == (200, expected)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize("min_score", [1.5, -4, 1e39])
def test_a_least_score_of_another_scale(client: TestClient, path: str, min_score: float) -> None:
    """A threshold for logits among probabilities is refused, with what to do, not answered with nothing."""
    body = {"query": "red fox", "documents": ["red fox", "blue"], "min_score": min_score}

    answer = client.post(path, json=body)

    assert answer.status_code in {400, 422}
    assert "from 0 to 1" in answer.text
    assert "raw scores" in answer.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_least_score_that_is_no_number(client: TestClient, number: str) -> None:
    """It is refused, not compared with."""
    body = '{"query": "a", "documents": ["b"], "min_score": ' + number + "}"

    answer = client.post("/rerank", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422
