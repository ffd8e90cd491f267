"""What the score cache costs: microseconds a call, bytes an entry.

Nothing is scored here. Redis is measured too where `redis-server` is installed; one is started on a socket
of its own and ended. `cachetools.TTLCache` is measured beside our own memory tier where it is installed;
pairscore does not need it. Run it with::

    python benchmarks/cache.py
    pip install cachetools && python benchmarks/cache.py --entries 1000000 --save laptop
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import machine
from pairscore.cache.base import CachedScore, PairKeys, ScoreCache
from pairscore.cache.memory import ENTRY_BYTES, MemoryCache
from pairscore.cache.shared import RedisCache
from report import finish, show_table

_SIZES = (20, 1000)
_TURNS = 30
_TTL_S = 3600.0
_CHARS = 600
_START_S = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """Median microseconds of whole calls.

    Attributes:
        name: what was asked.
        num_keys: keys in one call.
        put_new: keys that it did not have.
        get: keys that it has.
        miss: keys that it has not.
    """

    name: str
    num_keys: int
    put_new: float
    get: float
    miss: float


@dataclass(frozen=True, slots=True)
class Size:
    """What one entry takes, by tracemalloc, which counts the bytes that are asked for.

    Attributes:
        name: which cache.
        filled: bytes an entry when it has just become full.
        replaced: bytes an entry after every one was replaced three times.
        collect_ms: CPU milliseconds that a full garbage collection takes longer for it.
    """

    name: str
    filled: float
    replaced: float
    collect_ms: float


class Rival:
    """`cachetools.TTLCache` behind the same two methods, so that both are asked in the same way."""

    def __init__(self, num_entries: int) -> None:
        from cachetools import TTLCache

        self._scores = TTLCache(maxsize=num_entries, ttl=_TTL_S)

    async def get_many(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        """What it knows."""
        return [self._scores.get(key) for key in keys]

    async def put_many(self, entries: Sequence[tuple[bytes, CachedScore]]) -> None:
        """Keep scores."""
        for key, score in entries:
            self._scores[key] = score


def entries_of(num: int) -> list[tuple[bytes, CachedScore]]:
    """Keys that nobody has, with scores."""
    return [
        (os.urandom(16), CachedScore(i * 0.125, 300 + i % 200, truncated=i % 2 == 0))
        for i in range(num)
    ]


def makers() -> dict[str, Callable[[int], MemoryCache | Rival]]:
    """What is measured in memory: each makes a cache with room for so many entries."""

    def own(num_entries: int) -> MemoryCache:
        return MemoryCache(max_bytes=num_entries * ENTRY_BYTES, ttl_s=_TTL_S)

    rival = {"cachetools.TTLCache": Rival} if find_spec("cachetools") else {}
    return {"memory": own, **rival}


def size(name: str, cache: ScoreCache | Rival, num_entries: int) -> Size:
    """Fill the cache once and three times more."""

    async def fill(times: int) -> None:
        for _ in range(times * num_entries // 1000):
            await cache.put_many(entries_of(1000))

    gc.collect()
    before_ms = _collect_ms()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    measured = []
    for times in (1, 3):
        asyncio.run(fill(times))
        gc.collect()
        measured.append((tracemalloc.get_traced_memory()[0] - before) / num_entries)
    tracemalloc.stop()
    return Size(name, *measured, max(0.0, _collect_ms() - before_ms))


def _collect_ms() -> float:
    took = []
    for _ in range(7):
        begin = time.process_time()
        gc.collect()
        took.append(time.process_time() - begin)
    return 1000 * min(took)


async def speed(name: str, cache: ScoreCache | Rival, num_keys: int) -> Row:
    """Ask the cache the same again and again; the median of whole calls."""
    puts, gets, misses = [], [], []
    for _ in range(_TURNS):
        entries = entries_of(num_keys)
        keys, unknown = [key for key, _ in entries], [os.urandom(16) for _ in entries]
        moments = [time.perf_counter()]
        await cache.put_many(entries)
        moments.append(time.perf_counter())
        await cache.get_many(keys)
        moments.append(time.perf_counter())
        await cache.get_many(unknown)
        moments.append(time.perf_counter())
        for seconds, begin, end in zip((puts, gets, misses), moments, moments[1:], strict=False):
            seconds.append(1e6 * (end - begin))
    return Row(name, num_keys, *(statistics.median(seconds) for seconds in (puts, gets, misses)))


def key_seconds(make: Callable[[Sequence[tuple[str, str]]], object], num_keys: int) -> float:
    """Median microseconds to make the keys of a ranking."""
    query = "how many people live in berlin and how many of them were born there"
    pairs = [(query, f"{i} ".ljust(_CHARS, "x")) for i in range(num_keys)]
    took = []
    for _ in range(_TURNS):
        begin = time.perf_counter()
        make(pairs)
        took.append(time.perf_counter() - begin)
    return 1e6 * statistics.median(took)


@contextmanager
def redis_url() -> Iterator[str | None]:
    """The URL of a Redis that was started for this; None where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        command = [program, "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(path)
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait()


def _wait_for(path: str) -> None:
    deadline = time.monotonic() + _START_S
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(path):
            if time.monotonic() > deadline:
                sys.exit(f"redis-server did not start within {_START_S:.0f} s")
            time.sleep(0.02)


def speeds(num_entries: int) -> list[Row]:
    """Every cache, full, with few keys and with many; one after the other, so that none carries another."""

    async def measure(name: str, cache: ScoreCache | Rival) -> list[Row]:
        return [await speed(name, cache, num_keys) for num_keys in _SIZES]

    async def full(name: str, cache: ScoreCache | Rival) -> list[Row]:
        await cache.put_many(entries_of(num_entries))
        return await measure(name, cache)

    async def shared(url: str) -> list[Row]:
        cache = RedisCache(url=url, ttl_s=_TTL_S, timeout_s=5)
        rows = await measure("Redis, over a local socket", cache)
        await cache.close()
        return rows

    rows = []
    for name, make in makers().items():
        rows += asyncio.run(full(name, make(num_entries)))
    with redis_url() as url:
        rows += asyncio.run(shared(url)) if url else []
    return rows


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, shown and returned."""
    about = machine.facts()
    rows = speeds(options.entries)
    show_table(
        f"Microseconds a call, median of {_TURNS}, {about['cores']} cores of {about['cpu']}",
        ("", "keys", "put new", "get", "miss"),
        [
            (row.name, str(row.num_keys), *(f"{v:.0f}" for v in (row.put_new, row.get, row.miss)))
            for row in rows
        ],
    )
    keys = PairKeys(model_sha256="0" * 64, max_length=512, truncation="right")
    making = {
        "keys, the query hashed once": key_seconds(keys.keys, _SIZES[-1]),
        "key, one by one": key_seconds(lambda pairs: [keys.key(*p) for p in pairs], _SIZES[-1]),
    }
    show_table(
        f"Microseconds for the keys of {_SIZES[-1]:,} documents of {_CHARS} characters",
        ("", "all"),
        [(name, f"{value:.0f}") for name, value in making.items()],
    )
    num = options.entries
    sizes = [size(name, make(num), num) for name, make in makers().items()]
    show_table(
        f"Bytes an entry, {num:,} entries; memory counts {ENTRY_BYTES} for each",
        ("", "filled", "replaced", "full collection, ms"),
        [(s.name, f"{s.filled:.0f}", f"{s.replaced:.0f}", f"{s.collect_ms:.1f}") for s in sizes],
    )
    return {
        "benchmark": "cache",
        "machine": about,
        "num_entries": num,
        "calls_us": [asdict(row) for row in rows],
        "keys_us": making,
        "entry_bytes": ENTRY_BYTES,
        "sizes": [asdict(s) for s in sizes],
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000, help="entries of a full cache")
    parser.add_argument("--save", help="keep the record in benchmarks/results/ under this name")
    options = parser.parse_args(arguments)
    if options.entries < _SIZES[-1]:
        parser.error(f"--entries is {options.entries}; it must be at least {_SIZES[-1]}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, keep."""
    options = parse(arguments)
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
