"""`MODEL.md` of the bundled model: origin, licence, how it was made, how close it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["write_model_page"]

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
