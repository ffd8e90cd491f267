"""Tokenized rows become one rectangular micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pairscore.values import Batch, Encoded

__all__ = ["padded"]


def padded(
    rows: Sequence[Encoded], *, pad_id: int, pad_side: Literal["right", "left"] = "right"
) -> Batch:
    """Fill rows up to the longest of them.

    Args:
        rows: at least one.
        pad_id: the token id that fills a row up.
        pad_side: where it is filled up.
    """
    longest = max(row.num_tokens for row in rows)
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    types = np.zeros_like(ids)
    for number, row in enumerate(rows):
        left = longest - row.num_tokens if pad_side == "left" else 0
        place = slice(left, left + row.num_tokens)
        ids[number, place] = row.ids
        types[number, place] = row.type_ids
        mask[number, place] = 1
    return Batch(ids=ids, attention_mask=mask, type_ids=types)
