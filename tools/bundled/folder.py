"""The model's folder: what lies beside the weights, and the float32 twin for comparisons."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from bundled.graph import MAX_LENGTH, NUM_HEADS, NUM_LAYERS
from bundled.source import Weights

__all__ = ["write_manifest", "write_model_page", "write_reference", "write_tokenizer_and_config"]

_NAME = "ms-marco-minilm-l12"
_PAGE = """# ms-marco-minilm-l12

How relevant is a passage to a query? English. Score: the logit, as its authors publish it (about -11 to +11,
higher is more relevant); `probability` is its sigmoid.

| | |
|---|---|
| origin | {origin} |
| licence | Apache-2.0, of the authors' model and of the package that the file came from; see NOTICE |
| architecture | BERT, 12 layers, width 384, 12 heads, 33 million parameters, 512 tokens |
| trained on | MS MARCO passage ranking (by its authors) |
| file | `model.onnx`, {size:.1f} MB, sha256 `{digest}` |

## How it was made

`make model` (`tools/build_bundled_model.py`) does it again, byte for byte: the weights are dequantized to float32, the
graph is written anew with fused attention and bias-GELU, and its 48 large matrix products are quantized to int8.

- Weights: one scale for each output channel, -63 to 63 (reduced range), so that no CPU without VNNI saturates and every
  CPU gives the same sums.
- Activations: one scale for each token, found while running, where the usual dynamic quantization has one for the
  whole micro-batch. So a pair's score does not depend on its neighbours.
- Embedding tables: bytes, exactly those of the origin. Pooler and classifier: float32.

## How close it is

The two pairs of the authors' own page, "How many people live in Berlin?":

| passage | published | this file |
|---|---|---|
| Berlin has a population of 3,520,031 registered inhabitants ... | 9.219 | {population:.3f} |
| Berlin is well known for its museums. | -4.078 | {museums:.3f} |
{accuracy}
## What it is not for

Other languages than English; similarity of two sentences (it judges answers to queries, and is not symmetric);
passages of more than 512 tokens together with their query, which are cut (and reported as `truncated`).
"""

_ACCURACY_ROWS = """
Against the same weights in float32 (sentence-transformers, torch), by `make evaluate`:

| measured | |
|---|---|
| pairs (TREC DL 2019, BM25) | {num_pairs:,} |
| mean difference of the logit | {mean:.3f} |
| largest difference | {largest:.2f} |
| Spearman correlation | {spearman:.5f} |
| the same pair alone and in a batch, largest difference | {alone:.5f} |

| order of BM25's top 100, TREC DL 2019 | nDCG@10 |
|---|---|
| BM25 | {bm25:.4f} |
| the same weights in float32 | {float32:.4f} |
| this file | {ours:.4f} |

43 queries: differences in the third decimal between the last two are chance, not quality.
"""

_ORIGIN = "cross-encoder/ms-marco-MiniLM-L12-v2"


def write_tokenizer_and_config(folder: Path, *, tokenizer: Path, weights: Weights) -> None:
    """Write `tokenizer.json` without truncation and padding, and the two configuration files."""
    content = json.loads(tokenizer.read_text(encoding="utf-8"))
    content["truncation"] = content["padding"] = None
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    _write_json(folder / "config.json", _config(weights))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())


def write_manifest(folder: Path, *, origin: str) -> None:
    """Write the sha256 of every file that is loaded."""
    names = ("config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json")
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    revision = f"sha256:{digests['model.onnx'][:12]}"
    manifest = {"name": _NAME, "origin": origin, "revision": revision, "files": digests}
    _write_json(folder / "manifest.json", manifest)


def write_model_page(
    folder: Path, *, origin: str, card_logits: list[float], accuracy: Path | None
) -> None:
    """Write `MODEL.md`: origin, licence, how it was made, how close it is."""
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    size = (folder / "model.onnx").stat().st_size / 1e6
    page = _PAGE.format(
        origin=origin,
        digest=digest,
        size=size,
        population=card_logits[0],
        museums=card_logits[1],
        accuracy=_accuracy_rows(json.loads(accuracy.read_text(encoding="utf-8")))
        if accuracy
        else "",
    )
    (folder / "MODEL.md").write_text(page, encoding="utf-8")


def _accuracy_rows(found: dict[str, Any]) -> str:
    near, judged = found["closeness"], found["trec_dl19"]["ndcg_at_10"]
    return _ACCURACY_ROWS.format(
        num_pairs=near["num_pairs"],
        mean=near["mean_difference"],
        largest=near["largest_difference"],
        spearman=near["spearman"],
        alone=found["invariance"]["largest_difference"],
        ours=judged["pairscore"],
        float32=judged["float32"],
        bm25=judged["BM25"],
    )


def write_reference(folder: Path, *, tokenizer: Path, weights: Weights) -> None:
    """Write the same weights in float32, as a folder that sentence-transformers loads."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer_and_config(folder, tokenizer=tokenizer, weights=weights)
    tensors = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _config(weights: Weights) -> dict[str, Any]:
    words = weights["bert.embeddings.word_embeddings.weight"]
    inner = weights["bert.encoder.layer.0.intermediate.dense.weight"]
    return {
        "_name_or_path": _ORIGIN,
        "architectures": ["BertForSequenceClassification"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": words.shape[1],
        "id2label": {"0": "LABEL_0"},
        "intermediate_size": inner.shape[0],
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": MAX_LENGTH,
        "model_type": "bert",
        "num_attention_heads": NUM_HEADS,
        "num_hidden_layers": NUM_LAYERS,
        "pad_token_id": 0,
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
        "type_vocab_size": 2,
        "vocab_size": words.shape[0],
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "cls_token": "[CLS]",
        "do_lower_case": True,
        "mask_token": "[MASK]",
        "model_max_length": MAX_LENGTH,
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "tokenizer_class": "BertTokenizer",
        "unk_token": "[UNK]",
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
