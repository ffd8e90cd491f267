"""Asks running replicas for micro-batches of known sizes, one replica or several at once, and reads what each took.

A replica says in `Server-Timing` what tokenizing and the model took; what is left of the answer's time is HTTP. Each request
here is exactly one micro-batch: its pairs fit the budget and are of nearly one length.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop

from pairscore.road.planning import MAX_PADDING
from pairscore.road.road import open_road
from scale.fleet_times import ServiceTimes, Timed, fit
from serve.client import HOST, Connection, encode_request
from serve.servers import Spec
from serve.traffic import Request, Wire
from workers import PeerError

__all__ = [
    "Answered",
    "Shape",
    "about",
    "ask",
    "bytes_sent",
    "count_tokens",
    "lone_factor",
    "replica",
    "service_times",
    "shapes",
    "timed",
]

_WIRE = Wire("batch")
_TIMEOUT_S = 60.0
_OK = 200
_PART = re.compile(r"(\w+);dur=([0-9.]+)")
# From short pairs to long ones: where in the order of lengths, and which part of the budget.
_PLACES = (0.02, 0.25, 0.5, 0.75, 0.98)
_FILLS = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Shape:
    """A request that is one micro-batch.

    Attributes:
        pairs: its texts.
        lengths: tokens of each.
    """

    pairs: tuple[tuple[str, str], ...]
    lengths: tuple[int, ...]

    @property
    def num_padded_tokens(self) -> int:
        """Longest x count."""
        return max(self.lengths) * len(self.lengths)


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: the request, how many replicas were busy meanwhile, and seconds."""

    shape: Shape
    num_busy: int
    latency_s: float
    tokenize_s: float
    inference_s: float
    total_s: float


def replica(
    name: str, *, num_workers: int, model: str | None = None, options: Sequence[str] = ()
) -> Spec:
    """A `pairscore serve` that remembers nothing."""
    command = [sys.executable, "-m", "pairscore", "serve", "--host", HOST, "--cache-bytes", "0"]
    command += ["--num-workers", str(num_workers), *options]
    command += ["--model", model] if model else []
    return Spec(
        name=name,
        python=Path(sys.executable),
        command=lambda port: [*command, "--port", str(port)],
        wire=lambda _: _WIRE,
        scores_wire=_WIRE,
        health=("/livez", "/readyz"),
        packages=("pairscore", "onnxruntime"),
    )


def count_tokens(pairs: Sequence[tuple[str, str]], *, model: str | None = None) -> list[int]:
    """Tokens of each pair, as the model reads it."""
    with closing(open_road(model)) as road:
        return [encoded.num_tokens for encoded in road.encode(pairs)]


def shapes(pairs: Sequence[tuple[str, str]], lengths: Sequence[int], *, budget: int) -> list[Shape]:
    """Micro-batches of one pair, of half the budget and of all of it, of short pairs and of long ones."""
    order = sorted(range(len(pairs)), key=lambda position: lengths[position])
    found: dict[tuple[int, ...], Shape] = {}
    for place in _PLACES:
        first = int(place * (len(order) - 1))
        for fill in _FILLS:
            chosen = _neighbours(order, lengths, first, int(budget * fill))
            shape = Shape(tuple(pairs[i] for i in chosen), tuple(lengths[i] for i in chosen))
            found[tuple(chosen)] = shape
    return list(found.values())


def _neighbours(order: Sequence[int], lengths: Sequence[int], first: int, budget: int) -> list[int]:
    """The pair at a place, and those behind it as far as one micro-batch takes them."""
    chosen = [order[first]]
    for position in order[first + 1 :]:
        length = lengths[position]
        too_long = length - lengths[chosen[0]] > MAX_PADDING
        if too_long or length * (len(chosen) + 1) > budget:
            break
        chosen.append(position)
    return chosen


def ask(ports: Sequence[int], asked: Sequence[Shape], *, repeats: int) -> list[Answered]:
    """Every replica answers all of these, one after the other, while the others do the same.

    Raises:
        PeerError: one of them did not answer.
    """
    return uvloop.run(_ask_all(ports, asked, repeats))


async def _ask_all(ports: Sequence[int], asked: Sequence[Shape], repeats: int) -> list[Answered]:
    lanes = []
    for number, port in enumerate(ports):
        # Each in an order of its own, or all would do the same at the same moment.
        start = number * len(asked) // len(ports)
        row = [*asked[start:], *asked[:start]] * repeats
        lanes.append(_ask_one(port, row, len(ports)))
    return [answer for answers in await asyncio.gather(*lanes) for answer in answers]


async def _ask_one(port: int, row: Sequence[Shape], num_busy: int) -> list[Answered]:
    connection, answers = Connection(port), []
    for shape in row:
        content = [{"text_a": a, "text_b": b} for a, b in shape.pairs]
        body = json.dumps({"pairs": content}).encode()
        begin = perf_counter()
        reply = await connection.send(
            encode_request("POST", _WIRE.path, body), timeout_s=_TIMEOUT_S
        )
        latency_s = perf_counter() - begin
        if reply.status != _OK:
            raise PeerError(f"{_WIRE.path} answered {reply.status}: {reply.body[:200]!r}")
        said = _timing(reply.headers)
        answers.append(Answered(shape, num_busy, latency_s, *said))
    connection.close()
    return answers


def bytes_sent(port: int, wire: Wire, request: Request) -> int:
    """Bytes of a request and of its answer, headers included but for the answer's.

    Raises:
        PeerError: the replica did not answer.
    """
    return uvloop.run(_bytes_sent(port, encode_request("POST", wire.path, wire.body(request))))


async def _bytes_sent(port: int, content: bytes) -> int:
    connection = Connection(port)
    reply = await connection.send(content, timeout_s=_TIMEOUT_S)
    connection.close()
    if reply.status != _OK:
        raise PeerError(f"the replica answered {reply.status}: {reply.body[:200]!r}")
    return len(content) + len(reply.body)


def _timing(headers: dict[bytes, bytes]) -> tuple[float, float, float]:
    """Seconds of tokenizing, of the model, and of both with what lies between."""
    text = headers.get(b"server-timing", b"").decode()
    parts = {name: float(value) / 1000 for name, value in _PART.findall(text)}
    if not {"tokenize", "inference", "total"} <= parts.keys():
        raise PeerError(f"an answer does not say where its time went: Server-Timing is {text!r}")
    return parts["tokenize"], parts["inference"], parts["total"]


def timed(answers: Sequence[Answered]) -> list[Timed]:
    """The micro-batches of these answers."""
    return [
        Timed(a.shape.num_padded_tokens, max(a.shape.lengths), a.num_busy, a.inference_s)
        for a in answers
    ]


def service_times(
    answers: Sequence[Answered], *, front: Sequence[Answered] = (), lone: float = 1.0
) -> ServiceTimes:
    """What the answers say.

    Args:
        answers: of replicas that were asked directly, with 1, 2, ... of them at once.
        front: answers that came through the load balancer, one at a time; without them, HTTP is that of the replica.
        lone: see `ServiceTimes`.
    """
    alone = [answer for answer in answers if answer.num_busy == 1]
    outside = [a.latency_s - a.total_s for a in front or alone]
    # Between the three clocks lies what wakes the threads; it belongs to every request, too.
    between = [a.total_s - a.inference_s - a.tokenize_s for a in alone]
    each_s, token_s = _line([(sum(a.shape.lengths), a.tokenize_s) for a in alone])
    return fit(
        timed(answers),
        request_s=max(0.0, statistics.median(outside) + statistics.median(between)) + each_s,
        tokenize_s=token_s,
        lone=lone,
    )


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """What every request costs and what each token does, neither below zero."""
    x, y = zip(*points, strict=True)
    slope, begin = statistics.linear_regression(x, y)
    if min(slope, begin) < 0:
        return 0.0, sum(y) / sum(x)
    return begin, slope


def lone_factor(one: Sequence[Answered], all_threads: Sequence[Answered]) -> float:
    """A micro-batch on all threads as a part of its time on one: the median over the shapes."""
    ratios = []
    for shape in {answer.shape for answer in one} & {answer.shape for answer in all_threads}:
        slow, quick = (
            statistics.median(a.inference_s for a in answers if a.shape == shape)
            for answers in (one, all_threads)
        )
        ratios.append(quick / slow)
    return statistics.median(ratios)


def about(answers: Sequence[Answered]) -> dict[str, Any]:
    """Milliseconds of the middle shape, alone and with all busy: to see whether the machine held still."""
    named: dict[str, list[float]] = {}
    for answer in answers:
        named.setdefault(f"{answer.num_busy} busy", []).append(
            1000 * answer.inference_s / answer.shape.num_padded_tokens
        )
    return {name: round(statistics.median(found), 5) for name, found in named.items()}
