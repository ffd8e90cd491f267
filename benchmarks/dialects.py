"""What a dialect costs over the native route, and what a very large request costs in memory.

The first part asks a server for the same 100 documents again and again, in each dialect in turn, one request at a time;
the score cache is warm, so that what is timed is the way in and out: reading, checking, ranking, writing. The second
part sends 10,000 documents of 100 tokens in one request. Run it with::

    python benchmarks/dialects.py --save serve-dialects
    python benchmarks/dialects.py --rounds 20 --no-memory
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
from measuring import say
from report import Target, finish, show_table, show_targets
from serve.client import HOST, Connection, encode_request
from serve.servers import Server, Spec, Watch
from serve.traffic import Wire
from texts import DATA, load_pairs

_NATIVE = "/rerank"
_DOCUMENTS, _MANY = 100, 10_000
_WORDS = 75  # about 100 tokens
_TIMEOUT_S = 600.0
_WARM_UP = 5
_MS, _MB = 1e3, 1e6
_OK = 200
_MAX_ADDED_MS, _MAX_MB = 1.0, 1000.0


@dataclass(frozen=True, slots=True)
class Way:
    """One dialect: where it is asked, and with which body."""

    path: str
    body: Mapping[str, Any]


def ways(query: str, documents: Sequence[str]) -> dict[str, Way]:
    """The same request in each dialect; no answer holds the documents."""
    plain = {"query": query, "documents": documents}
    quiet = {**plain, "return_documents": False}
    texts = {"query": query, "texts": documents}
    passages = [{"text": document} for document in documents]
    return {
        "native": Way(_NATIVE, quiet),
        "TEI": Way("/tei/rerank", texts),
        "Cohere 1": Way("/cohere/v1/rerank", quiet),
        "Cohere 2": Way("/v2/rerank", plain),
        "union": Way("/v1/rerank", quiet),
        "Jina": Way("/jina/v1/rerank", quiet),
        "Voyage": Way("/voyage/v1/rerank", quiet),
        "vLLM score": Way("/v1/score", {"queries": query, "documents": documents}),
        "Infinity": Way("/infinity/rerank", quiet),
        "Mixedbread": Way("/mixedbread/v1/reranking", {"query": query, "input": documents}),
        "NVIDIA": Way("/v1/ranking", {"query": {"text": query}, "passages": passages}),
    }


async def timed(port: int, ways_: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, one entry a round; each round asks all of them, in turn."""
    requests = {
        name: encode_request("POST", way.path, json.dumps(way.body).encode())
        for name, way in ways_.items()
    }
    times: dict[str, list[float]] = {name: [] for name in requests}
    connection = Connection(port)
    for number in range(rounds + _WARM_UP):
        for name, request in requests.items():
            begin = time.perf_counter()
            reply = await connection.send(request, timeout_s=_TIMEOUT_S)
            if reply.status != _OK:
                raise SystemExit(f"{name}: {reply.status} {reply.body[:300]!r}")
            if number >= _WARM_UP:
                times[name].append((time.perf_counter() - begin) * _MS)
    connection.close()
    return times


def added(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Milliseconds that each dialect takes more than the native route: the median over the rounds."""
    native = times["native"]
    return {
        name: statistics.median(a - b for a, b in zip(own, native, strict=True))
        for name, own in times.items()
        if name != "native"
    }


def spec() -> Spec:
    """Our server with room for a very large request."""
    command = [sys.executable, "-m", "pairscore", "serve", "--host", HOST]
    command += ["--max-pairs", str(_MANY), "--max-queue-tokens", "4000000", "--timeout-s", "600"]
    return Spec(
        name="pairscore",
        python=Path(sys.executable),
        command=lambda port: [*command, "--port", str(port)],
        wire=lambda _: Wire("rerank"),
        scores_wire=Wire("batch"),
        health=("/livez",),
    )


def many(port: int, pid: int, words: Sequence[str]) -> dict[str, float]:
    """One request of 10,000 different documents of 100 tokens: seconds, and the most memory meanwhile."""
    documents = [
        " ".join(words[(start * 7 + i) % len(words)] for i in range(_WORDS)) + f" {start}"
        for start in range(_MANY)
    ]
    body = json.dumps({"query": "which one", "documents": documents}).encode()
    request = encode_request("POST", "/v1/rerank", body)
    begin = time.perf_counter()
    with Watch(pid) as watch:
        reply = asyncio.run(Connection(port).send(request, timeout_s=_TIMEOUT_S))
    if reply.status != _OK:
        raise SystemExit(f"{_MANY} documents: {reply.status} {reply.body[:300]!r}")
    found = json.loads(reply.body)
    return {
        "num_documents": len(found["results"]),
        "tokens_a_document": found["usage"]["total_tokens"] / _MANY,
        "seconds": time.perf_counter() - begin,
        "peak_mb": watch.usage.peak_mb,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both parts, shown and returned."""
    collection = load_pairs(_DOCUMENTS, data=options.data)
    documents = [pair.document for pair in collection.pairs]
    query = collection.pairs[0].query
    large = None
    with Server(spec()) as server:
        times = asyncio.run(timed(server.port, ways(query, documents), options.rounds))
        if not options.no_memory:
            say(f"{_MANY:,} documents in one request")
            words = [word for text in documents for word in text.split()]
            large = many(server.port, server.pid, words)
    more = added(times)
    rows = [
        [name, f"{statistics.median(own):.2f}", f"{more[name]:+.2f}" if name in more else ""]
        for name, own in times.items()
    ]
    show_table(f"{_DOCUMENTS} documents, scores known", ("", "p50 ms", "over native"), rows)
    targets = [
        Target(
            "dialect over native, p50, the worst",
            _MAX_ADDED_MS,
            max(more.values()),
            at_least=False,
            unit=" ms",
        )
    ]
    if large is not None:
        targets.append(
            Target("10,000 documents: peak", _MAX_MB, large["peak_mb"], at_least=False, unit=" MB")
        )
    show_targets(targets)
    return {
        "benchmark": "serve-dialects",
        "machine": machine.facts(),
        "data": collection.name,
        "rounds": options.rounds,
        "p50_ms": {name: statistics.median(own) for name, own in times.items()},
        "over_native_ms": more,
        "large_request": large,
        "targets": [target.record() for target in targets],
    }


def main() -> int:
    """Run, show, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200, help="requests in each dialect (200)")
    parser.add_argument("--no-memory", action="store_true", help="leave the large request out")
    parser.add_argument("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test collections")
    options = parser.parse_args()
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
