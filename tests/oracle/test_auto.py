"""`backend="auto"` with real backends and both kinds of weights in one folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.small_models import TEXT_PAIRS, export_onnx, small_model

from pairscore import CrossEncoder
from pairscore.road.road import open_road

pytestmark = [pytest.mark.oracle]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured in a test stays in the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("num_labels", [1, 3])
def test_every_candidate_agrees(tmp_path: Path, num_labels: int) -> None:
    """All that are installed are measured, and the one that is taken gives the logits of torch."""
    folder = small_model("bert", tmp_path / "model", num_labels=num_labels)
    export_onnx(folder)
    with (
        CrossEncoder(folder, backend="auto") as auto,
        CrossEncoder(folder, backend="torch", device="cpu") as torch,
    ):
        assert auto.choice is not None
        assert {"onnx", "torch"} <= {one.backend for one in auto.choice.measured}
        assert all(one.max_difference < 1e-4 for one in auto.choice.measured)
        assert not any(one.disagrees for one in auto.choice.skipped)
        expected = torch.score(TEXT_PAIRS).logits
        assert np.abs(auto.score(TEXT_PAIRS).logits - expected).max() < 1e-4


def test_safetensors_of_another_model(tmp_path: Path) -> None:
    """Beside an ONNX file they are found out, and not taken however quick torch is."""
    folder = small_model("bert", tmp_path / "model")
    export_onnx(folder)
    other = small_model("bert", tmp_path / "other", seed=8)
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    road = open_road(folder, backend="auto")
    try:
        assert road.choice is not None
        assert road.choice.backend != "torch"
        assert [one.backend for one in road.choice.skipped if one.disagrees] == ["torch"]
    finally:
        road.close()


def test_safetensors_alone(tmp_path: Path) -> None:
    """Torch runs them; there is nothing to measure."""
    folder = small_model("roberta", tmp_path / "model")
    road = open_road(folder, backend="auto")
    try:
        assert road.choice is not None
        assert (road.backend_name, road.choice.measured) == ("torch", ())
    finally:
        road.close()
