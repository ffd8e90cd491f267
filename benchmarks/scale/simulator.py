"""A fleet of replicas in simulated time: how long requests take, how busy it is, what is refused.

Requests come to a load balancer, which hands each to one of the replicas; these stand on hosts, alone or several on one.
Nothing is imitated that decides (see `fleet_replica.py`); everything is drawn from seeds, so that the same
options give the same numbers on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import simpy

from scale.fleet_host import Host
from scale.fleet_replica import End, Limits, Replica
from scale.fleet_times import ServiceTimes
from scale.fleet_traffic import Arrival
from serve.cells import percentile

__all__ = ["Balance", "Fleet", "Outcome", "simulate", "simulate_clients"]

Balance: TypeAlias = Literal["least_connections", "round_robin", "random"]
Steps: TypeAlias = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """What is there to serve.

    Attributes:
        num_replicas: how many.
        times: what their work takes.
        limits: the settings of each.
        balance: how the load balancer chooses.
        per_host: replicas that share a host's cores.
        seed: of the noise, and of the load balancer's choice.
    """

    num_replicas: int
    times: ServiceTimes
    limits: Limits = field(default_factory=Limits)
    balance: Balance = "least_connections"
    per_host: int = 1
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        latencies: seconds of each request that was answered, in ascending order.
        num_refused: requests that found a full queue: 429.
        num_late: requests that were not answered in time: 504.
        seconds: simulated, from the start to the last answer.
        utilisation: share of the time in which a worker ran a micro-batch, over all workers; one that was under way when
            the last request was given up is run to its end, and counts.
        per_replica: requests that each replica got.
    """

    latencies: tuple[float, ...]
    num_refused: int
    num_late: int
    seconds: float
    utilisation: float
    per_replica: tuple[int, ...]

    @property
    def num_requests(self) -> int:
        """All that were sent."""
        return len(self.latencies) + self.num_refused + self.num_late

    @property
    def refused(self) -> float:
        """Share of the requests that found a full queue."""
        return self.num_refused / self.num_requests if self.num_requests else 0.0

    def at(self, share: float) -> float | None:
        """The latency that this share of the answers does not exceed; None where nothing was answered."""
        return percentile(self.latencies, share) if self.latencies else None

    def record(self) -> dict[str, Any]:
        """As the JSON line has it."""
        return {
            **{name: self.at(share) for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))},
            "num_requests": self.num_requests,
            "refused": self.refused,
            "num_late": self.num_late,
            "requests_per_s": len(self.latencies) / self.seconds if self.seconds else 0.0,
            "utilisation": self.utilisation,
        }


def simulate(fleet: Fleet, arrivals: Iterable[Arrival]) -> Outcome:
    """Open loop: each request comes at its moment, whatever became of the others."""
    run = _Simulation(fleet)
    run.env.process(run.sender(arrivals))
    return run.outcome()


def simulate_clients(fleet: Fleet, requests: Sequence[Sequence[Arrival]]) -> Outcome:
    """Closed loop: each client sends its next request when the last one has ended, and it has thought."""
    run = _Simulation(fleet)
    for own in requests:
        run.env.process(run.client(own))
    return run.outcome()


class _Simulation:
    """One run: the hosts, the replicas on them, and what has ended so far."""

    def __init__(self, fleet: Fleet) -> None:
        self.env = simpy.Environment()
        self._fleet = fleet
        self._dice = random.Random(fleet.seed)  # noqa: S311 - a simulation, not a secret
        num_hosts = -(-fleet.num_replicas // fleet.per_host)
        hosts = [Host(self.env, fleet.times.speed) for _ in range(num_hosts)]
        self._replicas = [
            Replica(
                self.env,
                hosts[number // fleet.per_host],
                times=fleet.times,
                limits=fleet.limits,
                dice=self._dice,
            )
            for number in range(fleet.num_replicas)
        ]
        self._next = 0
        self._given = [0] * fleet.num_replicas
        self._ends: dict[End, list[float]] = {"answered": [], "refused": [], "late": []}
        self._last_s = 0.0

    def sender(self, arrivals: Iterable[Arrival]) -> Steps:
        for arrival in arrivals:
            yield self.env.timeout(max(0.0, arrival.at_s - self.env.now))
            self.env.process(self._request(arrival.lengths))

    def client(self, requests: Sequence[Arrival]) -> Steps:
        for request in requests:
            yield self.env.timeout(request.at_s)
            yield self.env.process(self._request(request.lengths))

    def outcome(self) -> Outcome:
        """Run until nothing is left to do."""
        self.env.run()
        # What nobody waits for any more may take longer than the last answer.
        until_s = max(self._last_s, *(replica.worked_until_s for replica in self._replicas))
        workers_s = until_s * self._fleet.num_replicas * self._fleet.limits.num_workers
        busy_s = sum(replica.busy_s for replica in self._replicas)
        return Outcome(
            latencies=tuple(sorted(self._ends["answered"])),
            num_refused=len(self._ends["refused"]),
            num_late=len(self._ends["late"]),
            seconds=self._last_s,
            utilisation=busy_s / workers_s if workers_s else 0.0,
            per_replica=tuple(self._given),
        )

    def _request(self, lengths: Sequence[int]) -> Steps:
        begun = self.env.now
        chosen = self._choose()
        self._given[chosen] += 1
        end: End = yield from self._replicas[chosen].score(lengths)
        self._ends[end].append(self.env.now - begun)
        self._last_s = self.env.now

    def _choose(self) -> int:
        count = len(self._replicas)
        if self._fleet.balance == "random":
            return self._dice.randrange(count)
        # Both take turns; nginx does too where several replicas have as few connections.
        order = [(self._next + step) % count for step in range(count)]
        if self._fleet.balance == "least_connections":
            chosen = min(order, key=lambda number: self._replicas[number].num_open)
        else:
            chosen = order[0]
        self._next = chosen + 1
        return chosen
