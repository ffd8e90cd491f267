"""What a file of weights says of itself: names and shapes of its tensors, inputs and outputs of its graph.

Neither torch nor the onnx package is needed: the header of a safetensors file is JSON, and an ONNX file is a protocol
buffer of which a few fields are read (onnx.proto3: ModelProto, GraphProto, ValueInfoProto, TensorProto). The weights
themselves stay on the disk.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pairscore.models.resolve import ModelFiles
from pairscore.road.backends.tables import fields, varints

__all__ = ["Header", "read_header"]

Shape: TypeAlias = tuple[int, ...]

# Field numbers of onnx.proto3.
_MODEL_GRAPH: Final = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_TENSOR_DIMS, _TENSOR_NAME = 1, 8
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_VALUE = 1, 2, 1, 1
# The first bytes of a safetensors file: the length of its header, little-endian.
_LENGTH_BYTES: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a file of weights holds.

    Attributes:
        shapes: of each tensor that is stored, by name.
        inputs: names of the graph's inputs; None for safetensors, which hold no graph.
        output: the first output's dimensions, 0 for one that varies; None for safetensors, or if it says none.
        outputs: names of the graph's outputs; none for safetensors.
    """

    shapes: Mapping[str, Shape]
    inputs: tuple[str, ...] | None = None
    output: Shape | None = None
    outputs: tuple[str, ...] = ()

    def ending_in(self, *names: str) -> list[Shape]:
        """The shapes of the tensors with one of these names, whatever stands before it."""
        return [
            shape
            for tensor, shape in self.shapes.items()
            if any(tensor == name or tensor.endswith(f".{name}") for name in names)
        ]

    def rows_of_table(self, *words: str) -> int | None:
        """The rows of the table whose name has one of these words, quantized or not; None if there is none."""
        rows = [
            shape[0]
            for tensor, shape in self.shapes.items()
            if len(shape) == 2 and any(word in tensor for word in words)  # noqa: PLR2004 - a table
        ]
        return max(rows, default=None)


def read_header(files: ModelFiles, path: Path) -> Header | None:
    """The header of weights that belong to a model, all shards together; None if it is not understood.

    A file that is broken is found by the backend that loads it.
    """
    try:
        if path.suffix == ".onnx":
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return _of_graph(memoryview(mapped))
        shapes: dict[str, Shape] = {}
        for part in files.weight_files if path == files.weights else (path,):
            if part.suffix == ".safetensors":
                shapes |= _of_safetensors(part)
    except (ValueError, IndexError, KeyError, TypeError, OSError):
        return None
    return Header(shapes=shapes) if shapes else None


def _of_safetensors(path: Path) -> dict[str, Shape]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(length))
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def _of_graph(model: memoryview) -> Header | None:
    graph = next(_parts(model, _MODEL_GRAPH), None)
    if graph is None:
        return None
    shapes = dict(map(_tensor, _parts(graph, _GRAPH_INITIALIZER)))
    inputs = [_text(value, _VALUE_NAME) for value in _parts(graph, _GRAPH_INPUT)]
    outputs = list(_parts(graph, _GRAPH_OUTPUT))
    return Header(
        shapes=shapes,
        # Old exporters list the weights among the inputs.
        inputs=tuple(name for name in inputs if name not in shapes),
        output=_dimensions(outputs[0]) if outputs else None,
        outputs=tuple(_text(value, _VALUE_NAME) for value in outputs),
    )


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, value in fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _text(message: memoryview, wanted: int) -> str:
    return next((bytes(value).decode() for value in _parts(message, wanted)), "")


def _tensor(tensor: memoryview) -> tuple[str, Shape]:
    dims: list[int] = []
    for number, value in fields(tensor):
        if number == _TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else list(varints(value))
    return _text(tensor, _TENSOR_NAME), tuple(dims)


def _dimensions(value: memoryview) -> Shape | None:
    """A value's dimensions; None if the file does not say how many it has."""
    inside = value
    for number in (_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE):
        step = next(_parts(inside, number), None)
        if step is None:
            return None
        inside = step
    return tuple(_known_size(dimension) for dimension in _parts(inside, _SHAPE_DIM))


def _known_size(dimension: memoryview) -> int:
    sizes = [value for number, value in fields(dimension) if number == _DIM_VALUE]
    return next((size for size in sizes if isinstance(size, int)), 0)
