"""The server's bi-encoder for `/v1/compare`: opened by the first call that needs it, on threads of its own."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from pairscore.bi_encoder import BiEncoder
from pairscore.errors import ClosedError, DeadlineError, OverloadError, PairscoreError
from pairscore.road.tokenization import Pair
from pairscore.service.fleet_member import reason_of
from pairscore.service.refusals import Refusal
from pairscore.service.settings import option
from pairscore.values import Embeddings, FloatArray

__all__ = ["Comparer", "Cosines", "cosines_of"]

_log = logging.getLogger("pairscore.service")

# Calls at once; each one's micro-batches already run on as many threads as the model has workers.
_NUM_THREADS: Final = 2
# Calls that wait or run; one more would only wait for longer.
_MAX_WAITING: Final = 64
# Before an opening that failed is tried again.
_RETRY_S: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosines:
    """How near the two texts of some pairs are, each read by itself.

    Attributes:
        values: the cosine of their vectors, -1 to 1, shape (num_pairs,), float32.
        truncated: whether a text of the pair was cut, shape (num_pairs,), bool.
        num_tokens: tokens that the model read, of each distinct text once.
    """

    values: FloatArray
    truncated: npt.NDArray[np.bool_]
    num_tokens: int


def cosines_of(encoder: BiEncoder, pairs: Sequence[Pair]) -> Cosines:
    """The cosines of pairs; a text that comes more than once is encoded once.

    A model that has prompts reads the first texts as queries and the second as documents.

    Raises:
        InputError: a text cannot be read.
        BackendError: the model failed.
    """
    of_query, of_document = encoder.card.query_prompt, encoder.card.document_prompt
    texts = dict.fromkeys(
        (prompt, text) for a, b in pairs for prompt, text in ((of_query, a), (of_document, b))
    )
    made: dict[tuple[str, str], int] = {}
    parts: list[Embeddings] = []
    for prompt in dict.fromkeys((of_query, of_document)):
        asked = [text for own, text in texts if own == prompt]
        made |= {(prompt, text): len(made) + place for place, text in enumerate(asked)}
        parts.append(encoder.embed(asked, prompt=prompt, normalize_embeddings=True))
    first = np.asarray([made[of_query, a] for a, _ in pairs], dtype=np.int64)
    second = np.asarray([made[of_document, b] for _, b in pairs], dtype=np.int64)
    vectors = np.concatenate([part.vectors for part in parts])
    cut = np.concatenate([part.truncated for part in parts])
    values = (vectors[first] * vectors[second]).sum(axis=1).clip(-1.0, 1.0)
    return Cosines(
        values=np.asarray(values, dtype=np.float32),
        truncated=cut[first] | cut[second],
        num_tokens=sum(int(part.num_tokens.sum()) for part in parts),
    )


class Comparer:
    """Makes cosines without blocking the event loop; its coroutines belong to one loop.

    Args:
        name: what the bi-encoder is called before it is there, too.
        opening: opens it; called on a thread, and not again while one call of it is under way.
    """

    def __init__(self, name: str, opening: Callable[[], BiEncoder]) -> None:
        self.name = name
        self._opening = opening
        self._task: asyncio.Task[BiEncoder] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._failure: Exception | None = None
        self._retry_at_s = 0.0
        self._is_closed = False
        self._num_waiting = 0
        self._seconds = 0.1

    @property
    def is_open(self) -> bool:
        """Whether the bi-encoder is in memory."""
        return self._pool is not None

    async def cosines(self, pairs: Sequence[Pair], *, timeout_s: float | None) -> Cosines:
        """The cosines of pairs, all within so many seconds, an opening included; None sets no limit.

        Raises:
            DeadlineError: it took longer.
            OverloadError: too many wait already.
            ClosedError: the service is shutting down.
            Refusal: the bi-encoder cannot be opened.
            PairscoreError: as `cosines_of` says.
        """
        if self._num_waiting >= _MAX_WAITING:
            raise OverloadError(
                f"{self._num_waiting} comparisons wait already, and no more may; send the request again in a moment",
                retry_after_s=self._num_waiting * self._seconds / _NUM_THREADS,
            )
        self._num_waiting += 1
        try:
            async with asyncio.timeout(timeout_s) as late:
                return await self._made(pairs)
        except TimeoutError as error:
            if isinstance(error, DeadlineError) or not late.expired():
                raise
            raise DeadlineError(
                f"the cosines were not made within {timeout_s:g} s; give the request more time, send fewer pairs, or "
                "come back when less waits"
            ) from None
        finally:
            self._num_waiting -= 1

    async def close(self) -> None:
        """Refuse what is new, give up what waits, free the bi-encoder; a second call does nothing."""
        self._is_closed = True
        task, self._task = self._task, None
        pool, self._pool = self._pool, None
        if pool is not None:
            # What runs is waited for: the model must not be freed under it.
            await asyncio.to_thread(partial(pool.shutdown, cancel_futures=True))
        if task is not None:
            # A thread cannot be ended: what is being opened is waited for, and closed.
            (opened,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(opened, BiEncoder):
                await asyncio.to_thread(opened.close)

    def reopen(self) -> None:
        """Take calls again after a `close`."""
        self._is_closed = False

    async def _made(self, pairs: Sequence[Pair]) -> Cosines:
        encoder = await self._opened()
        pool = self._pool
        if pool is None:
            raise _closed()
        begin = time.perf_counter()
        made = await asyncio.wrap_future(pool.submit(cosines_of, encoder, pairs))
        self._seconds = (self._seconds + time.perf_counter() - begin) / 2
        return made

    async def _opened(self) -> BiEncoder:
        """The bi-encoder; all who wait for it, wait for one opening."""
        if self._is_closed:
            raise _closed()
        if self._task is None:
            if self._failure is not None and time.monotonic() < self._retry_at_s:
                raise self._refusal(self._failure)
            self._task = asyncio.ensure_future(self._open())
            # All may have given up by then; what went wrong stands in the log.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Whoever gives up leaves the opening to the others.
        return await asyncio.shield(self._task)

    async def _open(self) -> BiEncoder:
        begin = time.perf_counter()
        try:
            encoder = await asyncio.to_thread(self._opening)
        except BaseException as error:
            self._task = None
            if isinstance(error, PairscoreError | OSError | MemoryError):
                raise self._failed(error) from None
            raise
        self._failure = None
        if not self._is_closed:
            self._pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="pairscore-compare")
        _log.info("the bi-encoder %s was opened in %.1f s", self.name, time.perf_counter() - begin)
        return encoder

    def _failed(self, error: Exception) -> Refusal:
        self._failure, self._retry_at_s = error, time.monotonic() + _RETRY_S
        _log.error("the bi-encoder %s could not be opened", self.name, exc_info=error)
        return self._refusal(error)

    def _refusal(self, error: Exception) -> Refusal:
        wait_s = max(1, math.ceil(self._retry_at_s - time.monotonic()))
        return Refusal(
            "ModelFailedError",
            f"the bi-encoder {self.name!r} cannot be loaded: {reason_of(error)}; it is tried again when it is asked for "
            f"later. The operator finds the cause in the log, and names another one with {option('compare_encoder')}",
            headers={"Retry-After": str(wait_s)},
        )


def _closed() -> ClosedError:
    return ClosedError("the service is shutting down; send the request again in a moment")
