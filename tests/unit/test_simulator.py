"""The simulator of a fleet: queues as the textbooks have them, every request ends once, the same seed the same numbers."""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest
import simpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scale.fleet_host import Host
from scale.fleet_replica import Limits
from scale.fleet_times import ServiceTimes, Timed, fit
from scale.fleet_traffic import Arrival, Traffic, clients, moments, open_loop
from scale.predict import enough, least_replicas, main, scaled
from scale.simulator import Balance, Fleet, Outcome, simulate, simulate_clients
from serve.load import Generator, Job
from serve.traffic import Texts, Wire

_SERVICE_S = 0.01
_ONE = Traffic(pairs=[1], tokens=[8])
# One pair a micro-batch, nothing refused, nothing late: the queue of the textbooks.
_OPEN_END = Limits(budget=8, max_queue_tokens=10**9, timeout_s=1e9)
_EXPONENTIAL = tuple(-math.log(1 - (n + 0.5) / 1000) for n in range(1000))
_TIMES = ServiceTimes(batch_s=0.002, token_s=1e-4, request_s=0.001, tokenize_s=2e-6)


def _mean_s(*, rho: float, noise: tuple[float, ...] = (), num_requests: int = 5000) -> float:
    times = ServiceTimes(batch_s=_SERVICE_S, token_s=0.0, noise=noise)
    fleet = Fleet(num_replicas=1, times=times, limits=_OPEN_END)
    rate = rho / _SERVICE_S
    arrivals = open_loop(_ONE, rate=rate, seconds=num_requests / rate, seed=3)
    return statistics.mean(simulate(fleet, arrivals).latencies)


@pytest.mark.parametrize("rho", [0.3, 0.6])
@pytest.mark.slow
def test_equal_requests_wait_as_pollaczek_and_khinchine_say(rho: float) -> None:
    """M/D/1: a request is in the system for s + rho s / 2 (1 - rho)."""
    expected = _SERVICE_S * (1 + rho / (2 * (1 - rho)))

    assert _mean_s(rho=rho) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("rho", [0.3, 0.6])
@pytest.mark.slow
def test_requests_of_random_length_wait_as_long_as_they_should(rho: float) -> None:
    """M/M/1: a request is in the system for s / (1 - rho)."""
    assert _mean_s(rho=rho, noise=_EXPONENTIAL) == pytest.approx(_SERVICE_S / (1 - rho), rel=0.08)


@pytest.mark.slow
def test_the_slowest_hundredth_is_that_of_the_exponential_queue() -> None:
    """M/M/1: the time in the system is exponential, so p99 is ln 100 times its mean."""
    times = ServiceTimes(batch_s=_SERVICE_S, token_s=0.0, noise=_EXPONENTIAL)
    fleet = Fleet(num_replicas=1, times=times, limits=_OPEN_END)

    outcome = simulate(fleet, open_loop(_ONE, rate=50, seconds=150, seed=3))

    assert outcome.at(0.99) == pytest.approx(math.log(100) * _SERVICE_S / 0.5, rel=0.12)
    assert outcome.utilisation == pytest.approx(0.5, rel=0.05)


@pytest.mark.slow
def test_one_queue_for_two_workers_is_quicker_than_two_queues() -> None:
    """M/D/2 on one replica with two cores beside two queues of M/D/1, chosen at random."""
    rho = 0.7
    times = ServiceTimes(batch_s=_SERVICE_S, token_s=0.0, slowdown=(1.0, 1.0))
    arrivals = open_loop(_ONE, rate=2 * rho / _SERVICE_S, seconds=15, seed=3)
    shared = Fleet(num_replicas=1, times=times, limits=replace(_OPEN_END, num_workers=2))
    apart = Fleet(num_replicas=2, times=times, limits=_OPEN_END, balance="random")

    means = [statistics.mean(simulate(fleet, arrivals).latencies) for fleet in (shared, apart)]

    # Half of the wait of M/M/2, which is near enough; and Pollaczek-Khinchine.
    expected = [1 + rho**2 / (2 * (1 - rho**2)), 1 + rho / (2 * (1 - rho))]
    assert means == pytest.approx([_SERVICE_S * value for value in expected], rel=0.08)


@pytest.mark.slow
def test_choosing_the_least_busy_replica_beats_taking_turns() -> None:
    """Requests differ in size, so turns pile small ones up behind large ones."""
    arrivals = open_loop(Traffic(pairs=[1, 40], tokens=[90]), rate=20, seconds=20, seed=1)
    orders: tuple[Balance, ...] = ("least_connections", "round_robin", "random")
    fleets = [Fleet(num_replicas=4, times=_TIMES, balance=balance) for balance in orders]

    least, turns, dice = (statistics.mean(simulate(fleet, arrivals).latencies) for fleet in fleets)

    assert least < turns < dice


def test_taking_turns_gives_each_as_many() -> None:
    """Whatever else differs, the counts do not."""
    fleet = Fleet(num_replicas=3, times=_TIMES, balance="round_robin")

    outcome = simulate(fleet, [Arrival(n / 10, (20,)) for n in range(30)])

    assert outcome.per_replica == (10, 10, 10)


def test_a_full_queue_refuses() -> None:
    """What comes at once and does not fit is refused at once; the first one always fits."""
    limits = Limits(budget=100, max_queue_tokens=250)
    fleet = Fleet(num_replicas=1, times=ServiceTimes(batch_s=1.0, token_s=0.0), limits=limits)

    outcome = simulate(fleet, [Arrival(n / 1000, (100,)) for n in range(5)])

    assert (len(outcome.latencies), outcome.num_refused, outcome.num_late) == (2, 3, 0)
    assert outcome.refused == pytest.approx(0.6)


def test_a_request_larger_than_the_queue_comes_in_when_it_is_empty() -> None:
    """As the service has it: or a large one never could."""
    fleet = Fleet(num_replicas=1, times=_TIMES, limits=Limits(max_queue_tokens=10))

    assert len(simulate(fleet, [Arrival(0.0, (500,))]).latencies) == 1


def test_what_waits_too_long_is_late() -> None:
    """It is answered with 504 at its deadline, or before where nobody could be in time, and never run."""
    limits = Limits(budget=100, timeout_s=2.5)
    fleet = Fleet(num_replicas=1, times=ServiceTimes(batch_s=1.0, token_s=0.0), limits=limits)

    outcome = simulate(fleet, [Arrival(0.0, (100,)) for _ in range(5)])

    assert outcome.num_late == 3
    assert outcome.latencies == pytest.approx((1.0, 2.0))
    # When the second is over none of the others could be in time, and they are told so at once.
    assert outcome.seconds == pytest.approx(2.0)
    assert outcome.utilisation == pytest.approx(1.0)


def test_pairs_of_several_requests_share_a_micro_batch() -> None:
    """Four requests of one pair that wait together take as long as one."""
    times = ServiceTimes(batch_s=1.0, token_s=0.0)
    fleet = Fleet(num_replicas=1, times=times, limits=Limits(budget=400))

    outcome = simulate(fleet, [Arrival(0.0, (100,)), *(Arrival(0.5, (100,)) for _ in range(4))])

    assert outcome.latencies == pytest.approx((1.0, 1.5, 1.5, 1.5, 1.5))


def test_http_and_tokenization_take_their_time() -> None:
    """On an idle replica a request takes the sum of its parts."""
    times = ServiceTimes(batch_s=0.1, token_s=0.001, request_s=0.02, tokenize_s=0.0001)

    outcome = simulate(Fleet(num_replicas=1, times=times), [Arrival(0.0, (100,))])

    assert outcome.latencies == pytest.approx((0.1 + 0.1 + 0.02 + 0.01,))


def test_a_replica_reads_one_request_after_the_other() -> None:
    """It has one event loop: with cores to spare, ten requests at once still wait for it; more replicas help."""
    times = ServiceTimes(batch_s=0, token_s=1e-9, request_s=0.1, slowdown=(1.0,) * 20)
    fleet = Fleet(num_replicas=1, times=times, limits=Limits(num_workers=10))
    arrivals = [Arrival(0.0, (100,)) for _ in range(10)]

    assert simulate(fleet, arrivals).seconds == pytest.approx(1.0, rel=1e-3)
    assert simulate(replace(fleet, num_replicas=10), arrivals).seconds == pytest.approx(
        0.1, rel=1e-3
    )


def test_two_requests_are_tokenized_at_once() -> None:
    """By two threads; a third one waits."""
    times = ServiceTimes(batch_s=0, token_s=1e-9, tokenize_s=0.01, slowdown=(1.0,) * 20)
    fleet = Fleet(num_replicas=1, times=times)

    outcome = simulate(fleet, [Arrival(0.0, (100,)) for _ in range(3)])

    assert outcome.latencies == pytest.approx((1.0, 1.0, 2.0), rel=1e-3)


def test_a_lone_request_may_use_all_threads() -> None:
    """Where that is quicker; where it is slower one thread does it."""
    arrivals = [Arrival(0.0, (100,))]

    def alone_s(lone: float) -> float:
        times = ServiceTimes(batch_s=1.0, token_s=0.0, slowdown=(1.0, 1.0), lone=lone)
        fleet = Fleet(num_replicas=1, times=times, limits=Limits(num_workers=2))
        return simulate(fleet, arrivals).latencies[0]

    assert alone_s(0.6) == pytest.approx(0.6)
    assert alone_s(1.3) == pytest.approx(1.0)


def test_replicas_on_one_host_slow_each_other() -> None:
    """Two that run at once take longer than one, by what was measured; on hosts of their own they do not."""
    times = ServiceTimes(batch_s=1.0, token_s=0.0, slowdown=(1.0, 1.5))
    fleet = Fleet(num_replicas=2, times=times)
    arrivals = [Arrival(0.0, (100,)), Arrival(0.0, (100,))]

    assert simulate(fleet, arrivals).latencies == pytest.approx((1.0, 1.0))
    assert simulate(replace(fleet, per_host=2), arrivals).latencies == pytest.approx((1.5, 1.5))


def test_jobs_share_the_cores_that_there_are() -> None:
    """Three jobs of a second on two cores take a second and a half; one that comes later waits for its share."""
    env = simpy.Environment()
    host = Host(env, ServiceTimes(batch_s=0, token_s=0, slowdown=(1.0, 1.0)).speed)
    ends: list[float] = []

    def job(begin_s: float) -> simpy.events.ProcessGenerator:
        yield env.timeout(begin_s)
        yield host.work(1.0)
        ends.append(env.now)

    for begin_s in (0.0, 0.0, 0.0, 10.0):
        env.process(job(begin_s))
    env.run()

    assert ends == pytest.approx([1.5, 1.5, 1.5, 11.0])
    assert host.busy_s == pytest.approx(2.5)


def test_clients_wait_for_their_answers() -> None:
    """A closed loop has never more under way than clients, and sends everything in the end."""
    rows = clients(_ONE, num_clients=3, num_requests=20, think_s=0.0, seed=0)
    times = ServiceTimes(batch_s=_SERVICE_S, token_s=0.0)

    outcome = simulate_clients(Fleet(num_replicas=1, times=times, limits=_OPEN_END), rows)

    assert len(outcome.latencies) == 60
    assert outcome.seconds == pytest.approx(60 * _SERVICE_S)
    assert outcome.at(1.0) == pytest.approx(3 * _SERVICE_S)


def test_the_same_seed_gives_the_same_numbers() -> None:
    """And another one others."""
    noisy = replace(_TIMES, noise=(0.8, 0.9, 1.0, 1.4))
    traffic = Traffic(pairs=[1, 5], tokens=[40, 90])

    def outcome(seed: int) -> Outcome:
        fleet = Fleet(num_replicas=2, times=noisy, balance="random", seed=seed)
        return simulate(fleet, open_loop(traffic, rate=20, seconds=5, seed=seed))

    assert outcome(1) == outcome(1)
    assert outcome(1) != outcome(2)


_ARRIVALS = st.lists(
    st.builds(
        Arrival,
        st.floats(0, 3),
        st.lists(st.integers(1, 700), min_size=1, max_size=12).map(tuple),
    ),
    max_size=30,
).map(lambda found: sorted(found, key=lambda arrival: arrival.at_s))


@settings(max_examples=40, deadline=None)
# Given up while its only micro-batch runs.
@example(
    arrivals=[Arrival(at_s=0.0, lengths=(3, 468))],
    num_replicas=1,
    num_workers=1,
    per_host=1,
    max_queue_tokens=1,
    timeout_s=0.05,
    lone=0.7,
)
@given(
    arrivals=_ARRIVALS,
    num_replicas=st.integers(1, 3),
    num_workers=st.integers(1, 3),
    per_host=st.integers(1, 3),
    max_queue_tokens=st.sampled_from([1, 1000, 10**6]),
    timeout_s=st.sampled_from([0.05, 60.0]),
    lone=st.sampled_from([0.7, 1.0]),
)
def test_every_request_ends_once(  # noqa: PLR0917 - hypothesis gives them by name
    arrivals, num_replicas, num_workers, per_host, max_queue_tokens, timeout_s, lone
) -> None:
    """Answered, refused or late, and nothing is answered quicker than its own work takes or later than its deadline."""
    limits = Limits(num_workers=num_workers, max_queue_tokens=max_queue_tokens, timeout_s=timeout_s)
    times = replace(_TIMES, slowdown=(1.0, 1.3), lone=lone)
    fleet = Fleet(num_replicas=num_replicas, times=times, limits=limits, per_host=per_host)

    outcome = simulate(fleet, arrivals)

    assert outcome.num_requests == len(arrivals) == sum(outcome.per_replica)
    assert 0 <= outcome.utilisation <= 1 + 1e-9
    least_s = lone * times.run_s(1, 1)
    assert all(latency >= least_s for latency in outcome.latencies)
    if max_queue_tokens == 10**6:
        assert outcome.num_refused == 0


@settings(max_examples=30, deadline=None)
@given(
    batch_s=st.floats(1e-4, 1e-2),
    token_s=st.floats(1e-5, 1e-3),
    square_s=st.floats(0, 1e-6),
    slow=st.floats(1.0, 2.0),
)
def test_a_fit_finds_the_times_that_it_was_measured_with(
    batch_s: float, token_s: float, square_s: float, slow: float
) -> None:
    """Without noise, whatever they are, it foretells every micro-batch."""
    true = ServiceTimes(batch_s=batch_s, token_s=token_s, square_s=square_s)
    sizes = [(longest * count, longest) for longest in (40, 90, 180) for count in (1, 2, 5)]
    timed = [
        Timed(*size, busy, true.run_s(*size) * (slow if busy == 2 else 1.0))
        for size in sizes
        for busy in (1, 2)
    ]

    found = fit(timed)

    assert [found.run_s(*size) for size in sizes] == pytest.approx(
        [true.run_s(*size) for size in sizes], rel=1e-3
    )
    assert found.slowdown == pytest.approx((1.0, slow), rel=1e-3)


def test_a_fit_keeps_how_much_times_vary() -> None:
    """Half of the runs take twice as long as the others: so does half of what is drawn."""
    timed = [Timed(100, 100, 1, seconds) for seconds in (1.0, 2.0) for _ in range(50)]

    found = fit(timed)

    assert found.noise_at(0.2) * found.run_s(100, 100) == pytest.approx(1.0, rel=1e-3)
    assert found.noise_at(0.9) * found.run_s(100, 100) == pytest.approx(2.0, rel=1e-3)


def test_a_fit_needs_something_that_ran_alone() -> None:
    """Or nobody knows what it is slower than."""
    with pytest.raises(ValueError, match="alone"):
        fit([Timed(100, 100, 2, 0.1)])


def test_service_times_go_through_json() -> None:
    """What is read is what was kept."""
    times = replace(_TIMES, slowdown=(1.0, 1.2), noise=(0.9, 1.0, 1.3))

    assert ServiceTimes.read(times.record()) == times


def test_arrivals_are_those_of_the_load_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check compares the same moments, so both must draw them alike."""
    texts = Texts(("query",), (("document",),)).write(tmp_path / "texts.json")
    wire, sent = Wire("score"), []
    job = Job(port=1, wire=wire, texts=str(texts), num_documents=1, rate=500, seconds=0.2, seed=5)
    generator = Generator(job)

    async def note(idle: object, place: int, *, since: float) -> None:
        sent.append((place, since))

    monkeypatch.setattr(generator, "_arrival", note)
    asyncio.run(generator._open(begin := time.perf_counter()))

    drawn = list(moments(rate=500, seconds=0.2, seed=5))
    assert [since - begin for _, since in sorted(sent)] == pytest.approx(drawn, abs=1e-6)
    assert len(drawn) > 50


def test_lengths_are_scaled_and_never_vanish() -> None:
    """To the mean that was asked for; without one they stay."""
    assert scaled([50, 100, 150], mean=None) == [50, 100, 150]
    assert scaled([50, 100, 150], mean=200) == [100, 200, 300]
    assert min(scaled([1, 1000], mean=1)) == 1


def test_with_fewer_replicas_than_the_least_the_queue_grows() -> None:
    """The bound that the search begins with."""
    fleet = Fleet(
        num_replicas=1, times=ServiceTimes(batch_s=_SERVICE_S, token_s=0), limits=_OPEN_END
    )

    assert least_replicas(fleet, _ONE, rate=50) == 1
    assert least_replicas(fleet, _ONE, rate=350) == 4
    # Four workers on the one core that was measured do not do more than one.
    many = replace(fleet, limits=replace(_OPEN_END, num_workers=4))
    assert least_replicas(many, _ONE, rate=350) == 4


def test_quick_enough_is_not_enough_where_somebody_is_sent_away() -> None:
    """A fleet that refuses half is quick for the other half."""
    quick = Outcome(
        latencies=(0.1, 0.2),
        num_refused=0,
        num_late=0,
        seconds=1.0,
        utilisation=0.5,
        per_replica=(2,),
    )

    assert enough(quick, 0.3)
    assert not enough(quick, 0.2)
    assert not enough(replace(quick, num_refused=1), 0.3)
    assert not enough(replace(quick, latencies=()), 0.3)


def test_the_command_says_how_many_are_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a rate that one replica cannot bear: the table, the least number, and the last line as JSON."""
    kept = tmp_path / "times.json"
    times = ServiceTimes(batch_s=_SERVICE_S, token_s=0.0)
    kept.write_text(json.dumps({"times": times.record(), "lengths": [100]}), encoding="utf-8")
    arguments = ["--times", str(kept), "--rate", "250", "--pairs", "1", "--budget", "100"]
    arguments += ["--requests", "400", "--replicas", "2", "--p99", "0.05"]

    assert main(arguments) == 0

    *_, said, last = capsys.readouterr().out.splitlines()
    record = json.loads(last)
    fewest = record["fewest_replicas"]
    assert said == f"p99 < 0.05 s: {fewest} replicas"
    assert fewest > 2
    assert set(record["replicas"]) == {"2", str(fewest)}
    assert record["replicas"][str(fewest)]["p99"] < 0.05 <= record["replicas"]["2"]["p99"]


def test_no_number_of_replicas_makes_one_request_quicker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search ends, and says so."""
    kept = tmp_path / "times.json"
    times = ServiceTimes(batch_s=_SERVICE_S, token_s=0.0)
    kept.write_text(json.dumps({"times": times.record(), "lengths": [100]}), encoding="utf-8")
    arguments = ["--times", str(kept), "--rate", "50", "--pairs", "1", "--requests", "50"]

    assert main([*arguments, "--p99", "0.005"]) == 0

    *_, said, last = capsys.readouterr().out.splitlines()
    assert said == "p99 < 0.005 s: no number of replicas"
    assert json.loads(last)["fewest_replicas"] is None
