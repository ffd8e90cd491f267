"""Bi-encoders without layers, as ONNX files: a vector of each word, and whole folders of them; needs onnx, no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pairscore.models.resolve import resolve
from pairscore.values import FloatArray

__all__ = ["WIDTH", "vector_folder", "vector_graph", "words_of"]

WIDTH = 8
_VOCABULARY = 30_522


def words_of(num_ids: int) -> FloatArray:
    """A vector of each token, the same ones each time."""
    return np.random.default_rng(7).normal(size=(num_ids, WIDTH)).astype(np.float32)


def vector_graph(
    path: Path,
    *,
    words: FloatArray,
    output: str = "last_hidden_state",
    sees_neighbours: bool = False,
) -> Path:
    """Write a graph, and give the path back.

    Args:
        path: of the file.
        words: a vector of each token.
        output: ``last_hidden_state`` are the tokens' vectors, less one where there is a token; under any other name
            it is the first token's, twice.
        sees_neighbours: whether the average of the whole batch is taken off, as a careless export may.
    """
    node = helper.make_node
    axes, pools = ["batch", "tokens"], output != "last_hidden_state"
    nodes = [
        node("Gather", ["words", "input_ids"], ["of_tokens"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["wide"]),
        # Padding is not nothing: whoever averages over it is wrong.
        node("Sub", ["of_tokens", "wide"], ["states"]),
        node("ReduceMean", ["states"], ["average"], keepdims=1),
        node("Sub", ["states", "average" if sees_neighbours else "nothing"], ["tokens"]),
        node("Gather", ["tokens", "zero"], ["first"], axis=1),
        node("Add", ["first", "first"] if pools else ["tokens", "nothing"], [output]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, axes)
        for name in ("input_ids", "attention_mask")
    ]
    shape = ["batch", WIDTH] if pools else [*axes, WIDTH]
    graph = helper.make_graph(
        nodes,
        "bag",
        inputs,
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(words, "words"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array(0), "zero"),
            numpy_helper.from_array(np.array(0.0, dtype=np.float32), "nothing"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def vector_folder(
    folder: Path,
    *,
    pooling: str | None = "mean",
    normalize: bool = False,
    settings: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    words: FloatArray | None = None,
    **graph: Any,
) -> Path:
    """Write a bi-encoder's folder with the bundled model's tokenizer, and give it back.

    Args:
        folder: made if it is not there.
        pooling: as in `1_Pooling`; None writes no `modules.json`.
        normalize: whether there is a module that normalises.
        settings: `config_sentence_transformers.json`.
        config: entries of `config.json` that are to be other ones.
        words: a vector of each token.
        graph: as for `vector_graph`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": WIDTH,
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": 512,
        "type_vocab_size": 1,
        "pad_token_id": 0,
    }
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    modules = [
        {
            "path": f"{number}_{kind}" if number else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    files: dict[str, Any] = {"config.json": entries | (config or {})}
    if pooling is not None:
        files["modules.json"] = modules
        files["1_Pooling/config.json"] = {"embedding_dimension": WIDTH, "pooling_mode": pooling}
    if settings is not None:
        files["config_sentence_transformers.json"] = settings
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "tokenizer.json").symlink_to(resolve("all-minilm-l6").folder / "tokenizer.json")
    vectors = words_of(_VOCABULARY) if words is None else words
    vector_graph(folder / "model.onnx", words=vectors, **graph)
    return folder
