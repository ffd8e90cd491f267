"""One pair at a time on an idle server, a process of its own: the job on standard input, times on standard output.

Between two requests lies a pause. Where the library is asked for too, each pair goes through it in this process
right after the server answered, so that both meet the same moment of the machine. Started by `alone` as
`python -m serve.idle`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from serve.client import Connection, encode_request
from serve.traffic import Request, Row, Texts, Wire
from texts import ROOT
from workers import PeerError

__all__ = ["IdleJob", "Times", "alone"]

_TIMEOUT_S, _LIMIT_S = 60.0, 300.0
_WARM_UP = 5
_OK = 200
_INFERENCE = re.compile(rb"inference[^,]*?;\s*dur=([0-9.]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class IdleJob:
    """What is asked, one pair after the other.

    Attributes:
        port: where the server listens.
        wire: how it wants a pair.
        texts: file of `Texts.write`.
        first: place of the first pair in the row of single pairs.
        num_pairs: how many, after a few that are not counted.
        pause_s: between an answer and the next request.
        library: whether each pair goes through the library too.
        model: for the library; None is the bundled one.
    """

    port: int
    wire: Wire
    texts: str
    first: int
    num_pairs: int
    pause_s: float = 0.03
    library: bool = False
    model: str | None = None


@dataclass(slots=True)
class Times:
    """Milliseconds, one entry for each pair.

    Attributes:
        http: from sending the request to its answer.
        inference: what the server says that the model took, in the header Server-Timing; empty if it does not.
        library: `CrossEncoder.predict` of the same pair; empty if not asked for.
    """

    http: list[float] = field(default_factory=list)
    inference: list[float] = field(default_factory=list)
    library: list[float] = field(default_factory=list)


def alone(job: IdleJob) -> Times:
    """Run the job in a process of its own.

    Raises:
        PeerError: it failed.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "serve.idle"],
            input=json.dumps(asdict(job)),
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT / "benchmarks",
            timeout=_LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"one pair at a time took more than {_LIMIT_S:.0f} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:]
        raise PeerError(f"one pair at a time failed: {' | '.join(last)}")
    return Times(**json.loads(done.stdout))


async def _run(job: IdleJob) -> Times:
    row, predict = Row(Texts.read(Path(job.texts)), 1), _library(job)
    connection, times = Connection(job.port), Times()
    for number in range(-_WARM_UP, job.num_pairs):
        request = row.at(job.first + _WARM_UP + number)
        found = await _ask(connection, job.wire, request)
        if predict is not None:
            found["library"] = _milliseconds(predict, request)
        if number >= 0:
            for name, value in found.items():
                getattr(times, name).append(value)
        time.sleep(job.pause_s)  # noqa: ASYNC251 - nothing else runs in this loop
    connection.close()
    return times


async def _ask(connection: Connection, wire: Wire, request: Request) -> dict[str, float]:
    content = encode_request("POST", wire.path, wire.body(request))
    begin = time.perf_counter()
    reply = await connection.send(content, timeout_s=_TIMEOUT_S)
    found = {"http": 1000 * (time.perf_counter() - begin)}
    if reply.status != _OK:
        raise PeerError(f"{wire.path} answered {reply.status}")
    said = _INFERENCE.search(reply.headers.get(b"server-timing", b""))
    return found | ({"inference": float(said[1])} if said else {})


def _library(job: IdleJob) -> Callable[[Request], Any] | None:
    if not job.library:
        return None
    # Here, because only this part of the load's own processes needs it.
    from pairscore import CrossEncoder

    encoder = CrossEncoder(job.model)
    return lambda request: encoder.predict(request.pairs)


def _milliseconds(call: Callable[[Request], Any], request: Request) -> float:
    begin = time.perf_counter()
    call(request)
    return 1000 * (time.perf_counter() - begin)


def main() -> int:
    """Read the job, run it, say the times as one line of JSON."""
    record = json.loads(sys.stdin.read())
    times = uvloop.run(_run(IdleJob(**{**record, "wire": Wire(**record["wire"])})))
    print(json.dumps(asdict(times)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
