"""The base model of a run: found by its name, and laid down as float32 safetensors that the trainer loads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pairscore.convert.building import to_float32
from pairscore.convert.folder import staging
from pairscore.errors import DataFileError
from pairscore.models.card import read_card
from pairscore.models.facts import read_facts
from pairscore.models.files import ModelFiles
from pairscore.models.licences import licence_of
from pairscore.models.resolve import RUN_FILE, resolve
from pairscore.training.recipe import Recipe
from pairscore.training.run_folder import RunFolder
from pairscore.training.students import make_student, num_layers_of, spaced_layers
from pairscore.values import Task as Purpose

__all__ = ["Base", "base_of", "find_base", "lay_down_base", "prepare_base"]

# They speak of the base model's old work: its pooling into vectors, its card, its sha256s.
_LEFT_OUT: Final = (
    *("README.md", "manifest.json", "modules.json", "config_sentence_transformers.json"),
    *("sentence_bert_config.json", "sentence_roberta_config.json"),
)
# Weights in any number of shards and their index, the config, and what tokenizers are made of.
_COPIED: Final = (".safetensors", ".json", ".txt", ".model")


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """A base model as the trainer loads it.

    Attributes:
        name: as results call it.
        folder: float32 safetensors and a tokenizer.
        sha256: of the weights that were found by the name, before anything was done to them.
        revision: theirs; None if unknown.
        num_labels: numbers that its head puts out; None without a head, which gets a new one.
        task: what its scores say (`pairscore.models.purpose`); None without a head.
        licence: of the weights; None if nobody says it.
        layers: which of its layers were kept; None for all.
    """

    name: str
    folder: str
    sha256: str
    revision: str | None
    num_labels: int | None
    task: Purpose | None
    licence: str | None
    layers: tuple[int, ...] | None

    def record(self) -> dict[str, Any]:
        """As it stands in `run.json`."""
        return asdict(self)


def find_base(recipe: Recipe) -> ModelFiles:
    """The files of the base model: its safetensors where it has any, else its ONNX file; of a run its best weights.

    Raises:
        ModelError: it cannot be found, fetched, verified or used.
    """
    is_run = (Path(recipe.base) / RUN_FILE).is_file()
    files = resolve(recipe.base, kind="safetensors" if is_run else None)
    weights = files.weights_of("safetensors")
    return files if weights is None else resolve(recipe.base, kind="safetensors")


def prepare_base(recipe: Recipe, folder: RunFolder) -> Base:
    """The base model of a run; see `lay_down_base`."""
    return lay_down_base(recipe, folder.base)


def lay_down_base(recipe: Recipe, place: Path) -> Base:
    """Lay the base model down where the trainer loads it; safetensors are used where they lie.

    Args:
        recipe: whose `base` and `num_layers` are read.
        place: the folder that is made, where one is needed; what is there is replaced.

    Raises:
        ModelError: it cannot be found, verified or converted.
        SettingError: it has fewer layers than are to be kept.
        OutputFileError: there is no room.
        MissingExtraError: a library of the extra `convert` is not installed.
    """
    files = find_base(recipe)
    layers = None
    if recipe.num_layers is not None:
        layers = spaced_layers(num_layers_of(files), keep=recipe.num_layers)
    is_bi_encoder = not read_facts(files.folder).is_cross_encoder
    as_it_is = files.weights.suffix == ".safetensors" and layers is None and not is_bi_encoder
    if as_it_is:
        place = files.folder
    else:
        _write(files, layers, place, is_bi_encoder=is_bi_encoder)
    # Of the files that were found, because a copy of them has no card of its own.
    card = None if is_bi_encoder else read_card(files)
    return Base(
        name=files.name,
        folder=str(place.absolute()),
        sha256=files.sha256,
        revision=files.revision,
        num_labels=None if card is None else max(1, len(card.labels)),
        task=None if card is None else card.task,
        licence=licence_of(files),
        layers=layers,
    )


def base_of(record: Mapping[str, Any]) -> Base:
    """A base model from what `run.json` says.

    Raises:
        DataFileError: a field is missing.
    """
    try:
        layers = record["layers"]
        return Base(**{**record, "layers": None if layers is None else tuple(layers)})
    except (KeyError, TypeError) as error:
        raise DataFileError(f"run.json does not say what the base model is ({error})") from error


def _write(
    files: ModelFiles, layers: tuple[int, ...] | None, place: Path, *, is_bi_encoder: bool
) -> None:
    """Write the folder whole or not at all."""
    shutil.rmtree(place, ignore_errors=True)
    with staging(place) as half:
        if layers is None and files.weights.suffix == ".safetensors":
            _copy(files.folder, half)
        elif layers is None:
            to_float32(files, output=half)
        else:
            make_student(files, layers=layers, output=half)
        # A cross-encoder's settings say its activation; a bi-encoder's would make one of it again.
        for name in _LEFT_OUT if is_bi_encoder else _LEFT_OUT[:2]:
            (half / name).unlink(missing_ok=True)
        for part in half.iterdir():
            if part.is_dir():  # the config of a module that pools
                shutil.rmtree(part)
        half.rename(place)


def _copy(folder: Path, place: Path) -> None:
    """Config, tokenizer and weights as they are: of whatever architecture, for transformers loads them."""
    for part in folder.iterdir():
        if part.suffix in _COPIED and part.is_file():
            shutil.copyfile(part, place / part.name)
