"""int8 by ONNX Runtime's own tools: one scale a tensor or an output channel, dynamic or static.

The head's last products stay float32: they are one row for each pair, and what they round goes straight into
the logit. Sources: `onnxruntime.quantization.quantize_dynamic` and `quantize_static`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from pairscore.convert.options import ConvertOptions
from pairscore.errors import ModelUnsupportedError
from pairscore.values import Encoded

__all__ = ["quantize"]

_TO_LOGITS: Final = frozenset({"Add", "Tanh", "Gelu", "Relu", "Erf", "Mul", "Div", "Identity"})


def quantize(
    model: Path, output: Path, *, options: ConvertOptions, calibration: Sequence[Encoded] = ()
) -> None:
    """Write the int8 graph of a float32 graph.

    Args:
        model: the float32 file.
        output: the int8 file to write.
        options: granularity (``tensor``, or one scale a channel), range and method.
        calibration: tokenized pairs, run one at a time and so without padding, for static scales.

    Raises:
        ModelUnsupportedError: the graph holds nothing that can be quantized.
    """
    graph = onnx.load(model, load_external_data=False).graph
    kinds = _kinds(graph)
    shared: dict[str, Any] = {
        "op_types_to_quantize": kinds,
        "per_channel": options.granularity != "tensor",
        "reduce_range": options.reduced_range,
        "weight_type": QuantType.QInt8,
        "nodes_to_exclude": _head(graph),
        "extra_options": {"MatMulConstBOnly": True, "WeightSymmetric": True},
    }
    with _quiet():
        if options.method == "dynamic":
            quantize_dynamic(model, output, **shared)
        else:
            quantize_static(
                model,
                output,
                _Pairs(calibration, [item.name for item in graph.input]),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                calibrate_method=CalibrationMethod.MinMax,
                **shared,
            )


class _Pairs(CalibrationDataReader):  # type: ignore[misc] # ONNX Runtime ships no types
    """Pairs, one at a time, as the calibration asks for them."""

    def __init__(self, pairs: Sequence[Encoded], inputs: Sequence[str]) -> None:
        self._pairs = iter(pairs)
        self._inputs = tuple(inputs)

    def get_next(self) -> dict[str, Any] | None:
        """The inputs of the next pair, None after the last."""
        pair = next(self._pairs, None)
        if pair is None:
            return None
        given = {
            "input_ids": pair.ids[None],
            "attention_mask": np.ones_like(pair.ids)[None],
            "token_type_ids": pair.type_ids[None],
        }
        return {name: given[name] for name in self._inputs}


def _kinds(graph: onnx.GraphProto) -> list[str]:
    """The operators to quantize: products and tables. ONNX's own Attention, which has no weights, is left out."""
    there = {node.op_type for node in graph.node}
    if "MatMul" not in there:
        raise ModelUnsupportedError(
            "the graph holds no product to quantize; convert from safetensors or a float32 file"
        )
    return ["MatMul", "Gather"]


def _head(graph: onnx.GraphProto) -> list[str]:
    """The products between the encoder's last normalisation and the logits."""
    makers = {name: node for node in graph.node for name in node.output}
    found: list[str] = []
    waiting = [graph.output[0].name]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in ("Gemm", "MatMul"):
            found.append(node.name)
        if node.op_type in _TO_LOGITS or node.op_type in ("Gemm", "MatMul"):
            waiting += [name for name in node.input if name in makers]
    return sorted(set(found))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without advice about preprocessing, which was done or is of no use here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
