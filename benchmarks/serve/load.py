"""The load generator, a process of its own: one job on standard input, what happened on standard output.

Closed loop: each client sends its next request when the last one is answered. Open loop: requests are sent
at random moments that were drawn beforehand, whatever became of the others, and each is timed from its own
moment, so that a slow server cannot slow the clock. A prober asks the health route meanwhile, also timed from
the moment at which it meant to ask. Started by `cells.py` as `python -m serve.load`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop

from serve.client import Connection, encode_request
from serve.traffic import Row, Texts, Wire

__all__ = ["Job", "Outcome"]

_PROBE_EACH_S = 0.1
_PROBE_TIMEOUT_S = 120.0
_MAX_CONNECTIONS = 512
_SCORE = b'score":'
_OK = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One load.

    Attributes:
        port: where the server listens.
        wire: how it wants requests.
        texts: file of `Texts.write`.
        num_documents: a request.
        first: place of the first request in the row.
        num_clients: closed loop; 0 is the open loop.
        rate: open loop: requests a second, on average.
        seconds: after so long nothing new is sent; what is under way is still waited for.
        max_requests: nothing new is sent after so many either.
        health: what the prober asks; empty for none.
        timeout_s: how long an answer is waited for.
        seed: of the moments of the open loop.
    """

    port: int
    wire: Wire
    texts: str
    num_documents: int
    first: int = 0
    num_clients: int = 0
    rate: float = 0.0
    seconds: float = 5.0
    max_requests: int | None = None
    health: str = ""
    timeout_s: float = 120.0
    seed: int = 0

    @classmethod
    def read(cls, line: str) -> Job:
        """From JSON."""
        record = json.loads(line)
        return cls(**{**record, "wire": Wire(**record["wire"])})


@dataclass(slots=True)
class Outcome:
    """What happened.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: seconds of each request that was answered well.
        errors: how many were not, by status or kind.
        probes: seconds of each answer of the health route.
        probe_errors: how many it did not answer with 200.
        cpu_s: what this process used meanwhile.
        num_sent: requests.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    probes: list[float] = field(default_factory=list)
    probe_errors: int = 0
    cpu_s: float = 0.0
    num_sent: int = 0

    def failed(self, kind: str) -> None:
        """One request more was not answered well."""
        self.errors[kind] = self.errors.get(kind, 0) + 1


class Generator:
    """Runs one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._outcome = Outcome()
        self._row = Row(Texts.read(Path(job.texts)), job.num_documents)
        self._places: Iterator[int] = itertools.islice(itertools.count(job.first), job.max_requests)
        self._clients = [Connection(job.port) for _ in range(job.num_clients)]

    async def run(self) -> Outcome:
        """Send, wait for what is under way, and tell."""
        outcome = self._outcome
        for client in self._clients:
            await client.open()
        prober = asyncio.create_task(self._probe()) if self._job.health else None
        cpu, begin = time.process_time(), time.perf_counter()
        await (self._closed(begin) if self._clients else self._open(begin))
        outcome.seconds = time.perf_counter() - begin
        outcome.cpu_s = time.process_time() - cpu
        if prober is not None:
            prober.cancel()
            await asyncio.gather(prober, return_exceptions=True)
        return outcome

    async def _closed(self, begin: float) -> None:
        end = begin + self._job.seconds
        async with asyncio.TaskGroup() as clients:
            for connection in self._clients:
                clients.create_task(self._client(connection, end))

    async def _client(self, connection: Connection, end: float) -> None:
        while (sent := time.perf_counter()) < end:
            place = next(self._places, None)
            if place is None:
                break
            await self._ask(connection, place, since=sent)
        connection.close()

    async def _open(self, begin: float) -> None:
        dice = random.Random(self._job.seed)  # noqa: S311 - moments of a load, not a secret
        idle = [Connection(self._job.port) for _ in range(_MAX_CONNECTIONS)]
        moment = begin + dice.expovariate(self._job.rate)
        async with asyncio.TaskGroup() as arrivals:
            while moment < begin + self._job.seconds:
                await asyncio.sleep(moment - time.perf_counter())
                place = next(self._places, None)
                if place is None:
                    break
                arrivals.create_task(self._arrival(idle, place, since=moment))
                moment += dice.expovariate(self._job.rate)
        for connection in idle:
            connection.close()

    async def _arrival(self, idle: list[Connection], place: int, *, since: float) -> None:
        if not idle:
            self._outcome.num_sent += 1
            self._outcome.failed("no connection left")
            return
        # The last one used comes first: few connections are opened, and they stay warm.
        connection = idle.pop()
        await self._ask(connection, place, since=since)
        idle.append(connection)

    async def _ask(self, connection: Connection, place: int, *, since: float) -> None:
        job, outcome = self._job, self._outcome
        body = job.wire.body(self._row.at(place))
        outcome.num_sent += 1
        try:
            reply = await connection.send(
                encode_request("POST", job.wire.path, body), timeout_s=job.timeout_s
            )
        except TimeoutError:
            outcome.failed("timeout")
        except OSError as error:
            outcome.failed(type(error).__name__)
            # A server that is gone refuses at once; the loop should not spin.
            await asyncio.sleep(_PROBE_EACH_S)
        else:
            if reply.status != _OK:
                outcome.failed(str(reply.status))
            elif reply.body.count(_SCORE) < job.num_documents:
                outcome.failed("too few scores")
            else:
                outcome.latencies.append(time.perf_counter() - since)

    async def _probe(self) -> None:
        """Ask at fixed moments; what was due while an answer was waited for is asked late and timed as such.

        When the load ends, what was not answered yet counts with the time that it has waited.
        """
        outcome, connection = self._outcome, Connection(self._job.port)
        request = encode_request("GET", self._job.health)
        moment = time.perf_counter()
        try:
            while True:
                moment += _PROBE_EACH_S
                await asyncio.sleep(moment - time.perf_counter())
                outcome.probe_errors += not await _is_well(connection, request)
                outcome.probes.append(time.perf_counter() - moment)
        finally:
            now = time.perf_counter()
            while moment < now - _PROBE_EACH_S:
                outcome.probes.append(now - moment)
                moment += _PROBE_EACH_S
            connection.close()


async def _is_well(connection: Connection, request: bytes) -> bool:
    try:
        reply = await connection.send(request, timeout_s=_PROBE_TIMEOUT_S)
    except OSError:
        return False
    return reply.status == _OK


def main() -> int:
    """Read the job, run it, say the outcome as one line of JSON."""
    job = Job.read(sys.stdin.read())
    outcome = uvloop.run(Generator(job).run())
    print(json.dumps(asdict(outcome)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
