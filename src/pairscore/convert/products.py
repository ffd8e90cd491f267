"""In which numbers a graph of ours multiplies: float32, or int8 with one scale for each token.

What ONNX Runtime calls dynamic quantization takes one scale for a whole tensor, so that a pair's score
depends on its neighbours in the micro-batch. Here every token (row) has its own scale: a score is the same
alone and in any batch, and more than twice as close to float32. A product is then

    bytes = QuantizeLinear(x, row scale)        rows of x lie along axis 0
    y     = MatMulIntegerToFloat(bytes, int8 weight, one scale for each output channel) * row scale

Inputs of products are symmetric around byte 128, but for what leaves a GELU: that is never below -0.17,
so it gets zero point 16 and nearly one more bit.

Tables of embeddings that lie on a grid of bytes already (a source that was quantized) keep it; others get one
scale for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pairscore.convert.quantize import (
    REDUCED_RANGE,
    Array,
    byte_table,
    int8_table,
    int8_weight,
    is_on_byte_grid,
)

__all__ = ["FUSED", "Float32Products", "Nodes", "Products", "Reader", "RowProducts"]

FUSED: Final = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


@dataclass
class Nodes:
    """Collects nodes and constants, and names what nobody needs to name."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def constant(self, name: str, value: Any) -> str:
        """A constant of that name; the second of a name is the first."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def add(
        self, kind: str, inputs: list[str], *, output: str | None = None, **options: Any
    ) -> str:
        """A node with one output, whose name is returned."""
        return self.add_many(kind, inputs, count=1, output=output, **options)[0]

    def add_many(
        self, kind: str, inputs: list[str], *, count: int, output: str | None = None, **options: Any
    ) -> list[str]:
        """A node with several outputs, whose names are returned."""
        name = f"{kind}_{len(self.nodes)}"
        outputs = [output] if output else [f"{name}_{index}" for index in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **options))
        return outputs


Reader = Callable[[str], str]
"""From a table's constant to the rows that are read from it."""


class Products(Protocol):
    """How a graph multiplies, and how it keeps its tables."""

    def declare(self, num_tokens: Callable[[], str]) -> None:
        """Make what all products share; `num_tokens` adds the number of rows of an activation."""

    def product(self, x: str, name: str, weight: Array, *, after_gelu: bool = False) -> str:
        """x, shape (num_tokens, in), times a weight of shape (out, in)."""

    def gelu(self, x: str, bias: str) -> str:
        """GELU of x plus a bias."""

    def look_up(self, kind: str, name: str, table: Array, read: Reader) -> list[str]:
        """Read rows of a table; what comes back goes into `floats`."""

    def floats(self, kind: str, rows: list[str]) -> str:
        """What was looked up, in float32."""


class Float32Products:
    """Everything in float32, and in ONNX's own operators only."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def declare(self, num_tokens: Callable[[], str]) -> None:
        """Nothing is shared."""

    def product(self, x: str, name: str, weight: Array, *, after_gelu: bool = False) -> str:  # noqa: ARG002 - bytes only
        """One MatMul; its weight is stored with shape (in, out)."""
        return self._nodes.add("MatMul", [x, self._nodes.constant(f"{name}.weight", weight.T)])

    def gelu(self, x: str, bias: str) -> str:
        """Add and Gelu; ONNX Runtime joins the Add with the product before it when it loads them."""
        return self._nodes.add("Gelu", [self._nodes.add("Add", [x, bias])])

    def look_up(self, kind: str, name: str, table: Array, read: Reader) -> list[str]:  # noqa: ARG002 - bytes only
        """The rows themselves."""
        return [read(self._nodes.constant(name, table))]

    def floats(self, kind: str, rows: list[str]) -> str:  # noqa: ARG002 - bytes only
        """They are."""
        return rows[0]


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


class RowProducts:
    """int8 products with one scale for each token and one for each output channel."""

    def __init__(self, nodes: Nodes, *, reach: int = REDUCED_RANGE) -> None:
        self._nodes = nodes
        self._reach = reach
        self._zero_points: dict[str, str] = {}

    def declare(self, num_tokens: Callable[[], str]) -> None:
        """One zero point for each token, of each kind of activation."""
        size = num_tokens()
        for kind in (_SYMMETRIC, _AFTER_GELU):
            value = numpy_helper.from_array(np.array([kind.zero_point], np.uint8))
            self._zero_points[kind.name] = self._nodes.add("ConstantOfShape", [size], value=value)

    def product(self, x: str, name: str, weight: Array, *, after_gelu: bool = False) -> str:
        """Bytes times bytes, and the two scales."""
        nodes = self._nodes
        kind = _AFTER_GELU if after_gelu else _SYMMETRIC
        quantized = int8_weight(weight, reach=self._reach)
        scale = self._row_scale(x, kind)
        flat_scale = nodes.add("Reshape", [scale, nodes.constant("rest", [-1])])
        rows = nodes.add("QuantizeLinear", [x, flat_scale, self._zero_points[kind.name]], axis=0)
        inputs = [
            rows,
            nodes.constant(f"{name}.int8", quantized.values),
            nodes.constant("one", np.float32(1)),
            nodes.constant(f"{name}.scales", quantized.scales),
            nodes.constant(f"{kind.name}.zero_point", np.uint8(kind.zero_point)),
            nodes.constant(f"zeros_{weight.shape[0]}", np.zeros(weight.shape[0], np.int8)),
        ]
        product = nodes.add("MatMulIntegerToFloat", inputs, domain=FUSED)
        return nodes.add("Mul", [product, scale])

    def gelu(self, x: str, bias: str) -> str:
        """Bias and GELU in one."""
        return self._nodes.add("BiasGelu", [x, bias], domain=FUSED)

    def look_up(self, kind: str, name: str, table: Array, read: Reader) -> list[str]:  # noqa: ARG002 - constants are named by kind
        """Rows of bytes, with their scales where each row has its own."""
        nodes = self._nodes
        quantized = byte_table(table)
        if is_on_byte_grid(table, quantized):
            nodes.constant(f"{kind}.scale", quantized.scale)
            nodes.constant(f"{kind}.zero_point", quantized.zero_point)
            return [read(nodes.constant(kind, quantized.values))]
        by_row = int8_table(table)
        scales = nodes.constant(f"{kind}.scales", by_row.scales)
        return [read(nodes.constant(kind, by_row.values)), read(scales)]

    def floats(self, kind: str, rows: list[str]) -> str:
        """Bytes times their scale."""
        nodes = self._nodes
        if len(rows) == 1:
            return nodes.add("DequantizeLinear", [rows[0], f"{kind}.scale", f"{kind}.zero_point"])
        return nodes.add("Mul", [nodes.add("Cast", [rows[0]], to=TensorProto.FLOAT), rows[1]])

    def _row_scale(self, x: str, kind: _Bytes) -> str:
        """The float that one step of a byte stands for, one for each token: shape (num_tokens, 1)."""
        nodes = self._nodes
        last = nodes.constant("rest", [-1])
        magnitude = x if kind is _AFTER_GELU else nodes.add("Abs", [x])
        largest = nodes.add("ReduceMax", [magnitude, last], keepdims=1)
        floor = _GELU_FLOOR / kind.zero_point * kind.reach if kind is _AFTER_GELU else _TINY
        largest = nodes.add(
            "Max", [largest, nodes.constant(f"{kind.name}.floor", np.float32(floor))]
        )
        step = nodes.constant(f"{kind.name}.step", np.float32(1 / kind.reach))
        return nodes.add("Mul", [largest, step])
