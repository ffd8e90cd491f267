"""The command line: what is measured, shown and kept."""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import machine
from measuring import say
from report import finish, show_targets
from serve.contestants import GROUPS, versions
from serve.memory import Memory, watch_memory
from serve.plot import draw
from serve.rounds import TARGET, Rounds
from serve.tables import record_of, show, targets_of
from serve.traffic import Texts
from texts import DATA, ROOT, load_pairs
from workers import WORK, PeerError

__all__ = ["main"]

_PARTS = ("load", "open", "idle", "memory")
_DEFAULT_PARTS = ("load", "open", "idle")
_MAX_PAIRS = 4300
_QUIET = 0.03
_TERMINATED = 128 + signal.SIGTERM
_PLOT = ROOT / "docs" / "img" / "serve.png"
_QUICK = {"rounds": 1, "seconds": 2.0, "open_seconds": 4.0, "num_idle": 10, "memory_pairs": 10_000}
_QUICK_CLIENTS, _QUICK_DOCUMENTS = [1, 8], [20]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for, shown and returned."""
    collection = load_pairs(_MAX_PAIRS, data=options.data)
    texts = Texts.of(collection.pairs)
    about = machine.facts()
    record: dict[str, Any] = {
        "benchmark": "serve",
        "machine": about,
        "data": collection.name,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "parts": options.only,
    }
    memory = None
    with ExitStack() as stack:
        rounds = Rounds(options, texts, stack)
        record["versions"] = {found.spec.name: versions(found.spec) for found in rounds.found}
        rounds.run()
        if "memory" in options.only:
            memory = _memory(options, rounds, texts)
    show(rounds, memory, title=f"{collection.name}, {about['cores']} cores of {about['cpu']}")
    if "load" in options.only:
        draw(rounds.found, options.plot, title=_title(about))
    targets = targets_of(rounds, memory)
    show_targets(targets)
    return record | {
        **record_of(rounds),
        "memory": memory.record() if memory is not None else None,
        "targets": [target.record() for target in targets],
        "others": _disturbance(rounds),
        "load_after": machine.facts()["load"],
    }


def _title(about: dict[str, Any]) -> str:
    return f"{TARGET.num_documents} documents a request, {about['cores']} cores of {about['cpu']}"


def _memory(options: argparse.Namespace, rounds: Rounds, texts: Texts) -> Memory | None:
    try:
        return watch_memory(options, rounds.found[0].spec, texts)
    except PeerError as error:
        say(f"memory: not measured: {error}")
        return None


def _disturbance(rounds: Rounds) -> float | None:
    """How much of the CPU other processes took, at the median; said aloud where it is much."""
    cells = [cell for found in rounds.found for cells in found.loads.values() for cell in cells]
    shares = [cell.others for cell in cells if cell.others is not None]
    if not shares:
        return None
    share, generator = statistics.median(shares), max(cell.generator for cell in cells)
    print(f"the load generator took at most {generator:.1%} of one core")
    if share > _QUIET:
        print(
            f"other processes took {share:.0%} of the CPU meanwhile: run it again on a quiet machine"
        )
    return share


def parse(arguments: Sequence[str] | None, about: str | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", action="append", choices=_PARTS, help="just this part; repeatable")
    add("--skip", action="append", default=[], choices=GROUPS, help="leave out; repeatable")
    add("--quick", action="store_true", help="one short round, to see that all works")
    add("--rounds", type=int, default=3, help="turns of each server (3)")
    add("--seconds", type=float, default=5.0, help="how long requests are sent, each load (5)")
    add("--clients", type=_counts, default=[1, 2, 4, 8, 16, 32], metavar="1,2,4", help="at once")
    add("--documents", type=_counts, default=[1, 20, 100], metavar="1,20", help="a request")
    add("--open-seconds", type=float, default=15.0, help="of each rate of random arrivals (15)")
    add("--num-idle", type=int, default=40, help="pairs one at a time, each round (40)")
    add("--memory-pairs", type=int, default=100_000, help="of --only memory (100,000)")
    add("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    add("--plot", type=Path, help="PNG; default: docs/img/serve.png with --save, else in work/")
    add("--data", type=Path, default=DATA, help="folder of the test collections")
    add("--model", help="a name or folder for pairscore; default: the bundled model")
    add("--reference", type=Path, help="float32 folder of the same weights")
    add("--oracle-python", type=Path, help="interpreter with sentence-transformers")
    add("--peers-python", type=Path, help="interpreter with its ONNX backend")
    add("--infinity-python", type=Path, help="interpreter with Infinity")
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(_QUICK, clients=_QUICK_CLIENTS, documents=_QUICK_DOCUMENTS)
    options.only = options.only or list(_DEFAULT_PARTS)
    options.plot = options.plot or (_PLOT if options.save else WORK / "serve.png")
    options.budget = None
    return options


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(about: str | None = None, arguments: Sequence[str] | None = None) -> int:
    """Run, show, keep."""
    # So that whoever ends the bench ends the server that it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    options = parse(arguments, about)
    record = run(options)
    finish(record, save=options.save)
    return 0
