"""The machine's peak: how fast it multiplies large matrices in float32 and in int8, with all cores and nothing else.

Through ONNX Runtime, with one session of one thread and a worker for each core, as models run; its MatMulInteger is
where quantized models spend their time. float32 also through numpy's BLAS on the threads that it takes, and the faster
of the two counts: where other work takes a core, threads that wait for each other inside a product say little. The
graph of that one product is a protocol buffer of some hundred bytes (onnx.proto3), written here, because the package
that writes such files is not installed with pairscore.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from pairscore.road.rate import rate

__all__ = ["Numbers", "Product", "blas_flops_per_s", "product_graph"]

Numbers: TypeAlias = Literal["float32", "int8"]
"""What a peak is measured in."""

_SIZE: Final = 1024
# Rows of one int8 product: a micro-batch of the usual budget.
_ROWS: Final = 512
# onnx.proto3: TensorProto.DataType and AttributeProto.AttributeType.
_FLOAT, _UINT8, _INT8, _INT32, _INT64, _IS_TENSOR = 1, 2, 3, 6, 7, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class _How:
    """A product's operator, and the types of its matrices."""

    operator: bytes
    of_a: int
    of_ones: int
    of_c: int
    one: bytes


_HOW: Final[dict[Numbers, _How]] = {
    "float32": _How(
        operator=b"MatMul", of_a=_FLOAT, of_ones=_FLOAT, of_c=_FLOAT, one=struct.pack("<f", 1.0)
    ),
    "int8": _How(
        operator=b"MatMulInteger", of_a=_UINT8, of_ones=_INT8, of_c=_INT32, one=struct.pack("<b", 1)
    ),
}


def blas_flops_per_s(*, seconds: float) -> float:
    """Operations a second of the fastest of some products of float32 matrices in numpy."""
    left = np.full((_SIZE, _SIZE), 0.5, dtype=np.float32)
    right, result = left.copy(), np.empty_like(left)
    fastest = np.inf
    ends = time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        np.matmul(left, right, out=result)
        now = time.perf_counter()
        fastest = min(fastest, max(now - began, 1e-9))
        if now >= ends:
            return 2.0 * _SIZE**3 / fastest


class Product:
    """A product of two matrices in ONNX Runtime, ready to be timed."""

    def __init__(self, numbers: Numbers) -> None:
        # Late, because only the speed test needs them. The backend's module goes first: it keeps the runtime
        # from writing down events for its makers.
        import pairscore.road.backends.onnx  # noqa: F401

        # isort: split
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            product_graph(numbers, rows=_ROWS, inner=_SIZE, columns=_SIZE),
            options,
            providers=["CPUExecutionProvider"],
        )
        kind = np.uint8 if numbers == "int8" else np.float32
        self._given = {"a": np.full((_ROWS, _SIZE), 3, dtype=kind)}

    def run(self) -> float:
        """Multiply once; the operations that it took."""
        self._session.run(["c"], self._given)
        return 2.0 * _ROWS * _SIZE * _SIZE

    def ops_per_s(self, *, num_workers: int, seconds: float) -> float:
        """Operations a second on so many threads."""
        return rate(self.run, num_workers=num_workers, seconds=seconds)


def product_graph(numbers: Numbers, *, rows: int, inner: int, columns: int) -> bytes:
    """An ONNX file: c = a (rows x inner) times a constant matrix of ones (inner x columns).

    In int8 a is uint8, the ones are int8 and c is int32. The constant is made by ConstantOfShape, which the runtime
    computes once, when it loads the graph, and packs like any weights.
    """
    how = _HOW[numbers]
    filled = _bytes(1, b"value") + _bytes(5, _tensor(how.of_ones, (1,), how.one))
    ones = _node(b"ConstantOfShape", (b"shape",), b"b")
    shape = _tensor(_INT64, (2,), struct.pack("<2q", inner, columns)) + _bytes(8, b"shape")
    graph = (
        _bytes(1, ones + _bytes(5, filled + _number(20, _IS_TENSOR)))
        + _bytes(1, _node(how.operator, (b"a", b"b"), b"c"))
        + _bytes(2, b"product")
        + _bytes(5, shape)
        + _bytes(11, _value(b"a", how.of_a, (rows, inner)))
        + _bytes(12, _value(b"c", how.of_c, (rows, columns)))
    )
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13))


def _node(kind: bytes, inputs: tuple[bytes, ...], output: bytes) -> bytes:
    return b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind)


def _tensor(kind: int, dims: tuple[int, ...], raw: bytes) -> bytes:
    return b"".join(_number(1, dim) for dim in dims) + _number(2, kind) + _bytes(9, raw)


def _value(name: bytes, kind: int, dims: tuple[int, ...]) -> bytes:
    shape = b"".join(_bytes(1, _number(1, dim)) for dim in dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
