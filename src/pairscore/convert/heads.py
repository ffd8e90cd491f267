"""The end of our own graphs: logits of a pair, or one vector of a text. Always in float32."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from onnx import TensorProto

from pairscore.convert.families import Architecture, Pooling
from pairscore.convert.products import Nodes
from pairscore.convert.quantize import Weights

__all__ = ["Head", "head_of"]

# torch's own floors: of `clamp` in sentence-transformers' Pooling, and of `functional.normalize`.
_LEAST_COUNT: Final = 1e-9
_LEAST_LENGTH: Final = 1e-12


class Head(Protocol):
    """What comes behind the last layer.

    Attributes:
        model: what the graph is called.
        rows: what a row of a micro-batch is called.
        output: the name of the graph's output.
        width: numbers in a row of the output.
    """

    model: str
    rows: str
    output: str
    width: int

    def add(self, x: str) -> None:
        """Add its nodes behind the layers' output, shape (num_rows, longest, width)."""


def head_of(architecture: Architecture, weights: Weights, nodes: Nodes) -> Head:
    """The head of a model: a classifier's, or a bi-encoder's pooling."""
    if architecture.pooling is None:
        return _Classifier(architecture, weights, nodes)
    return _PooledHead(architecture.pooling, architecture.width, nodes)


class _Classifier:
    """Two products on the first token, with the family's activation between them."""

    model = "cross_encoder"
    rows = "num_pairs"
    output = "logits"

    def __init__(self, architecture: Architecture, weights: Weights, nodes: Nodes) -> None:
        self.width = architecture.num_labels
        self._family = architecture.family
        self._weights = weights
        self._nodes = nodes

    def add(self, x: str) -> None:
        nodes, family = self._nodes, self._family
        first = nodes.add("Gather", [x, nodes.constant("first", np.int64(0))], axis=1)
        pooled = nodes.add(family.head_activation, [self._gemm(first, family.dense)])
        self._gemm(pooled, family.classifier, output=self.output)

    def _gemm(self, x: str, name: str, *, output: str | None = None) -> str:
        own = [f"{name}.weight", f"{name}.bias"]
        inputs = [x, *(self._nodes.constant(part, self._weights[part]) for part in own)]
        return self._nodes.add("Gemm", inputs, output=output, transB=1)


class _PooledHead:
    """The mean of the tokens that are no padding, or the first token; its length made 1 if the model says so."""

    model = "bi_encoder"
    rows = "num_texts"
    output = "sentence_embedding"

    def __init__(self, pooling: Pooling, width: int, nodes: Nodes) -> None:
        self.width = width
        self._pooling = pooling
        self._nodes = nodes

    def add(self, x: str) -> None:
        pool = self._mean if self._pooling.mode == "mean" else self._first
        if not self._pooling.normalize:
            pool(x, self.output)
            return
        pooled = pool(x, None)
        length = self._nodes.add("ReduceL2", [pooled, self._nodes.constant("rest", [-1])])
        self._nodes.add("Div", [pooled, self._floored(length, _LEAST_LENGTH)], output=self.output)

    def _first(self, x: str, output: str | None) -> str:
        index = self._nodes.constant("first", np.int64(0))
        return self._nodes.add("Gather", [x, index], output=output, axis=1)

    def _mean(self, x: str, output: str | None) -> str:
        """The mask times the tokens, a product that leaves padding out, through the number of tokens."""
        nodes = self._nodes
        mask = nodes.add("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        row = nodes.add("Unsqueeze", [mask, nodes.constant("one_row", [1])])
        sums = nodes.add("MatMul", [row, x])
        total = nodes.add("Squeeze", [sums, nodes.constant("one_row", [1])])
        count = nodes.add("ReduceSum", [mask, nodes.constant("rest", [-1])])
        return nodes.add("Div", [total, self._floored(count, _LEAST_COUNT)], output=output)

    def _floored(self, x: str, least: float) -> str:
        floor = self._nodes.constant(f"at_least_{least:g}", np.float32(least))
        return self._nodes.add("Max", [x, floor])
