"""Threads that run micro-batches: in order, failures end the rest, and closing ends everybody's wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.errors import BackendError, ClosedError
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.workers import Workers
from pairscore.values import FloatArray, IntArray

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
            # The caller must hear of it before the worker goes on.
            raise BackendError("broken")
        return _double(batch)

    with pytest.raises(BackendError, match="broken"):
        workers.run(work, _batches(2_000), on_done=lambda batch, output: None)
    assert len(ran) < 2_000


def test_closing_ends_a_call_whose_micro_batches_wait() -> None:
    """With an error of ours: nobody waits for what will never run."""
    workers = Workers(1, owner="Model")
    begun, go_on = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def work(batch: IntArray) -> FloatArray:
        begun.set()
        go_on.wait(WITHIN_S)
        return _double(batch)

    def call() -> None:
        try:
            workers.run(work, _batches(3), on_done=lambda batch, output: None)
        except ClosedError as error:
            raised.append(error)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    assert begun.wait(WITHIN_S)
    closer = threading.Thread(target=workers.close, daemon=True)
    closer.start()
    # The waiting ones are given up while the first still runs.
    until = threading.Event()
    while not workers._is_closed:
        until.wait(0.001)
    until.wait(0.05)
    go_on.set()
    closer.join(WITHIN_S)
    caller.join(WITHIN_S)

    assert not caller.is_alive()
    assert "this Model was closed; make a new one" in str(raised[0])


def test_a_model_that_is_closed_while_others_score_ends_their_calls() -> None:
    """Every caller hears of it, whether its micro-batches ran, waited or were still to come."""
    model = CrossEncoder(backend=FakeBackend(delay_s=0.01), num_workers=1)
    ended: list[str] = []

    def call() -> None:
        try:
            model.predict([("a b", f"c {number}") for number in range(5_000)], batch_size=1)
        except ClosedError:
            ended.append("closed")

    callers = [threading.Thread(target=call, daemon=True) for _ in range(3)]
    for caller in callers:
        caller.start()
    callers[0].join(0.2)
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
