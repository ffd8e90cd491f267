"""Why a model's files are refused, in words: pickles, code that comes with weights, files elsewhere, no weights.

A pickle is a program: whoever loads it runs it. Code in a model's repository is one too. Neither is ever fetched
or opened here, and there is no option that allows it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Final

from pairscore.errors import ModelCorruptError, ModelUnsupportedError
from pairscore.models.files import KINDS, PLACES, WeightsKind, choose, kind_of_file

__all__ = ["PICKLES", "no_weights", "refuse_code", "refuse_file"]

PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
"""Endings of files that are pickles, or may be."""

# transformers' names for the code of a model's own class; other scripts are never looked at by anybody.
_CODE: Final = ("modeling_", "configuration_", "tokenization_")
_BACKENDS: Final[dict[WeightsKind, str]] = {
    "onnx": "the onnx and openvino backends read",
    "safetensors": "the torch backend reads",
}
_TO_SAFETENSORS = (
    "convert it where you trust it, once: AutoModelForSequenceClassification.from_pretrained(MODEL)"
    ".save_pretrained(FOLDER) of transformers writes safetensors, and AutoTokenizer the tokenizer beside them; "
    "then give FOLDER"
)


def refuse_file(file: str, *, kind: WeightsKind | None) -> None:
    """Refuse a file of weights that was asked for by name, if it is not one that may be opened.

    Raises:
        ModelUnsupportedError: a pickle, a file outside of the model, no weights, or not of that kind.
    """
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\\" in file or ":" in file:
        raise ModelUnsupportedError(
            f"{file!r} is not inside the model; give its name there, as in NAME:onnx/model_O4.onnx"
        )
    if file.endswith(PICKLES):
        raise ModelUnsupportedError(
            f"{file!r} is a pickle: loading it runs whatever code is in it, so it is refused; {_TO_SAFETENSORS}"
        )
    found = kind_of_file(file)
    if found is None:
        raise ModelUnsupportedError(
            f"{file!r} is neither ONNX nor safetensors; give the name of one of those"
        )
    if kind is not None and found != kind:
        raise ModelUnsupportedError(
            f"{file!r} was asked for, but {_BACKENDS[kind]} {kind}; name a file of that kind, "
            f"or use {_backend(found)}"
        )


def refuse_code(folder: Path, names: Collection[str], *, kind: WeightsKind, where: str) -> None:
    """Refuse safetensors that need a model's own code to be run; an ONNX graph is the whole model and needs none.

    Raises:
        ModelUnsupportedError: `config.json` has an ``auto_map``, or the code lies beside the weights.
        ModelCorruptError: `config.json` cannot be read.
    """
    if kind == "onnx":
        return
    code = sorted(name for name in names if name.endswith(".py") and name.startswith(_CODE))
    reason = f"its folder holds {code[0]}" if code else _auto_map(folder / "config.json")
    if reason is not None:
        raise ModelUnsupportedError(
            f"{where} needs code of its own ({reason}), and code that comes with weights is never run; "
            "use a version for transformers' own classes, or its ONNX export, which needs no code "
            "(`optimum-cli export onnx`, where you trust the code), with backend='onnx'"
        )


def _auto_map(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelCorruptError(
            f"{path} cannot be read ({error}); copy or download the model's folder again"
        ) from error
    asked = config.get("auto_map") if isinstance(config, dict) else None
    return f"auto_map in config.json: {', '.join(sorted(map(str, asked)))}" if asked else None


def no_weights(
    names: Collection[str], *, kind: WeightsKind | None, where: str, name: str
) -> ModelUnsupportedError:
    """The error for a model that has no weights of that kind: what it has instead, and the remedy."""
    places = [place for one in KINDS if kind in (None, one) for place in PLACES[one]]
    missing = f"{where} holds no {' or '.join(places)}"
    others = [one for one in KINDS if choose(names, one) is not None]
    variants = sorted(n for n in names if kind_of_file(n) == "onnx")
    if kind is not None:
        missing += f", which {_BACKENDS[kind]}"
    if kind != "safetensors" and variants:
        return ModelUnsupportedError(
            f"{missing}; it has {', '.join(variants)}: ask for one by its name, as in {name}:{variants[0]}"
        )
    if others:
        return ModelUnsupportedError(f"{missing}; {_other_kind(others[0])}")
    pickles = sorted(n for n in names if n.endswith(PICKLES))
    if pickles:
        return ModelUnsupportedError(
            f"{missing}, only {pickles[0]}, a pickle: loading it runs whatever code is in it, so it is refused; "
            f"{_TO_SAFETENSORS}"
        )
    return ModelUnsupportedError(
        f"{missing}; give the folder or the hub id of a sequence-classification model with one of these "
        "(`pairscore convert` makes ONNX of safetensors, `--backend torch` runs safetensors; "
        "backend='onnx' runs ONNX)"
    )


def _other_kind(other: WeightsKind) -> str:
    if other == "safetensors":
        return f"run its safetensors with {_backend(other)}, or make ONNX of them with `pairscore convert`"
    return (
        f"run its ONNX with {_backend(other)}, or download the model's safetensors, "
        "or make them from the ONNX with `pairscore convert`"
    )


def _backend(kind: WeightsKind) -> str:
    name = "onnx" if kind == "onnx" else "torch"
    return f"backend={name!r} (`--backend {name}`)"
