"""`CrossEncoder`: score pairs, rank documents; the road driven for one caller.

The vocabulary is sentence-transformers', so that changing the import is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast, overload

import numpy as np

from pairscore.arguments import (
    ActivationFn,
    RankedDocument,
    apply_function,
    check_batch_size,
    entry_of,
    one_or_many,
    progress_bar,
    query_pairs,
)
from pairscore.closing import Closing
from pairscore.config import Chunking, LongDocuments, RoadConfig, SettledConfig, chosen_chunking
from pairscore.explaining.explaining import Explaining
from pairscore.models.card import Card
from pairscore.road import ranking
from pairscore.road.ahead import each_ahead
from pairscore.road.backends.base import Backend, BackendOptions, DType
from pairscore.road.choice import Choice
from pairscore.road.folding import WindowedRead, windowed_scores
from pairscore.road.halving import Halving
from pairscore.road.planning import restore
from pairscore.road.road import BackendName, open_road
from pairscore.road.tokenization import Pair
from pairscore.road.workers import Workers
from pairscore.values import Encoded, FloatArray, IntArray, Scores

__all__ = ["ActivationFn", "CrossEncoder", "RankedDocument", "query_pairs"]

# Pairs that are tokenized and sorted together: enough to find neighbours of like length,
# few enough that a million pairs never lie in memory as tokens.
_WINDOW = 8192
# Windows of documents that are; they are long.
_MAX_WINDOWS = 2048


class CrossEncoder(Explaining, Closing):
    """A cross-encoder: reads both texts of a pair at once and gives one score.

    Any number of threads may share one instance.

    Args:
        name_or_path: a name from `list_models()`, a folder, a hub id, or None for the bundled model.
        max_length: tokens of a pair; longer documents are cut. None takes the model's own.
        device: where the torch backend runs the model, such as ``cuda`` or ``cuda:1``; None takes what the
            backend prefers, the GPU if torch sees one. The onnx backend runs on ``cpu``.
        dtype: the numbers it computes in there: ``float32``, ``float16`` or ``bfloat16``; None takes float32
            on the CPU and float16 on a GPU.
        label: of a model with several labels the one that is scored: its log-odds against the others.
        calibration: a file that `pairscore calibrate` made, which then gives the probabilities; None takes the
            one beside the model, if there is one.
        prompt: put before each first text: the name of one of the model's own prompts, or a text; None takes
            the model's default, an empty text none.
        skip_checks: names of load-time checks that are not made.
        revision: branch, tag or commit on the hub.
        local_files_only: never touch the network.
        num_workers: threads that each run one micro-batch; None takes what the backend prefers: one for each
            core, or two for a GPU.
        activation_fn: replaces the model's own activation in `predict` and `rank`.
        backend: ``onnx``, ``torch``, ``openvino``, ``auto`` (the quickest here; `choice` says why), ``fake`` (no
            weights, for tests), or a `Backend` of your own.
        config: everything else; `max_length` and `num_workers` given here win over it.

    Raises:
        ModelError: the model cannot be found, fetched, verified or used.
        SettingError: an option makes no sense.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = None,
        *,
        max_length: int | None = None,
        device: str | None = None,
        dtype: DType | None = None,
        label: str | None = None,
        calibration: str | Path | None = None,
        prompt: str | None = None,
        skip_checks: Collection[str] = (),
        revision: str | None = None,
        local_files_only: bool = False,
        num_workers: int | None = None,
        activation_fn: ActivationFn | None = None,
        backend: BackendName | Backend = "onnx",
        config: RoadConfig | None = None,
    ) -> None:
        base = config or RoadConfig()
        settings = replace(
            base,
            max_length=base.max_length if max_length is None else max_length,
            num_workers=base.num_workers if num_workers is None else num_workers,
        )
        self._road = open_road(
            name_or_path,
            config=settings,
            backend=backend,
            options=BackendOptions(device=device, dtype=dtype),
            label=label,
            calibration=None if calibration is None else Path(calibration),
            prompt=prompt,
            skip_checks=skip_checks,
            revision=revision,
            local_files_only=local_files_only,
        )
        self._halving = Halving(self._road)
        self._activation_fn = activation_fn
        self._workers = Workers(self._road.config.workers, owner="CrossEncoder")

    @property
    def card(self) -> Card:
        """What the model's numbers mean and how much it can read."""
        return self._road.card

    @property
    def max_length(self) -> int:
        """Tokens of a pair, special tokens included."""
        return self._road.max_length

    @property
    def model_sha256(self) -> str:
        """The sha256 of the weights; a large file takes seconds the first time."""
        return self._road.model_sha256

    @property
    def fingerprint(self) -> str:
        """Differs wherever the same two texts may get another logit: weights, tokenizer, backend, prompt."""
        return self._road.fingerprint

    @property
    def config(self) -> SettledConfig:
        """Limits, truncation and threads, with every default filled in."""
        return self._road.config

    @property
    def backend_name(self) -> str:
        """The name of the backend that runs the model."""
        return self._road.backend_name

    @property
    def choice(self) -> Choice | None:
        """What ``backend="auto"`` chose, and why; None where a backend was named."""
        return self._road.choice

    # One tuple of two strings is also an iterable of strings, so the two signatures overlap on purpose:
    # the first one that fits is meant.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        pairs: tuple[str, str],
        batch_size: int | None = None,
        activation_fn: ActivationFn | None = None,
        show_progress_bar: bool | None = None,
        *,
        apply_softmax: bool = False,
        long_documents: LongDocuments | None = None,
        chunking: Chunking | None = None,
    ) -> np.float32 | FloatArray: ...

    @overload
    def predict(
        self,
        pairs: Iterable[Sequence[str]],
        batch_size: int | None = None,
        activation_fn: ActivationFn | None = None,
        show_progress_bar: bool | None = None,
        *,
        apply_softmax: bool = False,
        long_documents: LongDocuments | None = None,
        chunking: Chunking | None = None,
    ) -> FloatArray: ...

    def predict(
        self,
        pairs: Iterable[Any],
        batch_size: int | None = None,
        activation_fn: ActivationFn | None = None,
        show_progress_bar: bool | None = None,
        *,
        apply_softmax: bool = False,
        long_documents: LongDocuments | None = None,
        chunking: Chunking | None = None,
    ) -> FloatArray | np.float32:
        """Score pairs.

        Args:
            pairs: (query, document) pairs; or one pair, for which one number comes back.
            batch_size: the most pairs in a micro-batch. Needed for nothing: micro-batches are packed by
                tokens, and scores do not depend on them.
            activation_fn: from logits to scores; None takes the model's own.
            show_progress_bar: draw a bar on standard error.
            apply_softmax: of a model with several labels, give the labels' probabilities; of one number a
                pair there is nothing to share, and it changes nothing.
            long_documents: ``truncate`` cuts a document that is too long, ``chunk`` reads it in windows; None
                is "chunk" where `chunking` is given.
            chunking: how windows are laid and become one score; None takes the defaults.

        Returns:
            float32 scores, shape (num_pairs,), in the order of the pairs; a scalar for one pair. A model with
            several labels gives a column for each, in the order of `card.labels`; one row for one pair.

        Raises:
            InputError: a pair cannot be scored; the message names it.
            BackendError: the model failed.
        """
        one, checked = one_or_many(pairs)
        result = self._scores(
            checked,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            chunking=chosen_chunking(long_documents, chunking),
        )
        if apply_softmax and self.card.labels:
            scores = ranking.softmax(result.logits)
        else:
            scores = self._activated(result, activation_fn).scores
        return cast("np.float32", scores[0]) if one else scores

    def score(
        self,
        pairs: Iterable[Any],
        *,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        long_documents: LongDocuments | None = None,
        chunking: Chunking | None = None,
    ) -> Scores:
        """Score pairs, and say everything about the scores: logits, probabilities, scale, truncation.

        The scores are those of the model's own activation, because only that one's scale is known.
        Takes and raises what `predict` does; one pair gives arrays of length one. Long documents that are read
        in windows have `windows` with the best window's characters.
        """
        _, checked = one_or_many(pairs)
        return self._scores(
            checked,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            chunking=chosen_chunking(long_documents, chunking),
        )

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        batch_size: int | None = None,
        activation_fn: ActivationFn | None = None,
        show_progress_bar: bool | None = None,
        long_documents: LongDocuments | None = None,
        chunking: Chunking | None = None,
    ) -> list[RankedDocument]:
        """Order documents by how well they answer a query, best first; ties keep the input's order.

        Args:
            query: the query.
            documents: the candidates.
            top_k: how many to return; None returns all.
            return_documents: put each document's text into its entry.
            batch_size: as in `predict`.
            activation_fn: as in `predict`.
            show_progress_bar: as in `predict`.
            long_documents: as in `predict`.
            chunking: as in `predict`.

        Returns:
            Entries with `corpus_id` (position in `documents`), `score` (a Python float) and, if asked
            for, `text`. Of documents that are read in windows also `span`, the best window's characters as
            (start, end), and `num_windows`.
        """
        ranking.check_one_number(self.card.name, self.card.labels)
        pairs = query_pairs(query, documents)
        result = self._scores(
            pairs,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            chunking=chosen_chunking(long_documents, chunking),
        )
        return [
            entry_of(hit, pairs if return_documents else None, result.windows)
            for hit in ranking.hits(self._activated(result, activation_fn), top_k=top_k)
        ]

    def close(self) -> None:
        """End the workers and free the model; a second call does nothing.

        Other threads' calls that are under way end with `ClosedError`, after the micro-batches that run.
        """
        self._workers.close()
        self._road.close()

    def _scores(
        self,
        pairs: list[Pair],
        *,
        batch_size: int | None,
        show_progress_bar: bool | None,
        chunking: Chunking | None,
    ) -> Scores:
        check_batch_size(batch_size)
        if chunking is not None:
            with progress_bar(len(pairs), shown=bool(show_progress_bar)) as advance:
                return self._scores_of_windows(
                    pairs, chunking=chunking, max_pairs=batch_size, advance=advance
                )
        logits: list[FloatArray] = []
        num_tokens: list[int] = []
        truncated: list[bool] = []
        with progress_bar(len(pairs), shown=bool(show_progress_bar)) as advance:
            windows = [pairs[i : i + _WINDOW] for i in range(0, len(pairs), _WINDOW)]
            for encoded in each_ahead(self._road.encode, windows, ahead=self._road.ahead):
                logits.append(self._logits(encoded, max_pairs=batch_size, advance=advance))
                num_tokens.extend(pair.num_tokens for pair in encoded)
                truncated.extend(pair.truncated for pair in encoded)
        return ranking.scores_of(
            np.concatenate(logits),
            card=self.card,
            num_tokens=num_tokens,
            truncated=truncated,
        )

    def _scores_of_windows(
        self,
        pairs: Sequence[Pair],
        *,
        chunking: Chunking,
        max_pairs: int | None,
        advance: Callable[[int], None],
    ) -> Scores:
        """Score pairs window by window; as many windows at once as are pairs without them."""
        windower = self._road.windower(chunking=chunking)
        logits: list[FloatArray] = []
        done: list[WindowedRead] = []
        for turn in windower.turns(pairs, max_windows=_MAX_WINDOWS):
            windowed = windower.windows(turn)
            encoded = [window for pair in windowed for window in pair.encoded]
            logits.append(self._logits(encoded, max_pairs=max_pairs, advance=lambda _: None))
            # The tokens are not needed any more, and may be many.
            done += [pair.reading for pair in windowed]
            advance(len(turn))
        return windowed_scores(
            np.concatenate(logits), done, card=self.card, aggregate=chunking.aggregate
        )

    def _logits(
        self, encoded: Sequence[Encoded], *, max_pairs: int | None, advance: Callable[[int], None]
    ) -> FloatArray:
        """Run every micro-batch of a plan on the workers; the first failure ends the rest."""
        outputs: list[tuple[IntArray, FloatArray]] = []

        def keep(batch: IntArray, output: FloatArray) -> None:
            outputs.append((batch, output))
            advance(len(batch))

        batches = self._road.plan(encoded, max_pairs=max_pairs).batches
        self._workers.run(partial(self._halving.run, encoded), batches, on_done=keep)
        return restore(outputs, num_pairs=len(encoded))

    def _activated(self, result: Scores, activation_fn: ActivationFn | None) -> Scores:
        function = activation_fn or self._activation_fn
        if function is None:
            return result
        return replace(result, scores=apply_function(function, result.logits))
