"""`pairscore calibrate` as it is installed, with the real model: fitted, used, and loaded late."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.calibrations import labelled_csv

PAIRSCORE = str(Path(sys.executable).parent / "pairscore")


def _run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PAIRSCORE, *map(str, args)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        timeout=100,
    )


@pytest.mark.slow
def test_the_bundled_model_is_calibrated_and_says_so(tmp_path: Path) -> None:
    """From labelled pairs to a probability that was made with them."""
    path = tmp_path / "c.json"
    fitted = _run("calibrate", "--pairs", labelled_csv(tmp_path / "pairs.csv"), "--output", path)
    plain = _run("score", "town 3", "town 3 river", "--json")
    scored = _run("score", "town 3", "town 3 river", "--json", "--calibration", path)

    assert fitted.returncode == 0, fitted.stderr
    assert scored.returncode == 0, scored.stderr
    before, after = json.loads(plain.stdout), json.loads(scored.stdout)
    assert after["score"] == before["score"]
    assert after["probability"] != before["probability"]
    assert after["calibration"] == "platt"


@pytest.mark.slow
def test_using_a_calibration_loads_nothing_that_fits(tmp_path: Path) -> None:
    """scikit-learn, scipy and matplotlib belong to fitting; scoring does without."""
    path = tmp_path / "c.json"
    _run("calibrate", "--pairs", labelled_csv(tmp_path / "pairs.csv"), "--output", path)
    code = (
        "import sys; from pairscore import CrossEncoder\n"
        f"model = CrossEncoder(calibration={str(path)!r})\n"
        "assert model.score([('a', 'b')]).calibration == 'platt'\n"
        "print([name for name in ('sklearn', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )

    assert done.stdout.strip() == "[]", done.stderr
