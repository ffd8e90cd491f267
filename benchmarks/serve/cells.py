"""One cell of the tables: one load on one server, and what was measured."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import machine
from serve.load import Job
from serve.servers import Server, Usage, Watch
from texts import ROOT
from workers import PeerError

__all__ = ["Load", "Measurement", "many", "measure", "percentile", "percentiles"]

_MARGIN_S = 60.0
_BENCHMARKS = ROOT / "benchmarks"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Load:
    """What is sent: so many documents a request, by so many clients, or at random moments at a rate.

    Attributes:
        num_documents: a request.
        num_clients: of the closed loop; 0 is the open loop.
        share: open loop: the rate as a share of the capacity that was measured.
    """

    num_documents: int
    num_clients: int = 0
    share: float = 0.0

    def __str__(self) -> str:
        """For people."""
        who = (
            many(self.num_clients, "client")
            if self.num_clients
            else f"{self.share:.0%} of capacity"
        )
        return f"{who} x {many(self.num_documents, 'document')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one load gave.

    Attributes:
        seconds: from the first request to the last answer.
        num_documents: a request.
        latencies: seconds of each request that was answered well, in ascending order.
        errors: how many were not, by status or kind.
        probes: seconds of each answer of the health route, in ascending order.
        probe_errors: how many it did not answer well.
        num_sent: requests.
        usage: what the server used.
        generator: share of one core that the load generator used.
        others: share of the machine's CPU that neither of the two used; None where it is not known.
    """

    seconds: float
    num_documents: int
    latencies: tuple[float, ...]
    errors: dict[str, int]
    probes: tuple[float, ...]
    probe_errors: int
    num_sent: int
    usage: Usage
    generator: float
    others: float | None

    @property
    def requests_per_s(self) -> float:
        """Answered well."""
        return len(self.latencies) / self.seconds

    @property
    def pairs_per_s(self) -> float:
        """Of the requests that were answered well."""
        return self.requests_per_s * self.num_documents

    def record(self) -> dict[str, Any]:
        """As the JSON line has it; of the latencies, percentiles."""
        return {
            "pairs_per_s": self.pairs_per_s,
            "requests_per_s": self.requests_per_s,
            "seconds": self.seconds,
            "num_sent": self.num_sent,
            "errors": self.errors,
            "latency_s": percentiles(self.latencies),
            "health_s": percentiles(self.probes),
            "num_probes": len(self.probes),
            "health_errors": self.probe_errors,
            "server": asdict(self.usage),
            "generator_share_of_a_core": round(self.generator, 4),
            "others": None if self.others is None else round(self.others, 3),
        }


def measure(server: Server, job: Job) -> Measurement:
    """Put one load on a server.

    Raises:
        PeerError: the load generator failed, or not one request was answered.
    """
    busy, own, begin = machine.busy_seconds(), _own_cpu_s(), time.perf_counter()
    with Watch(server.pid) as watch:
        outcome = _generate(job)
    wall, used = time.perf_counter() - begin, _own_cpu_s() - own + watch.usage.cpu_s
    after = machine.busy_seconds()
    if not outcome["latencies"]:
        raise server.failure(f"answered none of {outcome['num_sent']} requests {outcome['errors']}")
    return Measurement(
        seconds=outcome["seconds"],
        num_documents=job.num_documents,
        latencies=tuple(sorted(outcome["latencies"])),
        errors=outcome["errors"],
        probes=tuple(sorted(outcome["probes"])),
        probe_errors=outcome["probe_errors"],
        num_sent=outcome["num_sent"],
        usage=watch.usage,
        generator=outcome["cpu_s"] / outcome["seconds"],
        others=None
        if busy is None or after is None
        else max(0.0, (after - busy - used) / wall / machine.num_cores()),
    )


def _generate(job: Job) -> dict[str, Any]:
    limit_s = job.seconds + job.timeout_s + _MARGIN_S
    try:
        done = subprocess.run(
            [sys.executable, "-m", "serve.load"],
            input=json.dumps(asdict(job)),
            capture_output=True,
            text=True,
            check=False,
            cwd=_BENCHMARKS,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"the load generator did not end within {limit_s:.0f} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:]
        raise PeerError(f"the load generator ended with {done.returncode}: {' | '.join(last)}")
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def _own_cpu_s() -> float:
    """CPU seconds of this process and of those that it has waited for: the load generator, each time."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def many(count: int, thing: str) -> str:
    """For people: `1 client`, `8 clients`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values, in ascending order, that at least that share of them does not exceed."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """What is told of many values, in ascending order; nothing of none."""
    if not values:
        return {}
    named = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(values, share), 5) for name, share in named.items()}
