"""In which numbers an ONNX file computes its products: int8 if it quantizes, else the type of most of its weights.

The field and type numbers are those of onnx.proto3 (ModelProto, GraphProto, NodeProto, TensorProto).
"""

from __future__ import annotations

import mmap
from collections import Counter
from math import prod
from pathlib import Path
from typing import Final

from pairscore.road.backends.tables import fields, varints

__all__ = ["numbers_of_graph"]

_MODEL_GRAPH: Final = 7
_GRAPH_NODE: Final = 1
_GRAPH_INITIALIZER: Final = 5
_NODE_TYPE: Final = 4
_TENSOR_DIMS: Final = 1
_TENSOR_TYPE: Final = 2
# TensorProto.DataType, the types with a point.
_TYPES: Final = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
# Weights that are stored in int8 and made float32 again before the product are float32 for the CPU.
_QUANTIZING: Final = frozenset(
    {
        b"DynamicQuantizeLinear",
        b"DynamicQuantizeMatMul",
        b"MatMulInteger",
        b"MatMulIntegerToFloat",
        b"QAttention",
        b"QGemm",
        b"QLinearMatMul",
        b"QuantizeLinear",
    }
)


def numbers_of_graph(path: Path) -> str:
    """``int8``, ``float32``, ``float16`` ... of an ONNX file; ``unknown`` if it is not understood."""
    counts: Counter[str] = Counter()
    try:
        with path.open("rb") as file:
            model = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        for number, graph in fields(model):
            if number == _MODEL_GRAPH and isinstance(graph, memoryview):
                if _quantizes(graph):
                    return "int8"
                _count(graph, counts)
    except (ValueError, IndexError, OSError):
        return "unknown"
    return counts.most_common(1)[0][0] if counts else "unknown"


def _quantizes(graph: memoryview) -> bool:
    return any(
        part == _NODE_TYPE and isinstance(value, memoryview) and bytes(value) in _QUANTIZING
        for number, node in fields(graph)
        if number == _GRAPH_NODE and isinstance(node, memoryview)
        for part, value in fields(node)
    )


def _count(graph: memoryview, counts: Counter[str]) -> None:
    """Count the weights of each type."""
    for number, tensor in fields(graph):
        if number != _GRAPH_INITIALIZER or not isinstance(tensor, memoryview):
            continue
        dims: list[int] = []
        kind = 0
        for part, value in fields(tensor):
            if part == _TENSOR_DIMS:
                dims += [value] if isinstance(value, int) else list(varints(value))
            elif part == _TENSOR_TYPE and isinstance(value, int):
                kind = value
        if kind in _TYPES:
            counts[_TYPES[kind]] += prod(dims)
