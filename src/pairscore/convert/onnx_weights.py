"""Read a model's weights out of an ONNX graph, whatever it was quantized to, under Hugging Face's names.

Known are the graphs of `pairscore.convert`, exports of torch, and either after ONNX Runtime's quantization,
dynamic or static. How a weight is stored is told by who reads it: the second input of a product has shape
(in, out) and is turned round, that of a Gemm with `transB` has (out, in) already, a table is what a Gather
reads. A weight without a name of its own gets that of the module its node stands in, or of the bias behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from pairscore.convert.families import TABLES
from pairscore.convert.quantize import Array, Weights

__all__ = ["onnx_weights"]

_QUANTIZED: Final = "_quantized"
_INT8: Final = ".int8"
_MATRIX: Final = 2
# Of each kind of product: which input is the weight, and which are its scale and zero point, if inputs are.
_WEIGHT_AT: Final[dict[str, tuple[int, int | None, int | None]]] = {
    "MatMul": (1, None, None),
    "Gemm": (1, None, None),
    "MatMulInteger": (1, None, 3),
    "MatMulIntegerToFloat": (1, 3, 5),
    "DynamicQuantizeMatMul": (1, 2, 3),
    "QLinearMatMul": (3, 4, 5),
    "QGemm": (3, 4, 5),
}
# What may stand between a product and the Add of its bias.
_BEFORE_BIAS: Final = frozenset({"Cast", "Mul", "QuantizeLinear", "DequantizeLinear"})


def onnx_weights(model: onnx.ModelProto) -> Weights:
    """The weights of an ONNX graph, dequantized to float32; a product's has shape (out, in).

    The tables of our own int8 graph are named by their kind (`TABLES`), and our own fused attention has
    one product for three (`JOINED`): `pairscore.convert.weights` gives both the names of their family.
    A product that nothing names is left out; whoever needs it will miss it.
    """
    return _Reader(model.graph).weights()


class _Reader:
    """One graph: its constants by name, who makes a value and who reads it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._stored = {item.name: item for item in graph.initializer}
        self._nodes = [node for node in graph.node if node.op_type != "Constant"]
        for node in graph.node:
            if node.op_type == "Constant":
                value = next((item.t for item in node.attribute if item.name == "value"), None)
                if value is not None:
                    self._stored[node.output[0]] = value
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._readers: dict[str, onnx.NodeProto] = {
            name: node for node in reversed(self._nodes) for name in node.input
        }

    def weights(self) -> Weights:
        named: Weights = {}
        for name in self._stored:
            base = name.removesuffix(_QUANTIZED)
            if base.endswith((".weight", ".bias")):
                named[base] = self._named(name)
        for kind in TABLES:
            if kind in self._stored:
                named[kind] = self._own_table(kind)
        for node in self._nodes:
            if node.op_type in _WEIGHT_AT:
                named |= dict(self._of_product(node))
        for node in self._nodes:
            for name, value in self._by_module(node):
                named.setdefault(name, value)
        return named

    def _named(self, name: str) -> Array:
        reader = self._readers.get(name)
        if reader is not None and reader.op_type == "DequantizeLinear":
            return self._dequantized(reader)
        return self._floats(name)

    def _own_table(self, kind: str) -> Array:
        values = self._raw(kind).astype(np.float32)
        if f"{kind}.scales" in self._stored:
            return _as_floats(values * self._raw(f"{kind}.scales"))
        zero_point = self._raw(f"{kind}.zero_point").astype(np.float32)
        return _as_floats((values - zero_point) * self._raw(f"{kind}.scale"))

    def _of_product(self, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
        place, scale, zero_point = _WEIGHT_AT[node.op_type]
        value = self._constant(
            node.input[place], scale=_input(node, scale), zero_point=_input(node, zero_point)
        )
        layer = self._layer_of(node, node.input[place])
        if value is None or value.ndim != _MATRIX or layer is None:
            return
        is_out_by_in = bool(_option(node, "transB", 0))
        yield f"{layer}.weight", value if is_out_by_in else _as_floats(value.T)

    def _by_module(self, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
        """What a node reads, named by the module that it stands in: exporters store equal weights once."""
        module = _module(node.name)
        if module is None:
            return
        parts = {"LayerNormalization": (1, 2), "Gemm": (None, 2), "Gather": (0, None)}
        for ending, place in zip(("weight", "bias"), parts.get(node.op_type, ()), strict=False):
            value = self._constant(_input(node, place) or "")
            if value is not None and value.ndim > 0:
                yield f"{module}.{ending}", value
        if node.op_type == "Add":
            biases = [self._constant(name) for name in node.input]
            for value in biases:
                if value is not None and value.ndim == 1:
                    yield f"{module}.bias", value

    def _constant(
        self, name: str, *, scale: str | None = None, zero_point: str | None = None
    ) -> Array | None:
        """The float32 value of a constant, through what only rewrites it; None for what is computed."""
        if name in self._stored:
            return self._floats(name, scale=scale, zero_point=zero_point)
        node = self._makers.get(name)
        if node is None:
            return None
        if node.op_type == "DequantizeLinear" and node.input[0] in self._stored:
            return self._dequantized(node)
        if node.op_type in ("Cast", "Identity"):
            return self._constant(node.input[0])
        if node.op_type == "Transpose" and (value := self._constant(node.input[0])) is not None:
            return _as_floats(np.transpose(value, _option(node, "perm", None)))
        return None

    def _floats(
        self, name: str, *, scale: str | None = None, zero_point: str | None = None
    ) -> Array:
        """A stored value in float32; scale and zero point lie beside it, if they are not told."""
        base = name.removesuffix(_QUANTIZED)
        scale = scale or f"{base}_scale"
        zero_point = zero_point or f"{base}_zero_point"
        values = self._raw(name)
        if scale not in self._stored or np.issubdtype(values.dtype, np.floating):
            return _as_floats(values)
        return self._scaled(values, scale, zero_point, axis=-1)

    def _dequantized(self, node: onnx.NodeProto) -> Array:
        zero_point = _input(node, 2)
        values = self._raw(node.input[0])
        return self._scaled(values, node.input[1], zero_point or "", axis=_option(node, "axis", 1))

    def _scaled(self, values: npt.NDArray[Any], scale: str, zero_point: str, *, axis: int) -> Array:
        """(values - zero_point) * scale, each of which is one number or one for each channel of the axis."""
        shape = [1] * values.ndim
        scales = self._raw(scale).astype(np.float32)
        if scales.size > 1:
            shape[axis] = -1
        offset = np.zeros(1, np.float32)
        if zero_point in self._stored:
            offset = self._raw(zero_point).astype(np.float32)
        offset = offset.reshape(shape if offset.size > 1 else [1] * values.ndim)
        return _as_floats((values.astype(np.float32) - offset) * scales.reshape(shape))

    def _layer_of(self, node: onnx.NodeProto, weight: str) -> str | None:
        """The name of the linear layer whose product a node is."""
        name = self._stored_name(weight)
        for ending in (".weight", _INT8):
            if name.endswith(ending):
                return name.removesuffix(ending)
        return _module(node.name) or self._layer_of_bias(node)

    def _stored_name(self, name: str) -> str:
        while name not in self._stored and name in self._makers:
            name = self._makers[name].input[0]
        return name.removesuffix(_QUANTIZED)

    def _layer_of_bias(self, product: onnx.NodeProto) -> str | None:
        if product.op_type in ("Gemm", "QGemm"):
            given = [self._stored_name(name) for name in product.input]
            return next((name[:-5] for name in given if name.endswith(".bias")), None)
        node = self._readers.get(product.output[0])
        while node is not None and node.op_type in _BEFORE_BIAS:
            node = self._readers.get(node.output[0])
        if node is None or node.op_type != "Add":
            return None
        given = [self._stored_name(name) for name in node.input]
        return next((name[:-5] for name in given if name.endswith(".bias")), None)

    def _raw(self, name: str) -> npt.NDArray[Any]:
        return numpy_helper.to_array(self._stored[name])


def _module(node_name: str) -> str | None:
    """The module that an exporter names a node after: ``/model/layers.0/attn/Wo/MatMul_quant``."""
    path = node_name.removeprefix("/").split("/")[:-1]
    return ".".join(path) if path else None


def _input(node: onnx.NodeProto, place: int | None) -> str | None:
    if place is None or place >= len(node.input):
        return None
    return node.input[place] or None


def _option(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def _as_floats(values: npt.NDArray[Any]) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32)
