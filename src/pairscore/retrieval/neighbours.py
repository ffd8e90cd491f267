"""The nearest neighbours of each vector among all, exactly, in blocks of bounded size; pure.

A product of matrices in blocks: for 100,000 vectors it takes minutes, needs no index that would have to be built and
tuned, and misses nothing; the numbers and the command are in docs/duplicates.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.values import FloatArray

__all__ = ["BLOCK_ROWS", "PairArray", "nearest", "similarities", "unordered_pairs"]

PairArray: TypeAlias = npt.NDArray[np.int64]
"""Positions of the two items of each pair, the lower first, shape (num_pairs, 2)."""

BLOCK_ROWS: Final = 1024
"""Vectors whose neighbours are found at once."""
# Vectors that they are compared with at once: 16 MiB of cosines, which stay near the processor.
_BLOCK_COLUMNS: Final = 4096
_PAIRS_AT_ONCE: Final = 16_384
_NOBODY: Final = -1


def nearest(
    vectors: FloatArray, *, num_neighbours: int, min_similarity: float, start: int = 0
) -> Iterator[npt.NDArray[np.int32]]:
    """The neighbours of each vector, some rows at a time.

    Memory beside the vectors: some tens of megabytes, whatever their number, also where all are alike.

    Args:
        vectors: of length 1, shape (num_vectors, dimension); may be a memory map.
        num_neighbours: how many at most.
        min_similarity: the least cosine of a neighbour.
        start: the first row; a multiple of `BLOCK_ROWS`.

    Yields:
        the positions of the neighbours, shape (num_rows, num_neighbours), the nearest first; -1 where there is no
        other. Which of many equally near ones are taken is always the same.
    """
    for first in range(start, len(vectors), BLOCK_ROWS):
        yield _nearest_of(
            vectors,
            first,
            min(first + BLOCK_ROWS, len(vectors)),
            num_neighbours=num_neighbours,
            min_similarity=min_similarity,
        )


def _nearest_of(
    vectors: FloatArray, first: int, last: int, *, num_neighbours: int, min_similarity: float
) -> npt.NDArray[np.int32]:
    num_rows = last - first
    found = np.full((num_rows, num_neighbours), _NOBODY, dtype=np.int32)
    cosines = np.full((num_rows, num_neighbours), -np.inf, dtype=np.float32)
    # The least that the next neighbour of a row needs; it rises as the row's places are taken.
    least = np.full(num_rows, np.nextafter(np.float32(min_similarity), np.float32(-np.inf)))
    block = np.ascontiguousarray(vectors[first:last])
    for column in range(0, len(vectors), _BLOCK_COLUMNS):
        products = block @ vectors[column : column + _BLOCK_COLUMNS].T
        if column < last and first < column + products.shape[1]:
            own = np.arange(max(first, column), min(last, column + products.shape[1]))
            products[own - first, own - column] = -np.inf
        rows, columns = _above(products, least, most=num_neighbours)
        if len(rows):
            new = products[rows, columns]
            _take(found, cosines, rows=rows, positions=columns + column, values=new)
            np.maximum(least, cosines[:, -1], out=least)
    return found


def _above(
    products: FloatArray, least: FloatArray, *, most: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where a row has more than its least; where very many have, only the row's best `most`."""
    above = products > least[:, None]
    if np.count_nonzero(above) <= most * len(products) or products.shape[1] <= most:
        rows, columns = np.nonzero(above)
        return rows, columns
    # Sorting all of them would take longer than the product did.
    best = np.sort(np.argpartition(products, -most, axis=1)[:, -most:], axis=1)
    rows, places = np.nonzero(np.take_along_axis(above, best, axis=1))
    return rows, best[rows, places]


def _take(
    found: npt.NDArray[np.int32],
    cosines: FloatArray,
    *,
    rows: npt.NDArray[Any],
    positions: npt.NDArray[Any],
    values: FloatArray,
) -> None:
    """Keep of the neighbours so far, and of new ones behind them, the nearest of each row."""
    old_rows, old_places = np.nonzero(found[np.unique(rows)] != _NOBODY)
    old_rows = np.unique(rows)[old_rows]
    all_rows = np.concatenate([old_rows, rows])
    all_positions = np.concatenate([found[old_rows, old_places], positions])
    all_values = np.concatenate([cosines[old_rows, old_places], values])
    order = np.lexsort((all_positions, -all_values, all_rows))
    all_rows, all_positions, all_values = all_rows[order], all_positions[order], all_values[order]
    begins = np.flatnonzero(np.diff(all_rows, prepend=-1))
    place = np.arange(len(all_rows)) - np.repeat(begins, np.diff(begins, append=len(all_rows)))
    kept = place < found.shape[1]
    found[all_rows[kept], place[kept]] = all_positions[kept]
    cosines[all_rows[kept], place[kept]] = all_values[kept]


def unordered_pairs(neighbours: npt.NDArray[np.int32]) -> PairArray:
    """Each pair of neighbours once, whichever of the two found the other, in ascending order.

    Args:
        neighbours: what `nearest` gives, of all rows, shape (num_vectors, num_neighbours).
    """
    num_items = len(neighbours)
    rows, places = np.nonzero(neighbours != _NOBODY)
    others = neighbours[rows, places].astype(np.int64)
    keys = np.unique(np.minimum(rows, others) * num_items + np.maximum(rows, others))
    return np.stack([keys // max(num_items, 1), keys % max(num_items, 1)], axis=1)


def similarities(vectors: FloatArray, pairs: PairArray) -> FloatArray:
    """The cosine of each pair; unlike a large product's it does not depend on what is beside it.

    Args:
        vectors: of length 1, shape (num_vectors, dimension).
        pairs: positions, shape (num_pairs, 2).

    Returns:
        shape (num_pairs,), -1 to 1.
    """
    found = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        some = pairs[start : start + _PAIRS_AT_ONCE]
        products = np.einsum("ij,ij->i", vectors[some[:, 0]], vectors[some[:, 1]])
        found[start : start + _PAIRS_AT_ONCE] = np.clip(products, -1.0, 1.0)
    return found
