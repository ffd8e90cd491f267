"""The first stage of a search: candidates by vectors, by words, or by both at once, fused. Reranking is not its affair."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from pairscore.errors import ClosedError, EmptyInputError, SettingError, TextError
from pairscore.retrieval.base import Candidate, Encoder, Filter, Mode, Retriever
from pairscore.retrieval.fusion import Fused, Place, reciprocal_rank_fusion
from pairscore.retrieval.results import MODES, Retrieved, SearchMode, Timings

__all__ = ["FirstStage", "check_query"]

_MS: Final = 1000.0
# Look-ups of words that run beside vectors; more callers than this wait for each other there.
_NUM_THREADS: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class _Looked:
    """What one source found, and how long it took, in milliseconds."""

    candidates: Sequence[Candidate]
    look_up: float
    encode: float = 0.0


class FirstStage:
    """Finds candidates; many threads may ask at once.

    It owns neither the retriever nor the encoder: who opened them closes them.

    Args:
        retriever: where documents are found.
        encoder: makes the query's vector; None finds by words only.
        clock: seconds, for the times in the answer.

    Raises:
        SettingError: there is no way to find anything: no encoder, and a retriever without words.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        encoder: Encoder | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.retriever = retriever
        self.encoder = encoder
        self._clock = clock
        self._pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="pairscore-words")
        self._is_closed = False
        if not self.modes:
            raise SettingError(
                f"{retriever.name} finds documents by {' and '.join(sorted(retriever.modes)) or 'nothing'}, and "
                "there is no encoder; give one with encoder=, or an index with words"
            )

    @property
    def modes(self) -> tuple[SearchMode, ...]:
        """How it can find candidates, the best way first."""
        return tuple(mode for mode in MODES if not self._missing(mode))

    def chosen_mode(self, mode: SearchMode | None) -> SearchMode:
        """The mode that was asked for; for None the best that there is.

        Raises:
            SettingError: there is no such mode, or not with this retriever and encoder.
        """
        if mode is None:
            return self.modes[0]
        if mode not in MODES:
            raise SettingError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        missing = self._missing(mode)
        if missing:
            raise SettingError(
                f"mode is {mode!r}, and {missing}; the search can be {' or '.join(self.modes)}"
            )
        return mode

    def find(
        self,
        query: str,
        *,
        limit: int,
        mode: SearchMode | None = None,
        where: Filter = (),
    ) -> Retrieved:
        """The best candidates for a query, at most `limit`.

        In ``hybrid`` mode words are looked up on another thread while the query is encoded and vectors are looked up;
        each gives `limit` candidates, and the fused ranking is cut to as many.

        Raises:
            EmptyInputError: the query is empty.
            TextError: it is no text.
            FilterError: a condition cannot be held against the documents.
            SearchIndexError: the index cannot be read.
            SettingError: `mode` or `limit` makes no sense.
            ClosedError: it was closed, before or meanwhile.
        """
        begin = self._clock()
        check_query(query)
        if limit < 1:
            raise SettingError(f"limit is {limit}; it must be at least 1")
        mode = self.chosen_mode(mode)
        looked = self._look_up(query, mode, limit=limit, where=where)
        found = self._clock()
        candidates = _joined(looked, limit=limit)
        end = self._clock()
        dense, words = looked.get("dense"), looked.get("bm25")
        return Retrieved(
            candidates=candidates,
            mode=mode,
            timings=Timings(
                encode=0.0 if dense is None else dense.encode,
                dense=0.0 if dense is None else dense.look_up,
                words=0.0 if words is None else words.look_up,
                fuse=(end - found) * _MS,
                total=(end - begin) * _MS,
            ),
        )

    def close(self) -> None:
        """End the threads: what runs is finished, what waits is given up; a second call does nothing."""
        self._is_closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _missing(self, mode: SearchMode) -> str | None:
        """What a mode would need and is not there, in words."""
        has = self.retriever.modes
        if mode != "dense" and "bm25" not in has:
            return f"{self.retriever.name} has no words"
        if mode != "bm25" and "dense" not in has:
            return f"{self.retriever.name} has no vectors"
        if mode != "bm25" and self.encoder is None:
            return "there is no encoder for the query's vector; give one with encoder="
        return None

    def _look_up(
        self, query: str, mode: SearchMode, *, limit: int, where: Filter
    ) -> Mapping[Mode, _Looked]:
        if self._is_closed:
            raise _closed()
        if mode == "bm25":
            return {"bm25": self._by_words(query, limit=limit, where=where)}
        if mode == "dense":
            return {"dense": self._by_vector(query, limit=limit, where=where)}
        words = self._begun(query, limit=limit, where=where)
        try:
            dense = self._by_vector(query, limit=limit, where=where)
        except BaseException:
            words.cancel()
            raise
        try:
            return {"dense": dense, "bm25": words.result()}
        except CancelledError as error:
            raise _closed() from error

    def _begun(self, query: str, *, limit: int, where: Filter) -> Future[_Looked]:
        """The look-up of words, on another thread."""
        try:
            return self._pool.submit(self._by_words, query, limit=limit, where=where)
        except RuntimeError as error:
            # Also what a thread that cannot be started raises.
            if not self._is_closed:
                raise
            raise _closed() from error

    def _by_words(self, query: str, *, limit: int, where: Filter) -> _Looked:
        begin = self._clock()
        candidates = self.retriever.by_words(query, limit=limit, where=where)
        return _Looked(candidates=candidates, look_up=(self._clock() - begin) * _MS)

    def _by_vector(self, query: str, *, limit: int, where: Filter) -> _Looked:
        encoder = self.encoder
        if encoder is None:
            raise SettingError("there is no encoder for the query's vector; give one with encoder=")
        begin = self._clock()
        (vector,) = encoder.encode_queries([query])
        encoded = self._clock()
        candidates = self.retriever.by_vector(vector, limit=limit, where=where)
        return _Looked(
            candidates=candidates,
            look_up=(self._clock() - encoded) * _MS,
            encode=(encoded - begin) * _MS,
        )


def check_query(query: str) -> None:
    """Refuse what cannot be looked for.

    Raises:
        EmptyInputError: it is empty, or white space.
        TextError: it is no string, or holds half a character.
    """
    if not isinstance(query, str):
        raise TextError(f"the query is a {type(query).__name__}; it must be a string (str)")
    if not query.strip():
        raise EmptyInputError("the query is empty; give at least one word to look for")
    try:
        query.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"the query holds half a character (a lone surrogate) at position {error.start}; write the whole one"
        ) from error


def _closed() -> ClosedError:
    return ClosedError("the search was closed; make a new one")


def _joined(looked: Mapping[Mode, _Looked], *, limit: int) -> tuple[Fused, ...]:
    fused = reciprocal_rank_fusion(
        {name: one.candidates for name, one in looked.items()}, limit=limit
    )
    if len(looked) > 1:
        return fused
    # Of one source the fused order is its own, and its score says more than its rank's inverse.
    return tuple(
        Fused(document=one.document, score=_only(one.sources).score, sources=one.sources)
        for one in fused
    )


def _only(places: Mapping[str, Place]) -> Place:
    (place,) = places.values()
    return place
