"""A million rows through a Ray cluster: what the driver takes of memory, and how many rows a second pass.

The model is the fake one, so what is measured is everything around it. The driver is the command itself; the cluster
is one that it starts on this machine::

    python benchmarks/scale/stream.py --save scale_stream
    python benchmarks/scale/stream.py --rows 100000      # to see that all works
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

# The other benchmarks' modules lie one folder up, and this folder's are the package `scale` there.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import machine
from measuring import say
from report import Target, finish, show_table, show_targets
from scale.batch_jobs import command, ended, left_in, peak_mib, start, write_rows

_MAX_DRIVER_MIB = 1024.0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Stream once, and tell."""
    with tempfile.TemporaryDirectory(prefix="stream-") as folder:
        source, output = Path(folder) / "rows.parquet", Path(folder) / "scored"
        say(f"writing {options.rows:,} rows")
        write_rows(source, options.rows)
        say("scoring them")
        process = start(command(source, output, "--backend", "fake", "--ray", options.address))
        peak = peak_mib(process)
        report = ended(process)
        left = left_in(output, options.rows)
    rate = options.rows / report["elapsed_s"]
    show_table(
        f"{options.rows:,} rows through Ray",
        ("", "measured"),
        [
            ("rows a second, start of the cluster included", f"{rate:,.0f}"),
            ("seconds", f"{report['elapsed_s']:.1f}"),
            ("the driver's peak memory, MiB", f"{peak:,.0f}"),
            ("blocks", f"{report['num_blocks']:,}"),
            ("rows lost, rows doubled", f"{left.num_lost}, {left.num_doubled}"),
        ],
    )
    targets = [
        Target("the driver's memory", _MAX_DRIVER_MIB, peak, at_least=False, unit=" MiB"),
        Target("rows lost or doubled", 0, left.num_lost + left.num_doubled, at_least=False),
    ]
    show_targets(targets)
    return {
        "machine": machine.facts(),
        "num_rows": options.rows,
        "num_blocks": report["num_blocks"],
        "elapsed_s": report["elapsed_s"],
        "rows_per_s": rate,
        "driver_peak_mib": peak,
        "num_lost": left.num_lost,
        "num_doubled": left.num_doubled,
        "targets": [target.record() for target in targets],
    }


def main() -> int:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--address", default="local", help="of a cluster; one is started by default"
    )
    parser.add_argument("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    options = parser.parse_args()
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
