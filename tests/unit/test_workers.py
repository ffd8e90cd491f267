"""Threads that run micro-batches: in order, failures end the rest, and closing ends everybody's wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.errors import BackendError, ClosedError
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.workers import Workers
from pairscore.values import Batch, FloatArray, IntArray

WITHIN_S = 60.0


def _batches(count: int) -> list[IntArray]:
    return [np.array([number]) for number in range(count)]


def _double(batch: IntArray) -> FloatArray:
    return batch.astype(np.float32) * 2


@pytest.fixture
def workers() -> Iterator[Workers]:
    """One thread, so that micro-batches wait for each other."""
    with Workers(1, owner="Model") as made:
        yield made


def test_outputs_come_with_their_batches(workers: Workers) -> None:
    """In the order of the plan."""
    found: list[tuple[int, float]] = []

    workers.run(
        _double, _batches(5), on_done=lambda batch, output: found.append((batch[0], output[0]))
    )

    assert found == [(number, 2.0 * number) for number in range(5)]


def test_a_failure_ends_the_rest(workers: Workers) -> None:
    """What waits behind it is never run, so that other callers do not wait for it."""
    ran: list[int] = []

    def work(batch: IntArray) -> FloatArray:
        ran.append(int(batch[0]))
        if batch[0] == 1:
            raise BackendError("broken")
        time.sleep(0.001)
        return _double(batch)

    with pytest.raises(BackendError, match="broken"):
        workers.run(work, _batches(2_000), on_done=lambda batch, output: None)
    assert len(ran) < 2_000


def test_closing_ends_a_call_whose_micro_batches_wait() -> None:
    """With an error of ours: nobody waits for what will never run."""
    workers = Workers(1, owner="Model")
    begun = threading.Event()
    raised: list[BaseException] = []

    def work(batch: IntArray) -> FloatArray:
        begun.set()
        # All of them would take a minute and more.
        time.sleep(0.02)
        return _double(batch)

    def call() -> None:
        try:
            workers.run(work, _batches(5_000), on_done=lambda batch, output: None)
        except ClosedError as error:
            raised.append(error)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    assert begun.wait(WITHIN_S)
    workers.close()
    caller.join(WITHIN_S)

    assert not caller.is_alive()
    assert "this Model was closed; make a new one" in str(raised[0])


class Told(FakeBackend):
    """Tells when it is at work."""

    def __init__(self) -> None:
        super().__init__(delay_s=0.01)
        self.begun = threading.Event()

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """As slow as the fake backend."""
        self.begun.set()
        return super().run(batch, num_threads=num_threads)


def test_a_model_that_is_closed_while_others_score_ends_their_calls() -> None:
    """Every caller hears of it, whether its micro-batches ran, waited or were still to come."""
    backend = Told()
    model = CrossEncoder(backend=backend, num_workers=1)
    backend.begun.clear()
    ended: list[str] = []

    def call() -> None:
        try:
            model.predict([("a b", f"c {number}") for number in range(5_000)], batch_size=1)
        except ClosedError:
            ended.append("closed")

    callers = [threading.Thread(target=call, daemon=True) for _ in range(3)]
    for caller in callers:
        caller.start()
    assert backend.begun.wait(WITHIN_S)
    model.close()
    for caller in callers:
        caller.join(WITHIN_S)

    assert ended == ["closed"] * 3


def test_a_closed_pool_takes_no_more() -> None:
    """And a second close does nothing."""
    workers = Workers(1, owner="Model")
    workers.close()
    workers.close()

    with pytest.raises(ClosedError, match="Model was closed"):
        workers.run(_double, _batches(1), on_done=lambda batch, output: None)
