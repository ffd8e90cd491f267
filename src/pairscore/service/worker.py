"""The model and the threads on which requests wait for it; the event loop never does.

It knows no HTTP: jobs are functions of a CrossEncoder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import ModelError, PairscoreError

__all__ = ["ModelWorker"]

T = TypeVar("T")

# Requests that are on the model at once. One tokenizes while another one's micro-batches run;
# more would only hold more texts in memory, because the micro-batches share the encoder's own workers.
_NUM_THREADS: Final = 4


class ModelWorker:
    """Holds one encoder between `open` and `close` and runs jobs on it.

    Args:
        load: makes the encoder; called on a thread.
        owned: whether `close` closes the encoder.
    """

    def __init__(self, load: Callable[[], CrossEncoder], *, owned: bool) -> None:
        self._load = load
        self._owned = owned
        self._encoder: CrossEncoder | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._failure: PairscoreError | None = None

    @property
    def loaded(self) -> bool:
        """Whether jobs can run."""
        return self._encoder is not None

    @property
    def failure(self) -> PairscoreError | None:
        """Why the model could not be loaded, if so."""
        return self._failure

    async def open(self) -> None:
        """Load the model.

        Raises:
            ModelError: it cannot be found, fetched, verified or used.
        """
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="pairscore-http")
        try:
            loop = asyncio.get_running_loop()
            self._encoder = await loop.run_in_executor(self._threads, self._load)
        except PairscoreError as error:
            self._failure = error
            self._threads.shutdown(wait=False)
            raise

    async def run(self, job: Callable[[CrossEncoder], T]) -> T:
        """The result of a job, which runs on a thread; others wait in the order in which they came.

        Raises:
            ModelError: the model is not loaded.
        """
        encoder, threads = self._encoder, self._threads
        if encoder is None or threads is None:
            raise ModelError("the model is not loaded")
        return await asyncio.get_running_loop().run_in_executor(threads, job, encoder)

    async def close(self) -> None:
        """End the threads, and free the model if it is ours; a second call does nothing."""
        encoder, threads = self._encoder, self._threads
        self._encoder = self._threads = None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown, wait=True, cancel_futures=True)
        if encoder is not None and self._owned:
            await asyncio.to_thread(encoder.close)
