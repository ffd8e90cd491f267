"""`pairscore serve --model A --model B` as its users have it: a real process, real weights, real HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.e2e.serving import ends_well, serving

BUNDLED = Path(str(resources.files("pairscore.models"))) / "bundled/ms-marco-minilm-l12"
KEY = "ops-ops-ops-ops-ops"
HEADERS = {"X-API-Key": KEY}
BODY = {
    "query": "How many people live in Berlin?",
    "documents": ["Berlin has a population of 3,520,031 registered inhabitants."],
}


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    """Two models, the second a copy of the first under another name; ends without a traceback."""
    shutil.copytree(BUNDLED, tmp_path / "copy")
    models = ("--model", "ms-marco-minilm-l12", "--model", f"second={tmp_path / 'copy'}")
    env = {"PAIRSCORE_API_KEYS": f"ops={KEY}"}
    how = ("--model-control", "ops", "--cache-bytes", "0")
    with serving(*models, *how, log=tmp_path / "log.txt", env=env) as served:
        yield served.base
        ends_well(served)


def _ask(base: str, model: str, number: int = 0) -> tuple[int, str, float]:
    body = {**BODY, "query": f"{BODY['query']} {number}", "model": model}
    response = httpx.post(f"{base}/rerank", json=body, headers=HEADERS, timeout=60)
    score = response.json()["results"][0]["score"] if response.status_code == 200 else 0.0
    return response.status_code, response.headers.get("x-pairscore-model", ""), score


@pytest.mark.slow
def test_two_models_and_a_reload_under_load(base: str) -> None:
    """Each answers under its name; while both are loaded anew, every request gets its scores."""
    first, second = (_ask(base, name) for name in ("ms-marco-minilm-l12", "second"))
    assert first[:2] == (200, "ms-marco-minilm-l12")
    assert second == (200, "second", pytest.approx(first[2], abs=1e-4))

    with ThreadPoolExecutor(4) as threads:
        asked = [
            threads.submit(_ask, base, ("ms-marco-minilm-l12", "second")[number % 2], number)
            for number in range(80)
        ]
        for name in ("second", "ms-marco-minilm-l12", "second"):
            response = httpx.post(
                f"{base}/v1/models/reload", json={"model": name}, headers=HEADERS, timeout=60
            )
            assert response.status_code == 200, response.text
            assert response.json()["memory_bytes"] > 30_000_000

    assert {one.result()[0] for one in asked} == {200}
    metrics = httpx.get(f"{base}/metrics", headers=HEADERS, timeout=30).text
    assert 'pairscore_model_loads_total{model="second",outcome="ok"} 3.0' in metrics
