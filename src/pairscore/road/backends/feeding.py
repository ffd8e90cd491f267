"""From a `Batch` to the inputs that a graph wants, and no id that its tables of embeddings do not hold.

ONNX Runtime on the CPU refuses an id beyond a table; on a GPU, and in OpenVINO, a row of zeros or of another
table's numbers is read instead, and the score is wrong in silence. So ids are compared first.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pairscore.errors import BackendError, ModelUnsupportedError
from pairscore.road.backends.pooling import POOLED
from pairscore.values import Batch, IntArray

__all__ = [
    "INPUTS",
    "OUTPUT",
    "Sizes",
    "check_ids",
    "check_inputs",
    "chosen_output",
    "feed",
    "sizes_of",
]

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
"""What a batch can feed; a model takes some of these."""

OUTPUT: Final = "logits"
"""What the exporters call the output that is wanted; a model with one output may call it anything."""

_RANK: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Rows of a model's tables of embeddings, as its config says; None where it does not.

    Attributes:
        num_ids: token ids that it knows.
        num_segments: segments that it tells apart; with fewer than two every token is in the first.
    """

    num_ids: int | None = None
    num_segments: int | None = None


def sizes_of(folder: Path) -> Sizes:
    """The sizes that a folder's `config.json` says; a file that cannot be read says nothing."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Sizes()
    if not isinstance(config, Mapping):
        return Sizes()
    num_ids, num_segments = config.get("vocab_size"), config.get("type_vocab_size")
    return Sizes(
        num_ids=num_ids if isinstance(num_ids, int) else None,
        num_segments=num_segments if isinstance(num_segments, int) else None,
    )


def check_inputs(names: Collection[str], *, weights: Path) -> None:
    """Refuse a graph that wants what a batch does not have.

    Raises:
        ModelUnsupportedError: it wants something else, such as ``position_ids`` or ``pixel_values``.
    """
    strangers = sorted(set(names) - set(INPUTS))
    if strangers or "input_ids" not in names:
        wanted = ", ".join(strangers) or "no input_ids"
        raise ModelUnsupportedError(
            f"{weights} wants the inputs {wanted}; known are {', '.join(INPUTS)}: "
            "export it for sequence classification"
        )


def chosen_output(outputs: Sequence[tuple[str, int | None]], *, weights: Path) -> int:
    """Which output holds the logits: the one of that name, else the first.

    Args:
        outputs: name and rank of each; None where the graph does not say the rank.
        weights: for the message.

    Raises:
        ModelUnsupportedError: it has more than two axes: hidden states, or a label for each token; or the graph
            is a bi-encoder's.
    """
    names = [name for name, _ in outputs]
    if POOLED in names and OUTPUT not in names:
        raise ModelUnsupportedError(
            f"{weights} puts out {POOLED}, a vector of each text: it is a bi-encoder; load it with BiEncoder"
        )
    position = names.index(OUTPUT) if OUTPUT in names else 0
    name, rank = outputs[position]
    if rank is not None and rank > _RANK:
        raise ModelUnsupportedError(
            f"{weights} puts out {name} with {rank} axes; a cross-encoder's logits have two, pairs and labels: "
            "export it for sequence classification"
        )
    return position


def check_ids(batch: Batch, sizes: Sizes) -> None:
    """Refuse a token id that the model does not know.

    Raises:
        BackendError: one is beyond its table, or negative.
    """
    if sizes.num_ids is None or batch.ids.size == 0:
        return
    least, most = int(batch.ids.min()), int(batch.ids.max())
    if least < 0 or most >= sizes.num_ids:
        raise BackendError(
            f"token id {most if least >= 0 else least} is out of range: the model knows {sizes.num_ids:,}; "
            "its tokenizer belongs to another model: copy or download the model again"
        )


def feed(batch: Batch, names: Collection[str], sizes: Sizes) -> dict[str, IntArray]:
    """The inputs of these names, int64, shape (num_pairs, longest) each, checked.

    Raises:
        BackendError: a token id is not known.
    """
    check_ids(batch, sizes)
    one_segment = sizes.num_segments is not None and sizes.num_segments <= 1
    types = np.zeros_like(batch.type_ids) if one_segment else batch.type_ids
    given = dict(zip(INPUTS, (batch.ids, batch.attention_mask, types), strict=True))
    return {name: given[name] for name in names}
