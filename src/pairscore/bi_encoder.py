"""`BiEncoder`: a vector of each text, and how near two vectors are; the road of texts driven for one caller.

The vocabulary is sentence-transformers', so that changing the import is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pairscore.arguments import check_batch_size, progress_bar
from pairscore.closing import Closing
from pairscore.config import RoadConfig
from pairscore.errors import InputError, SettingError
from pairscore.models.encoder_card import EncoderCard
from pairscore.road.ahead import each_ahead
from pairscore.road.backends.base import Backend, BackendOptions, DType
from pairscore.road.backends.opening import BackendName
from pairscore.road.backends.pooling import unit_length
from pairscore.road.halving import Halving
from pairscore.road.text_road import open_text_road
from pairscore.road.text_tokenization import check_texts
from pairscore.road.workers import Workers
from pairscore.values import Embeddings, Encoded, FloatArray, IntArray

__all__ = ["BiEncoder"]

# Texts that are tokenized and sorted together: enough to find neighbours of like length, few enough that a million
# texts never lie in memory as tokens.
_WINDOW = 8192
_MAX_AXES = 2


class BiEncoder(Closing):
    """A bi-encoder: reads each text by itself and makes a vector of it.

    Any number of threads may share one instance.

    Args:
        name_or_path: a name, a folder that sentence-transformers wrote, a hub id, or None for the bundled model.
        max_length: tokens of a text; longer ones are cut. None takes the model's own.
        device: as for `CrossEncoder`.
        dtype: as for `CrossEncoder`.
        prompt: put before each text that `encode` and `embed` get without a prompt: the name of one of the model's
            own prompts, or a text; None takes the model's default, an empty text none.
        revision: branch, tag or commit on the hub.
        local_files_only: never touch the network.
        num_workers: threads that each run one micro-batch; None takes what the backend prefers: one for each core,
            or two for a GPU.
        backend: ``onnx``, ``torch``, ``openvino``, ``fake`` (hashed words, no weights, for tests), or a `Backend` of
            your own that gives vectors.
        config: everything else; `max_length` and `num_workers` given here win over it.
        skip_checks: names of load-time checks that are not made.

    Raises:
        ModelError: the model cannot be found, fetched, verified or used.
        SettingError: an option makes no sense.
    """

    def __init__(  # noqa: PLR0913 - what may be chosen
        self,
        name_or_path: str | Path | None = None,
        *,
        max_length: int | None = None,
        device: str | None = None,
        dtype: DType | None = None,
        prompt: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        num_workers: int | None = None,
        backend: BackendName | Backend = "onnx",
        config: RoadConfig | None = None,
        skip_checks: Collection[str] = (),
    ) -> None:
        base = config or RoadConfig()
        settings = replace(
            base,
            max_length=base.max_length if max_length is None else max_length,
            num_workers=base.num_workers if num_workers is None else num_workers,
        )
        self._road = open_text_road(
            name_or_path,
            config=settings,
            backend=backend,
            options=BackendOptions(device=device, dtype=dtype),
            prompt=prompt,
            skip_checks=skip_checks,
            revision=revision,
            local_files_only=local_files_only,
        )
        self._halving = Halving(self._road, unit="text")
        self._workers = Workers(self._road.config.workers, owner="BiEncoder")

    @property
    def name(self) -> str:
        """The model's name, for reports."""
        return self._road.card.name

    @property
    def card(self) -> EncoderCard:
        """How the model makes a vector, and how much it can read."""
        return self._road.card

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._road.card.dimension

    @property
    def max_length(self) -> int:
        """Tokens of a text, special tokens included."""
        return self._road.max_length

    @property
    def fingerprint(self) -> str:
        """Differs wherever the same text may get another vector: weights, tokenizer, backend, prompts, pooling."""
        return self._road.fingerprint

    @property
    def model_sha256(self) -> str:
        """The sha256 of the weights; a large file takes seconds the first time."""
        return self._road.model_sha256

    @property
    def backend_name(self) -> str:
        """The name of the backend that runs the model."""
        return self._road.backend_name

    def encode(  # noqa: PLR0913 - sentence-transformers' options
        self,
        texts: str | Iterable[str],
        *,
        normalize_embeddings: bool = False,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> FloatArray:
        """Vectors of texts; a text that is too long is cut, and `embed` says which ones were.

        Args:
            texts: any number of texts, empty ones too; or one text, for which one vector comes back.
            normalize_embeddings: make each vector's length 1. Many models do so by themselves.
            prompt: put before each text; it wins over `prompt_name`.
            prompt_name: the name of one of the model's own prompts; None takes what was chosen when the model
                was loaded.
            batch_size: the most texts in a micro-batch. Needed for nothing: micro-batches are packed by
                tokens, and vectors do not depend on them.
            show_progress_bar: draw a bar on standard error.

        Returns:
            float32, shape (num_texts, dimension), in the order of the texts; (dimension,) for one text.

        Raises:
            InputError: a text cannot be read; the message says why.
            BackendError: the model failed.
            SettingError: the model has no prompt of that name, or the prompt is too long.
        """
        made = self.embed(
            texts,
            normalize_embeddings=normalize_embeddings,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
        ).vectors
        return made[0] if isinstance(texts, str) else made

    def embed(  # noqa: PLR0913 - likewise
        self,
        texts: str | Iterable[str],
        *,
        normalize_embeddings: bool = False,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> Embeddings:
        """Vectors of texts, and what was read of each: tokens, and whether it was cut.

        Takes and raises what `encode` does; one text gives arrays of length one.
        """
        check_batch_size(batch_size)
        checked = check_texts([texts] if isinstance(texts, str) else texts)
        made = self._embeddings(
            checked,
            prompt=self._prompt(prompt, prompt_name),
            max_texts=batch_size,
            shown=bool(show_progress_bar),
        )
        if not normalize_embeddings:
            return made
        return replace(made, vectors=unit_length(made.vectors))

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries, of length 1, shape (num_texts, dimension), float32; with the model's prompt for queries."""
        return self._unit(texts, self.card.query_prompt)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of documents, of length 1, shape (num_texts, dimension), float32; with the model's prompt for them."""
        return self._unit(texts, self.card.document_prompt)

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
        """How near each vector of `a` is to each of `b`: their cosine, or their dot product if the model says so.

        Args:
            a: shape (n, dimension), or (dimension,) for one.
            b: shape (m, dimension), likewise.

        Returns:
            float32, shape (n, m).

        Raises:
            InputError: they are no vectors of one dimension, or hold a number that is not finite.
        """
        first, second = self._comparable(a, b)
        return np.asarray(first @ second.T, dtype=np.float32)

    def similarity_pairwise(self, a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
        """How near each vector of `a` is to the one of `b` at the same place, as `similarity`: float32, shape (n,).

        Raises:
            InputError: as `similarity`, or there are more of the one than of the other.
        """
        first, second = self._comparable(a, b)
        if len(first) != len(second):
            raise InputError(
                f"there are {len(first)} vectors and {len(second)}; pairwise needs as many of both"
            )
        return np.asarray((first * second).sum(axis=1), dtype=np.float32)

    def close(self) -> None:
        """End the workers and free the model; a second call does nothing.

        Other threads' calls that are under way end with `ClosedError`, after the micro-batches that run.
        """
        self._workers.close()
        self._road.close()

    def _prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        if prompt is not None:
            return prompt
        if prompt_name is None:
            return self._road.prompt
        prompts = self.card.prompts
        if prompt_name not in prompts:
            raise SettingError(
                f"prompt_name is {prompt_name!r}; the prompts of {self.name} are {', '.join(prompts) or 'none'}"
            )
        return prompts[prompt_name]

    def _unit(self, texts: Sequence[str], prompt: str) -> FloatArray:
        made = self._embeddings(check_texts(texts), prompt=prompt, max_texts=None, shown=False)
        return made.vectors if self.card.normalize else unit_length(made.vectors)

    def _comparable(self, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        first, second = _vectors(a), _vectors(b)
        if first.shape[1] != second.shape[1]:
            raise InputError(
                f"vectors of {first.shape[1]} and of {second.shape[1]} numbers cannot be compared"
            )
        if self.card.similarity == "dot":
            return first, second
        return unit_length(first), unit_length(second)

    def _embeddings(
        self, texts: list[str], *, prompt: str, max_texts: int | None, shown: bool
    ) -> Embeddings:
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        num_tokens = np.empty(len(texts), dtype=np.int64)
        truncated = np.empty(len(texts), dtype=np.bool_)
        starts = range(0, len(texts), _WINDOW)

        def encoded(start: int) -> list[Encoded]:
            return self._road.encode(texts[start : start + _WINDOW], prompt=prompt)

        with progress_bar(len(texts), shown=shown, unit="texts") as advance:
            rows = each_ahead(encoded, starts, ahead=self._road.ahead)
            for start, window in zip(starts, rows, strict=True):
                place = slice(start, start + len(window))
                self._run(window, vectors[place], max_texts=max_texts, advance=advance)
                num_tokens[place] = [row.num_tokens for row in window]
                truncated[place] = [row.truncated for row in window]
        return Embeddings(vectors, num_tokens, truncated, self.name)

    def _run(
        self,
        window: Sequence[Encoded],
        vectors: FloatArray,
        *,
        max_texts: int | None,
        advance: Callable[[int], None],
    ) -> None:
        """Run a window's micro-batches on the workers, equal texts once, into `vectors`; the first failure ends the rest."""
        # Of equal texts the tokenizer gives one and the same object.
        places: dict[int, list[int]] = {}
        for place, row in enumerate(window):
            places.setdefault(id(row), []).append(place)
        groups = list(places.values())
        distinct = [window[group[0]] for group in groups]

        def keep(batch: IntArray, made: FloatArray) -> None:
            for row, position in zip(made, batch, strict=True):
                vectors[groups[position]] = row
                advance(len(groups[position]))

        batches = self._road.plan(distinct, max_texts=max_texts).batches
        self._workers.run(partial(self._halving.run, distinct), batches, on_done=keep)


def _vectors(given: Any) -> FloatArray:
    try:
        vectors = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"these are no vectors ({error}); give what encode returned") from error
    if vectors.ndim == 1:
        vectors = vectors[None, :]
    if vectors.ndim != _MAX_AXES:
        raise InputError(
            f"vectors have {vectors.ndim} axes; give shape (n, dimension), or (dimension,) for one"
        )
    if not np.isfinite(vectors).all():
        raise InputError("a vector holds a number that is not finite (NaN or infinity)")
    return vectors
