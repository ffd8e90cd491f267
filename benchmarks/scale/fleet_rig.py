"""Two real replicas behind the compose file's load balancer on this machine, and what can be asked of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from pairscore.road.planning import plan
from scale.fleet_front import Front
from scale.fleet_probe import Answered, ask, count_tokens, replica, shapes
from scale.fleet_replica import Limits
from scale.fleet_times import ServiceTimes
from scale.fleet_traffic import Arrival, moments
from serve.load import Job
from serve.servers import Server
from serve.traffic import Row, Texts, Wire
from texts import ROOT, load_pairs
from workers import WORK, PeerError

__all__ = ["LIMITS", "NUM_REPLICAS", "Calibration", "Loaded", "Rig"]

NUM_REPLICAS = 2
LIMITS = Limits(num_workers=1)
_NUM_PAIRS = 4300
_MARGIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Answers of the replicas themselves, one busy and both; and answers that came through the load balancer."""

    direct: list[Answered]
    front: list[Answered]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load that was put on: its requests, seconds of each good answer in ascending order, and what was not one."""

    arrivals: list[Arrival]
    latencies: list[float]
    errors: dict[str, int]
    generator_cpu_s: float
    seconds: float


class Rig:
    """Two replicas, the load balancer before them, and the texts; ended with the stack."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options = options
        collection = load_pairs(_NUM_PAIRS, data=options.data)
        texts = Texts.of(collection.pairs)
        self._file = str(texts.write(WORK / "scale-texts.json"))
        self._row = Row(texts, options.documents)
        pairs = [(pair.query, pair.document) for pair in collection.pairs]
        self._shapes = shapes(pairs, count_tokens(pairs, model=options.model), budget=LIMITS.budget)
        specs = [
            replica(f"scale-{number}", num_workers=LIMITS.num_workers, model=options.model)
            for number in range(NUM_REPLICAS)
        ]
        self._servers = [stack.enter_context(Server(spec)) for spec in specs]
        self._ports = [server.port for server in self._servers]
        self._front = stack.enter_context(Front(self._ports, folder=WORK / "scale-front"))
        self._first = 0

    def calibrate(self) -> Calibration:
        """Micro-batches on one busy replica and on both, in turn; and some through the load balancer."""
        direct: list[Answered] = []
        ask(self._ports, self._shapes, repeats=1)
        for _ in range(self._options.repeats):
            direct += ask(self._ports[:1], self._shapes, repeats=1)
            direct += ask(self._ports[1:], self._shapes, repeats=1)
            direct += ask(self._ports, self._shapes, repeats=1)
        front = ask([self._front.port], self._shapes, repeats=self._options.repeats)
        return Calibration(direct, front)

    def rate(self, times: ServiceTimes) -> float:
        """Requests a second at which the replicas are as busy as asked for."""
        requests = self._lengths(len(self._row))
        work_s = statistics.mean(_work_s(times, lengths) for lengths in requests)
        return self._options.load * NUM_REPLICAS / work_s

    def load(self, rate: float, *, seed: int, share: float) -> Loaded:
        """Random arrivals at the load balancer, for this share of the seconds that were asked for.

        Raises:
            PeerError: the load generator failed.
        """
        job = Job(
            port=self._front.port,
            wire=Wire("batch"),
            texts=self._file,
            num_documents=self._options.documents,
            first=self._first,
            rate=rate,
            seconds=share * max(self._options.seconds, self._options.requests / rate),
            seed=seed,
        )
        at = list(moments(rate=rate, seconds=job.seconds, seed=seed))
        arrivals = [Arrival(*both) for both in zip(at, self._lengths(len(at)), strict=True)]
        # The next load begins where this one ends, so that no pair comes twice.
        self._first += len(at)
        found = _generated(job)
        return Loaded(
            arrivals, sorted(found["latencies"]), found["errors"], found["cpu_s"], found["seconds"]
        )

    def cpu_s(self) -> float:
        """CPU seconds of the replicas and the load balancer so far."""
        return sum(_cpu_s(pid) for pid in (*(s.pid for s in self._servers), self._front.pid))

    def _lengths(self, count: int) -> list[tuple[int, ...]]:
        """Tokens of the pairs of the next requests."""
        places = range(self._first, self._first + count)
        pairs = [pair for place in places for pair in self._row.at(place).pairs]
        lengths = count_tokens(pairs, model=self._options.model)
        size = self._options.documents
        return [tuple(lengths[n : n + size]) for n in range(0, len(lengths), size)]


def _work_s(times: ServiceTimes, lengths: Sequence[int]) -> float:
    """Seconds of one core that a request takes with all cores busy."""
    longest = [
        (lengths[batch[0]], len(batch)) for batch in plan(lengths, budget=LIMITS.budget).batches
    ]
    runs_s = sum(times.run_s(length * count, length) for length, count in longest)
    return (runs_s + times.request_s + times.tokenize_s * sum(lengths)) * times.slowdown[-1]


def _generated(job: Job) -> dict[str, Any]:
    """Run the load generator of `serve/`, a process of its own."""
    limit_s = job.seconds + job.timeout_s + _MARGIN_S
    done = subprocess.run(
        [sys.executable, "-m", "serve.load"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "benchmarks",
        timeout=limit_s,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:]
        raise PeerError(f"the load generator ended with {done.returncode}: {' | '.join(last)}")
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process and all that it started."""
    total, process = 0.0, psutil.Process(pid)
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            used = one.cpu_times()
            total += used.user + used.system
    return total
