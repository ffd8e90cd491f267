"""Converted models score as transformers does: our own graphs, torch's exports, int8 of each kind, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.small_models import TEXT_PAIRS, export_onnx, small_model

from pairscore import CrossEncoder
from pairscore.convert import ConvertOptions, build, to_float32
from pairscore.models.files import ModelFiles
from pairscore.models.resolve import resolve
from pairscore.road.checks import CHECKS

# transformers and torch warn of what they will drop one day.
pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

OWN = ("bert", "roberta", "xlm-roberta", "electra", "distilbert")
STRANGERS = ("deberta-v2", "modernbert")
PAIRS = list(TEXT_PAIRS)
STATIC: dict[str, Any] = {"method": "static", "calibration_pairs": tuple(TEXT_PAIRS * 2)}
INT8: dict[str, dict[str, Any]] = {
    "default": {},
    "full range": {"reduced_range": False},
    "channel": {"granularity": "channel"},
    "tensor": {"granularity": "tensor"},
    "static": STATIC,
    "static, tensor": {**STATIC, "granularity": "tensor"},
}


def _theirs(folder: Path) -> Any:
    """The logits by sentence-transformers."""
    import torch
    from sentence_transformers import CrossEncoder as Reference

    model = Reference(str(folder), device="cpu", local_files_only=True)
    return model.predict(PAIRS, activation_fn=torch.nn.Identity())


def _ours(files: ModelFiles) -> Any:
    # Random weights know no order.
    with CrossEncoder(str(files.folder), skip_checks=list(CHECKS)) as encoder:
        return encoder.score(PAIRS).logits


def _folder(tmp_path: Path, kind: str, *, num_labels: int = 1, **config: Any) -> Path:
    """A small model; an ELECTRA's tables are as wide as its layers, as those of its cross-encoders are."""
    if kind == "electra":
        config = {"embedding_size": 32, **config}
    return small_model(kind, tmp_path / "source", num_labels=num_labels, **config)


@pytest.mark.parametrize("num_labels", [1, 3])
@pytest.mark.parametrize("kind", OWN + STRANGERS)
def test_a_float32_conversion_is_the_model(tmp_path: Path, kind: str, num_labels: int) -> None:
    """Within 1e-4 of sentence-transformers, and its labels and activation come along."""
    folder = _folder(tmp_path, kind, num_labels=num_labels)
    options = ConvertOptions(precision="float32")
    files = build(resolve(folder), options=options, output=tmp_path / "made")

    np.testing.assert_allclose(_ours(files), _theirs(folder), atol=1e-4)
    made = json.loads((files.folder / "config.json").read_text())
    assert made == json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("way", INT8)
@pytest.mark.parametrize("kind", ["bert", "roberta", *STRANGERS])
def test_int8_is_near_and_comes_back(tmp_path: Path, kind: str, way: str) -> None:
    """Nearer to float32 than chance; the way back is what was quantized, and sentence-transformers loads it."""
    folder = _folder(tmp_path, kind)
    files = build(resolve(folder), options=ConvertOptions(**INT8[way]), output=tmp_path / "made")
    ours, theirs = _ours(files), _theirs(folder)
    back = to_float32(files, output=tmp_path / "back")
    returned = _theirs(back.folder)

    assert np.abs(ours - theirs).mean() < theirs.std()
    assert np.abs(returned - theirs).mean() < theirs.std()


@pytest.mark.parametrize("kind", OWN + STRANGERS)
def test_there_and_back_in_float32_changes_nothing(tmp_path: Path, kind: str) -> None:
    """The same logits to the bit, from our own graph and from an export."""
    folder = _folder(tmp_path, kind)
    options = ConvertOptions(precision="float32")
    files = build(resolve(folder), options=options, output=tmp_path / "made")
    back = to_float32(files, output=tmp_path / "back")

    np.testing.assert_allclose(_theirs(back.folder), _theirs(folder), atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "deberta-v2"])
def test_an_export_by_others_is_read(tmp_path: Path, kind: str) -> None:
    """One whose names stand behind that of a module that was wrapped around the model."""
    folder = _folder(tmp_path, kind)
    exported = export_onnx(folder)
    wanted = _theirs(folder)
    (folder / "model.safetensors").unlink()
    source = resolve(folder)
    assert source.weights == exported
    back = to_float32(source, output=tmp_path / "back")
    made = build(source, options=ConvertOptions(precision="float32"), output=tmp_path / "made")

    np.testing.assert_allclose(_theirs(back.folder), wanted, atol=1e-5)
    np.testing.assert_allclose(_ours(made), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "config"), [("bert", {"hidden_act": "gelu_new"}), ("electra", {"embedding_size": 16})]
)
def test_a_variant_of_the_family_goes_through_the_exporter(
    tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    """What our graph does not write is exported and fused, and scores the same; its int8 comes back."""
    folder = _folder(tmp_path, kind, **config)
    options = ConvertOptions(precision="float32")
    files = build(resolve(folder), options=options, output=tmp_path / "made")
    int8 = build(resolve(folder), options=ConvertOptions(), output=tmp_path / "int8")
    back = to_float32(int8, output=tmp_path / "back")
    wanted = _theirs(folder)

    np.testing.assert_allclose(_ours(files), wanted, atol=1e-4)
    assert np.abs(_theirs(back.folder) - wanted).mean() < wanted.std()


@pytest.mark.parametrize("kind", STRANGERS)
def test_an_export_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    """Torch's exporter and ONNX Runtime's quantization put no time and no path into the file."""
    folder = _folder(tmp_path, kind)
    made = [
        build(resolve(folder), options=ConvertOptions(**STATIC), output=tmp_path / name).weights
        for name in ("first", "second")
    ]

    assert made[0].read_bytes() == made[1].read_bytes()
