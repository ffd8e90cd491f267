"""`pairscore convert` in processes of its own: the bundled model, real weights, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pairscore import CrossEncoder
from pairscore.convert.parity_texts import default_texts

PAIRSCORE = str(Path(sys.executable).parent / "pairscore")
BUNDLED = "ms-marco-minilm-l12"

pytestmark = pytest.mark.slow


def _env() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1"}


def _convert(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PAIRSCORE, "convert", *map(str, args)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env=_env(),
        timeout=110,
    )


def _logits(model: str | Path | None) -> list[float]:
    pairs = default_texts(limit=40).pairs
    with CrossEncoder(model) as encoder:
        return encoder.score(pairs).logits.tolist()


def test_int8_of_int8_is_close_to_what_it_was_made_of(tmp_path: Path) -> None:
    """The bundled weights through float32 and to int8 again: rounded twice, and no further off than once."""
    done = _convert(BUNDLED, "-o", tmp_path / "again", "--limit", 60, "--json")

    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["parity"]["spearman"] > 0.995
    assert 0 < record["converted"]["peak_rss_bytes"] < record["reference"]["peak_rss_bytes"]
    assert record["converted"]["num_bytes"] < record["reference"]["num_bytes"] / 3
    assert _logits(tmp_path / "again") == pytest.approx(_logits(None), abs=0.3)


def test_one_scale_for_all_in_reduced_range_is_refused(tmp_path: Path) -> None:
    """The thresholds tell a way that is too coarse for this model from the ways that are not."""
    done = _convert(BUNDLED, "-o", tmp_path / "coarse", "--limit", 100, "--granularity", "tensor")

    assert done.returncode == 78
    assert "too far from float32" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_back_to_float32(tmp_path: Path) -> None:
    """The safetensors are as close to the graph as float32 can be, and held to float32's thresholds."""
    back = _convert(
        BUNDLED, "-o", tmp_path / "float32", "--to", "safetensors", "--limit", 40, "--json"
    )

    assert back.returncode == 0, back.stderr
    record = json.loads(back.stdout)
    assert record["thresholds_for"] == "float32"
    assert record["parity"]["largest_difference"] < 1e-3
    assert (tmp_path / "float32/model.safetensors").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """While both score: no folder, no half of one, and the exit code of the signal."""
    process = subprocess.Popen(
        [PAIRSCORE, "convert", BUNDLED, "-o", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        encoding="utf-8",
        env=_env(),
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "scoring" in line:
                break
        time.sleep(1.0)
        process.send_signal(number)
        told = process.stderr.read()
        assert process.wait(timeout=30) == 128 + number, told
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    assert list(tmp_path.iterdir()) == []
