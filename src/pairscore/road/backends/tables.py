"""The embedding tables of an ONNX file, mapped from disk, so that several sessions share one copy.

ONNX Runtime copies every initializer into each session, but for those that it is handed from outside.
Weights of products it packs anew in any case; what is worth handing in is what a `Gather` reads: the
table of word embeddings, a third of a small model. The file is a protocol buffer
(onnx.proto3: ModelProto, GraphProto, NodeProto, TensorProto), and only the fields that are needed are read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["embedding_tables", "fields", "varints"]

Table: TypeAlias = npt.NDArray[Any]

# Field numbers of onnx.proto3.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE: Final = 1
_GRAPH_INITIALIZER: Final = 5
_NODE_INPUT: Final = 1
_NODE_TYPE: Final = 4
_TENSOR_DIMS: Final = 1
_TENSOR_TYPE: Final = 2
_TENSOR_NAME: Final = 8
_TENSOR_RAW: Final = 9
# TensorProto.DataType, those that tables come in.
_TYPES: Final = {1: "<f4", 2: "|u1", 3: "|i1", 10: "<f2"}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MIN_BYTES: Final = 1024 * 1024


def embedding_tables(weights: Path) -> dict[str, Table]:
    """The large tables that the graph looks rows up in, by name; read-only views of the mapped file.

    A file that is not understood gives no table: sharing saves memory, nothing depends on it.
    """
    try:
        with weights.open("rb") as file:
            # The views keep the mapping; the file itself can be closed.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return dict(_tables(memoryview(mapped)))
    except (ValueError, IndexError, OSError):
        return {}


def _tables(model: memoryview) -> Iterator[tuple[str, Table]]:
    graph = next((value for number, value in fields(model) if number == _MODEL_GRAPH), None)
    if not isinstance(graph, memoryview):
        return
    parts = [(number, value) for number, value in fields(graph) if isinstance(value, memoryview)]
    looked_up = {
        name for number, value in parts if number == _GRAPH_NODE for name in _gathered(value)
    }
    for number, value in parts:
        if number == _GRAPH_INITIALIZER and len(value) >= _MIN_BYTES:
            name, table = _tensor(value)
            if name in looked_up and table is not None:
                yield name, table


def _gathered(node: memoryview) -> list[str]:
    """The first input of a `Gather`: what it looks rows up in."""
    inputs: list[str] = []
    kind = ""
    for number, value in fields(node):
        if number == _NODE_INPUT and isinstance(value, memoryview):
            inputs.append(bytes(value).decode())
        elif number == _NODE_TYPE and isinstance(value, memoryview):
            kind = bytes(value).decode()
    return inputs[:1] if kind == "Gather" else []


def _tensor(tensor: memoryview) -> tuple[str, Table | None]:
    dims: list[int] = []
    name, kind, raw = "", 0, None
    for number, value in fields(tensor):
        if number == _TENSOR_DIMS:
            # Packed or not: writers differ.
            dims += [value] if isinstance(value, int) else list(varints(value))
        elif number == _TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif number == _TENSOR_NAME and isinstance(value, memoryview):
            name = bytes(value).decode()
        elif number == _TENSOR_RAW and isinstance(value, memoryview):
            raw = value
    if raw is None or kind not in _TYPES:
        return name, None
    return name, np.frombuffer(raw, dtype=_TYPES[kind]).reshape(dims)


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Each field of a message: its number, and its number or its bytes."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
        elif wire == _BYTES:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("a field is longer than its message")
            yield number, message[position : position + length]
            position += length
        elif wire in (_FIXED32, _FIXED64):
            position += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} is not known")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position
        shift += 7


def varints(packed: memoryview) -> Iterator[int]:
    """The numbers of a packed field, one behind the other."""
    position = 0
    while position < len(packed):
        value, position = _varint(packed, position)
        yield value
