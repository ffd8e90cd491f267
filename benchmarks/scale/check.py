"""The simulator beside the truth: two real replicas behind nginx on this machine, and what was predicted for the same requests.

A round puts random arrivals on the load balancer in several pieces, and measures the service times before, between and after them;
the prediction is made from these, for the very same arrivals with the very same lengths. Nothing of the load itself goes into it. A
machine whose cores are shared is now quick, now slow, for seconds at a time: pieces let loads and service times meet the same of both.
Two cores hold two replicas, nginx and the load generator, so run it where nothing else runs::

    python benchmarks/scale/check.py --save scale_check
    python benchmarks/scale/check.py --rounds 1 --pieces 2 --seconds 10 --requests 0    # to see that all works
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# The other benchmarks' modules lie one folder up, and this folder's are the package `scale` there.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import machine
from measuring import say
from report import Target, finish, show_table, show_targets
from scale.fleet_probe import about, service_times
from scale.fleet_rig import LIMITS, NUM_REPLICAS, Calibration, Loaded, Rig
from scale.fleet_times import ServiceTimes
from scale.fleet_traffic import Arrival
from scale.simulator import Fleet, simulate
from serve.cells import percentile
from texts import DATA

_GOAL = 0.20
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_SHOWN = ("p50", "p99")
_COLUMNS = [word for name in _SHOWN for word in (name, "pred.", "off")]
_NUM_SEEDS = 7
_DRIFT, _QUIET = 0.10, 0.05
_TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one round gave.

    Attributes:
        rate: requests a second.
        times: the service times before the pieces of the load, between them and after them, taken together.
        measured: seconds by the name of the percentile.
        predicted: the same, of the simulator.
        utilisation: as predicted.
        num_requests: that were sent.
        errors: what was not answered well, by status.
        drift: how much longer a token took after the load than before it, as a share.
        others: share of the machine's CPU that went to nobody who takes part; None where it is not known.
    """

    rate: float
    times: ServiceTimes
    measured: dict[str, float]
    predicted: dict[str, float]
    utilisation: float
    num_requests: int
    errors: dict[str, int]
    drift: float
    others: float | None

    def off(self, name: str) -> float:
        """By what share the prediction is too high."""
        return self.predicted[name] / self.measured[name] - 1

    def record(self) -> dict[str, Any]:
        """As the JSON line has it."""
        return {**asdict(self), "off": {name: self.off(name) for name in _SHARES}}


def predict(
    times: ServiceTimes, pieces: Sequence[Sequence[Arrival]]
) -> tuple[dict[str, float], float]:
    """The simulator's percentiles over all pieces, and how busy it was: the median over some seeds of the noise."""
    outcomes = [
        [simulate(_fleet(times, seed), arrivals) for arrivals in pieces]
        for seed in range(_NUM_SEEDS)
    ]
    latencies = [
        sorted(seconds for outcome in found for seconds in outcome.latencies) for found in outcomes
    ]
    predicted = {
        name: statistics.median(percentile(found, share) for found in latencies)
        for name, share in _SHARES.items()
    }
    busy = statistics.median(outcome.utilisation for found in outcomes for outcome in found)
    return predicted, busy


def _fleet(times: ServiceTimes, seed: int) -> Fleet:
    return Fleet(
        num_replicas=NUM_REPLICAS, per_host=NUM_REPLICAS, times=times, limits=LIMITS, seed=seed
    )


def play(
    rig: Rig, before: Calibration, *, rate: float, seeds: Sequence[int]
) -> tuple[Round, Calibration]:
    """One round, a piece of the load for each seed; and the calibration that it ends with."""
    pieces: list[_Piece] = []
    calibrations = [before]
    for seed in seeds:
        pieces.append(_loaded(rig, rate=rate, seed=seed, share=1 / len(seeds)))
        calibrations.append(rig.calibrate())
    times = service_times(
        [answer for one in calibrations for answer in one.direct],
        front=[answer for one in calibrations for answer in one.front],
    )
    predicted, utilisation = predict(times, [piece.load.arrivals for piece in pieces])
    latencies = sorted(seconds for piece in pieces for seconds in piece.load.latencies)
    found = Round(
        rate=rate,
        times=times,
        measured={name: percentile(latencies, share) for name, share in _SHARES.items()},
        predicted=predicted,
        utilisation=utilisation,
        num_requests=sum(len(piece.load.arrivals) for piece in pieces),
        errors=dict(sum((Counter(piece.load.errors) for piece in pieces), Counter())),
        drift=about(calibrations[-1].direct)["1 busy"] / about(before.direct)["1 busy"] - 1,
        others=_others(pieces),
    )
    return found, calibrations[-1]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a round's load, and the CPU seconds that went to nobody who takes part; None where not known."""

    load: Loaded
    foreign_s: float | None


def _loaded(rig: Rig, *, rate: float, seed: int, share: float) -> _Piece:
    before, ours = machine.busy_seconds(), rig.cpu_s()
    load = rig.load(rate, seed=seed, share=share)
    after = machine.busy_seconds()
    if before is None or after is None:
        return _Piece(load, None)
    return _Piece(load, after - before - (rig.cpu_s() - ours) - load.generator_cpu_s)


def _others(pieces: Sequence[_Piece]) -> float | None:
    known = [piece.foreign_s for piece in pieces if piece.foreign_s is not None]
    if not known:
        return None
    seconds = sum(piece.load.seconds for piece in pieces)
    return max(0.0, sum(known) / (seconds * machine.num_cores()))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, shown and returned."""
    about_machine = machine.facts()
    with ExitStack() as stack:
        rig = Rig(options, stack)
        calibration = rig.calibrate()
        rounds: list[Round] = []
        for number in range(options.rounds):
            known = service_times(calibration.direct, front=calibration.front)
            rate = options.rate or rig.rate(known)
            first = options.seed + number * options.pieces
            seeds = range(first, first + options.pieces)
            found, calibration = play(rig, calibration, rate=rate, seeds=seeds)
            rounds.append(found)
            _say(number, found, options.rounds)
    _show(rounds)
    targets = [_target(rounds, name) for name in ("p99", "p50")]
    show_targets(targets)
    _warn(rounds)
    return {
        "benchmark": "scale: simulator beside two replicas",
        "machine": about_machine,
        "documents": options.documents,
        "load": options.load,
        "rounds": [found.record() for found in rounds],
        "targets": [target.record() for target in targets],
        "load_after": machine.facts()["load"],
    }


def _target(rounds: Sequence[Round], name: str) -> Target:
    """By what share a round is off, either way, at the median: rounds that are off both ways do not cancel out."""
    each = ", ".join(f"{found.off(name):+.0%}" for found in rounds)
    disturbed = "" if _is_quiet(rounds) else "; the machine was disturbed"
    return Target(
        name=f"{name}: predicted beside measured",
        goal=100 * _GOAL,
        value=100 * statistics.median(abs(found.off(name)) for found in rounds),
        at_least=False,
        unit=" %",
        note=f"rounds: {each}{disturbed}",
    )


def _is_quiet(rounds: Sequence[Round]) -> bool:
    """Whether the service times can be those of the load."""
    return all(abs(found.drift) <= _DRIFT and (found.others or 0) <= _QUIET for found in rounds)


def _say(number: int, found: Round, num_rounds: int) -> None:
    p99 = f"p99 measured {found.measured['p99']:.3f} s, predicted {found.predicted['p99']:.3f} s"
    say(f"round {number + 1}/{num_rounds}: {found.rate:.1f} requests/s: {p99}")


def _show(rounds: Sequence[Round]) -> None:
    columns = ("round", "requests", "a second", "busy", *_COLUMNS, "drift", "others")
    rows = [_row(number, found) for number, found in enumerate(rounds, 1)]
    show_table("Two replicas behind nginx; seconds, measured and predicted", columns, rows)


def _row(number: int, found: Round) -> list[str]:
    cells = [str(number), str(found.num_requests), f"{found.rate:.1f}", f"{found.utilisation:.0%}"]
    for name in _SHOWN:
        cells += [f"{found.measured[name]:.3f}", f"{found.predicted[name]:.3f}"]
        cells.append(f"{found.off(name):+.0%}")
    others = "-" if found.others is None else f"{found.others:.0%}"
    return [*cells, f"{found.drift:+.0%}", others]


def _warn(rounds: Sequence[Round]) -> None:
    """Say where the machine did not hold still: then the service times are not those of the load."""
    drift = max(abs(found.drift) for found in rounds)
    others = max(found.others or 0.0 for found in rounds)
    failed = sum(sum(found.errors.values()) for found in rounds)
    if drift > _DRIFT:
        print(
            f"the machine became up to {drift:.0%} slower or faster from one calibration to the next"
        )
    if others > _QUIET:
        print(
            f"other processes took up to {others:.0%} of the CPU meanwhile: run it again on a quiet machine"
        )
    if failed:
        print(f"{failed} requests were not answered well")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="loads (5)")
    add("--pieces", type=int, default=6, help="of a load, each between two calibrations (6)")
    add("--seconds", type=float, default=60.0, help="of random arrivals, each round, at least (60)")
    add(
        "--requests", type=int, default=500, help="each round, at least: a p99 of few is luck (500)"
    )
    add("--load", type=float, default=0.45, help="how busy the replicas shall be (0.45)")
    add("--rate", type=float, help="requests a second, instead of --load")
    add("--documents", type=int, default=5, help="pairs of a request (5)")
    add("--repeats", type=int, default=2, help="of each size in a calibration (2)")
    add("--model", help="a name or folder; default: the bundled model")
    add("--data", type=Path, default=DATA, help="folder of the test collections")
    add("--seed", type=int, default=0, help="of the arrivals of the first round")
    add("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, predict, compare, keep."""
    # So that whoever ends the check ends the servers that it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    options = parse(arguments)
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
