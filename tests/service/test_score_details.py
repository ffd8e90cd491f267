"""`POST /v1/score/details`: the score of `/score`, and which part of either text the model read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.calibrations import a_file

from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

ROUTE = "/v1/score/details"
PAIR = {"text_a": "a red fox", "text_b": "a red fox "}
LONG = "word " * 2_000
SECRET = "good-good-good-good"


def _details(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post(ROUTE, json={**PAIR, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_all_is_told(client: TestClient) -> None:
    """The three numbers, the scale, the tokens of the pair and of either text, and what was read."""
    response = client.post(ROUTE, json=PAIR)

    assert response.json() == {
        "model": "ms-marco-minilm-l12",
        "scale": "logit",
        "calibration": None,
        "logit": 8.0,
        "score": 8.0,
        "probability": pytest.approx(1 / (1 + math.exp(-8))),
        "truncated": False,
        "num_tokens": 9,
        "max_length": 512,
        "text_a": {"num_tokens": 3, "num_tokens_read": 3, "num_chars": 9, "read": [0, 9]},
        "text_b": {"num_tokens": 3, "num_tokens_read": 3, "num_chars": 10, "read": [0, 10]},
    }
    assert response.headers["x-pairscore-model"] == "ms-marco-minilm-l12"
    assert response.headers["x-pairscore-scale"] == "logit"
    assert response.headers["x-pairscore-truncated"] == "0"
    assert "total;dur=" in response.headers["server-timing"]


def test_it_is_the_score_of_the_plain_route(client: TestClient) -> None:
    """Of the same pair the same number."""
    body = {"text_a": "red fox", "text_b": "a fox that is red"}
    plain = client.post("/score", json=body).json()

    details = _details(client, **body)
    assert (details["score"], details["probability"]) == (plain["score"], plain["probability"])


def test_a_cut_says_where(client: TestClient) -> None:
    """The document's range ends where the last token does that there is room for."""
    details = _details(client, text_b=LONG)

    assert details["truncated"] is True
    assert details["num_tokens"] == details["max_length"] == 512
    assert details["text_a"]["read"] == [0, 9]
    text = details["text_b"]
    assert (text["num_tokens"], text["num_tokens_read"]) == (2_000, 512 - 3 - 3)
    assert text["read"] == [0, 5 * (512 - 3 - 3) - 1]
    assert text["num_chars"] == len(LONG)


def test_both_texts_are_cut_where_the_query_fills_the_pair(client: TestClient) -> None:
    """Then the document gets half."""
    details = _details(client, text_a=LONG, text_b=LONG)

    assert details["text_a"]["num_tokens_read"] + details["text_b"]["num_tokens_read"] == 509
    assert details["text_a"]["read"][1] < len(LONG)


def test_characters_are_code_points(client: TestClient) -> None:
    """Not bytes, and not the halves that other languages count."""
    text = _details(client, text_b="🦊 日本")["text_b"]

    assert (text["num_chars"], text["read"]) == (4, [0, 4])


def test_a_long_document_is_cut_where_others_are_read_in_windows(make_client: Any) -> None:
    """There would be no one range to tell."""
    client = make_client(long_documents="chunk")

    details = _details(client, text_b=LONG)
    assert details["truncated"] is True
    assert details["text_b"]["read"][1] < len(LONG)


@pytest.mark.parametrize("name", ["ms-marco-minilm-l12", "other", None])
def test_the_model_is_named(make_client: Any, name: str | None) -> None:
    """By its name, an alias, or not at all; the header goes before the body."""
    client = make_client(model_aliases="other")

    assert _details(client, model=name)["model"] == "ms-marco-minilm-l12"
    header = {"X-Pairscore-Model": "nobody"}
    refused = client.post(ROUTE, json={**PAIR, "model": name}, headers=header)
    assert (refused.status_code, refused.json()["error"]["type"]) == (404, "ModelUnknownError")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"text_a": "a"}, "BodyError"),
        ({"text_a": 1, "text_b": "b"}, "BodyError"),
        ({"text_a": "x" * 51, "text_b": "b"}, "LimitError"),
        ({**PAIR, "deadline_ms": 0}, "BodyError"),
    ],
)
def test_what_is_refused(make_client: Any, problem: Any, body: dict[str, Any], kind: str) -> None:
    """As elsewhere, in the one shape of errors."""
    client = make_client(max_chars=50)

    assert problem(client.post(ROUTE, json=body), 422)["type"] == kind


def test_a_model_that_fails(failing: Callable[[Exception], TestClient], problem: Any) -> None:
    """Its own words are nobody's business."""
    client = failing(RuntimeError("/secret"))

    error = problem(client.post(ROUTE, json=PAIR), 500)
    assert "/secret" not in error["message"]


def test_it_is_counted(make_client: Any) -> None:
    """For the key's quota, which it uses up, and for the metrics."""
    client = make_client(api_keys=f"good={SECRET}")
    key = {"X-API-Key": SECRET}

    assert client.post(ROUTE, json=PAIR).status_code == 401
    assert client.post(ROUTE, json=PAIR, headers=key).status_code == 200
    counted = client.get("/metrics").text
    assert 'pairscore_key_tokens_total{key="good"} 9.0' in counted
    assert f'pairscore_requests_total{{route="{ROUTE}",status="200"}} 1.0' in counted


def test_a_calibration_is_named(tmp_path: Path) -> None:
    """The probability is the calibration's; the logit stays the model's."""
    settings = ServiceSettings(backend="fake", calibration=a_file(tmp_path))
    with TestClient(create_app(settings)) as client:
        details = _details(client)
        plain = client.post("/score", json=PAIR).json()

    assert details["calibration"] == "platt"
    assert details["logit"] == 8.0
    assert details["probability"] == plain["probability"] != pytest.approx(1 / (1 + math.exp(-8)))
