"""Tiny ONNX files, for what real ones differ in: inputs, names, labels, types, data beside the file; needs onnx, no torch.

The model is a bag of words: a table of embeddings, the tokens' mean, a head. A row's logits depend on it alone, and
`expected` computes them in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pairscore.values import Batch, FloatArray

__all__ = ["NUM_IDS", "Graph"]

NUM_IDS = 20_000
_WIDTH = 4


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What one file is to be like.

    Attributes:
        num_labels: columns of the logits.
        types: whether it has the input `token_type_ids`.
        output: the name of its logits.
        hidden: whether another output, of three axes, stands before them.
        half: whether it computes in float16, and puts that out.
        int32: whether its inputs are int32.
        external: whether its weights lie in a file beside it.
    """

    num_labels: int = 1
    types: bool = True
    output: str = "logits"
    hidden: bool = False
    half: bool = False
    int32: bool = False
    external: bool = False

    def save(self, path: Path) -> Path:
        """Write it, and give the path back."""
        model = helper.make_model(
            self._graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
        )
        onnx.checker.check_model(model)
        place = {"location": f"{path.name}_data", "size_threshold": 1024} if self.external else {}
        onnx.save_model(model, path, save_as_external_data=self.external, **place)
        return path

    def expected(self, batch: Batch) -> FloatArray:
        """What a backend should give, float32 arithmetic."""
        words, segments, head = _weights(self.num_labels)
        hidden = words[batch.ids] + (segments[batch.type_ids] if self.types else 0)
        mask = batch.attention_mask[:, :, None].astype(np.float32)
        logits = (hidden * mask).sum(axis=1) / mask.sum(axis=1) @ head
        return logits[:, 0] if self.num_labels == 1 else logits

    def _graph(self) -> Any:
        real = TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        whole = TensorProto.INT32 if self.int32 else TensorProto.INT64
        names = ["input_ids", "attention_mask", *(["token_type_ids"] if self.types else [])]
        inputs = [helper.make_tensor_value_info(name, whole, ["n", "s"]) for name in names]
        logits = helper.make_tensor_value_info(self.output, real, ["n", self.num_labels])
        hidden = helper.make_tensor_value_info("hidden", real, ["n", "s", _WIDTH])
        weights = [
            numpy_helper.from_array(array.astype(np.float16 if self.half else np.float32), name)
            for array, name in zip(
                _weights(self.num_labels), ("words", "segments", "head"), strict=True
            )
        ]
        axes = [
            numpy_helper.from_array(np.array([axis]), name)
            for axis, name in ((2, "last"), (1, "tokens"))
        ]
        outputs = [hidden, logits] if self.hidden else [logits]
        return helper.make_graph(self._nodes(real), "bag", inputs, outputs, [*weights, *axes])

    def _nodes(self, real: int) -> list[Any]:
        node = helper.make_node
        first = [node("Gather", ["words", "input_ids"], ["hidden"])]
        if self.types:
            first = [
                node("Gather", ["words", "input_ids"], ["of_words"]),
                node("Gather", ["segments", "token_type_ids"], ["of_segments"]),
                node("Add", ["of_words", "of_segments"], ["hidden"]),
            ]
        return [
            *first,
            node("Cast", ["attention_mask"], ["real_mask"], to=real),
            node("Unsqueeze", ["real_mask", "last"], ["mask"]),
            node("Mul", ["hidden", "mask"], ["masked"]),
            node("ReduceSum", ["masked", "tokens"], ["sum"], keepdims=0),
            node("ReduceSum", ["mask", "tokens"], ["count"], keepdims=0),
            node("Div", ["sum", "count"], ["mean"]),
            node("MatMul", ["mean", "head"], [self.output]),
        ]


def _weights(num_labels: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    dice = np.random.default_rng(7)
    shapes = ((NUM_IDS, _WIDTH), (2, _WIDTH), (_WIDTH, num_labels))
    words, segments, head = (dice.normal(size=shape).astype(np.float32) for shape in shapes)
    return words, segments, head
