"""The BERT cross-encoder as one fused ONNX graph, its matrix products in int8 with a scale for each token.

What ONNX Runtime calls dynamic quantization takes one scale for a whole tensor, so that a pair's score
depends on its neighbours in the micro-batch. Here every token (row) has its own scale: a score is the same
alone and in any batch, and more than twice as close to float32. A product is then

    bytes = QuantizeLinear(x, row scale)        rows of x lie along axis 0
    y     = MatMulIntegerToFloat(bytes, int8 weight, one scale for each output channel) * row scale

Inputs of products are symmetric around byte 128, but for what leaves a GELU: that is never below -0.17,
so it gets zero point 16 and nearly one more bit.
Fused: attention (ONNX's own operator, its three projections in one product), and bias with GELU. Normalization stays apart from the residual's Add, which is faster on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bundled.quantize import byte_table, int8_weight
from bundled.source import Array, Weights

__all__ = ["MAX_LENGTH", "NUM_HEADS", "NUM_LAYERS", "build_graph"]

NUM_LAYERS = 12
NUM_HEADS = 12
MAX_LENGTH = 512
_EPSILON = 1e-12
# The first with an operator for attention; ONNX Runtime runs it since 1.23.
_OPSET = 23
_IR_VERSION = 11
_FUSED = "com.microsoft"


@dataclass(frozen=True, slots=True)
class _Bytes:
    """How a kind of activation becomes bytes: its zero point, and the byte range above it."""

    name: str
    zero_point: int
    reach: int


_SYMMETRIC = _Bytes("symmetric", 128, 127)
_AFTER_GELU = _Bytes("after_gelu", 16, 239)
# The least value of a GELU; a row's scale is never so small that it would not fit below the zero point.
_GELU_FLOOR = 0.17
# A row of zeros must not be divided by zero.
_TINY = 1e-9


@dataclass
class _Graph:
    """Collects nodes and constants, and names what nobody needs to name."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def constant(self, name: str, value: Any) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def add(
        self, kind: str, inputs: list[str], *, output: str | None = None, **options: Any
    ) -> str:
        return self.add_many(kind, inputs, count=1, output=output, **options)[0]

    def add_many(
        self, kind: str, inputs: list[str], *, count: int, output: str | None = None, **options: Any
    ) -> list[str]:
        name = f"{kind}_{len(self.nodes)}"
        outputs = [output] if output else [f"{name}_{index}" for index in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **options))
        return outputs


class _Builder:
    """Writes the layers of one model into one graph; activations have shape (num_tokens, width)."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._graph = _Graph()
        self._width = weights["bert.embeddings.LayerNorm.weight"].shape[0]

    def build(self) -> onnx.ModelProto:
        x = self._embeddings()
        self._declare_shapes(x)
        x = self._flat(x)
        for layer in range(NUM_LAYERS):
            x = self._layer(x, f"bert.encoder.layer.{layer}.")
        self._head(self._graph.add("Reshape", [x, self._batch_shape]))
        return self._model()

    def _declare_shapes(self, x: str) -> None:
        graph = self._graph
        self._mask = self._attention_mask()
        self._batch_shape = graph.add(
            "Concat", [graph.add("Shape", ["input_ids"]), graph.constant("rest", [-1])], axis=0
        )
        num_tokens = graph.add("Shape", [self._flat(x)], start=0, end=1)
        self._zero_points = {
            kind.name: graph.add(
                "ConstantOfShape",
                [num_tokens],
                value=numpy_helper.from_array(np.array([kind.zero_point], np.uint8)),
            )
            for kind in (_SYMMETRIC, _AFTER_GELU)
        }

    def _attention_mask(self) -> str:
        """Which token may look at which: bool, shape (num_pairs, 1, longest, longest)."""
        graph = self._graph
        real = graph.add("Cast", ["attention_mask"], to=TensorProto.BOOL)
        real = graph.add("Unsqueeze", [real, graph.constant("heads_and_queries", [1, 2])])
        num_pairs = graph.add("Shape", ["input_ids"], start=0, end=1)
        longest = graph.add("Shape", ["input_ids"], start=1, end=2)
        sizes = [num_pairs, graph.constant("one_head", [1]), longest, longest]
        return graph.add("Expand", [real, graph.add("Concat", sizes, axis=0)])

    def _flat(self, x: str) -> str:
        shape = self._graph.constant("tokens_by_width", [-1, self._width])
        return self._graph.add("Reshape", [x, shape])

    def _embeddings(self) -> str:
        graph = self._graph
        start = graph.constant("from_0", [0])
        length = graph.add("Shape", ["input_ids"], start=1, end=2)
        words = graph.add("Gather", [self._table("word"), "input_ids"])
        types = graph.add("Gather", [self._table("token_type"), "token_type_ids"])
        positions = graph.add("Slice", [self._table("position"), start, length, start])
        parts = [
            self._floats("word", words),
            self._floats("token_type", types),
            self._floats("position", positions),
        ]
        x = graph.add("Add", [graph.add("Add", parts[:2]), parts[2]])
        return self._normalized(x, "bert.embeddings.LayerNorm")

    def _table(self, kind: str) -> str:
        table = byte_table(self._weights[f"bert.embeddings.{kind}_embeddings.weight"])
        self._graph.constant(f"{kind}.scale", table.scale)
        self._graph.constant(f"{kind}.zero_point", table.zero_point)
        return self._graph.constant(kind, table.values)

    def _floats(self, kind: str, x: str) -> str:
        return self._graph.add("DequantizeLinear", [x, f"{kind}.scale", f"{kind}.zero_point"])

    def _layer(self, x: str, prefix: str) -> str:
        attended = self._attention(x, prefix + "attention.self.")
        projected = self._product(attended, prefix + "attention.output.dense")
        x = self._residual(projected, x, prefix + "attention.output.")
        inner = self._product(x, prefix + "intermediate.dense")
        bias = self._bias(prefix + "intermediate.dense")
        inner = self._graph.add("BiasGelu", [inner, bias], domain=_FUSED)
        outer = self._product(inner, prefix + "output.dense", kind=_AFTER_GELU)
        return self._residual(outer, x, prefix + "output.")

    def _attention(self, x: str, prefix: str) -> str:
        graph = self._graph
        parts = [prefix + name for name in ("query", "key", "value")]
        weight = np.concatenate([self._weights[part + ".weight"] for part in parts])
        bias = np.concatenate([self._weights[part + ".bias"] for part in parts])
        joined = self._int8_product(x, weight, prefix + "qkv", kind=_SYMMETRIC)
        joined = graph.add("Add", [joined, graph.constant(prefix + "qkv.bias", bias)])
        joined = graph.add("Reshape", [joined, self._batch_shape])
        split = graph.add_many("Split", [joined], count=3, axis=-1, num_outputs=3)
        attended = graph.add(
            "Attention", [*split, self._mask], q_num_heads=NUM_HEADS, kv_num_heads=NUM_HEADS
        )
        return self._flat(attended)

    def _product(self, x: str, name: str, *, kind: _Bytes = _SYMMETRIC) -> str:
        """A linear layer without its bias."""
        return self._int8_product(x, self._weights[name + ".weight"], name, kind=kind)

    def _int8_product(self, x: str, weight: Array, name: str, *, kind: _Bytes) -> str:
        graph = self._graph
        quantized = int8_weight(weight)
        scale = self._row_scale(x, kind)
        flat_scale = graph.add("Reshape", [scale, graph.constant("rest", [-1])])
        rows = graph.add("QuantizeLinear", [x, flat_scale, self._zero_points[kind.name]], axis=0)
        inputs = [
            rows,
            graph.constant(name + ".int8", quantized.values),
            graph.constant("one", np.float32(1)),
            graph.constant(name + ".scales", quantized.scales),
            graph.constant(kind.name + ".zero_point", np.uint8(kind.zero_point)),
            graph.constant(f"zeros_{weight.shape[0]}", np.zeros(weight.shape[0], np.int8)),
        ]
        product = graph.add("MatMulIntegerToFloat", inputs, domain=_FUSED)
        return graph.add("Mul", [product, scale])

    def _row_scale(self, x: str, kind: _Bytes) -> str:
        """The float that one step of a byte stands for, one for each token: shape (num_tokens, 1)."""
        graph = self._graph
        last = graph.constant("rest", [-1])
        magnitude = x if kind is _AFTER_GELU else graph.add("Abs", [x])
        largest = graph.add("ReduceMax", [magnitude, last], keepdims=1)
        floor = _GELU_FLOOR / kind.zero_point * kind.reach if kind is _AFTER_GELU else _TINY
        largest = graph.add(
            "Max", [largest, graph.constant(kind.name + ".floor", np.float32(floor))]
        )
        step = graph.constant(kind.name + ".step", np.float32(1 / kind.reach))
        return graph.add("Mul", [largest, step])

    def _residual(self, x: str, skipped: str, prefix: str) -> str:
        graph = self._graph
        biased = graph.add("Add", [x, self._bias(prefix + "dense")])
        return self._normalized(graph.add("Add", [biased, skipped]), prefix + "LayerNorm")

    def _normalized(self, x: str, name: str) -> str:
        inputs = [x, self._own(name + ".weight"), self._own(name + ".bias")]
        return self._graph.add("LayerNormalization", inputs, axis=-1, epsilon=_EPSILON)

    def _head(self, x: str) -> None:
        graph = self._graph
        first = graph.add("Gather", [x, graph.constant("first", np.int64(0))], axis=1)
        pooled = graph.add("Tanh", [self._gemm(first, "bert.pooler.dense")])
        self._gemm(pooled, "classifier", output="logits")

    def _gemm(self, x: str, name: str, *, output: str | None = None) -> str:
        inputs = [x, self._own(name + ".weight"), self._bias(name)]
        return self._graph.add("Gemm", inputs, output=output, transB=1)

    def _bias(self, name: str) -> str:
        return self._own(name + ".bias")

    def _own(self, name: str) -> str:
        return self._graph.constant(name, self._weights[name])

    def _model(self) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["num_pairs", "longest"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["num_pairs", 1])]
        graph = helper.make_graph(
            self._graph.nodes,
            "cross_encoder",
            inputs,
            outputs,
            list(self._graph.constants.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="pairscore"
        )


def build_graph(weights: Weights) -> onnx.ModelProto:
    """The fused int8 graph of a BERT cross-encoder with one label.

    Inputs are `input_ids`, `attention_mask` and `token_type_ids`, int64, shape (num_pairs, longest);
    the output is `logits`, float32, shape (num_pairs, 1).
    """
    return _Builder(weights).build()
