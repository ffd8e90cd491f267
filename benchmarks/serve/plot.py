"""The picture: throughput and tail latency over the number of clients, one line for each server."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from measuring import say
from serve.cells import Load, percentile
from serve.rounds import TARGET, Found

__all__ = ["draw"]

_INCHES = (10.0, 4.2)
_DOTS_AN_INCH = 130


def draw(servers: Sequence[Found], path: Path, *, title: str) -> None:
    """Write a PNG; without matplotlib, or with a single number of clients, say so and go on."""
    curves = {found.spec.name: _curve(found) for found in servers}
    ticks = sorted({load.num_clients for curve in curves.values() for load in curve})
    if len(ticks) <= 1:
        say("no plot: fewer than two numbers of clients were measured")
        return
    try:
        from matplotlib.figure import Figure
    except ImportError:
        say("no plot: matplotlib is not installed")
        return
    figure = Figure(figsize=_INCHES, layout="constrained")
    rates, tails = figure.subplots(1, 2)
    for found in servers:
        curve = curves[found.spec.name]
        clients = [load.num_clients for load in curve]
        rates.plot(clients, [_rate(found, load) for load in curve], "o-", label=found.spec.name)
        tails.plot(clients, [_tail(found, load) for load in curve], "o-", label=found.spec.name)
    for axes, label in ((rates, "pairs a second"), (tails, "latency, p99, seconds")):
        axes.set(xlabel="clients", ylabel=label, xscale="log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.grid(visible=True, alpha=0.3)
    rates.set_ylim(bottom=0)
    tails.set_yscale("log")
    tails.yaxis.set_major_formatter("{x:g}")
    rates.legend(fontsize="small")
    figure.suptitle(title, fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DOTS_AN_INCH)
    say(f"plot: {path}")


def _curve(found: Found) -> list[Load]:
    size = TARGET.num_documents
    return sorted(load for load in found.loads if load.num_clients and load.num_documents == size)


def _rate(found: Found, load: Load) -> float:
    return statistics.median(found.rates(load))


def _tail(found: Found, load: Load) -> float:
    latencies = sorted(value for entry in found.loads[load] for value in entry.latencies)
    return percentile(latencies, 0.99)
