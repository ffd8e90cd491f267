"""How long requests will take on a fleet: the simulator, for traffic and replicas of your choice.

Service times are those that `measure.py` kept; measure them on a machine like those of the fleet::

    python benchmarks/scale/predict.py --rate 30 --pairs 20 --replicas 2,4,8 --workers 2
    python benchmarks/scale/predict.py --rate 30 --pairs 1,5,20 --workers 2 --p99 0.5
    python benchmarks/scale/predict.py --clients 64 --pairs 20 --replicas 4 --workers 2
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

# The other benchmarks' modules lie one folder up, and this folder's are the package `scale` there.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pairscore.road.planning import plan
from report import finish, show_table
from scale.fleet_replica import Limits
from scale.fleet_times import ServiceTimes
from scale.fleet_traffic import Traffic, clients, open_loop
from scale.simulator import Balance, Fleet, Outcome, simulate, simulate_clients
from texts import ROOT

__all__ = ["enough", "least_replicas", "scaled"]

_TIMES = ROOT / "benchmarks" / "results" / "scale_service_times.json"
# With more than this a queue only grows; what is simulated then depends on how long, and says nothing.
_FULL = 0.97
_MAX_REPLICAS = 10_000
_SAMPLE = 200


def scaled(lengths: Sequence[int], *, mean: float | None) -> list[int]:
    """Lengths as they were measured, or the same shape with another mean."""
    if mean is None:
        return list(lengths)
    factor = mean / (sum(lengths) / len(lengths))
    return [max(1, round(length * factor)) for length in lengths]


def request_s(fleet: Fleet, traffic: Traffic) -> float:
    """Seconds of one core that a request takes on average, with all cores busy: what bounds the rate."""
    times, budget = fleet.times, fleet.limits.budget
    arrivals = open_loop(traffic, rate=1.0, seconds=_SAMPLE, seed=fleet.seed)
    total = 0.0
    for arrival in arrivals:
        for batch in plan(arrival.lengths, budget=budget).batches:
            longest = arrival.lengths[batch[0]]
            total += times.run_s(longest * len(batch), longest)
    return total / len(arrivals) * times.slowdown[-1]


def least_replicas(fleet: Fleet, traffic: Traffic, *, rate: float) -> int:
    """With fewer no queue would ever end."""
    num_cores = len(fleet.times.slowdown)
    num_busy = min(fleet.limits.num_workers, num_cores / fleet.per_host)
    each = num_busy / request_s(fleet, traffic)
    return max(1, math.ceil(rate / (each * _FULL)))


def enough(outcome: Outcome, p99: float) -> bool:
    """Whether it is quick enough, and nobody was sent away."""
    slowest = outcome.at(0.99)
    return slowest is not None and slowest < p99 and not outcome.num_refused + outcome.num_late


class _Question:
    """The traffic and the fleet that the options name; answers for any number of replicas."""

    def __init__(self, options: argparse.Namespace) -> None:
        kept = json.loads(options.times.read_text(encoding="utf-8"))
        self.options = options
        self.traffic = Traffic(
            pairs=options.pairs, tokens=scaled(kept["lengths"], mean=options.tokens)
        )
        self.fleet = Fleet(
            num_replicas=1,
            times=ServiceTimes.read(kept["times"]),
            limits=Limits(
                num_workers=options.workers,
                budget=options.budget,
                max_queue_tokens=options.max_queue_tokens,
                timeout_s=options.timeout,
            ),
            balance=options.balance,
            per_host=options.per_host,
            seed=options.seed,
        )

    def answer(self, num_replicas: int) -> Outcome:
        options, fleet = self.options, replace(self.fleet, num_replicas=num_replicas)
        if options.clients:
            num_requests = max(1, round(options.requests / options.clients))
            rows = clients(
                self.traffic,
                num_clients=options.clients,
                num_requests=num_requests,
                think_s=options.think,
                seed=options.seed,
            )
            return simulate_clients(fleet, rows)
        seconds = options.requests / options.rate
        return simulate(
            fleet, open_loop(self.traffic, rate=options.rate, seconds=seconds, seed=options.seed)
        )

    def fewest(self, p99: float) -> int | None:
        """The least number of replicas that is quick enough; None where no number is."""
        low, high = 0, 1
        if self.options.rate:
            high = least_replicas(self.fleet, self.traffic, rate=self.options.rate)
            low = high - 1
        while not enough(self.answer(high), p99):
            # Twice as many change nothing where one request alone takes too long.
            low, high = high, high * 2
            if high > _MAX_REPLICAS or low > self.options.requests:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            if enough(self.answer(middle), p99):
                high = middle
            else:
                low = middle
        return high


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The predictions, shown and returned."""
    question = _Question(options)
    fewest = question.fewest(options.p99) if options.p99 else None
    counts = sorted({*options.replicas, *([fewest] if fewest else [])})
    outcomes = {count: question.answer(count) for count in counts}
    _show(question, outcomes)
    num_workers, num_cores = options.workers * options.per_host, len(question.fleet.times.slowdown)
    if num_workers > num_cores:
        print(f"{num_workers} workers of a host share the {num_cores} cores that were measured")
    if options.p99:
        said = f"{fewest:,} replicas" if fewest else "no number of replicas"
        print(f"p99 < {options.p99:g} s: {said}")
    return {
        "benchmark": "scale: prediction",
        "times": str(options.times),
        "rate": options.rate,
        "clients": options.clients,
        "pairs_per_request": question.traffic.mean_pairs,
        "tokens_per_pair": question.traffic.mean_tokens,
        "workers": options.workers,
        "balance": options.balance,
        "replicas": {str(count): outcome.record() for count, outcome in outcomes.items()},
        "p99_goal": options.p99,
        "fewest_replicas": fewest,
    }


def _show(question: _Question, outcomes: dict[int, Outcome]) -> None:
    options, traffic = question.options, question.traffic
    who = f"{options.clients} clients" if options.clients else f"{options.rate:g} requests/s"
    title = f"{who}, {traffic.mean_pairs:g} pairs of {traffic.mean_tokens:.0f} tokens, {options.balance}"
    columns = ("replicas", "p50 s", "p90 s", "p99 s", "busy", "429", "504", "requests/s")
    show_table(title, columns, [_row(count, found) for count, found in outcomes.items()])


def _row(count: int, outcome: Outcome) -> tuple[str, ...]:
    latencies = (outcome.at(share) for share in (0.5, 0.9, 0.99))
    return (
        str(count),
        *("-" if found is None else f"{found:.3f}" for found in latencies),
        f"{outcome.utilisation:.0%}",
        f"{outcome.refused:.1%}",
        f"{outcome.num_late}",
        f"{len(outcome.latencies) / outcome.seconds:.1f}" if outcome.seconds else "-",
    )


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, default = parser.add_argument, Limits()
    add("--rate", type=float, default=0.0, help="requests a second, at random moments")
    add("--clients", type=int, default=0, help="instead: clients that wait for each answer")
    add("--think", type=float, default=0.0, help="seconds a client waits, on average (0)")
    add("--pairs", type=_counts, default=[20], metavar="1,20", help="a request, equally likely")
    add("--tokens", type=float, help="of a pair on average; default: as measured")
    add("--replicas", type=_counts, default=[1, 2, 4], metavar="2,4", help="to compare (1,2,4)")
    add("--workers", type=int, default=default.num_workers, help="of a replica (1)")
    add("--per-host", type=int, default=1, help="replicas that share a host's cores (1)")
    add("--budget", type=int, default=default.budget, help="tokens of a micro-batch (512)")
    add("--balance", choices=get_args(Balance), default="least_connections")
    add("--max-queue-tokens", type=int, default=default.max_queue_tokens, help="of a replica")
    add("--timeout", type=float, default=default.timeout_s, help="of a request, seconds (60)")
    add("--requests", type=int, default=5000, help="to simulate (5000)")
    add("--p99", type=float, help="seconds: how many replicas are needed?")
    add("--times", type=Path, default=_TIMES, help="what measure.py kept")
    add("--seed", type=int, default=0)
    add("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    options = parser.parse_args(arguments)
    if bool(options.rate) == bool(options.clients):
        parser.error("give --rate or --clients")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict, show, keep."""
    options = parse(arguments)
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
