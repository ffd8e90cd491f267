"""Our own ONNX graph of the BERT family: one graph for any number of layers, attention heads and labels.

Fused: attention (ONNX's own operator, its three projections in one product), and bias with GELU.
Normalisation stays apart from the residual's Add, which is faster on a CPU. Only the large products of the
layers are in the numbers that `Products` gives; what makes logits or one vector of the tokens stays float32
(`pairscore.convert.heads`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from pairscore.convert.families import JOINED, Architecture
from pairscore.convert.heads import Head, head_of
from pairscore.convert.products import FUSED, Float32Products, Nodes, Products, RowProducts
from pairscore.convert.quantize import FULL_RANGE, REDUCED_RANGE, Weights

__all__ = ["float32_graph", "int8_graph"]

# The first with an operator for attention; ONNX Runtime runs it since 1.23.
_OPSET: Final = 23
_IR_VERSION: Final = 11


def float32_graph(weights: Weights, architecture: Architecture) -> onnx.ModelProto:
    """The fused float32 graph of a cross-encoder or a bi-encoder, in ONNX's own operators.

    Inputs are `input_ids`, `attention_mask` and, if the model tells token types apart, `token_type_ids`,
    int64, shape (num_pairs, longest); the output is `logits`, float32, shape (num_pairs, num_labels). Of a
    bi-encoder a row is a text, and the output is `sentence_embedding`, float32, shape (num_texts, width).

    Args:
        weights: under Hugging Face's names; a product's has shape (out, in).
        architecture: what the model's config declares.
    """
    nodes = Nodes()
    return _Builder(weights, architecture, nodes, Float32Products(nodes)).build()


def int8_graph(
    weights: Weights, architecture: Architecture, *, reduced_range: bool
) -> onnx.ModelProto:
    """The same graph, its large products in int8 with one scale for each token.

    Args:
        weights: under Hugging Face's names; a product's has shape (out, in).
        architecture: what the model's config declares.
        reduced_range: whether weights keep to -63 .. 63 instead of -127 .. 127.
    """
    nodes = Nodes()
    reach = REDUCED_RANGE if reduced_range else FULL_RANGE
    return _Builder(weights, architecture, nodes, RowProducts(nodes, reach=reach)).build()


class _Builder:
    """Writes the layers of one model into one graph; activations have shape (num_tokens, width)."""

    def __init__(
        self, weights: Weights, architecture: Architecture, nodes: Nodes, products: Products
    ) -> None:
        self._weights = weights
        self._architecture = architecture
        self._names = architecture.family.names
        self._graph = nodes
        self._products = products
        self._types_are_read = architecture.num_types > 1
        self._head: Head = head_of(architecture, weights, nodes)

    def build(self) -> onnx.ModelProto:
        x = self._embeddings()
        self._declare_shapes(x)
        x = self._flat(x)
        for number in range(self._architecture.num_layers):
            x = self._layer(x, self._architecture.layer(number))
        self._head.add(self._graph.add("Reshape", [x, self._batch_shape]))
        return self._model()

    def _declare_shapes(self, x: str) -> None:
        graph = self._graph
        self._mask = self._attention_mask()
        self._batch_shape = graph.add(
            "Concat", [graph.add("Shape", ["input_ids"]), graph.constant("rest", [-1])], axis=0
        )
        self._products.declare(lambda: graph.add("Shape", [self._flat(x)], start=0, end=1))

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
        shape = self._graph.constant("tokens_by_width", [-1, self._architecture.width])
        return self._graph.add("Reshape", [x, shape])

    def _embeddings(self) -> str:
        graph = self._graph
        if self._architecture.family.after_padding:
            positions = self._positions_after_padding()
            read_positions = lambda table: graph.add("Gather", [table, positions])  # noqa: E731
        else:
            start = graph.constant("from_0", [0])
            length = graph.add("Shape", ["input_ids"], start=1, end=2)
            read_positions = lambda table: graph.add("Slice", [table, start, length, start])  # noqa: E731
        readers = {"word": lambda table: graph.add("Gather", [table, "input_ids"])}
        if self._types_are_read:
            readers["token_type"] = lambda table: graph.add("Gather", [table, "token_type_ids"])
        readers["position"] = read_positions
        rows = {}
        for kind, read in readers.items():
            name = self._architecture.table(kind)
            rows[kind] = self._products.look_up(kind, name, self._weights[name], read)
        parts = [self._products.floats(kind, found) for kind, found in rows.items()]
        if self._architecture.num_types == 1:
            # Every token is of the one type: a row to add, and no input to feed.
            parts.append(self._own(self._architecture.table("token_type")))
        x = parts[0]
        for part in parts[1:]:
            x = graph.add("Add", [x, part])
        return self._normalized(x, self._architecture.embedding_norm)

    def _positions_after_padding(self) -> str:
        """RoBERTa's positions: tokens are counted from the padding id on, padding stays there."""
        graph = self._graph
        pad = graph.constant("pad_id", np.int64(self._architecture.pad_id))
        is_text = graph.add("Not", [graph.add("Equal", ["input_ids", pad])])
        ones = graph.add("Cast", [is_text], to=TensorProto.INT64)
        counted = graph.add("CumSum", [ones, graph.constant("along_tokens", np.int64(1))])
        return graph.add("Add", [graph.add("Mul", [counted, ones]), pad])

    def _layer(self, x: str, prefix: str) -> str:
        names = self._names
        attended = self._attention(x, prefix)
        projected = self._product(attended, prefix + names.attention_output)
        x = self._residual(
            projected, x, dense=prefix + names.attention_output, norm=prefix + names.attention_norm
        )
        inner = self._product(x, prefix + names.inner)
        inner = self._products.gelu(inner, self._bias(prefix + names.inner))
        outer = self._product(inner, prefix + names.outer, after_gelu=True)
        return self._residual(outer, x, dense=prefix + names.outer, norm=prefix + names.output_norm)

    def _attention(self, x: str, prefix: str) -> str:
        graph, names = self._graph, self._names
        parts = [prefix + name for name in (names.query, names.key, names.value)]
        weight = np.concatenate([self._weights[part + ".weight"] for part in parts])
        bias = np.concatenate([self._weights[part + ".bias"] for part in parts])
        name = parts[0].rpartition(".")[0] + JOINED
        joined = self._products.product(x, name, weight)
        joined = graph.add("Add", [joined, graph.constant(name + ".bias", bias)])
        joined = graph.add("Reshape", [joined, self._batch_shape])
        split = graph.add_many("Split", [joined], count=3, axis=-1, num_outputs=3)
        heads = self._architecture.num_heads
        attended = graph.add(
            "Attention", [*split, self._mask], q_num_heads=heads, kv_num_heads=heads
        )
        return self._flat(attended)

    def _product(self, x: str, name: str, *, after_gelu: bool = False) -> str:
        """A linear layer without its bias."""
        weight = self._weights[name + ".weight"]
        return self._products.product(x, name, weight, after_gelu=after_gelu)

    def _residual(self, x: str, skipped: str, *, dense: str, norm: str) -> str:
        graph = self._graph
        biased = graph.add("Add", [x, self._bias(dense)])
        return self._normalized(graph.add("Add", [biased, skipped]), norm)

    def _normalized(self, x: str, name: str) -> str:
        inputs = [x, self._own(name + ".weight"), self._own(name + ".bias")]
        return self._graph.add(
            "LayerNormalization", inputs, axis=-1, epsilon=self._architecture.epsilon
        )

    def _bias(self, name: str) -> str:
        return self._own(name + ".bias")

    def _own(self, name: str) -> str:
        return self._graph.constant(name, self._weights[name])

    def _model(self) -> onnx.ModelProto:
        names = ["input_ids", "attention_mask"]
        if self._types_are_read:
            names.append("token_type_ids")
        head = self._head
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, [head.rows, "longest"])
            for name in names
        ]
        outputs = [
            helper.make_tensor_value_info(head.output, TensorProto.FLOAT, [head.rows, head.width])
        ]
        constants = list(self._graph.constants.values())
        graph = helper.make_graph(self._graph.nodes, head.model, inputs, outputs, constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="pairscore"
        )
