"""A service with a calibration: every probability is made with it, and every answer says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.calibrations import PLATT, a_file

from pairscore.models.calibration import IsotonicCurve
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

HEADER = "x-pairscore-calibration"
RERANK = {"query": "berlin", "documents": ["paris", "berlin", "berlin paris"]}
LEVEL = IsotonicCurve(logits=(-8.0, 8.0), probabilities=(0.25, 0.25))


def _values(client: TestClient, path: str, body: dict[str, Any]) -> tuple[list[float], str | None]:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    content = response.json()
    results = content["results"] if isinstance(content, dict) else content
    key = "score" if path == "/rerank" and isinstance(content, list) else "relevance_score"
    return [entry[key] for entry in results], response.headers.get(HEADER)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_probabilities_are_calibrated_in_every_dialect(tmp_path: Path, path: str) -> None:
    """The order is that of the logits; the numbers are the curve's; the header names it."""
    settings = ServiceSettings(backend="fake", calibration=a_file(tmp_path))
    with TestClient(create_app(settings)) as client:
        values, method = _values(client, path, RERANK)
        raw, _ = _values(client, "/v1/rerank", {**RERANK, "raw_scores": True})

    assert method == "platt"
    assert values == pytest.approx(PLATT(raw).tolist(), rel=1e-6)
    assert raw == sorted(raw, reverse=True)


def test_without_one_nothing_is_said(client: TestClient) -> None:
    """No header, and null in /info."""
    _, method = _values(client, "/v1/rerank", RERANK)

    assert method is None
    assert client.get("/info").json()["calibration"] is None


def test_info_says_so(tmp_path: Path) -> None:
    """For whoever asks before the first request."""
    settings = ServiceSettings(backend="fake", calibration=a_file(tmp_path))
    with TestClient(create_app(settings)) as client:
        assert client.get("/info").json()["calibration"] == "platt"


def test_a_level_curve_keeps_the_order(tmp_path: Path) -> None:
    """Equal probabilities, and yet the best document first."""
    settings = ServiceSettings(backend="fake", calibration=a_file(tmp_path, LEVEL))
    with TestClient(create_app(settings)) as client:
        results = client.post("/v1/rerank", json=RERANK).json()["results"]

    assert [entry["index"] for entry in results] == [1, 2, 0]
    assert {entry["relevance_score"] for entry in results} == {0.25}


def test_many_queries_at_once_say_so(tmp_path: Path) -> None:
    """The stream's header comes before its first line."""
    settings = ServiceSettings(backend="fake", calibration=a_file(tmp_path))
    with TestClient(create_app(settings)) as client:
        response = client.post("/v1/rerank/batch", json={"queries": [RERANK]})

    assert response.status_code == 200, response.text
    assert response.headers[HEADER] == "platt"
