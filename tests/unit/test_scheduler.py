"""The scheduler decides what runs next; plain data, no thread, no clock, no model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscore.engine.scheduler import Missing, Run, Scheduler, Ticket, empty_logits
from pairscore.values import Encoded


def _missing(name: str, num_tokens: int) -> Missing:
    ids = np.arange(num_tokens, dtype=np.int64)
    encoded = Encoded(ids=ids, type_ids=np.zeros_like(ids), truncated=False)
    return Missing(("q", name), encoded, num_tokens)


def _submit(
    scheduler: Scheduler,
    lengths: dict[str, int],
    *,
    priority: int = 0,
    deadline: float | None = None,
) -> Ticket:
    ticket = Ticket(
        priority=priority,
        deadline=deadline,
        logits=empty_logits(len(lengths)),
        positions={("q", name): [index] for index, name in enumerate(lengths)},
    )
    scheduler.submit(ticket, [_missing(name, length) for name, length in lengths.items()])
    return ticket


def _take(scheduler: Scheduler) -> Run | None:
    return scheduler.take(now=0.0, tokens_per_s=0.0).run


def _names(run: Run | None) -> list[str]:
    assert run is not None
    return [entry.pair.key[1] for entry in run.entries]


def _finish(scheduler: Scheduler, run: Run | None) -> list[Ticket]:
    assert run is not None
    scheduler.over(run)
    logits = [float(len(entry.pair.key[1])) for entry in run.entries]
    return scheduler.finish(run.entries, np.asarray(logits, dtype=np.float32))


def _run_all(scheduler: Scheduler) -> list[list[str]]:
    order = []
    while (run := _take(scheduler)) is not None:
        order.append(_names(run))
        _finish(scheduler, run)
    return order


def test_neighbours_of_like_length_run_together() -> None:
    """Within the budget, and nothing that would have to be padded much."""
    scheduler = Scheduler(budget=100, num_workers=1)
    _submit(scheduler, {"a": 50, "b": 10, "c": 48, "d": 12, "e": 47})

    assert _run_all(scheduler) == [["a", "c"], ["e"], ["d", "b"]]


def test_a_pair_longer_than_the_budget_runs_alone() -> None:
    """It is served, not refused."""
    scheduler = Scheduler(budget=10, num_workers=1)
    _submit(scheduler, {"a": 50, "b": 49})

    assert _run_all(scheduler) == [["a"], ["b"]]


def test_pairs_of_several_requests_share_a_micro_batch() -> None:
    """The budget is filled from whoever has a pair of that length."""
    scheduler = Scheduler(budget=100, num_workers=1)
    _submit(scheduler, {"a": 30})
    _submit(scheduler, {"b": 29})
    _submit(scheduler, {"c": 28, "d": 90})

    assert [sorted(names) for names in _run_all(scheduler)] == [["a", "b", "c"], ["d"]]


def test_a_small_request_passes_a_large_one() -> None:
    """A request of one pair waits for what runs, not for a thousand pairs."""
    scheduler = Scheduler(budget=100, num_workers=2)
    _submit(scheduler, {f"large{i}": 50 for i in range(1000)})
    running = _take(scheduler)
    _submit(scheduler, {"small": 10})

    assert _names(_take(scheduler)) == ["small"]
    assert running is not None


def test_a_large_request_is_not_starved_by_small_ones() -> None:
    """With a small request behind every micro-batch, the large one still gets its equal share."""
    scheduler = Scheduler(budget=50, num_workers=1)
    large = _submit(scheduler, {f"large{i}": 50 for i in range(20)})
    # Half of the machine is 20 of each 40 tokens: after 50 small ones of 20 tokens it has had its 1,000.
    rounds = 0
    while not large.done and rounds < 1000:
        rounds += 1
        _submit(scheduler, {f"small{rounds}": 20})
        _finish(scheduler, _take(scheduler))

    assert rounds <= 20 + 100


def test_requests_of_like_size_go_in_order_of_arrival() -> None:
    """The first to come is the first to be finished."""
    scheduler = Scheduler(budget=50, num_workers=1)
    for name in "abc":
        _submit(scheduler, {f"{name}{i}": 50 for i in range(3)})

    assert [names[0][0] for names in _run_all(scheduler)] == list("aaabbbccc")


def test_a_lower_priority_number_goes_first() -> None:
    """Before any other, whenever it came."""
    scheduler = Scheduler(budget=50, num_workers=1)
    _submit(scheduler, {"late": 50}, priority=5)
    _submit(scheduler, {"normal": 50})
    _submit(scheduler, {"urgent": 50}, priority=-1)

    assert _run_all(scheduler) == [["urgent"], ["normal"], ["late"]]


def test_equal_pairs_run_once_for_all_who_wait() -> None:
    """Waiting or running already: one run gives everybody the same logit."""
    scheduler = Scheduler(budget=100, num_workers=1)
    first = _submit(scheduler, {"same": 30})
    second = _submit(scheduler, {"same": 30, "other": 90})
    run = _take(scheduler)
    third = _submit(scheduler, {"same": 30})

    assert _names(run) == ["same"]
    assert set(_finish(scheduler, run)) == {first, third}
    assert _run_all(scheduler) == [["other"]]
    assert (first.num_shared, second.num_shared, third.num_shared) == (0, 1, 1)
    assert first.logits.tolist() == third.logits.tolist() == [4.0]
    assert second.logits.tolist() == [4.0, 5.0]


def test_what_nobody_wants_any_more_is_not_run() -> None:
    """A request that goes away frees its waiting pairs, but for those that another one wants."""
    scheduler = Scheduler(budget=100, num_workers=1)
    leaving = _submit(scheduler, {"mine": 90, "ours": 40})
    _submit(scheduler, {"ours": 40})
    scheduler.drop(leaving)

    assert scheduler.num_waiting == 1
    assert scheduler.queue_tokens == 40
    assert _run_all(scheduler) == [["ours"]]


def test_a_failure_ends_every_request_that_wanted_the_pair() -> None:
    """And frees what else they were waiting for."""
    scheduler = Scheduler(budget=100, num_workers=1)
    first = _submit(scheduler, {"bad": 90, "good": 10})
    second = _submit(scheduler, {"bad": 90})
    run = _take(scheduler)
    assert run is not None

    assert set(scheduler.fail(run.entries)) == {first, second}
    scheduler.over(run)
    assert scheduler.queue_tokens == 0
    assert not scheduler.tickets
    assert _take(scheduler) is None


def test_alone_on_an_idle_machine_a_micro_batch_gets_all_threads() -> None:
    """And nothing is started beside it; with more to do, each worker has one thread."""
    scheduler = Scheduler(budget=100, num_workers=4)
    _submit(scheduler, {"a": 50, "b": 50})
    wide = _take(scheduler)
    _submit(scheduler, {"c": 50})

    assert wide is not None
    assert wide.num_threads == 4
    assert _take(scheduler) is None
    _finish(scheduler, wide)
    _submit(scheduler, {"d": 90})
    runs = [_take(scheduler), _take(scheduler)]
    assert [run.num_threads for run in runs if run] == [1, 1]


def test_what_cannot_be_finished_in_time_is_not_started() -> None:
    """A request whose turn comes too late is dropped and named; the next one runs."""
    scheduler = Scheduler(budget=100, num_workers=1)
    late = _submit(scheduler, {"a": 50, "b": 50}, deadline=10.0, priority=-1)
    _submit(scheduler, {"c": 30}, deadline=10.0)

    choice = scheduler.take(now=9.2, tokens_per_s=100.0)

    assert choice.late == (late,)
    assert _names(choice.run) == ["c"]
    assert scheduler.num_waiting == 0


def test_unknown_speed_gives_up_only_what_is_late_already() -> None:
    """Before the first measurement nothing is called hopeless."""
    scheduler = Scheduler(budget=100, num_workers=1)
    _submit(scheduler, {"a": 50}, deadline=10.0)

    assert scheduler.take(now=9.99, tokens_per_s=0.0).run is not None


def test_requests_that_went_away_leave_nothing_behind() -> None:
    """However many come and go behind one that waits, the queue's own memory is bounded."""
    scheduler = Scheduler(budget=100, num_workers=1)
    _submit(scheduler, {"first": 50}, priority=-1)
    for i in range(5000):
        scheduler.drop(_submit(scheduler, {f"x{i}": 50}))

    assert len(scheduler._turns) < 1000
    assert len(scheduler._entries) == 1
    assert sum(len(bucket) for bucket in scheduler._by_length.values()) == 1


def test_requests_that_went_away_take_nobody_along() -> None:
    """Those that still wait among them get their turns, in their order."""
    scheduler = Scheduler(budget=50, num_workers=1)
    _submit(scheduler, {"first": 50}, priority=-1)
    for i in range(2000):
        if i % 500 == 0:
            _submit(scheduler, {f"stays {i}": 50})
        scheduler.drop(_submit(scheduler, {f"x{i}": 50}))

    assert _run_all(scheduler) == [["first"], *([f"stays {i}"] for i in range(0, 2000, 500))]


_REQUESTS = st.lists(
    st.dictionaries(st.integers(0, 30).map(str), st.just(0), min_size=1, max_size=12), max_size=12
)


@settings(max_examples=200, deadline=None)
@given(requests=_REQUESTS, events=st.lists(st.integers(0, 5), max_size=60), data=st.data())
def test_every_request_ends_once_and_nothing_is_left(requests, events, data) -> None:
    """Whatever is submitted, dropped, failed and finished, in whatever order.

    No waiter is lost, none ends twice, each logit belongs to its pair, and in the end the queue is empty.
    """
    scheduler = Scheduler(budget=64, num_workers=3)
    open_, running, ended = set(), [], []
    todo = [{name: 1 + 7 * int(name) % 80 for name in request} for request in requests]
    for event in [*events, *[9] * 400]:
        if event in (0, 1) and todo:
            open_.add(_submit(scheduler, todo.pop(), priority=data.draw(st.integers(-1, 1))))
        elif event == 2 and open_:
            gone = data.draw(st.sampled_from(sorted(open_, key=id)))
            scheduler.drop(gone)
            open_.discard(gone)
        elif event == 3 and running:
            run = running.pop()
            scheduler.over(run)
            failed = scheduler.fail(run.entries)
            ended += failed
            open_ -= set(failed)
        elif event >= 4:
            if (run := _take(scheduler)) is not None:
                running.append(run)
                assert run.num_padded_tokens <= 64 or len(run.entries) == 1
            elif running:
                complete = _finish(scheduler, running.pop(0))
                ended += complete
                open_ -= set(complete)
                for ticket in complete:
                    assert ticket.logits.tolist() == [
                        float(len(name)) for _, name in ticket.positions
                    ]
    assert not open_
    assert len(ended) == len(set(ended))
    assert scheduler.queue_tokens == scheduler.num_waiting == 0
    assert not scheduler.tickets
    assert not scheduler._entries
    assert not scheduler._by_length


def test_a_gap_is_no_score() -> None:
    """Logits that never came are NaN, which no caller is ever given."""
    assert np.isnan(empty_logits(2)).all()


@pytest.mark.parametrize("num_workers", [1, 4])
def test_one_worker_is_never_wide(num_workers: int) -> None:
    """The threads of a micro-batch that runs alone are those of all workers."""
    scheduler = Scheduler(budget=100, num_workers=num_workers)
    _submit(scheduler, {"a": 50})
    run = _take(scheduler)

    assert run is not None
    assert run.num_threads == num_workers
