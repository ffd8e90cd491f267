"""A replica of Ray Serve is killed under load: what do the clients see, and how long is it missing?

A cluster on this machine, the service with its replicas on it, and clients that send one request after the other; each
asks again what was lost. After a third of the time one replica gets SIGKILL. It needs the environment with Ray::

    .venv-oracle/bin/python benchmarks/scale/serve_kill.py
    .venv-oracle/bin/python benchmarks/scale/serve_kill.py --backend fake --clients 16 --save scale_serve_kill
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

# The other benchmarks' modules lie one folder up, and this folder's are the package `scale` there.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Read when Ray is imported: it then listens on this machine alone.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray import serve
from ray._private import state

import machine
from measuring import say
from pairscore.distributed import proxies, serving
from pairscore.distributed.scaling import ReplicaOptions
from pairscore.service.settings import ServiceSettings
from report import finish, show_table
from serve.client import HOST, Connection, encode_request
from serve.traffic import Row, Texts, Wire
from texts import load_pairs

_OK = 200
_WAIT_S, _TIMEOUT_S, _MAX_TRIES = 0.05, 60.0, 50
_LOOK_EACH_S = 0.25
_STORE_BYTES = 100 * 1024 * 1024
_REPLICA = re.compile(r'^process_resident_memory_bytes\{.*replica="([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request, however often it was sent.

    Attributes:
        begin_s: when it was first sent, from the beginning of the load.
        seconds: until its answer.
        tries: how often it was sent.
        is_ok: whether it was answered in the end.
    """

    begin_s: float
    seconds: float
    tries: int
    is_ok: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """What the clients saw in a part of the load.

    Attributes:
        name: which part.
        requests: that were begun in it.
        failed: that were never answered.
        retried: that were sent more than once.
        rate: answers a second.
        p50_ms: of the time from the first sending to the answer.
        p95_ms: likewise.
        max_ms: likewise.
    """

    name: str
    requests: int
    failed: int
    retried: int
    rate: float
    p50_ms: float
    p95_ms: float
    max_ms: float

    @classmethod
    def of(cls, name: str, asked: Sequence[Asked], *, seconds: float) -> Phase:
        """Of the requests that were begun in it."""
        took = np.asarray([one.seconds * 1000 for one in asked if one.is_ok] or [np.nan])
        p50, p95 = np.percentile(took, [50, 95])
        return cls(
            name=name,
            requests=len(asked),
            failed=sum(not one.is_ok for one in asked),
            retried=sum(one.tries > 1 for one in asked),
            rate=round(len(took) / seconds, 2),
            p50_ms=round(float(p50), 1),
            p95_ms=round(float(p95), 1),
            max_ms=round(float(took.max()), 1),
        )


class Load:
    """Clients that ask for a while, and what became of each request."""

    def __init__(self, port: int, row: Row) -> None:
        self._port = port
        self._row = row
        self._wire = Wire("rerank")
        self._places = itertools.count()
        self.asked: list[Asked] = []

    async def run(self, num_clients: int, seconds: float, *, kill_after_s: float) -> float:
        """Ask for so long, with a death in between.

        Returns:
            Seconds from the death until as many replicas answered as before.
        """
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(num_clients):
                tasks.create_task(self._client(begin, seconds))
            missing = tasks.create_task(self._kill(kill_after_s))
        return missing.result()

    async def _client(self, begin: float, seconds: float) -> None:
        connection = Connection(self._port)
        while (sent := time.perf_counter()) < begin + seconds:
            body = self._wire.body(self._row.at(next(self._places)))
            request = encode_request("POST", self._wire.path, body)
            tries = 1
            while not (is_ok := await _is_answered(connection, request)) and tries < _MAX_TRIES:
                tries += 1
                await asyncio.sleep(_WAIT_S)
            took = time.perf_counter() - sent
            self.asked.append(Asked(begin_s=sent - begin, seconds=took, tries=tries, is_ok=is_ok))
        connection.close()

    async def _kill(self, after_s: float) -> float:
        before = await self._replicas()
        await asyncio.sleep(after_s)
        os.kill(_process_of_a_replica(), signal.SIGKILL)
        begin = time.perf_counter()
        while True:
            await asyncio.sleep(_LOOK_EACH_S)
            now = await self._replicas()
            if now != before and len(now) == len(before):
                return time.perf_counter() - begin

    async def _replicas(self) -> set[str]:
        """Who answers; empty if nobody did."""
        connection = Connection(self._port)
        try:
            reply = await connection.send(encode_request("GET", "/metrics"), timeout_s=_TIMEOUT_S)
        except OSError:
            return set()
        finally:
            connection.close()
        return set(_REPLICA.findall(reply.body.decode()))


async def _is_answered(connection: Connection, request: bytes) -> bool:
    try:
        return (await connection.send(request, timeout_s=_TIMEOUT_S)).status == _OK
    except OSError:
        return False


def _process_of_a_replica() -> int:
    return next(
        int(actor["Pid"])
        for actor in state.actors().values()
        if actor["State"] == "ALIVE" and actor["ActorClassName"].startswith("ServeReplica")
    )


@contextmanager
def _served(arguments: argparse.Namespace) -> Iterator[int]:
    """The service on a cluster of its own; gives its port."""
    # Short, because the names of sockets are limited.
    folder = tempfile.mkdtemp(prefix="rk-", dir="/tmp")
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    ray.init(
        num_cpus=arguments.replicas,
        object_store_memory=_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=folder,
    )
    try:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        settings = ServiceSettings(
            host=HOST,
            port=port,
            backend=arguments.backend,
            compare_encoder="none",
            cache_bytes=0,
            access_log=False,
        )
        proxies.start(settings, was_there=False)
        serving.deploy(
            serving.application(settings, ReplicaOptions(min_replicas=arguments.replicas))
        )
        yield port
    finally:
        serve.shutdown()
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _phases(
    asked: Sequence[Asked], *, kill_s: float, missing_s: float, seconds: float
) -> list[Phase]:
    """Before the death, while one was missing, afterwards."""
    back_s = min(kill_s + missing_s, seconds)
    bounds = {"before": (0.0, kill_s), "one missing": (kill_s, back_s), "after": (back_s, seconds)}
    return [
        Phase.of(
            name,
            [one for one in asked if begin <= one.begin_s < end],
            seconds=max(end - begin, 1e-9),
        )
        for name, (begin, end) in bounds.items()
    ]


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--backend", default="onnx", help="what runs the model; fake for Serve alone"
    )
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--documents", type=int, default=5, help="of one request")
    parser.add_argument("--seconds", type=float, default=45.0)
    parser.add_argument("--save", help="keep the record in benchmarks/results/ under this name")
    return parser.parse_args()


def main() -> int:
    """Kill one, and tell."""
    arguments = _parsed()
    row = Row(Texts.of(load_pairs(4000).pairs), arguments.documents)
    kill_s = arguments.seconds / 3
    say(f"a cluster, {arguments.replicas} replicas, {arguments.clients} clients")
    with _served(arguments) as port:
        load = Load(port, row)
        missing_s = asyncio.run(load.run(arguments.clients, arguments.seconds, kill_after_s=kill_s))
    phases = _phases(load.asked, kill_s=kill_s, missing_s=missing_s, seconds=arguments.seconds)
    show_table(
        f"One of {arguments.replicas} replicas killed; missing for {missing_s:.1f} s",
        ("", "requests", "failed", "asked again", "answers/s", "p50 ms", "p95 ms", "max ms"),
        [[str(value) for value in asdict(phase).values()] for phase in phases],
    )
    record: dict[str, Any] = {
        "benchmark": "serve_kill",
        "machine": machine.facts(),
        "options": {name: value for name, value in vars(arguments).items() if name != "save"},
        "requests": len(load.asked),
        "failed": sum(not one.is_ok for one in load.asked),
        "retried": sum(one.tries > 1 for one in load.asked),
        "missing_s": round(missing_s, 2),
        "phases": [asdict(phase) for phase in phases],
    }
    finish(record, save=arguments.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
