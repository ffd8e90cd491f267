"""A source's file that was named is the one that is read; else safetensors go before ONNX."""

from __future__ import annotations

from pathlib import Path

from tests.unit.convert_sources import source_folder

from pairscore.convert import ConvertOptions, build
from pairscore.convert.weights import with_source_weights
from pairscore.models.resolve import resolve


def test_safetensors_go_before_onnx(tmp_path: Path) -> None:
    """Nothing was lost on the way to them; a file with a name of its own was meant."""
    folder = source_folder(tmp_path / "source")
    made = build(
        resolve(folder), options=ConvertOptions(precision="float32"), output=tmp_path / "made"
    )
    for name in ("model.onnx", "other.onnx"):
        (folder / name).write_bytes(made.weights.read_bytes())

    assert resolve(folder).weights.name == "model.onnx"
    assert with_source_weights(resolve(folder)).weights.name == "model.safetensors"
    named = with_source_weights(resolve(f"{folder}:other.onnx"))
    assert named.weights.name == "other.onnx"
