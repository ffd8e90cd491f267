"""A student of fewer layers: chosen layers of a teacher, with its embeddings, pooler and head copied.

Sources: Sanh et al., "DistilBERT, a distilled version of BERT", 2019 (a student begins with layers of its teacher;
their extraction keeps 0, 2, 4, 7, 9 and 11 of twelve, which is what `spaced_layers` gives); Sun et al., "Patient
Knowledge Distillation for BERT Model Compression", 2019 (the same beginning, layers skipped at even steps).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.convert import to_float32
from pairscore.convert.folder import fresh_folder, write_json, write_manifest
from pairscore.errors import ModelUnsupportedError, SettingError
from pairscore.models.facts import read_facts
from pairscore.models.files import ModelFiles
from pairscore.models.manifest import MANIFEST
from pairscore.models.resolve import resolve

__all__ = [
    "Student",
    "check_layers",
    "make_student",
    "num_layers_of",
    "parse_layers",
    "spaced_layers",
]

_Weights: TypeAlias = dict[str, npt.NDArray[Any]]
_Shapes: TypeAlias = dict[str, tuple[int, ...]]

_WEIGHTS: Final = "model.safetensors"
# What transformers' configs call the number of layers.
_COUNTS: Final = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
_NUMBERED: Final = re.compile(r"^(?P<stem>(?:.*?\.)?)(?P<number>\d+)\.(?P<rest>.+)$")
# ModernBERT's own default: each third layer attends to the whole text.
_GLOBAL_EVERY: Final = 3
# They speak of the teacher: its card, and what was measured of it.
_LEFT_OUT: Final = ("README.md", MANIFEST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Student:
    """A model that was made of another one's layers.

    Attributes:
        files: its folder, float32 safetensors.
        layers: which of the teacher's layers it has, from below.
        num_teacher_layers: how many the teacher has.
        num_parameters: numbers in its weights.
    """

    files: ModelFiles
    layers: tuple[int, ...]
    num_teacher_layers: int
    num_parameters: int


def spaced_layers(num_layers: int, *, keep: int) -> tuple[int, ...]:
    """Which layers to keep: evenly spaced, the first and the last always among them; of one, the first.

    Of twelve layers, six are 0, 2, 4, 7, 9, 11, as in DistilBERT, and four are 0, 4, 7, 11.

    Args:
        num_layers: how many the teacher has.
        keep: how many the student gets.

    Raises:
        SettingError: `keep` is below 1, or above `num_layers`.
    """
    if not 1 <= keep <= num_layers:
        raise SettingError(
            f"the student was to have {keep} layers, and the model whose layers it gets has {num_layers}; "
            f"give a number from 1 to {num_layers}"
        )
    if keep == 1:
        return (0,)
    step = (num_layers - 1) / (keep - 1)
    return tuple(round(place * step) for place in range(keep))


def parse_layers(text: str) -> tuple[int, ...]:
    """Layers as a user writes them: numbers from 0, with commas, such as ``0,4,8,11``.

    Raises:
        SettingError: it is no such list, or a layer does not stand behind the one before it.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise SettingError(
            f"the layers are {text!r}; give numbers from 0 with commas, such as 0,4,8,11"
        )
    layers = tuple(int(part) for part in parts)
    _check_rising(layers)
    return layers


def num_layers_of(files: ModelFiles) -> int:
    """How many layers a model's config declares.

    Raises:
        ModelCorruptError: the config cannot be read.
        ModelUnsupportedError: it says no number.
    """
    config = read_facts(files.folder).config
    return int(config[_count_key(config, files.name)])


def check_layers(teacher: ModelFiles, layers: Sequence[int]) -> None:
    """Refuse layers that a teacher does not have, before anything is written.

    Raises:
        SettingError: a layer that is not there, or a list that does not rise.
        ModelUnsupportedError: its config does not say how many it has.
    """
    _check_rising(layers)
    num_layers, name = num_layers_of(teacher), teacher.name
    if max(layers) >= num_layers:
        raise SettingError(
            f"layer {max(layers)} was to be kept, and {name} has {num_layers} layers, 0 to {num_layers - 1}"
        )


def make_student(teacher: ModelFiles, *, layers: Sequence[int], output: Path) -> Student:
    """Write a model of some of a teacher's layers, in float32, for transformers and sentence-transformers.

    Embeddings, pooler, head and tokenizer are the teacher's. With all layers kept it gives the teacher's float32
    logits.

    Args:
        teacher: safetensors, or ONNX from which the weights are read back (`pairscore.convert.to_float32`).
        layers: numbers from 0, rising.
        output: the folder to fill, empty or not there yet.

    Raises:
        SettingError: a layer that the teacher does not have, or a list that does not rise.
        ModelUnsupportedError: the layers cannot be found, or one does not fit at its new place.
        OutputFileError: the output holds something, or cannot be written.
        ModelCorruptError, MissingExtraError: as `to_float32`.
    """
    check_layers(teacher, layers)
    fresh_folder(output)
    with tempfile.TemporaryDirectory(prefix="pairscore-teacher-") as scratch:
        whole = to_float32(teacher, output=Path(scratch) / "float32")
        num_parameters = _write(whole, layers=layers, output=output)
    named = replace(teacher, name=f"{teacher.name}-l{len(layers)}")
    write_manifest(
        output,
        source=named,
        weights=_WEIGHTS,
        conversion={"precision": "float32", "layers": list(layers)},
    )
    return Student(
        files=replace(resolve(output, kind="safetensors"), name=named.name),
        layers=tuple(layers),
        num_teacher_layers=num_layers_of(teacher),
        num_parameters=num_parameters,
    )


def _write(whole: ModelFiles, *, layers: Sequence[int], output: Path) -> int:
    """Fill the student's folder but for the manifest; the number of its parameters."""
    # Here, because the library comes with an extra.
    from safetensors.numpy import load_file, save_file

    config = json.loads((whole.folder / "config.json").read_text(encoding="utf-8"))
    weights: _Weights = load_file(whole.weights)
    kept = _kept(weights, config, layers, name=whole.name)
    for path in sorted(whole.folder.rglob("*")):
        name = path.relative_to(whole.folder)
        if path.is_file() and path != whole.weights and name.as_posix() not in _LEFT_OUT:
            (output / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, output / name)
    write_json(output / "config.json", _config_of(config, layers, name=whole.name))
    save_file(kept, output / _WEIGHTS, metadata={"format": "pt"})
    # The library writes for its owner alone.
    shutil.copymode(output / "config.json", output / _WEIGHTS)
    return sum(int(value.size) for value in kept.values())


def _kept(
    weights: _Weights, config: Mapping[str, Any], layers: Sequence[int], *, name: str
) -> _Weights:
    """The weights with the chosen layers only, under their new numbers."""
    stem = _stem(weights, int(config[_count_key(config, name)]), name=name)
    shapes = _layer_shapes(weights, stem)
    for place, layer in enumerate(layers):
        if shapes[layer] != shapes[place]:
            raise ModelUnsupportedError(
                f"layer {layer} of {name} cannot stand at place {place} of a student, because its weights are other "
                "ones than those of the layer that stands there now; keep layer "
                f"{place} at its place with --layers"
            )
    places = {layer: place for place, layer in enumerate(layers)}
    kept: _Weights = {}
    for key, value in sorted(weights.items()):
        found = _NUMBERED.match(key.removeprefix(stem)) if key.startswith(stem) else None
        if found is None or found["stem"]:
            kept[key] = np.ascontiguousarray(value)
        elif int(found["number"]) in places:
            new = f"{stem}{places[int(found['number'])]}.{found['rest']}"
            kept[new] = np.ascontiguousarray(value)
    return kept


def _stem(weights: Iterable[str], num_layers: int, *, name: str) -> str:
    """What the names of all layers begin with, such as ``bert.encoder.layer.``: numbered from 0 without a gap."""
    numbers: dict[str, set[int]] = {}
    for key in weights:
        found = _NUMBERED.match(key)
        if found is not None:
            numbers.setdefault(found["stem"], set()).add(int(found["number"]))
    stems = [stem for stem, seen in numbers.items() if seen == set(range(num_layers))]
    if len(stems) != 1:
        raise ModelUnsupportedError(
            f"{name} declares {num_layers} layers, and {len(stems)} numbered parts of its weights have so many; "
            "a student can be made of models with one stack of layers: name a smaller model with --student"
        )
    return stems[0]


def _layer_shapes(weights: Mapping[str, npt.NDArray[Any]], stem: str) -> dict[int, _Shapes]:
    """By layer, the shapes of its weights."""
    shapes: dict[int, _Shapes] = {}
    for key, value in weights.items():
        found = _NUMBERED.match(key.removeprefix(stem)) if key.startswith(stem) else None
        if found is not None and not found["stem"]:
            shapes.setdefault(int(found["number"]), {})[found["rest"]] = value.shape
    return shapes


def _config_of(config: Mapping[str, Any], layers: Sequence[int], *, name: str) -> dict[str, Any]:
    """The config of the student: its number of layers, and each list that has an entry for every layer."""
    key = _count_key(config, name)
    num_layers = int(config[key])
    chosen = {**_with_layer_types(config, num_layers), key: len(layers)}
    for entry, value in list(chosen.items()):
        if "layer" in entry and isinstance(value, list) and len(value) == num_layers:
            chosen[entry] = [value[layer] for layer in layers]
    return chosen


def _with_layer_types(config: Mapping[str, Any], num_layers: int) -> dict[str, Any]:
    """ModernBERT's config may say by a step which layers attend to the whole text; a list says it of each."""
    if config.get("model_type") != "modernbert" or config.get("layer_types"):
        return dict(config)
    step = int(config.get("global_attn_every_n_layers") or _GLOBAL_EVERY)
    types = [
        "sliding_attention" if layer % step else "full_attention" for layer in range(num_layers)
    ]
    return {**config, "layer_types": types}


def _count_key(config: Mapping[str, Any], name: str) -> str:
    for key in _COUNTS:
        if isinstance(config.get(key), int):
            return key
    raise ModelUnsupportedError(
        f"the config.json of {name} does not say how many layers it has ({', '.join(_COUNTS)}); "
        "name a student that is there with --student"
    )


def _check_rising(layers: Sequence[int]) -> None:
    if not layers or min(layers) < 0 or list(layers) != sorted(set(layers)):
        raise SettingError(
            f"the layers are {','.join(map(str, layers)) or 'none'}; give at least one, from 0, each once and rising"
        )
