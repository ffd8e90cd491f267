"""Threads that run micro-batches, shared by all callers of one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from pairscore.closing import Closing
from pairscore.errors import ClosedError
from pairscore.values import FloatArray, IntArray

__all__ = ["Workers"]


class Workers(Closing):
    """Threads that run the micro-batches of any number of callers, in the order in which they come.

    Args:
        num_workers: how many threads.
        owner: whose they are, as the error of a late call names it.
    """

    def __init__(self, num_workers: int, *, owner: str) -> None:
        self._owner = owner
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="pairscore")
        self._is_closed = False

    def run(
        self,
        work: Callable[[IntArray], FloatArray],
        batches: Sequence[IntArray],
        *,
        on_done: Callable[[IntArray, FloatArray], None],
    ) -> None:
        """Run micro-batches, and hand on each with what came of it, in their order; the first failure ends the rest.

        Raises:
            ClosedError: the workers were closed, before or meanwhile.
        """
        running: list[Future[FloatArray]] = []
        try:
            running.extend(self._begun(work, batch) for batch in batches)
            # Not `as_completed`: it is never told of what closing cancels, and would wait for ever.
            for batch, future in zip(batches, running, strict=True):
                on_done(batch, self._output(future))
        finally:
            # Nothing of a failed or interrupted call stays queued behind other callers' work.
            for future in running:
                future.cancel()

    def close(self) -> None:
        """End the threads: what runs is finished, what waits is given up; a second call does nothing."""
        self._is_closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begun(self, work: Callable[[IntArray], FloatArray], batch: IntArray) -> Future[FloatArray]:
        try:
            return self._pool.submit(work, batch)
        except RuntimeError as error:
            # Also what a thread that cannot be started raises.
            if not self._is_closed:
                raise
            raise self._closed() from error

    def _output(self, future: Future[FloatArray]) -> FloatArray:
        try:
            return future.result()
        except CancelledError as error:
            raise self._closed() from error

    def _closed(self) -> ClosedError:
        return ClosedError(f"this {self._owner} was closed; make a new one")
