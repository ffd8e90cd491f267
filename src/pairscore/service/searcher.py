"""The server's search index and its bi-encoder, between start and end: the first stage, on threads of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from pairscore.errors import ClosedError, DeadlineError, OverloadError
from pairscore.retrieval.base import Filter
from pairscore.retrieval.first_stage import FirstStage
from pairscore.retrieval.opening import OpenedIndex
from pairscore.retrieval.results import Retrieved, SearchMode

__all__ = ["Searcher"]

# First stages at once; each may use one more thread for words.
_NUM_THREADS: Final = 4
# First stages that wait or run; one more would only wait for longer.
_MAX_WAITING: Final = 128
_WARM_UP: Final = "warm up"


class Searcher:
    """Finds candidates without blocking the event loop; its coroutines belong to one loop.

    Args:
        opening: opens the index; called on a thread.
    """

    def __init__(self, opening: Callable[[], OpenedIndex]) -> None:
        self._opening = opening
        self._opened: OpenedIndex | None = None
        self._stage: FirstStage | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._num_waiting = 0
        self._seconds = 0.05

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._stage is not None

    @property
    def modes(self) -> tuple[SearchMode, ...]:
        """How candidates can be found, the best way first."""
        return () if self._stage is None else self._stage.modes

    @property
    def kind(self) -> str:
        """What the index is: ``lancedb`` or ``milvus``; empty if it is not open."""
        return "" if self._opened is None else self._opened.retriever.name

    @property
    def encoder(self) -> str | None:
        """The bi-encoder's name; None where only words are looked up, or nothing is open."""
        encoder = None if self._opened is None else self._opened.encoder
        return None if encoder is None else encoder.name

    async def open(self) -> None:
        """Open the index, load the bi-encoder, search once, so that the first caller finds everything warm.

        Raises:
            SearchIndexError: the index cannot be used, or was built with another model.
            ModelError: its bi-encoder cannot be used.
            MissingExtraError: the extra for the index is not installed.
            SettingError: nothing can be found with it.
        """
        if self.is_open:
            return
        self._opened = await asyncio.to_thread(self._opening)
        try:
            stage = FirstStage(self._opened.retriever, encoder=self._opened.encoder)
            await asyncio.to_thread(partial(stage.find, _WARM_UP, limit=1))
        except BaseException:
            await self.close()
            raise
        self._pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="pairscore-search")
        self._stage = stage

    async def close(self) -> None:
        """Refuse what is new, give up what waits, let go of the index; a second call does nothing."""
        stage, self._stage = self._stage, None
        pool, self._pool = self._pool, None
        opened, self._opened = self._opened, None
        if pool is not None:
            # What runs is waited for: the index must not be closed under it.
            await asyncio.to_thread(partial(pool.shutdown, cancel_futures=True))
        if stage is not None:
            await asyncio.to_thread(stage.close)
        if opened is not None:
            await asyncio.to_thread(opened.close)

    async def find(
        self,
        query: str,
        *,
        limit: int,
        mode: SearchMode | None,
        where: Filter,
        timeout_s: float | None,
    ) -> Retrieved:
        """The best candidates, as `FirstStage.find` gives them.

        Args:
            query: what is looked for.
            limit: the most candidates.
            mode: how they are found.
            where: conditions on the documents.
            timeout_s: seconds after which nobody waits any more; None for ever.

        Raises:
            DeadlineError: it took longer.
            OverloadError: too many wait already.
            ClosedError: it is not open.
        """
        stage, pool = self._stage, self._pool
        if stage is None or pool is None:
            raise ClosedError("the search index is not open")
        if self._num_waiting >= _MAX_WAITING:
            raise OverloadError(
                f"{self._num_waiting} searches wait already, and no more may; send the request again in a moment",
                retry_after_s=self._num_waiting * self._seconds / _NUM_THREADS,
            )
        work = partial(stage.find, query, limit=limit, mode=mode, where=where)
        begin = time.perf_counter()
        self._num_waiting += 1
        try:
            running = pool.submit(work)
            async with asyncio.timeout(timeout_s) as late:
                found = await asyncio.wrap_future(running)
        except TimeoutError as error:
            if isinstance(error, DeadlineError) or not late.expired():
                raise
            raise DeadlineError(
                f"the candidates were not found within {timeout_s:g} s; give the request more time, or come back when "
                "less waits"
            ) from None
        finally:
            self._num_waiting -= 1
        self._seconds = (self._seconds + time.perf_counter() - begin) / 2
        return found
