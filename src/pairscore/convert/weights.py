"""Read a model's weights as float32 arrays under Hugging Face's names, whatever file they lie in.

Safetensors (one file, or shards with their index) are taken before ONNX, because nothing was lost on the way
to them. A linear layer's weight has shape (out, in), as PyTorch stores it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from pairscore.convert.families import JOINED, TABLES, Architecture, Shapes
from pairscore.convert.quantize import Weights
from pairscore.errors import ModelCorruptError, ModelUnsupportedError
from pairscore.models.files import PLACES, ModelFiles, kind_of_file

__all__ = ["check_weights", "read_weights", "unwrapped", "with_source_weights"]

# TensorFlow's names of a normalisation's weights, which old checkpoints carry.
_OLD_NAMES: Final = {".gamma": ".weight", ".beta": ".bias"}


def with_source_weights(files: ModelFiles) -> ModelFiles:
    """The same model with the weights that a conversion reads: a file that was named, else safetensors, else ONNX."""
    named = all(files.relative(files.weights) not in places for places in PLACES.values())
    safetensors = files.weights_of("safetensors")
    if named or safetensors is None or safetensors == files.weights:
        return files
    return replace(files, weights=safetensors, known_sha256=None)


def read_weights(files: ModelFiles, architecture: Architecture | None) -> Weights:
    """The floating-point weights of a model, in float32.

    Args:
        files: where they lie.
        architecture: whose names our own graphs' tables and joined products get back; None for a stranger's.

    Raises:
        ModelCorruptError: a file cannot be read, or holds NaN or infinity.
        ModelUnsupportedError: neither safetensors nor ONNX.
    """
    path = files.weights
    kind = kind_of_file(path.name)
    if kind == "safetensors":
        weights = _from_safetensors(files)
        if architecture is not None and architecture.pooling is not None:
            # Somebody may have saved it with the head of its pretraining around it.
            weights = unwrapped(weights, architecture.shapes())
    elif kind == "onnx":
        weights = _from_onnx(path, architecture)
    else:
        raise ModelUnsupportedError(
            f"{path} is neither safetensors nor ONNX; convert a folder with model.safetensors or model.onnx"
        )
    for name, value in weights.items():
        if not np.isfinite(value).all():
            raise ModelCorruptError(
                f"{path} holds NaN or infinity in {name}; copy or download the model again"
            )
    return weights


def unwrapped(weights: Weights, shapes: Shapes) -> Weights:
    """The weights without the name of a module that was wrapped around the model for its export, if one was.

    Args:
        weights: as they were read.
        shapes: of every weight that the model has.
    """
    first = next(iter(shapes))
    found = [name for name in weights if name.endswith(f".{first}")]
    if first in weights or len(found) != 1:
        return weights
    wrapper = found[0].removesuffix(first)
    return {name.removeprefix(wrapper): value for name, value in weights.items()}


def check_weights(weights: Weights, shapes: Shapes, *, source: Path) -> None:
    """Refuse weights that are not those of the model: what is missing would have to be invented.

    Args:
        weights: as they were read.
        shapes: of every weight that the model has.
        source: where they were read, for the message.

    Raises:
        ModelUnsupportedError: a weight is missing, such as a classification head's.
        ModelCorruptError: a weight has another shape than the config declares.
    """
    missing = [name for name in shapes if name not in weights]
    if missing:
        raise ModelUnsupportedError(
            f"{source} lacks {len(missing)} of the {len(shapes)} weights of the model that its config declares, "
            f"such as {missing[-1]}: convert a cross-encoder with its classification head, from its safetensors "
            "or an ONNX file that kept the names"
        )
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ModelCorruptError(
                f"{source} holds {name} with the shape {weights[name].shape}, its config declares {shape}; "
                "copy or download the model again"
            )


def _from_safetensors(files: ModelFiles) -> Weights:
    # Here, because the library comes with an extra.
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    weights: Weights = {}
    for shard in files.weight_files:
        if shard.suffix != ".safetensors":
            continue
        try:
            stored = load_file(shard)
        except (OSError, SafetensorError) as error:
            raise ModelCorruptError(
                f"{shard} cannot be read ({error}); copy or download the model again"
            ) from error
        for name, value in stored.items():
            # Buffers, such as the numbers of positions, are integers.
            if value.dtype.kind not in "iub":
                weights[_modern(name)] = np.ascontiguousarray(value, dtype=np.float32)
    return weights


def _modern(name: str) -> str:
    for old, new in _OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _from_onnx(path: Path, architecture: Architecture | None) -> Weights:
    # Here, because the library comes with an extra.
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from pairscore.convert.onnx_weights import onnx_weights

    try:
        weights = onnx_weights(onnx.load(path))
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise ModelCorruptError(
            f"{path} cannot be read ({error}); copy or download the model again"
        ) from error
    if architecture is None:
        return weights
    return unwrapped(_renamed(weights, architecture), architecture.shapes())


def _renamed(weights: Weights, architecture: Architecture) -> Weights:
    """Our own graphs' tables and joined products under the names of their family."""
    found: Weights = {}
    names = architecture.family.names
    parts = [name.rpartition(".")[2] for name in (names.query, names.key, names.value)]
    for name, value in weights.items():
        owner, ending = name.rpartition(".")[::2]
        if name in TABLES:
            found[architecture.table(name)] = value
        elif owner.endswith(JOINED):
            prefix = owner.removesuffix(JOINED)
            for part, share in zip(parts, np.split(value, len(parts)), strict=True):
                found[f"{prefix}.{part}.{ending}"] = np.ascontiguousarray(share)
        else:
            found[name] = value
    return found
