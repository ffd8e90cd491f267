"""What a replica's work costs on this machine: the numbers that the simulator is fed with.

Micro-batches of many sizes on one busy core and on all, tokenization, HTTP, and the bytes of a pair on the wire and in a
file. Replicas with one worker each are asked directly, one after the other and all at once, in turn::

    python benchmarks/scale/measure.py --save scale_service_times
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# The other benchmarks' modules lie one folder up, and this folder's are the package `scale` there.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import machine
from measuring import say
from pairscore.road.rate import rate
from pairscore.road.road import open_road
from report import finish, show_table
from scale.fleet_probe import (
    Answered,
    Shape,
    about,
    ask,
    bytes_sent,
    count_tokens,
    lone_factor,
    replica,
    service_times,
    shapes,
)
from scale.fleet_times import ServiceTimes
from serve.servers import Server
from serve.traffic import Request, Wire
from texts import DATA, load_pairs
from workers import WORK

_BUDGET = 512
_WARM_UP = 1
_TOKENIZE_S = 2.0
_CHUNK = 256
_DOCUMENTS = 20
_NUM_QUANTILES = 101

Pairs = list[tuple[str, str]]


def _parquet_bytes(pairs: Pairs, *, folder: Path) -> float:
    """Bytes a pair of a file of pairs and the file of their scores, with the format's own compression."""
    folder.mkdir(parents=True, exist_ok=True)
    source, scores = folder / "pairs.parquet", folder / "scores.parquet"
    query, document = (list(column) for column in zip(*pairs, strict=True))
    pq.write_table(pa.table({"query": query, "document": document}), source)
    # Scores of different pairs have nothing in common that could be compressed.
    made_up = np.random.default_rng(0).normal(size=len(pairs)).astype(np.float32)
    pq.write_table(pa.table({"score": made_up}), scores)
    return (source.stat().st_size + scores.stat().st_size) / len(pairs)


def _json_bytes(pairs: Pairs, *, port: int) -> dict[str, float]:
    """Bytes a pair over HTTP, by the route: one query with its first documents."""
    own = [document for query, document in pairs if query == pairs[0][0]][:_DOCUMENTS]
    request = Request(pairs[0][0], tuple(own))
    wires = (Wire("batch"), Wire("rerank"))
    return {wire.path: bytes_sent(port, wire, request) / len(own) for wire in wires}


def _tokenization(pairs: Pairs, *, num_workers: int, model: str | None) -> float:
    """Tokens a second of tokenizing alone, by so many threads at once."""
    with closing(open_road(model)) as road:

        def work() -> float:
            return float(sum(encoded.num_tokens for encoded in road.encode(pairs[:_CHUNK])))

        work()
        return rate(work, num_workers=num_workers, seconds=_TOKENIZE_S)


def _counts(num_lanes: int) -> list[int]:
    """How many are busy at once: one, two, four, ... and all."""
    powers = [2**n for n in range(num_lanes.bit_length())]
    return sorted({count for count in powers if count <= num_lanes} | {num_lanes})


def _asked(options: argparse.Namespace, asked: list[Shape]) -> list[Answered]:
    """Every shape, one replica busy and several, in turn, round after round."""
    answers: list[Answered] = []
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                Server(replica(f"scale-{number}", num_workers=1, model=options.model))
            )
            for number in range(options.lanes)
        ]
        ports = [server.port for server in servers]
        ask(ports, asked, repeats=_WARM_UP)
        for number in range(options.rounds):
            for count in _counts(options.lanes):
                answers += ask(ports[:count], asked, repeats=1)
            say(f"round {number + 1}/{options.rounds}: ms a token {about(answers)}")
    return answers


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a replica with all cores said: micro-batches on all its threads, and bytes a pair by the route."""

    answers: list[Answered]
    bytes_per_pair: dict[str, float]


def _whole(options: argparse.Namespace, asked: list[Shape], pairs: Pairs) -> _Whole:
    spec = replica("scale-threads", num_workers=options.lanes, model=options.model)
    with Server(spec) as server:
        ask([server.port], asked, repeats=_WARM_UP)
        answers = ask([server.port], asked, repeats=options.rounds)
        return _Whole(answers, _json_bytes(pairs, port=server.port))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, shown and returned."""
    collection = load_pairs(options.num_pairs, data=options.data)
    pairs = [(pair.query, pair.document) for pair in collection.pairs]
    lengths = count_tokens(pairs, model=options.model)
    asked = shapes(pairs, lengths, budget=_BUDGET)
    answers = _asked(options, asked)
    alone = [answer for answer in answers if answer.num_busy == 1]
    whole = _whole(options, asked, pairs)
    # On one core both are the same, but for the noise.
    lone = lone_factor(alone, whole.answers) if options.lanes > 1 else 1.0
    times = service_times(answers, lone=lone)
    tokenized = {
        str(count): _tokenization(pairs, num_workers=count, model=options.model)
        for count in _counts(options.lanes)
    }
    size = {
        "text": sum(len(a.encode()) + len(b.encode()) for a, b in pairs) / len(pairs),
        "Parquet": _parquet_bytes(pairs, folder=WORK / "scale"),
        **whole.bytes_per_pair,
    }
    _show(times, tokenized, size)
    return {
        "benchmark": "scale: service times",
        "machine": machine.facts(),
        "data": collection.name,
        "rounds": options.rounds,
        "num_micro_batches": len(answers),
        "ms_per_token": about(answers),
        "times": times.record(),
        "lengths": [int(q) for q in np.quantile(lengths, np.linspace(0, 1, _NUM_QUANTILES))],
        "tokens_per_pair": float(np.mean(lengths)),
        "tokenization_tokens_per_s": tokenized,
        "bytes_per_pair": size,
    }


def _show(times: ServiceTimes, tokenized: dict[str, float], size: dict[str, float]) -> None:
    whole = times.run_s(_BUDGET, 102)
    rows = [
        ("a micro-batch of 5 pairs of 102 tokens, ms", f"{1000 * whole:.1f}"),
        ("tokens a second, one core busy", f"{_BUDGET / whole:,.0f}"),
        ("tokens a second, all cores busy", f"{_all_busy(times, whole):,.0f}"),
        ("slower with 1, 2, ... busy", ", ".join(f"{f:.2f}" for f in times.slowdown)),
        ("a lone micro-batch on all threads takes", f"{times.lone:.2f} of its time on one"),
        ("HTTP, one request, ms", f"{1000 * times.request_s:.2f}"),
        ("tokenizing in the service, tokens a second", f"{1 / times.tokenize_s:,.0f}"),
        *(
            (f"tokenizing alone, {count} threads, tokens a second", f"{found:,.0f}")
            for count, found in tokenized.items()
        ),
        *((f"bytes a pair, {name}", f"{found:.0f}") for name, found in size.items()),
    ]
    show_table("What a replica's work costs", ("", "measured"), rows)


def _all_busy(times: ServiceTimes, whole_s: float) -> float:
    return len(times.slowdown) * _BUDGET / whole_s / times.slowdown[-1]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=12, help="times that each size is asked for (12)")
    add("--lanes", type=int, default=machine.num_cores(), help="replicas at once: all cores")
    add("--num-pairs", type=int, default=4300, help="texts to choose from (4300)")
    add("--model", help="a name or folder; default: the bundled model")
    add("--data", type=Path, default=DATA, help="folder of the test collections")
    add("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, keep."""
    options = parse(arguments)
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
