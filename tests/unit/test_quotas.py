"""Token buckets and quotas, on a clock that the test moves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.service.quotas import Exhausted, Quota, QuotaMeter, TokenBucket


class FakeClock:
    """Seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _meter(clock: FakeClock, requests: int | None = None, tokens: int | None = None) -> QuotaMeter:
    return QuotaMeter(Quota(requests_per_minute=requests, tokens_per_minute=tokens), clock=clock)


def _num_let_in(meter: QuotaMeter, tries: int) -> int:
    return sum(meter.enter() is None for _ in range(tries))


STEPS = st.lists(
    st.tuples(st.floats(0, 200, allow_nan=False), st.integers(0, 30)), min_size=1, max_size=25
)


@given(per_minute=st.integers(1, 500), steps=STEPS)
def test_no_window_holds_more_than_capacity_and_refill(
    per_minute: int, steps: list[tuple[float, int]]
) -> None:
    """Between any two moments at most capacity + rate x time units are taken."""
    clock = FakeClock()
    bucket = TokenBucket(per_minute, clock=clock)
    taken_at: list[float] = []
    for seconds, tries in steps:
        clock.now += seconds
        taken_at += [clock.now for _ in range(tries) if bucket.take() == 0]

    for first, begin in enumerate(taken_at):
        for last in range(first, len(taken_at)):
            allowed = per_minute + (taken_at[last] - begin) * per_minute / 60
            assert last - first + 1 <= allowed + 1e-6


@given(
    per_minute=st.integers(1, 10_000),
    charged=st.integers(0, 1_000_000),
    seconds=st.floats(0, 100, allow_nan=False),
)
def test_the_wait_is_true(per_minute: int, charged: int, seconds: float) -> None:
    """After the seconds of Retry-After a request is let in, and well before the wait it is not."""
    clock = FakeClock()
    meter = _meter(clock, tokens=per_minute)
    meter.charge(num_tokens=charged)
    clock.now += seconds

    exhausted = meter.enter()

    if exhausted is None:
        return
    assert exhausted.retry_after_s >= max(1, exhausted.wait_s)
    assert exhausted.retry_after_s < max(1, exhausted.wait_s) + 1
    clock.now += exhausted.wait_s * 0.99
    assert meter.enter() is not None
    clock.now += exhausted.retry_after_s - exhausted.wait_s * 0.99
    assert meter.enter() is None


def test_a_bucket_starts_full_and_never_overflows() -> None:
    """A key that was silent for a day has no more than a minute's worth."""
    clock = FakeClock()
    meter = _meter(clock, requests=60)

    assert _num_let_in(meter, 100) == 60
    clock.now += 86_400
    assert _num_let_in(meter, 100) == 60


def test_requests_come_back_one_by_one() -> None:
    """The refill is continuous: no window of a minute must end first."""
    clock = FakeClock()
    meter = _meter(clock, requests=60)
    _num_let_in(meter, 60)

    for _ in range(5):
        assert meter.enter() == Exhausted(quota="requests_per_minute", limit=60, wait_s=1.0)
        clock.now += 1
        assert meter.enter() is None


def test_without_a_quota_everything_is_let_in() -> None:
    """No limit, and nothing to charge."""
    meter = _meter(FakeClock())
    meter.charge(num_tokens=10**9)

    assert _num_let_in(meter, 1000) == 1000


def test_tokens_may_become_a_debt() -> None:
    """A request may cost more than is left; the next ones wait until it is paid back."""
    clock = FakeClock()
    meter = _meter(clock, tokens=60)

    assert meter.enter() is None
    meter.charge(num_tokens=159)
    exhausted = meter.enter()

    assert exhausted == Exhausted(quota="tokens_per_minute", limit=60, wait_s=100.0)
    clock.now += 99
    assert meter.enter() is not None
    clock.now += 1
    assert meter.enter() is None


def test_one_token_left_lets_a_request_in() -> None:
    """What a request costs is not known at the door."""
    meter = _meter(FakeClock(), tokens=60)
    meter.charge(num_tokens=59)

    assert meter.enter() is None
    meter.charge(num_tokens=1)
    assert meter.enter() is not None


def test_a_refused_request_costs_nothing() -> None:
    """Neither quota is used by a request that the other one refuses."""
    clock = FakeClock()
    meter = _meter(clock, requests=2, tokens=60)
    meter.charge(num_tokens=61)
    for _ in range(10):
        assert meter.enter() is not None
    clock.now += 2

    assert _num_let_in(meter, 5) == 2


@pytest.mark.parametrize(
    ("charged", "quota", "wait_s"),
    [(60, "requests_per_minute", 60.0), (159, "tokens_per_minute", 100.0)],
)
def test_the_longer_wait_is_told(charged: int, quota: str, wait_s: float) -> None:
    """When both quotas are used up, coming back after the shorter wait would be in vain."""
    meter = _meter(FakeClock(), requests=1, tokens=60)
    assert meter.enter() is None
    meter.charge(num_tokens=charged)

    exhausted = meter.enter()

    assert exhausted is not None
    assert (exhausted.quota, exhausted.wait_s) == (quota, wait_s)


@pytest.mark.parametrize(
    ("wait_s", "told"), [(0.001, 1), (1.0, 1), (1.001, 2), (59.2, 60), (600.0, 600)]
)
def test_retry_after_is_whole_seconds_rounded_up(wait_s: float, told: int) -> None:
    """At least one, and never too few."""
    assert Exhausted(quota="q", limit=1, wait_s=wait_s).retry_after_s == told


def test_new_limits_keep_what_was_used() -> None:
    """A raised limit refills faster from now on; a lowered one cuts what is left."""
    clock = FakeClock()
    meter = _meter(clock, requests=60)
    _num_let_in(meter, 60)

    meter.update(Quota(requests_per_minute=600))
    assert meter.enter() == Exhausted(quota="requests_per_minute", limit=600, wait_s=0.1)
    clock.now += 1
    assert _num_let_in(meter, 20) == 10

    clock.now += 60
    meter.update(Quota(requests_per_minute=6))
    assert _num_let_in(meter, 20) == 6


def test_the_old_rate_holds_until_the_limit_changes() -> None:
    """Time that passed before a change is paid at the rate of then."""
    clock = FakeClock()
    bucket = TokenBucket(60, clock=clock)
    bucket.charge(60)
    clock.now += 10

    bucket.resize(6000)

    assert sum(bucket.take() == 0 for _ in range(100)) == 10


def test_limits_come_and_go() -> None:
    """A limit that is taken away is gone; a new one starts full."""
    meter = _meter(FakeClock(), requests=1, tokens=1)
    meter.charge(num_tokens=500)
    assert meter.enter() is not None

    meter.update(Quota())
    assert _num_let_in(meter, 50) == 50

    meter.update(Quota(requests_per_minute=3, tokens_per_minute=3))
    assert _num_let_in(meter, 50) == 3


def test_threads_take_no_unit_twice() -> None:
    """Eight threads at once get exactly what is there, and every charge counts."""
    meter = _meter(FakeClock(), requests=500, tokens=4000)
    barrier = threading.Barrier(8)

    def work() -> int:
        barrier.wait()
        let_in = 0
        for _ in range(100):
            let_in += meter.enter() is None
            meter.charge(num_tokens=1)
        return let_in

    with ThreadPoolExecutor(8) as pool:
        let_in = sum(future.result() for future in [pool.submit(work) for _ in range(8)])

    assert let_in == 500
    assert meter._tokens is not None
    assert meter._tokens._level == 3200
