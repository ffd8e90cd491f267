"""`FirstStage`: what becomes of those who look for something while it is closed. The rest is told by `SearchPipeline`'s tests."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest
from tests.unit.retrievers import HashEncoder, MemoryRetriever

from pairscore.errors import ClosedError
from pairscore.retrieval.first_stage import FirstStage

WITHIN_S = 60.0
NUM_AT_ONCE = 4


def test_closing_ends_the_searches_that_wait_and_finishes_those_that_run() -> None:
    """With an error of ours: what executors say of cancelled work tells a user nothing."""
    begun, leave = threading.Semaphore(0), threading.Event()

    def hold(kind: str) -> None:
        if kind == "bm25":
            begun.release()
            assert leave.wait(WITHIN_S)

    retriever = MemoryRetriever(before=hold)
    stage = FirstStage(retriever, encoder=HashEncoder())
    with ThreadPoolExecutor(NUM_AT_ONCE + 2) as threads:
        searches = [threads.submit(stage.find, "red fox", limit=3) for _ in range(NUM_AT_ONCE + 1)]
        try:
            for _ in range(NUM_AT_ONCE):
                assert begun.acquire(timeout=WITHIN_S)
            threads.submit(stage.close)
            done, running = wait(searches, WITHIN_S, return_when=FIRST_COMPLETED)
        finally:
            leave.set()
        (given_up,) = done
        with pytest.raises(ClosedError, match="the search was closed; make a new one"):
            given_up.result(WITHIN_S)
        found = [search.result(WITHIN_S) for search in running]

    assert [len(one.candidates) for one in found] == [3] * NUM_AT_ONCE
