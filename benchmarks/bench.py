"""How fast: pairscore and its peers on the same weights, in one run, in turn.

Every peer lives in a worker process of its own; a round asks each of them once, one after the other, and
the next round begins again, so that whatever slows the machine down slows all of them. Reported are the
medians over the rounds, and the medians of the ratios within a round. Run it with::

    make bench
    python benchmarks/bench.py --rounds 5 --save laptop
    python benchmarks/bench.py --only budgets          # which budget is best on this machine
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import machine
from contestants import (
    BASE,
    FLASH,
    GROUPS,
    ONNX,
    ONNX_BEST,
    TORCH,
    TORCH_BEST,
    all_peers,
    budget_peers,
)
from limits import Limit, count_tokens, operations, start_up
from measuring import Bench, Peer, run_rounds
from report import Target, finish, show_table, show_targets
from texts import DATA, load_pairs
from workers import write_pairs

_PARTS = ("peers", "limit", "start", "budgets")
_TITLES = {"peers": "Same weights, in turn", "budgets": "Padded tokens a micro-batch"}
_QUIET = 0.03


def rows_of(peers: Sequence[Peer], *, num_pairs: int, limit_rate: float | None) -> list[list[str]]:
    """The table's rows."""
    base = peers[0]
    rows = []
    for peer in peers:
        rate, ratio = peer.rate(num_pairs), peer.behind(base)
        rows.append(
            [
                peer.name,
                f"{rate:.1f}" if rate else "-",
                f"{ratio:.2f}x" if ratio else "-",
                f"{100 * rate / limit_rate:.0f} %" if rate and limit_rate else "-",
                f"{peer.peak_mib:.0f}" if peer.seconds else "-",
                peer.note,
            ]
        )
    return rows


def targets_of(peers: Sequence[Peer], started: dict[str, Any]) -> list[Target]:
    """What is promised of speed and memory, beside what was measured."""
    named = {peer.name: peer for peer in peers}
    targets = []
    for name, goal in ((TORCH, 3.6), (TORCH_BEST, 2.3), (ONNX, 1.6), (FLASH, 1.6)):
        if name in named:
            peer = named[name]
            value = peer.behind(named[BASE])
            note = peer.note if value is None else _at_best_batch(name, named)
            targets.append(Target(f"times {name}", goal, value, at_least=True, unit="x", note=note))
    if BASE in named and named[BASE].seconds:
        peak = named[BASE].peak_mib
        name = "peak resident memory while scoring"
        targets.append(Target(name, 400, peak, at_least=False, unit=" MiB"))
    if started:
        imported, cold = started["import_s"], started["cold_score_s"]
        targets.append(Target("import pairscore", 0.25, imported, at_least=False, unit=" s"))
        note = started.get("cold_score_note", "")
        name = "pairscore score A B, cold"
        targets.append(Target(name, 1.5, cold, at_least=False, unit=" s", note=note))
    return targets


def _at_best_batch(name: str, named: dict[str, Peer]) -> str:
    """The int8 backend is promised at its default batch; what its best one gives is said beside it."""
    value = named[ONNX_BEST].behind(named[BASE]) if name == ONNX else None
    return f"at its best batch size {value:.2f}x" if value is not None else ""


def peer_record(peer: Peer, base: Peer, num_pairs: int) -> dict[str, Any]:
    """One peer as the JSON line has it."""
    return {
        "name": peer.name,
        "pairs_per_s": peer.rate(num_pairs),
        "pairscore_is_times": peer.behind(base),
        "seconds": peer.seconds,
        "others": [round(share, 3) for share in peer.others],
        "peak_mib": peer.peak_mib or None,
        "note": peer.note,
        "versions": peer.worker.loaded["versions"] if peer.worker else {},
    }


def compare(bench: Bench, make: Callable[[Bench], list[Peer]]) -> list[Peer]:
    """Make peers and run the rounds."""
    peers = make(bench)
    options = bench.options
    run_rounds(peers, rounds=options.rounds, num_pairs=bench.num_pairs, patience=options.patience)
    return peers


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for, shown and returned."""
    parts = set(options.only or _PARTS)
    record: dict[str, Any] = {"benchmark": "speed", "machine": machine.facts()}
    collection = load_pairs(options.num_pairs, data=options.data)
    texts = [(pair.query, pair.document) for pair in collection.pairs]
    lengths = count_tokens(texts, options.model)
    record |= {"data": collection.name, "num_pairs": len(texts), "rounds": options.rounds}
    record["tokens_per_pair"] = statistics.mean(lengths)
    pairs_file = write_pairs(texts, "pairs")
    limit = Limit(statistics.mean(operations(length) for length in lengths))
    started = start_up() if "start" in parts else {}
    peers: list[Peer] = []
    for part, make in (("peers", all_peers), ("budgets", budget_peers)):
        if part not in parts:
            continue
        with ExitStack() as stack:
            bench = Bench(options, pairs_file, len(texts), stack)
            _look(limit, bench, parts)
            found = compare(bench, make)
            _look(limit, bench, parts)
        record[part] = [peer_record(peer, found[0], len(texts)) for peer in found]
        _show(found, record, title=_TITLES[part], limit_rate=limit.pairs_per_s)
        peers = found if part == "peers" else peers
    if "limit" in parts:
        with ExitStack() as stack:
            _look(limit, Bench(options, pairs_file, len(texts), stack), parts)
        print(limit.sentence())
    targets = targets_of(peers, started)
    if targets:
        show_targets(targets)
    record["others"] = _disturbance(peers)
    return record | {
        "start": started,
        "limit": limit.record(),
        "targets": [target.record() for target in targets],
        "load_after": machine.facts()["load"],
    }


def _disturbance(peers: Sequence[Peer]) -> float | None:
    """How much of the CPU other processes took, at the median; said aloud where it is much."""
    shares = [share for peer in peers for share in peer.others]
    if not shares:
        return None
    share = statistics.median(shares)
    if share > _QUIET:
        print(
            f"other processes took {share:.0%} of the CPU meanwhile: run it again on a quiet machine"
        )
    return share


def _look(limit: Limit, bench: Bench, parts: set[str]) -> None:
    if "limit" in parts:
        limit.look(bench)


def _show(
    peers: Sequence[Peer], record: dict[str, Any], *, title: str, limit_rate: float | None
) -> None:
    about = record["machine"]
    show_table(
        f"{title}: {record['num_pairs']} pairs of {record['data']}, "
        f"{record['tokens_per_pair']:.0f} tokens a pair, median of {record['rounds']} rounds, "
        f"{about['cores']} cores of {about['cpu']}",
        ("", "pairs/s", f"{peers[0].name} is", "of limit", "peak MiB", "how"),
        rows_of(peers, num_pairs=record["num_pairs"], limit_rate=limit_rate),
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (5)")
    parser.add_argument(
        "--patience",
        type=int,
        default=3,
        help="repeat a turn at most so often while others take more than 10 %% of the CPU (3)",
    )
    parser.add_argument(
        "--skip", action="append", default=[], choices=GROUPS, help="leave out; repeatable"
    )
    parser.add_argument("--num-pairs", type=int, default=1000, help="pairs to score (1000)")
    parser.add_argument(
        "--only", action="append", choices=_PARTS, help="just this part; repeatable"
    )
    parser.add_argument("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test collections")
    parser.add_argument(
        "--model", help="a name or folder for pairscore; default: the bundled model"
    )
    parser.add_argument("--budget", type=int, help="padded tokens a micro-batch, for pairscore")
    parser.add_argument("--reference", type=Path, help="float32 folder of the same weights")
    parser.add_argument("--int8-source", type=Path, help="one more int8 file for FlashRank to try")
    parser.add_argument("--oracle-python", type=Path, help="interpreter with sentence-transformers")
    parser.add_argument("--peers-python", type=Path, help="interpreter with its ONNX backend")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, keep."""
    options = parse(arguments)
    record = run(options)
    finish(record, save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
