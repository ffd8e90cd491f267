"""Loading and unloading the real model again and again leaves memory where it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from statistics import mean
from typing import Any, Final

import pytest
from starlette.testclient import TestClient
from tests.service.fleet_models import entries_of, score_of

from pairscore.service.app import create_app
from pairscore.service.fleet_memory import resident_bytes
from pairscore.service.settings import ServiceSettings

BUNDLED: Final = Path(str(resources.files("pairscore.models"))) / "bundled/ms-marco-minilm-l12"
CYCLES: Final = 200
WARM_UP: Final = 20
MIB: Final = 1024 * 1024
KEY: Final = "ops-ops-ops-ops-ops"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(resident_bytes() is None, reason="the system does not say what is resident")
def test_two_hundred_cycles_leave_memory_flat(tmp_path: Path) -> None:
    """Each load scores a pair, rightly, and each unload gives all of it back: less than 20 MiB more at the end.

    What threads leave in the heap moves to and fro by as much from one cycle to the next, so means are compared; one
    MiB that stayed behind in each cycle would be 160. In a process of its own: thousands of tests leave a heap with holes.
    """
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    resident = told["resident"]

    assert len(resident) == CYCLES
    assert told["weight"] > 30 * MIB
    before, after = mean(resident[WARM_UP : 2 * WARM_UP]), mean(resident[-WARM_UP:])
    assert after - before < 20 * MIB, [r // MIB for r in resident]


def _cycles(folder: Path) -> dict[str, Any]:
    """What is resident after each load and unload, in bytes."""
    second = folder / "second"
    shutil.copytree(BUNDLED, second)
    settings = ServiceSettings(
        model=["ms-marco-minilm-l12", f"second={second}"],
        api_keys=f"ops={KEY}",
        model_control="ops",
        cache_bytes=0,
        access_log=False,
    )
    resident: list[int] = []
    with TestClient(create_app(settings), headers={"X-API-Key": KEY}) as client:
        weight = entries_of(client)["second"]["memory_bytes"]
        body = {"query": "how many people live in berlin", "documents": ["berlin has museums"]}
        expected = score_of(client.post("/rerank", json=body))
        for _ in range(CYCLES):
            answer = client.post("/rerank", json={**body, "model": "second"})
            assert score_of(answer) == pytest.approx(expected, abs=1e-4)
            assert client.post("/v1/models/unload", json={"model": "second"}).status_code == 200
            resident.append(resident_bytes() or 0)
    return {"weight": weight, "resident": resident}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(_cycles(Path(sys.argv[1]))) + "\n")
