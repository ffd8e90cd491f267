"""The whole way of a pair, from a model's folder: encode, plan, run.

A driver (`cross_encoder`, later an engine for many callers) knows these three verbs and none of the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from pairscore.config import RoadConfig, Truncation
from pairscore.errors import (
    BackendError,
    MissingExtraError,
    NonFiniteScoreError,
    SettingError,
)
from pairscore.models.card import Card, read_card
from pairscore.models.resolve import ModelFiles, file_sha256, resolve
from pairscore.road.backends.base import Backend
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.planning import Plan, plan
from pairscore.road.tokenization import Pair, PairTokenizer
from pairscore.values import Batch, Encoded, FloatArray, IntArray

__all__ = ["BackendName", "Road", "open_road"]

BackendName: TypeAlias = Literal["onnx", "torch", "fake"]


class Road:
    """One model, ready to score: thread-safe, because nothing in it changes after it is made."""

    def __init__(
        self,
        *,
        files: ModelFiles,
        card: Card,
        tokenizer: PairTokenizer,
        backend: Backend,
        config: RoadConfig,
    ) -> None:
        self._files = files
        self.card = card
        self.config = config
        self._tokenizer = tokenizer
        self._backend = backend

    @property
    def backend_name(self) -> str:
        """The name of the backend that runs the model."""
        return self._backend.name

    @cached_property
    def model_sha256(self) -> str:
        """The sha256 of the weights; a large file without a manifest takes seconds the first time."""
        return self._files.sha256

    @cached_property
    def fingerprint(self) -> str:
        """Differs wherever the same two texts may get another logit: weights, tokenizer, backend."""
        tokenizer = file_sha256(self._files.folder / "tokenizer.json")
        return f"{self.model_sha256}:{tokenizer}:{self.backend_name}"

    @property
    def max_length(self) -> int:
        """Tokens of a pair, special tokens included."""
        return self._tokenizer.max_length

    def encode(
        self, pairs: Sequence[Pair], *, truncation: Truncation | None = None
    ) -> list[Encoded]:
        """Tokenize pairs, each distinct text once.

        Raises:
            LimitError: a text has too many characters.
            TextError: a text holds half a character.
            TooLongError: a pair would have to be cut, and `truncation` is strict.
        """
        return self._tokenizer.encode(pairs, truncation=truncation or Truncation())

    def plan(self, encoded: Sequence[Encoded], *, max_pairs: int | None = None) -> Plan:
        """Pack tokenized pairs into micro-batches."""
        lengths = [pair.num_tokens for pair in encoded]
        return plan(lengths, budget=self.config.budget, max_pairs=max_pairs)

    def run(
        self, encoded: Sequence[Encoded], positions: IntArray, *, num_threads: int = 1
    ) -> FloatArray:
        """The logits of the pairs at these positions, as one micro-batch on `num_threads` threads.

        Raises:
            BackendError: the model failed, or answered with the wrong number of logits.
            NonFiniteScoreError: it put out NaN or infinity.
        """
        batch = _pad([encoded[i] for i in positions], pad_id=self.card.pad_id)
        logits = self._backend.run(batch, num_threads=num_threads)
        if logits.shape != (len(positions),):
            raise BackendError(
                f"the {self._backend.name} backend gave {logits.shape} logits for {len(positions)} pairs"
            )
        if not np.isfinite(logits).all():
            raise NonFiniteScoreError(
                f"the model {self.card.name} put out a number that is not finite for "
                f"{int((~np.isfinite(logits)).sum())} of {len(positions)} pairs; its weights are damaged "
                "or too coarsely quantized: verify the files, or use the float32 model"
            )
        return logits

    def reconfigured(self, config: RoadConfig) -> Road:
        """The same model, packed or spread over workers in another way; closing one closes both.

        What decides a score, the maximum length and the truncation, stays as it was loaded.
        """
        kept = replace(self.config, budget=config.budget, num_workers=config.num_workers)
        return Road(
            files=self._files,
            card=self.card,
            tokenizer=self._tokenizer,
            backend=self._backend,
            config=kept,
        )

    def close(self) -> None:
        """Free the model."""
        self._backend.close()


def open_road(
    name_or_path: str | Path | None = None,
    *,
    config: RoadConfig | None = None,
    backend: BackendName | Backend = "onnx",
    revision: str | None = None,
    local_files_only: bool = False,
) -> Road:
    """Resolve a model, read its card, load its tokenizer and its backend.

    Raises:
        ModelError: the model cannot be found, fetched, verified or used.
        MissingExtraError: the backend's libraries are not installed.
        SettingError: no backend has that name.
    """
    files = resolve(
        name_or_path,
        revision=revision,
        local_files_only=local_files_only,
        kind="safetensors" if backend == "torch" else "onnx",
    )
    card = read_card(files)
    settings = config or RoadConfig()
    tokenizer = PairTokenizer.from_file(
        files.folder / "tokenizer.json", max_length=card.max_length, config=settings
    )
    runner = _named_backend(backend, files.weights) if isinstance(backend, str) else backend
    return Road(files=files, card=card, tokenizer=tokenizer, backend=runner, config=settings)


def _named_backend(name: str, weights: Path) -> Backend:
    if name == "fake":
        return FakeBackend()
    if name == "onnx":
        # Here, because a fake road should not pay for a runtime that it does not use.
        from pairscore.road.backends.onnx import OnnxBackend

        return OnnxBackend(weights)
    if name == "torch":
        # Here, because torch and transformers take seconds to load and may not be installed.
        try:
            from pairscore.road.backends.torch import TorchBackend
        except ImportError as error:
            raise MissingExtraError(feature="the torch backend", extra="torch") from error
        return TorchBackend(weights.parent)
    raise SettingError(f"backend is {name!r}; known are 'torch', 'onnx' and 'fake'")


def _pad(pairs: Sequence[Encoded], *, pad_id: int) -> Batch:
    longest = max(pair.num_tokens for pair in pairs)
    ids = np.full((len(pairs), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    types = np.zeros_like(ids)
    for row, pair in enumerate(pairs):
        ids[row, : pair.num_tokens] = pair.ids
        types[row, : pair.num_tokens] = pair.type_ids
        mask[row, : pair.num_tokens] = 1
    return Batch(ids=ids, attention_mask=mask, type_ids=types)
