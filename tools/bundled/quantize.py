"""Weights to int8.

Reduced range: weights keep to -63 .. 63. On CPUs without VNNI two products of an unsigned and a signed
byte are summed in 16 bits, and 2 x 255 x 63 is the most that fits: so no CPU saturates, and every CPU gives
the same sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bundled.source import Array

__all__ = ["WEIGHT_MAX", "ByteTable", "Int8Weight", "byte_table", "int8_weight"]

WEIGHT_MAX = 63


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


def int8_weight(weight: Array) -> Int8Weight:
    """Quantize a weight of shape (out, in), symmetric, one scale for each output channel.

    A channel's scale is that of its largest weight. But a channel of weights that lie on a coarser grid
    already (a source that was quantized) and fits into the range keeps that grid, and loses nothing.
    Clipping rare large weights for finer steps lowers the error of the weights and raises that of the
    scores (`docs/experiments.md`).
    """
    columns = weight.T.astype(np.float64)
    largest = np.maximum(np.abs(columns).max(axis=0), 1e-12)
    step = _step(columns)
    candidates = [largest / WEIGHT_MAX, np.full_like(largest, step)]
    errors = np.stack([_squared_error(columns, scales) for scales in candidates])
    best = np.take_along_axis(np.stack(candidates), errors.argmin(axis=0)[None], axis=0)[0]
    return Int8Weight(
        values=_rounded(columns, best).astype(np.int8), scales=best.astype(np.float32)
    )


def byte_table(table: Array) -> ByteTable:
    """Quantize an embedding table to unsigned bytes over its whole range, zero included.

    A table that was made of such bytes before comes back exactly.
    """
    low, high = min(0.0, float(table.min())), max(0.0, float(table.max()))
    scale = (high - low) / 255
    zero_point = round(-low / scale)
    values = np.clip(np.round(table / scale) + zero_point, 0, 255).astype(np.uint8)
    return ByteTable(
        values=values,
        scale=np.array(scale, dtype=np.float32),
        zero_point=np.array(zero_point, dtype=np.uint8),
    )


def _step(columns: npt.NDArray[np.float64]) -> float:
    """The smallest weight that is not zero: the step of a grid, if there is one."""
    sizes = np.abs(columns[columns != 0])
    return float(sizes.min()) if sizes.size else 1.0


def _rounded(
    columns: npt.NDArray[np.float64], scales: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.clip(np.round(columns / scales), -WEIGHT_MAX, WEIGHT_MAX)


def _squared_error(
    columns: npt.NDArray[np.float64], scales: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    error: npt.NDArray[np.float64] = ((_rounded(columns, scales) * scales - columns) ** 2).sum(
        axis=0
    )
    return error
