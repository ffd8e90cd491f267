"""A model with several labels over HTTP: named probabilities where there is room, a refusal where there is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pairscore.models.resolve import resolve
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

LABELS = ["contradiction", "entailment", "neutral"]
PAIR = {"text_a": "a cat sleeps", "text_b": "a cat sleeps"}
OTHER = {"text_a": "a cat sleeps", "text_b": "dogs bark"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled tokenizer below a head with three labels; the fake backend needs no more."""
    made, source = tmp_path_factory.mktemp("nli"), resolve().folder
    config = json.loads((source / "config.json").read_text())
    config.pop("sentence_transformers", None)
    config.pop("sbert_ce_default_activation_function", None)
    config["id2label"] = {str(place): label for place, label in enumerate(LABELS)}
    (made / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "model.onnx"):
        shutil.copy(source / name, made / name)
    return made


def _client(folder: Path, **settings: Any) -> TestClient:
    return TestClient(create_app(ServiceSettings(model=str(folder), backend="fake", **settings)))


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    """All labels."""
    with _client(folder) as client:
        yield client


def test_score_names_the_likeliest_label_and_all_probabilities(client: TestClient) -> None:
    """The score is that label's logit, the probability its share."""
    found = client.post("/score", json=PAIR)

    assert found.headers["X-Pairscore-Scale"] == "logit"
    result = found.json()
    assert list(result["labels"]) == LABELS
    assert sum(result["labels"].values()) == pytest.approx(1.0)
    assert result["label"] == max(result["labels"], key=result["labels"].get)
    assert result["probability"] == result["labels"][result["label"]]


def test_a_batch_has_the_labels_of_each_pair(client: TestClient) -> None:
    """In the order of the request."""
    results = client.post("/score/batch", json={"pairs": [OTHER, PAIR]}).json()

    assert results[1] == client.post("/score", json=PAIR).json()
    assert results[0]["label"] != results[1]["label"]


def test_predict_lists_all_labels_the_likeliest_first(client: TestClient) -> None:
    """As text-embeddings-inference does with a classifier; raw scores are the logits."""
    pairs = [list(OTHER.values()), list(PAIR.values())]
    for one in client.post("/predict", json={"inputs": pairs}).json():
        assert sorted(entry["label"] for entry in one) == LABELS
        assert [entry["score"] for entry in one] == sorted(
            (entry["score"] for entry in one), reverse=True
        )
        assert sum(entry["score"] for entry in one) == pytest.approx(1.0)
    raw = client.post("/predict", json={"inputs": pairs[1], "raw_scores": True}).json()
    assert raw[0]["score"] > 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rerank", {"query": "a", "documents": ["b"]}),
        ("/rerank", {"query": "a", "texts": ["b"]}),
        ("/v1/rerank", {"model": "", "query": "a", "documents": ["b"]}),
        ("/v2/rerank", {"query": "a", "documents": ["b"]}),
        ("/v1/score", {"text_1": "a", "text_2": "b"}),
        ("/v1/rerank/batch", {"queries": [{"query": "a", "documents": ["b"]}]}),
    ],
)
def test_what_has_room_for_one_number_only_is_refused(
    client: TestClient, path: str, body: dict[str, Any]
) -> None:
    """With the labels, and with what the caller and the operator can do."""
    found = client.post(path, json=body)

    # Some dialects have no 422.
    assert found.status_code in {400, 422}
    assert "contradiction, entailment, neutral" in found.text
    assert "/score" in found.text
    assert "PAIRSCORE_LABEL" in found.text


def test_info_lists_the_labels(client: TestClient) -> None:
    """As a classifier, in the words of text-embeddings-inference."""
    kind = client.get("/info").json()["model_type"]

    assert list(kind) == ["classifier"]
    assert list(kind["classifier"]["label2id"]) == LABELS


def test_the_operator_can_choose_one_label(folder: Path) -> None:
    """It is then a model with one number, on the scale from 0 to 1."""
    with _client(folder, label="contradiction") as client:
        assert "labels" not in client.post("/score", json=PAIR).json()
        found = client.post("/rerank", json={"query": "a cat", "documents": ["dogs", "a cat"]})

    assert found.json()["scale"] == "unit"
    assert [entry["index"] for entry in found.json()["results"]] == [1, 0]
