"""Small models of the BERT family made without torch, and the same arithmetic once more in numpy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pairscore.convert.families import Architecture, Pooling, architecture_of
from pairscore.convert.quantize import Array, Weights

__all__ = [
    "CONFIGS",
    "architecture",
    "encoder_folder",
    "feed",
    "reference_logits",
    "reference_vectors",
    "source_folder",
    "weights_of",
]

WORDS: Final = ("<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrst")
_SIZES: Final = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}
CONFIGS: Final[dict[str, dict[str, Any]]] = {
    "bert": {**_SIZES, "model_type": "bert", "id2label": {"0": "LABEL_0"}, "layer_norm_eps": 1e-5},
    "roberta": {
        **_SIZES,
        "model_type": "xlm-roberta",
        "type_vocab_size": 1,
        "id2label": {"0": "no", "1": "yes", "2": "perhaps"},
    },
    "distilbert": {
        "model_type": "distilbert",
        "dim": 16,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 24,
        "pad_token_id": 1,
        "vocab_size": len(WORDS),
        "max_position_embeddings": 40,
        "num_labels": 2,
    },
    "electra": {**_SIZES, "model_type": "electra", "id2label": {"0": "LABEL_0"}},
}


def architecture(kind: str, pooling: Pooling | None = None) -> Architecture:
    """Of one of `CONFIGS`; of a bi-encoder, if it pools."""
    found = architecture_of(CONFIGS[kind], pooling=pooling)
    assert found is not None
    return found


def weights_of(kind: str, pooling: Pooling | None = None) -> Weights:
    """Random ones, the same each time; normalisations lie around one."""
    rng = np.random.default_rng(3)
    return {
        name: (rng.standard_normal(shape) * 0.5 + ("norm" in name.lower())).astype(np.float32)
        for name, shape in architecture(kind, pooling).shapes().items()
    }


def source_folder(folder: Path, kind: str = "bert", *, weights: Weights | None = None) -> Path:
    """A model's folder with safetensors and a tokenizer of words."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights or weights_of(kind), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIGS[kind]), encoding="utf-8")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    second = 1 if architecture(kind).num_types > 1 else 0
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair=f"<s> $A </s> $B:{second} </s>:{second}",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    tokenizer.enable_truncation(8)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 32}', encoding="utf-8")
    return folder


def encoder_folder(
    folder: Path, kind: str, pooling: Pooling, *, weights: Weights | None = None
) -> Path:
    """A bi-encoder's folder as sentence-transformers writes it, its pooler unused."""
    weights = weights or weights_of(kind, pooling)
    pooler = {"pooler.dense.weight": np.ones((16, 16), np.float32)}
    source_folder(folder, kind, weights={**weights, **pooler})
    config = {name: value for name, value in CONFIGS[kind].items() if name != "id2label"}
    config["architectures"] = ["BertModel"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    kinds = ["Transformer", "Pooling", *(["Normalize"] if pooling.normalize else [])]
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{name}" if place else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for place, name in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    pooled = {
        "word_embedding_dimension": 16,
        "pooling_mode_cls_token": pooling.mode == "cls",
        "pooling_mode_mean_tokens": pooling.mode == "mean",
    }
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooled), encoding="utf-8")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 20}', encoding="utf-8")
    return folder


def feed(kind: str) -> dict[str, Array]:
    """Thirty pairs of three lengths, padded on the right."""
    rng = np.random.default_rng(5)
    ids = rng.integers(3, len(WORDS), (30, 11))
    mask = np.ones_like(ids)
    types = np.zeros_like(ids)
    types[:, 4:] = 1
    for row, length in enumerate((11, 7, 5) * 10):
        ids[row, length:], mask[row, length:], types[row, length:] = 1, 0, 0
    given = {"input_ids": ids, "attention_mask": mask}
    return given if architecture(kind).num_types < 2 else {**given, "token_type_ids": types}


def reference_logits(kind: str, weights: Weights, given: dict[str, Array]) -> Array:
    """The logits as the papers write them, in float64, pair by pair and without padding."""
    rows = []
    for row, mask in enumerate(given["attention_mask"]):
        kept = mask.astype(bool)
        types = given.get("token_type_ids", np.zeros_like(given["input_ids"]))[row, kept]
        rows.append(_Numpy(kind, weights).logits(given["input_ids"][row, kept], types))
    return np.stack(rows)


def reference_vectors(
    kind: str, weights: Weights, given: dict[str, Array], pooling: Pooling
) -> Array:
    """The vectors as sentence-transformers' modules make them, in float64, text by text and without padding."""
    rows = []
    for row, mask in enumerate(given["attention_mask"]):
        kept = mask.astype(bool)
        types = given.get("token_type_ids", np.zeros_like(given["input_ids"]))[row, kept]
        tokens = _Numpy(kind, weights, pooling).tokens(given["input_ids"][row, kept], types)
        vector = tokens.mean(axis=0) if pooling.mode == "mean" else tokens[0]
        rows.append(vector / np.linalg.norm(vector) if pooling.normalize else vector)
    return np.stack(rows)


class _Numpy:
    """One model, one pair at a time."""

    def __init__(self, kind: str, weights: Weights, pooling: Pooling | None = None) -> None:
        self._model = architecture(kind, pooling)
        self._weights = {name: value.astype(np.float64) for name, value in weights.items()}

    def logits(self, ids: Array, types: Array) -> Array:
        family = self._model.family
        pooled = self._linear(self.tokens(ids, types)[0], family.dense)
        activation = {"Tanh": np.tanh, "Gelu": _gelu, "Relu": lambda y: np.maximum(y, 0)}
        return self._linear(activation[family.head_activation](pooled), family.classifier)

    def tokens(self, ids: Array, types: Array) -> Array:
        model, family = self._model, self._model.family
        first = model.pad_id + 1 if family.after_padding else 0
        x = self._table("word")[ids] + self._table("position")[first : first + len(ids)]
        if model.num_types:
            x = x + self._table("token_type")[types]
        x = self._norm(x, model.embedding_norm)
        for number in range(model.num_layers):
            x = self._layer(x, model.layer(number))
        return x

    def _layer(self, x: Array, prefix: str) -> Array:
        names = self._model.family.names
        parts = [self._linear(x, prefix + part) for part in (names.query, names.key, names.value)]
        query, key, value = (self._heads(part) for part in parts)
        weights = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        weights = np.exp(weights - weights.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        mixed = mixed.transpose(1, 0, 2).reshape(x.shape)
        x = self._norm(
            x + self._linear(mixed, prefix + names.attention_output), prefix + names.attention_norm
        )
        inner = _gelu(self._linear(x, prefix + names.inner))
        return self._norm(x + self._linear(inner, prefix + names.outer), prefix + names.output_norm)

    def _heads(self, x: Array) -> Array:
        return x.reshape(len(x), self._model.num_heads, -1).transpose(1, 0, 2)

    def _table(self, kind: str) -> Array:
        return self._weights[self._model.table(kind)]

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self._model.epsilon)
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: Array) -> Array:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
