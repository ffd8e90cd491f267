"""From a run of training to a served model: served by its folder, tried as a shadow, switched to while requests run.

The runs are laid out by hand, as `pairscore train` leaves them: `run.json`, and the converted model in `model/`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.e2e.serving import ends_well, serving
from tests.small_models import TEXT_PAIRS, export_onnx, small_model

from pairscore import CrossEncoder
from pairscore.values import Scores

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]

KEY = "ops-ops-ops-ops-ops"
HEADERS = {"X-API-Key": KEY}
QUERY = TEXT_PAIRS[0][0]
DOCUMENTS = [document for _, document in TEXT_PAIRS]


def _run(folder: Path, *, seed: int) -> Path:
    """A folder as a run of training leaves it; of its files those that serving looks at."""
    made = small_model("bert", folder / "best", seed=seed)
    shutil.copytree(made, folder / "model")
    export_onnx(folder / "model")
    (folder / "model" / "model.safetensors").unlink()
    (folder / "run.json").write_text(json.dumps({"format": 1, "steps": {}}))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one task: ``first`` is served, ``better`` is what comes after it."""
    folder = tmp_path_factory.mktemp("runs")
    _run(folder / "first", seed=1)
    _run(folder / "better", seed=2)
    return folder


@pytest.fixture
def served(runs: Path, tmp_path: Path) -> Iterator[str]:
    """The first run is served through a link, the better one is its shadow; ends without a traceback."""
    (tmp_path / "live").symlink_to(runs / "first")
    models = ("--model", f"live={tmp_path / 'live'}", "--model", str(runs / "better"))
    shadow = ("--shadow-model", "better", "--shadow-share", "1")
    shadow += ("--shadow-file", str(tmp_path / "shadow.jsonl"))
    how = ("--model-control", "ops", "--cache-bytes", "0")
    env = {"PAIRSCORE_API_KEYS": f"ops={KEY}"}
    with serving(*models, *shadow, *how, log=tmp_path / "log.txt", env=env) as service:
        yield service.base
        ends_well(service)


def _found(model: Path) -> Scores:
    """What the library says of the same pairs."""
    with CrossEncoder(model) as encoder:
        return encoder.score([(QUERY, text) for text in DOCUMENTS])


def _alike(scores: Scores) -> Any:
    return pytest.approx(scores.scores.tolist(), abs=1e-4)


def _ask(base: str, *, request_id: str = "any", **more: Any) -> tuple[str, list[float]]:
    body = {"query": QUERY, "documents": DOCUMENTS, **more}
    headers = {**HEADERS, "X-Request-ID": request_id}
    response = httpx.post(f"{base}/rerank", json=body, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    hits = sorted(response.json()["results"], key=lambda hit: hit["index"])
    return response.headers["x-pairscore-model"], [hit["score"] for hit in hits]


def _line(file: Path, request_id: str) -> dict[str, Any]:
    """What the shadow's file says of a request, waited for."""
    end = time.monotonic() + 60
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        for line in map(json.loads, lines):
            if line["request_id"] == request_id:
                found: dict[str, Any] = line
                return found
        assert time.monotonic() < end, lines
        time.sleep(0.05)


def test_a_run_is_served_by_its_folders_name(served: str, runs: Path) -> None:
    """`--model runs/better` is called ``better`` and scores as its converted model does."""
    model, scores = _ask(served, model="better")

    assert model == "better"
    assert scores == _alike(_found(runs / "better" / "model"))
    assert scores == _alike(_found(runs / "better"))


def test_a_shadow_is_tried_and_then_switched_to(served: str, runs: Path, tmp_path: Path) -> None:
    """Its differences are what the library finds; the reload loses no request; then they are gone."""
    old, new = _found(runs / "first"), _found(runs / "better")
    apart = abs(old.logits - new.logits)
    assert apart.min() > 0.01

    assert _ask(served, request_id="before") == ("live", _alike(old))
    before = _line(tmp_path / "shadow.jsonl", "before")
    assert (before["model"], before["shadow"]) == ("live", "better")
    assert before["sha256"] != before["shadow_sha256"]
    assert before["logit_difference_mean"] == pytest.approx(apart.mean(), abs=1e-3)
    assert before["logit_difference_max"] == pytest.approx(apart.max(), abs=1e-3)

    link = tmp_path / "next"
    link.symlink_to(runs / "better")
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(_ask, served) for _ in range(150)]
        link.replace(tmp_path / "live")
        reloaded = httpx.post(
            f"{served}/v1/models/reload", json={"model": "live"}, headers=HEADERS, timeout=60
        )
    assert reloaded.status_code == 200, reloaded.text
    for one in asked:
        model, scores = one.result()
        assert model == "live"
        # Each request was answered by one of the two as a whole.
        assert scores in (_alike(old), _alike(new))

    assert _ask(served, request_id="after") == ("live", _alike(new))
    after = _line(tmp_path / "shadow.jsonl", "after")
    assert after["sha256"] == after["shadow_sha256"]
    assert after["logit_difference_max"] == pytest.approx(0, abs=1e-5)
