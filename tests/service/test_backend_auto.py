"""A service with `--backend auto`: the real backend's name is what clients see, and the log says why."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings


@pytest.mark.slow
def test_the_log_says_what_runs_and_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`/info` names the backend, not "auto"; what was measured lies in the service's cache folder, if anything was."""
    with (
        caplog.at_level(logging.INFO, logger="pairscore.road"),
        TestClient(create_app(ServiceSettings(backend="auto", cache_dir=tmp_path))) as client,
    ):
        info = client.get("/info").json()

    assert "onnx" in str(info)
    assert "auto" not in info.values()
    assert "backend onnx on cpu: " in caplog.text
    assert {path.parent.name for path in tmp_path.rglob("*.json")} <= {"backend"}
