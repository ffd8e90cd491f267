"""What a job costs and how many nodes it needs: the arithmetic of docs/scaling.md, with the reader's own numbers.

Three things can be the narrowest: the model, tokenization and the network. Prices are nobody's but yours::

    python benchmarks/scale/cost.py --pairs-per-s 180 --price-per-hour 0.10 --pairs 1e9 --hours 8
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The other benchmarks' modules lie one folder up, and this folder's are the package `scale` there.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from report import finish, show_table
from texts import ROOT

__all__ = ["Job", "Node", "bottleneck", "cost_of", "cost_per_million", "limits", "nodes_for"]

_MILLION = 1e6
_HOUR_S = 3600.0
_BITS = 8
_ROUNDING = 1e-9
_TIMES = ROOT / "benchmarks" / "results" / "scale_service_times.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One machine.

    Attributes:
        pairs_per_s: what its model scores, nothing else in the way.
        tokenize_per_s: tokens a second that all its cores tokenize, were they to do nothing else; infinite if left out.
        gbit_per_s: its network; infinite if left out.
        price_per_hour: in any currency.
    """

    pairs_per_s: float
    tokenize_per_s: float = math.inf
    gbit_per_s: float = math.inf
    price_per_hour: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pairs_per_s", "tokenize_per_s", "gbit_per_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is to be scored.

    Attributes:
        pairs: how many.
        seconds: in which all must be done.
        tokens: of a pair.
        bytes: of a pair, in and out.
        share: of the time in which a node really works; the rest is starting, waiting for the last block, retrying.
    """

    pairs: float
    seconds: float
    tokens: float = 0.0
    bytes: float = 0.0
    share: float = 0.85

    def __post_init__(self) -> None:
        if not (self.pairs > 0 and self.seconds > 0):
            raise ValueError(
                "there is nothing to do, or no time for it: pairs and hours must be above 0"
            )
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share!r}; it must be above 0 and at most 1")


def limits(node: Node, job: Job) -> dict[str, float]:
    """Pairs a second of one node, were each thing alone in the way."""
    return {
        "model": node.pairs_per_s,
        "tokenization": node.tokenize_per_s / job.tokens if job.tokens else math.inf,
        "network": node.gbit_per_s * 1e9 / _BITS / job.bytes if job.bytes else math.inf,
    }


def bottleneck(node: Node, job: Job) -> str:
    """What is the narrowest."""
    found = limits(node, job)
    return min(found, key=lambda name: found[name])


def nodes_for(node: Node, job: Job) -> int:
    """How many of them are done in time."""
    each = min(limits(node, job).values()) * job.seconds * job.share
    # A whole number that is missed by a rounding error is still that number.
    return max(1, math.ceil(job.pairs / each * (1 - _ROUNDING)))


def cost_per_million(node: Node, job: Job) -> float:
    """Of a million pairs, in the price's currency, at the node's own pace."""
    seconds = _MILLION / (min(limits(node, job).values()) * job.share)
    return node.price_per_hour * seconds / _HOUR_S


def cost_of(node: Node, job: Job) -> float:
    """Of the whole job: node-hours are the same whether few nodes work long or many a short while."""
    return cost_per_million(node, job) * job.pairs / _MILLION


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The numbers, shown and returned."""
    node = Node(
        pairs_per_s=options.pairs_per_s,
        tokenize_per_s=options.tokenize_per_s,
        gbit_per_s=options.gbit_per_s,
        price_per_hour=options.price_per_hour,
    )
    job = Job(
        pairs=options.pairs,
        seconds=options.hours * _HOUR_S,
        tokens=options.tokens,
        bytes=options.bytes,
        share=options.share,
    )
    found = limits(node, job)
    rows = [(f"pairs a second a node, {name}", f"{value:,.0f}") for name, value in found.items()]
    rows += [
        ("narrowest", bottleneck(node, job)),
        (f"nodes for {job.pairs:,.0f} pairs in {options.hours:g} h", f"{nodes_for(node, job):,}"),
        ("cost of a million pairs, at your price", f"{cost_per_million(node, job):,.3f}"),
        ("cost of the job, at your price", f"{cost_of(node, job):,.2f}"),
    ]
    show_table("One node, and how many of them", ("", ""), rows)
    return {
        "benchmark": "scale: cost",
        "limits": {name: value if math.isfinite(value) else None for name, value in found.items()},
        "bottleneck": bottleneck(node, job),
        "nodes": nodes_for(node, job),
        "cost_per_million": cost_per_million(node, job),
        "cost": cost_of(node, job),
    }


def _measured() -> dict[str, float]:
    """What `measure.py` kept: tokens and bytes of a pair, tokens a second of tokenizing on all cores."""
    if not _TIMES.is_file():
        return {"tokens": 0.0, "bytes": 0.0, "tokenize_per_s": math.inf}
    kept = json.loads(_TIMES.read_text(encoding="utf-8"))
    return {
        "tokens": kept["tokens_per_pair"],
        "bytes": kept["bytes_per_pair"]["Parquet"],
        "tokenize_per_s": max(kept["tokenization_tokens_per_s"].values()),
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; what is not given is what was measured here."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, kept = parser.add_argument, _measured()
    add("--pairs-per-s", type=float, required=True, help="that one node scores")
    add("--price-per-hour", type=float, default=0.0, help="of one node: your own number (0)")
    add("--pairs", type=float, default=1e9, help="to score (1e9)")
    add("--hours", type=float, default=8.0, help="until all must be done (8)")
    add("--gbit-per-s", type=float, default=10.0, help="network of one node (10)")
    add("--tokens", type=float, default=kept["tokens"], help="of a pair (as measured)")
    add("--bytes", type=float, default=kept["bytes"], help="of a pair in and out (Parquet's)")
    add("--tokenize-per-s", type=float, default=kept["tokenize_per_s"], help="tokens a node")
    add("--share", type=float, default=0.85, help="of the time that a node really works (0.85)")
    add("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute, show, keep."""
    options = parse(arguments)
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
