"""What Ray Data costs against threads, on the same cores with the same model.

The two are measured in turns, so that a busy moment of the machine meets both. The cluster runs already, as it does
for whoever has one; that its actors start and open their models is in what is measured::

    python benchmarks/scale/overhead.py --save scale_overhead
    python benchmarks/scale/overhead.py --pairs 2000 --turns 1      # to see that all works
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

# The other benchmarks' modules lie one folder up, this folder's are the package `scale` there, and the cluster of
# several nodes is the tests' own.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.ray_clusters import started_cluster

import machine
from measuring import say
from report import Target, finish, show_table, show_targets
from scale.batch_jobs import command, done_blocks, ended, start, write_rows

_MAX_OVERHEAD = 15.0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure both in turns, and tell."""
    ways: dict[str, list[object]] = {"threads": []}
    seconds: dict[str, list[float]] = {"threads": [], "Ray": []}
    at_work: dict[str, list[float]] = {"threads": [], "Ray": []}
    with (
        tempfile.TemporaryDirectory(prefix="overhead-") as place,
        started_cluster(nodes=[1.0] * machine.num_cores()) as cluster,
    ):
        ways["Ray"] = ["--ray", cluster.address]
        source = Path(place) / "pairs.parquet"
        write_rows(source, options.pairs)
        for turn in range(options.turns):
            for name, given in ways.items():
                folder = Path(place) / f"{name}-{turn}"
                arguments = command(source, folder, "--block-rows", options.block_rows, *given)
                seconds[name].append(ended(start(arguments))["elapsed_s"])
                at_work[name].append(_at_work_s(folder))
                say(f"turn {turn + 1}/{options.turns}: {name}: {seconds[name][-1]:.1f} s")
    return _told(options, seconds, at_work)


def _at_work_s(folder: Path) -> float:
    """From the moment that the first block was begun to the end of the last: without starting and opening."""
    done = done_blocks(folder)
    return max(block.at for block in done) - min(block.at - block.elapsed_s for block in done)


def _told(
    options: argparse.Namespace, seconds: dict[str, list[float]], at_work: dict[str, list[float]]
) -> dict[str, Any]:
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    working = {name: statistics.median(values) for name, values in at_work.items()}
    show_table(
        f"{options.pairs:,} pairs, medians of {options.turns} turns",
        ("", "seconds", "pairs/s", "seconds at work", "pairs/s at work"),
        [
            (
                name,
                f"{medians[name]:.1f}",
                f"{options.pairs / medians[name]:.1f}",
                f"{working[name]:.1f}",
                f"{options.pairs / working[name]:.1f}",
            )
            for name in medians
        ],
    )
    overhead = 100 * (medians["Ray"] / medians["threads"] - 1)
    at_work_overhead = 100 * (working["Ray"] / working["threads"] - 1)
    targets = [
        Target("Ray Data over threads", _MAX_OVERHEAD, overhead, at_least=False, unit=" %"),
    ]
    show_targets(targets)
    return {
        "machine": machine.facts(),
        "num_pairs": options.pairs,
        "block_rows": options.block_rows,
        "seconds": seconds,
        "at_work_s": at_work,
        "overhead_percent": overhead,
        "overhead_at_work_percent": at_work_overhead,
        "targets": [target.record() for target in targets],
    }


def main() -> int:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--block-rows", type=int, default=500)
    parser.add_argument("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    options = parser.parse_args()
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
