"""Blocks on this machine: one model with its own threads, and a second block under way while the first is scored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from pairscore.batch.records import Block, BlockReport, Job
from pairscore.batch.work import BlockWorker

__all__ = ["LocalRunner"]

# With two, reading and writing happen while the other block is scored; a third would only take memory.
_UNDER_WAY: Final = 2


class LocalRunner:
    """Does blocks with threads of this process, in their order.

    Args:
        on_rows: told how many more rows are scored, by whichever thread scored them.
        under_way: blocks that lie in memory at once.
    """

    def __init__(
        self, *, on_rows: Callable[[int], None] | None = None, under_way: int = _UNDER_WAY
    ) -> None:
        self._on_rows = on_rows
        self._under_way = under_way

    def run(self, job: Job, blocks: Sequence[Block]) -> Iterator[BlockReport]:
        """Do the blocks, and report each when its files and its marker are written.

        Closing the iterator gives up what is under way.

        Raises:
            PairscoreError: the model cannot be opened or run, an input cannot be read, the output not written.
        """
        worker = BlockWorker(job, on_rows=self._on_rows)
        pool = ThreadPoolExecutor(self._under_way, thread_name_prefix="pairscore-block")
        running: deque[Future[BlockReport]] = deque()
        try:
            for block in blocks:
                running.append(pool.submit(worker.work, block))
                if len(running) >= self._under_way:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            # In this order: what waits never begins, and what is under way ends at its next micro-batch.
            for future in running:
                future.cancel()
            worker.close()
            pool.shutdown(wait=True, cancel_futures=True)
