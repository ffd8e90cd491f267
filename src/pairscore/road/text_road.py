"""The whole way of a single text, from a bi-encoder's folder: encode, plan, run.

The sibling of `road.py`, with the same three verbs and the same parts: what comes back is a vector of each text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from pairscore.config import RoadConfig
from pairscore.errors import BackendError, NonFiniteScoreError, SettingError
from pairscore.models.catalog import DEFAULT_ENCODER
from pairscore.models.encoder_card import EncoderCard, read_encoder_card
from pairscore.models.prompts import choose_prompt
from pairscore.models.resolve import ModelFiles, resolve
from pairscore.road.backends.base import Backend
from pairscore.road.backends.opening import BackendName, BackendOptions, kind_of, open_backend
from pairscore.road.backends.pooling import unit_length
from pairscore.road.encoder_checks import check_encoder, check_encoder_names
from pairscore.road.loaded import LoadedModel
from pairscore.road.padding import padded
from pairscore.road.planning import Plan, plan
from pairscore.road.text_tokenization import TextTokenizer
from pairscore.values import Encoded, FloatArray, IntArray

__all__ = ["FAKE_DIMENSION", "TextRoad", "open_text_road"]

FAKE_DIMENSION: Final = 256
"""Numbers in a vector of the backend without weights."""


class TextRoad(LoadedModel):
    """One bi-encoder, ready to encode: thread-safe, because nothing in it changes after it is made."""

    def __init__(  # noqa: PLR0913 - the parts of a road
        self,
        *,
        files: ModelFiles,
        card: EncoderCard,
        tokenizer: TextTokenizer,
        backend: Backend,
        config: RoadConfig,
        prompt: str = "",
    ) -> None:
        super().__init__(files=files, backend=backend, config=config)
        self.card = card
        self.prompt = prompt
        self._tokenizer = tokenizer

    @property
    def tokenizer(self) -> TextTokenizer:
        """What makes token ids of texts."""
        return self._tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """Differs wherever the same text may get another vector: weights, tokenizer, backend, prompts, rules."""
        # The name, and where the files came from, change no vector.
        rules = asdict(replace(self.card, name="", revision=None))
        read = [rules, self.prompt, self.max_length, self.config.truncation_side]
        rest = sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16]
        return f"{self.ran_by}:{rest}"

    @property
    def max_length(self) -> int:
        """Tokens of a text, special tokens included."""
        return self._tokenizer.max_length

    def encode(self, texts: Sequence[str], *, prompt: str = "") -> list[Encoded]:
        """Tokenize texts, each distinct one once; `prompt` is put before each.

        Raises:
            LimitError: a text has too many characters.
            TextError: a text holds half a character.
            SettingError: the prompt is too long.
        """
        return self._tokenizer.encode(texts, prompt=prompt)

    def plan(self, encoded: Sequence[Encoded], *, max_texts: int | None = None) -> Plan:
        """Pack tokenized texts into micro-batches."""
        lengths = [text.num_tokens for text in encoded]
        return plan(lengths, budget=self.config.budget, max_pairs=max_texts)

    def run(
        self, encoded: Sequence[Encoded], positions: IntArray, *, num_threads: int = 1
    ) -> FloatArray:
        """The vectors of the texts at these positions, as one micro-batch: shape (num_texts, dimension), float32.

        Raises:
            BackendError: the model failed, or answered with vectors of another shape.
            NonFiniteScoreError: it put out NaN or infinity.
        """
        batch = padded([encoded[i] for i in positions], pad_id=self.card.pad_id)
        vectors = self._backend.run(batch, num_threads=num_threads)
        wanted = (len(positions), self.card.num_outputs)
        if vectors.shape != wanted:
            raise BackendError(
                f"the {self._backend.name} backend gave vectors of shape {vectors.shape} for {len(positions)} texts, "
                f"and the files of {self.card.name} say {wanted}: its weights and its config.json are not of one model"
            )
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise NonFiniteScoreError(
                f"the model {self.card.name} put out a number that is not finite for {int((~finite).sum())} of "
                f"{len(positions)} texts; its weights are damaged or too coarsely quantized: verify the files, or use "
                "the float32 model"
            )
        if self.card.normalize:
            vectors = unit_length(vectors)
        return vectors[:, : self.card.dimension]


def open_text_road(  # noqa: PLR0913 - one for each thing that a caller may choose
    name_or_path: str | Path | None = None,
    *,
    config: RoadConfig | None = None,
    backend: BackendName | Backend = "onnx",
    options: BackendOptions | None = None,
    prompt: str | None = None,
    skip_checks: Collection[str] = (),
    revision: str | None = None,
    local_files_only: bool = False,
) -> TextRoad:
    """Resolve a bi-encoder, read its card, load its tokenizer and its backend, and check them.

    Args:
        name_or_path: as for `resolve`; None is the bundled bi-encoder.
        config: limits, packing, threads.
        backend: what runs the model.
        options: on which device, and in which numbers.
        prompt: put before each text that nobody gives a prompt of its own: the name of one of the model's
            prompts, or a text; None takes the model's default, an empty text none.
        skip_checks: names of load-time checks that are not made; `encoder_checks.ENCODER_CHECKS` has them.
        revision: branch, tag or commit on the hub.
        local_files_only: never touch the network.

    Raises:
        ModelError: the model cannot be found, fetched, verified or used.
        ModelCheckError: its vectors would be wrong.
        MissingExtraError: the backend's libraries are not installed.
        SettingError: no backend or check has that name, or the model no such prompt.
    """
    check_encoder_names(skip_checks)
    if backend == "auto":
        raise SettingError(
            "backend is 'auto', which is for cross-encoders; a bi-encoder runs on 'onnx', 'torch' or 'openvino'"
        )
    files = resolve(
        DEFAULT_ENCODER if name_or_path is None else name_or_path,
        revision=revision,
        local_files_only=local_files_only,
        kind=kind_of(backend),
    )
    card = read_encoder_card(files)
    if backend == "fake":
        card = replace(card, dimension=FAKE_DIMENSION, num_outputs=FAKE_DIMENSION)
    settings = config or RoadConfig()
    tokenizer = TextTokenizer.from_file(
        files.folder / "tokenizer.json",
        max_length=card.max_length,
        config=settings,
        token_types=card.token_types,
        lower_case=card.lower_case,
    )
    road = TextRoad(
        files=files,
        card=card,
        tokenizer=tokenizer,
        backend=open_backend(backend, files, card=card, options=options or BackendOptions()),
        config=settings,
        prompt=choose_prompt(
            prompt, prompts=card.prompts, default=card.default_prompt, model=card.name
        ),
    )
    check_encoder(road, skip=skip_checks, own_backend=not isinstance(backend, str))
    return road
