"""Weights to int8.

Reduced range: weights keep to -63 .. 63. On CPUs without VNNI two products of an unsigned and a signed
byte are summed in 16 bits, and 2 x 255 x 63 is the most that fits: so no CPU saturates, and every CPU gives
the same sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "FULL_RANGE",
    "REDUCED_RANGE",
    "Array",
    "ByteTable",
    "Int8Table",
    "Int8Weight",
    "Weights",
    "byte_table",
    "int8_table",
    "int8_weight",
    "is_on_byte_grid",
]

Array: TypeAlias = npt.NDArray[np.float32]
Weights: TypeAlias = dict[str, Array]

REDUCED_RANGE: Final = 63
FULL_RANGE: Final = 127
_TABLE_RANGE: Final = 127
_TINY: Final = 1e-12
# Of a byte's step: what float32's own rounding leaves between a table and its bytes.
_GRID_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """A linear layer's weight as ONNX multiplies it.

    Attributes:
        values: shape (in, out), int8.
        scales: one for each output channel, shape (out,), float32.
    """

    values: npt.NDArray[np.int8]
    scales: Array


@dataclass(frozen=True, slots=True)
class ByteTable:
    """An embedding table of bytes: value = (byte - zero_point) * scale.

    Attributes:
        values: shape (rows, width), uint8.
        scale: shape (), float32.
        zero_point: shape (), uint8.
    """

    values: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Int8Table:
    """An embedding table of bytes with one scale for each row: value = byte * scale.

    Attributes:
        values: shape (rows, width), int8.
        scales: shape (rows, 1), float32.
    """

    values: npt.NDArray[np.int8]
    scales: Array


def int8_weight(weight: Array, *, reach: int = REDUCED_RANGE) -> Int8Weight:
    """Quantize a weight of shape (out, in), symmetric, one scale for each output channel.

    A channel's scale is that of its largest weight. But a channel of weights that lie on a coarser grid
    already (a source that was quantized) and fits into the range keeps that grid, and loses nothing.
    Clipping rare large weights for finer steps lowers the error of the weights and raises that of the
    scores (`docs/experiments.md`).

    Args:
        weight: float32, shape (out, in).
        reach: the largest magnitude of a byte.
    """
    columns = weight.T.astype(np.float64)
    largest = np.maximum(np.abs(columns).max(axis=0), _TINY)
    candidates = [largest / reach, np.full_like(largest, _step(columns))]
    errors = np.stack([_squared_error(columns, scales, reach) for scales in candidates])
    best = np.take_along_axis(np.stack(candidates), errors.argmin(axis=0)[None], axis=0)[0]
    return Int8Weight(
        values=_rounded(columns, best, reach).astype(np.int8), scales=best.astype(np.float32)
    )


def byte_table(table: Array) -> ByteTable:
    """Quantize an embedding table to unsigned bytes over its whole range, zero included.

    A table that was made of such bytes before comes back exactly.
    """
    low, high = min(0.0, float(table.min())), max(0.0, float(table.max()))
    # A table of zeros has no range; any step keeps it.
    scale = (high - low) / 255 or 1.0
    zero_point = round(-low / scale)
    values = np.clip(np.round(table / scale) + zero_point, 0, 255).astype(np.uint8)
    return ByteTable(
        values=values,
        scale=np.array(scale, dtype=np.float32),
        zero_point=np.array(zero_point, dtype=np.uint8),
    )


def is_on_byte_grid(table: Array, quantized: ByteTable) -> bool:
    """Whether a table was made of such bytes, so that one scale for all of it loses nothing."""
    restored = (quantized.values.astype(np.float32) - quantized.zero_point) * quantized.scale
    return bool(np.abs(restored - table).max() <= quantized.scale * _GRID_TOLERANCE)


def int8_table(table: Array) -> Int8Table:
    """Quantize an embedding table symmetrically, one scale for each row: one odd token harms no other."""
    largest = np.maximum(np.abs(table).max(axis=1, keepdims=True), _TINY)
    scales = (largest / _TABLE_RANGE).astype(np.float32)
    return Int8Table(values=np.round(table / scales).astype(np.int8), scales=scales)


def _step(columns: npt.NDArray[np.float64]) -> float:
    """The smallest weight that is not zero: the step of a grid, if there is one."""
    sizes = np.abs(columns[columns != 0])
    return float(sizes.min()) if sizes.size else 1.0


def _rounded(
    columns: npt.NDArray[np.float64], scales: npt.NDArray[np.float64], reach: int
) -> npt.NDArray[np.float64]:
    return np.clip(np.round(columns / scales), -reach, reach)


def _squared_error(
    columns: npt.NDArray[np.float64], scales: npt.NDArray[np.float64], reach: int
) -> npt.NDArray[np.float64]:
    restored = _rounded(columns, scales, reach) * scales
    error: npt.NDArray[np.float64] = ((restored - columns) ** 2).sum(axis=0)
    return error
