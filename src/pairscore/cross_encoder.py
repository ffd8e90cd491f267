"""`CrossEncoder`: score pairs, rank documents; the road driven for one caller.

The vocabulary is sentence-transformers', so that changing the import is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NotRequired, Self, TypeAlias, TypedDict, cast, overload

import numpy as np

from pairscore.config import RoadConfig
from pairscore.errors import (
    ClosedError,
    EmptyInputError,
    NonFiniteScoreError,
    PairError,
    SettingError,
)
from pairscore.models.card import Card
from pairscore.road import ranking
from pairscore.road.backends.base import Backend, BackendOptions, DType
from pairscore.road.planning import restore
from pairscore.road.road import BackendName, open_road
from pairscore.road.tokenization import Pair, check_pairs
from pairscore.values import Encoded, FloatArray, Hit, IntArray, Scores

__all__ = ["ActivationFn", "CrossEncoder", "RankedDocument", "query_pairs"]

ActivationFn: TypeAlias = Callable[[FloatArray], Any]
"""From logits, shape (num_pairs,), float32, to scores of the same shape."""

# Pairs that are tokenized and sorted together: enough to find neighbours of like length,
# few enough that a million pairs never lie in memory as tokens.
_WINDOW = 8192


class RankedDocument(TypedDict):
    """One entry of a ranking, with sentence-transformers' keys."""

    corpus_id: int
    score: float
    text: NotRequired[str]


class CrossEncoder:
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
        skip_checks: names of load-time checks that are not made.
        revision: branch, tag or commit on the hub.
        local_files_only: never touch the network.
        num_workers: threads that each run one micro-batch; None takes one for each core.
        activation_fn: replaces the model's own activation in `predict` and `rank`.
        backend: ``onnx``, ``torch``, ``fake`` (no weights, for tests), or a `Backend` of your own.
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
            skip_checks=skip_checks,
            revision=revision,
            local_files_only=local_files_only,
        )
        self._activation_fn = activation_fn
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(
            max_workers=settings.workers, thread_name_prefix="pairscore"
        )

    @property
    def card(self) -> Card:
        """What the model's numbers mean and how much it can read."""
        return self._road.card

    @property
    def max_length(self) -> int:
        """Tokens of a pair, special tokens included."""
        return self._road.max_length

    @property
    def backend_name(self) -> str:
        """The name of the backend that runs the model."""
        return self._road.backend_name

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
    ) -> FloatArray: ...

    def predict(
        self,
        pairs: Iterable[Any],
        batch_size: int | None = None,
        activation_fn: ActivationFn | None = None,
        show_progress_bar: bool | None = None,
        *,
        apply_softmax: bool = False,
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

        Returns:
            float32 scores, shape (num_pairs,), in the order of the pairs; a scalar for one pair. A model with
            several labels gives a column for each, in the order of `card.labels`; one row for one pair.

        Raises:
            InputError: a pair cannot be scored; the message names it.
            BackendError: the model failed.
        """
        one, checked = _one_or_many(pairs)
        result = self._scores(checked, batch_size=batch_size, show_progress_bar=show_progress_bar)
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
    ) -> Scores:
        """Score pairs, and say everything about the scores: logits, probabilities, scale, truncation.

        The scores are those of the model's own activation, because only that one's scale is known.
        Takes and raises what `predict` does; one pair gives arrays of length one.
        """
        _, checked = _one_or_many(pairs)
        return self._scores(checked, batch_size=batch_size, show_progress_bar=show_progress_bar)

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

        Returns:
            Entries with `corpus_id` (position in `documents`), `score` (a Python float) and, if asked
            for, `text`.
        """
        ranking.check_one_number(self.card.name, self.card.labels)
        pairs = query_pairs(query, documents)
        result = self._scores(pairs, batch_size=batch_size, show_progress_bar=show_progress_bar)
        return [
            _entry(hit, pairs if return_documents else None)
            for hit in ranking.hits(self._activated(result, activation_fn), top_k=top_k)
        ]

    def close(self) -> None:
        """End the workers and free the model; a second call does nothing."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
            self._road.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _scores(
        self, pairs: list[Pair], *, batch_size: int | None, show_progress_bar: bool | None
    ) -> Scores:
        _check_batch_size(batch_size)
        logits: list[FloatArray] = []
        num_tokens: list[int] = []
        truncated: list[bool] = []
        with _progress(len(pairs), shown=bool(show_progress_bar)) as advance:
            for start in range(0, len(pairs), _WINDOW):
                encoded = self._road.encode(pairs[start : start + _WINDOW])
                logits.append(self._logits(encoded, max_pairs=batch_size, advance=advance))
                num_tokens.extend(pair.num_tokens for pair in encoded)
                truncated.extend(pair.truncated for pair in encoded)
        return ranking.scores_of(
            np.concatenate(logits),
            card=self.card,
            num_tokens=num_tokens,
            truncated=truncated,
        )

    def _logits(
        self, encoded: Sequence[Encoded], *, max_pairs: int | None, advance: Callable[[int], None]
    ) -> FloatArray:
        """Run every micro-batch of a plan on the workers; the first failure ends the rest."""
        pool = self._pool
        if pool is None:
            raise ClosedError("this CrossEncoder was closed; make a new one")
        batches = self._road.plan(encoded, max_pairs=max_pairs).batches
        running: dict[Future[FloatArray], IntArray] = {
            pool.submit(self._road.run, encoded, batch): batch for batch in batches
        }
        outputs: list[tuple[IntArray, FloatArray]] = []
        try:
            for done in as_completed(running):
                outputs.append((running[done], done.result()))
                advance(len(running[done]))
        finally:
            # Nothing of a failed or interrupted call stays queued behind other callers' work.
            for future in running:
                future.cancel()
        return restore(outputs, num_pairs=len(encoded))

    def _activated(self, result: Scores, activation_fn: ActivationFn | None) -> Scores:
        function = activation_fn or self._activation_fn
        if function is None:
            return result
        return replace(result, scores=_apply(function, result.logits))


def query_pairs(query: str, documents: Sequence[str]) -> list[Pair]:
    """One query with each of many documents, checked.

    Raises:
        PairError: the query or a document is not a string.
        EmptyInputError: there is no document.
    """
    if not isinstance(query, str):
        raise PairError(f"the query is a {type(query).__name__}; it must be a string (str)")
    if isinstance(documents, str | bytes) or not isinstance(documents, Iterable):
        raise PairError(
            f"documents is a {type(documents).__name__}; it must be a list of strings, "
            "also for one document"
        )
    listed = list(documents)
    if not listed:
        raise EmptyInputError("there is no document to rank; give at least one")
    return check_pairs([(query, document) for document in listed])


def _one_or_many(pairs: Any) -> tuple[bool, list[Pair]]:
    """Tell one pair (two strings) from a list of pairs, as sentence-transformers does."""
    is_sequence = isinstance(pairs, Sequence) and not isinstance(pairs, str | bytes)
    if is_sequence and len(pairs) > 0 and isinstance(pairs[0], str):
        return True, check_pairs([tuple(pairs)])
    return False, check_pairs(pairs)


def _check_batch_size(batch_size: int | None) -> None:
    if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
        raise SettingError(f"batch_size is {batch_size!r}; it must be at least 1, or None")


def _apply(function: ActivationFn, logits: FloatArray) -> FloatArray:
    """Apply a caller's activation; torch's own Sigmoid and Identity are known by name, without torch."""
    kind = type(function).__name__
    if kind in ("Sigmoid", "Identity"):
        return ranking.apply_activation(logits, "sigmoid" if kind == "Sigmoid" else "identity")
    scores = np.asarray(function(logits.copy()), dtype=np.float32)
    if scores.shape != logits.shape:
        raise SettingError(
            f"activation_fn gave shape {scores.shape} for {logits.shape} logits; it must keep the shape"
        )
    if not np.isfinite(scores).all():
        raise NonFiniteScoreError("activation_fn gave a number that is not finite; use another one")
    return scores


def _entry(hit: Hit, pairs: list[Pair] | None) -> RankedDocument:
    if pairs is None:
        return {"corpus_id": hit.corpus_id, "score": hit.score}
    return {"corpus_id": hit.corpus_id, "score": hit.score, "text": pairs[hit.corpus_id][1]}


@contextmanager
def _progress(num_pairs: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, or nothing; gives the function that moves it on."""
    if not shown:
        yield lambda _: None
        return
    # Here, because most calls draw nothing and rich costs more to import than they take.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("pairs", total=num_pairs)
        yield lambda count: progress.advance(task, count)
