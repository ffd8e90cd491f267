"""The model that is trained: opened from a base or a checkpoint, scored with, and saved so that everybody loads it.

It is imported late: it brings torch and sentence-transformers.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from torch import nn
from transformers import AutoConfig

from pairscore.errors import ModelUnsupportedError, SettingError, TrainingError
from pairscore.models.card import first_position, max_length_of
from pairscore.models.facts import read_facts
from pairscore.training.losses import Activation, ChosenLoss
from pairscore.values import FloatArray

__all__ = ["num_bytes_of", "open_checkpoint", "open_model", "save_model", "scores_of"]

_ACTIVATIONS: Final[dict[Activation, Any]] = {"identity": nn.Identity, "sigmoid": nn.Sigmoid}
_OLD_KEY: Final = "sbert_ce_default_activation_function"


def open_model(
    folder: Path, chosen: ChosenLoss, *, max_length: int | None, device: str
) -> CrossEncoder:
    """Open a base model in float32; a head of another number of labels is replaced by a new one.

    Args:
        folder: safetensors, config and tokenizer.
        chosen: how many labels it gets, what they are called, and its activation.
        max_length: tokens of a pair; None takes the base model's own, by the rule of `pairscore.models.card`, so that
            it is trained on what it reads when it is served.
        device: ``cpu`` or ``cuda``.

    Raises:
        SettingError: the model has fewer positions than `max_length`.
        ModelUnsupportedError: transformers cannot load it as a sequence classification.
    """
    max_length = _max_length(folder, max_length)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model = CrossEncoder(
            str(folder),
            device=device,
            num_labels=chosen.num_labels,
            max_length=max_length,
            local_files_only=True,
            model_kwargs={
                "dtype": torch.float32,
                "ignore_mismatched_sizes": config.num_labels != chosen.num_labels,
            },
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelUnsupportedError(
            f"{str(folder)!r} cannot be trained: {error}; take a base that transformers loads as a sequence "
            "classification"
        ) from error
    model.activation_fn = _ACTIVATIONS[chosen.activation]()
    _write_down(model, chosen)
    return model


def open_checkpoint(folder: Path, *, device: str) -> CrossEncoder:
    """Open the model of a checkpoint.

    Raises:
        TrainingError: a file of it is missing or broken.
    """
    # safetensors' own error has only Exception above it.
    from safetensors import SafetensorError

    try:
        return CrossEncoder(
            str(folder), device=device, local_files_only=True, model_kwargs={"dtype": torch.float32}
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"the checkpoint {str(folder)!r} cannot be read ({error}); delete this folder, and --resume goes on from "
            "the one before it"
        ) from error


def scores_of(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], *, batch_size: int
) -> FloatArray:
    """The logits of pairs, in their order: shape (num_pairs,), of several labels (num_pairs, num_labels)."""
    found = model.predict(
        list(pairs),
        batch_size=batch_size,
        activation_fn=nn.Identity(),
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    return np.asarray(found, dtype=np.float32)


def save_model(model: CrossEncoder, folder: Path) -> None:
    """Save float32 safetensors, config, tokenizer and activation; the model card is written by others."""
    model.save_pretrained(str(folder), create_model_card=False)
    # safetensors makes its file for its owner alone; whoever may read the config may read the weights.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")


def num_bytes_of(model: CrossEncoder) -> int:
    """What its weights need on a disk."""
    return sum(item.numel() * item.element_size() for item in model.parameters())


def _max_length(folder: Path, asked: int | None) -> int:
    facts = read_facts(folder)
    positions = facts.number("max_position_embeddings")
    most = None if positions is None else positions - first_position(facts)
    if asked is not None and most is not None and asked > most:
        raise SettingError(
            f"max_length is {asked:,}, and the base model has positions for {most:,} tokens; give {most:,} or less"
        )
    return max_length_of(facts) if asked is None else asked


def _write_down(model: CrossEncoder, chosen: ChosenLoss) -> None:
    """Names and activation in `config.json` too, where older versions of sentence-transformers look for it."""
    config = model.config
    if chosen.label_names:
        config.id2label = dict(enumerate(chosen.label_names))
        config.label2id = {name: number for number, name in enumerate(chosen.label_names)}
    if hasattr(config, _OLD_KEY):
        delattr(config, _OLD_KEY)
    kind = type(model.activation_fn)
    config.sentence_transformers = {"activation_fn": f"{kind.__module__}.{kind.__qualname__}"}
