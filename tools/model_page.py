"""`MODEL.md` of the bundled models: origin, licence, how they were made, how close they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["write_encoder_page", "write_model_page"]

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

`make model` fetches the file and runs `pairscore convert` on it, with the defaults: the same weights come out, byte for
byte. The source is dequantized to float32, the graph is written anew with fused attention and bias-GELU, and its 48
large matrix products are quantized to int8. `PARITY.md` is the report that the command wrote.

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


_ENCODER_PAGE = """# all-minilm-l6

A bi-encoder: it makes a vector of 384 numbers of each text, and texts that mean nearly the same have vectors that lie close
together. English. The vectors have length 1, so that their dot product is their cosine: about 1 for the same meaning,
about 0 for texts that have nothing to do with each other.

| | |
|---|---|
| origin | {origin} |
| licence | Apache-2.0, of the authors' model; the package that the file came from calls its own code MIT; see NOTICE |
| architecture | BERT, 6 layers, width 384, 12 heads, 23 million parameters; the mean of the tokens, length made 1 |
| reads | 256 tokens of a text; what is longer is cut, and reported as `truncated` |
| trained on | more than a billion pairs of sentences (by its authors): questions and answers, titles and texts, paraphrases |
| file | `model.onnx`, {size:.1f} MB, sha256 `{digest}` |

## How it was made

`make model` fetches the file and runs `pairscore convert` on it, with the defaults: the same weights come out, byte for
byte. The graph is written anew with fused attention and bias-GELU, pooling and normalisation are part of it, and its 24
large matrix products are quantized to int8. `PARITY.md` is the report that the command wrote.

- Weights: one scale for each output channel, -63 to 63 (reduced range), so that no CPU without VNNI saturates and every
  CPU gives the same sums.
- Activations: one scale for each token, found while running. So a text's vector does not depend on its neighbours in
  the micro-batch.
- Embedding tables: bytes with one scale for each row. Pooling and normalisation: float32.
- The pooler of the origin, which sentence-transformers does not use, is left out.

## How close it is

Against the same weights in float32, on {num_texts:,} texts of the package's own ([PARITY.md](PARITY.md)):

| measured | |
|---|---|
| cosine of a text's two vectors, mean; worst text | {cosine:.4f}; {worst_cosine:.4f} |
| ten nearest neighbours in common | {neighbours:.1%} |
| Spearman correlation of all similarities | {spearman:.4f} |

The three sentences of sentence-transformers' own page:

| | published | this file |
|---|---|---|
| The weather is lovely today. / It's so sunny outside! | {published[0]:.4f} | {ours[0]:.4f} |
| The weather is lovely today. / He drove to the stadium. | {published[1]:.4f} | {ours[1]:.4f} |
| It's so sunny outside! / He drove to the stadium. | {published[2]:.4f} | {ours[2]:.4f} |

Semantic similarity (STS-B) with float32 and int8: [experiments](../../../../../docs/experiments.md).

## What it is good for, and what not

The first stage of a search (its best candidates then go through the cross-encoder), duplicates, clusters.

Not for other languages than English; texts of more than 256 tokens, of which it reads the beginning only: cut them into
passages first; the last word on relevance, which is the cross-encoder's: it reads query and document together.
"""


def write_encoder_page(
    folder: Path, *, similarities: Sequence[float], published: Sequence[float]
) -> None:
    """Write `MODEL.md` into the bi-encoder's folder.

    Args:
        folder: holds `model.onnx`, the manifest that names its origin, and the report of its conversion.
        similarities: of the three sentences of sentence-transformers' page: 1 with 2, 1 with 3, 2 with 3.
        published: the same, as published.
    """
    weights = folder / "model.onnx"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    vectors = json.loads((folder / "parity.json").read_text(encoding="utf-8"))["vectors"]
    page = _ENCODER_PAGE.format(
        origin=manifest["origin"],
        digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
        size=weights.stat().st_size / 1e6,
        ours=similarities,
        published=published,
        **{
            name: vectors[name]
            for name in ("num_texts", "cosine", "worst_cosine", "neighbours", "spearman")
        },
    )
    (folder / "MODEL.md").write_text(page, encoding="utf-8")


def write_model_page(folder: Path, *, card_logits: list[float], accuracy: Path) -> None:
    """Write `MODEL.md` into the model's folder.

    Args:
        folder: holds `model.onnx` and the manifest that names its origin.
        card_logits: of the two pairs of the authors' page.
        accuracy: what `make evaluate` found; left out if it is not there.
    """
    weights = folder / "model.onnx"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found = json.loads(accuracy.read_text(encoding="utf-8")) if accuracy.is_file() else None
    page = _PAGE.format(
        origin=manifest["origin"],
        digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
        size=weights.stat().st_size / 1e6,
        population=card_logits[0],
        museums=card_logits[1],
        accuracy=_accuracy_rows(found) if found else "",
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
