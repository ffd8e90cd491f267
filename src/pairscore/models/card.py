"""One model's facts, read from its own files: labels, activation, scale, maximum length.

The rule for the activation is sentence-transformers' (`CrossEncoder.get_default_activation_fn`):
what the model's config stores, under the new key or the old one; else a sigmoid for one label.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pairscore.errors import ModelCorruptError, ModelUnsupportedError
from pairscore.models.resolve import ModelFiles
from pairscore.values import Scale, Task

__all__ = ["Card", "read_card"]

_DEFAULT_MAX_LENGTH = 512
# Tokenizers without a limit of their own store a number like 1e30.
_NO_LIMIT = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a model's numbers mean and how much it can read.

    Attributes:
        task: what the model was made for.
        name: the name under which results are reported.
        revision: commit or revision of the files, None if unknown.
        activation: from logit to score: ``identity`` or ``sigmoid``.
        max_length: tokens of a pair, special tokens included.
        pad_id: the token id that fills a row up.
        labels: the names of the head's outputs, if it has several; empty for one.
        exclusive: whether one label excludes the others: their probabilities are then a softmax, else each
            is a sigmoid of its own.
    """

    task: Task
    name: str
    revision: str | None
    activation: Literal["identity", "sigmoid"]
    max_length: int
    pad_id: int
    labels: tuple[str, ...] = ()
    exclusive: bool = True

    @property
    def scale(self) -> Scale:
        """What a score means."""
        return "logit" if self.activation == "identity" else "unit"


def read_card(files: ModelFiles) -> Card:
    """Read a model's card from its `config.json` and `tokenizer_config.json`.

    Raises:
        ModelCorruptError: a file is missing or is not JSON.
        ModelUnsupportedError: not one label, or an activation that is not known.
    """
    config = _read_json(files.folder / "config.json")
    tokenizer_path = files.folder / "tokenizer_config.json"
    tokenizer = _read_json(tokenizer_path) if tokenizer_path.is_file() else {}
    labels = _labels(config)
    activation = _activation(config, files.name, num_labels=len(labels))
    return Card(
        task=_task(activation, num_labels=len(labels)),
        name=files.name,
        revision=files.revision,
        activation=activation,
        max_length=_max_length(config, tokenizer),
        pad_id=int(config.get("pad_token_id") or 0),
        labels=labels if len(labels) > 1 else (),
        exclusive=config.get("problem_type") != "multi_label_classification",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelCorruptError(
            f"{path} cannot be read ({error}); copy or download the model's folder again"
        ) from error
    if not isinstance(content, dict):
        raise ModelCorruptError(f"{path} holds no JSON object; copy the model's folder again")
    return content


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    labels = config.get("id2label")
    if isinstance(labels, dict):
        return tuple(str(labels[key]) for key in sorted(labels, key=int))
    # transformers' own default, when nothing is stored, is two labels.
    return tuple(f"LABEL_{number}" for number in range(int(config.get("num_labels", 2))))


def _task(activation: str, *, num_labels: int) -> Task:
    if num_labels > 1:
        return "classification"
    return "relevance" if activation == "identity" else "similarity"


def _activation(
    config: dict[str, Any], name: str, *, num_labels: int
) -> Literal["identity", "sigmoid"]:
    stored = (config.get("sentence_transformers") or {}).get("activation_fn") or config.get(
        "sbert_ce_default_activation_function"
    )
    default = "sigmoid" if num_labels == 1 else "identity"
    kind = str(stored).rpartition(".")[2].lower() if stored else default
    if kind == "identity":
        return "identity"
    if kind == "sigmoid":
        return "sigmoid"
    raise ModelUnsupportedError(
        f"{name} stores the activation {stored!r}; Identity and Sigmoid are known"
    )


def _max_length(config: dict[str, Any], tokenizer: dict[str, Any]) -> int:
    limit = tokenizer.get("model_max_length")
    if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT:
        return int(limit)
    positions = int(config.get("max_position_embeddings", _DEFAULT_MAX_LENGTH))
    # RoBERTa's positions begin behind the padding id, so two of them are never tokens'.
    return positions - 2 if "roberta" in str(config.get("model_type")) else positions
