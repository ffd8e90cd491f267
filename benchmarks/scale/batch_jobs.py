"""Batch jobs as commands: their input, the process, and what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from texts import DATA, load_pairs
from workers import OFFLINE

__all__ = [
    "Done",
    "Left",
    "command",
    "done_blocks",
    "ended",
    "left_in",
    "peak_mib",
    "start",
    "write_rows",
]

_CHUNK_ROWS = 50_000
_DISTINCT = 1_000


@dataclass(frozen=True, slots=True)
class Done:
    """A block's marker.

    Attributes:
        name: the block's.
        worker: who did it, ``host:pid``.
        at: when the marker was written, in seconds since the epoch.
        elapsed_s: how long the block took.
    """

    name: str
    worker: str
    at: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Left:
    """What the output holds, against what the input has.

    Attributes:
        num_lost: rows that are not there.
        num_doubled: rows that are there more than once.
    """

    num_lost: int
    num_doubled: int


def write_rows(path: Path, num_rows: int, *, data: Path = DATA) -> None:
    """A Parquet file of so many pairs, numbered; it is written in parts, so that it may be large."""
    pairs = load_pairs(min(num_rows, _DISTINCT), data=data).pairs
    columns = {
        "query": [pair.query for pair in pairs],
        "document": [pair.document for pair in pairs],
    }
    schema = pa.schema({"id": pa.int64(), "query": pa.string(), "document": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, num_rows, _CHUNK_ROWS):
            rows = range(first, min(first + _CHUNK_ROWS, num_rows))
            texts = {
                name: [values[row % len(values)] for row in rows]
                for name, values in columns.items()
            }
            writer.write_table(pa.table({"id": list(rows), **texts}, schema=schema))


def command(source: Path, folder: Path, *options: object) -> list[str]:
    """`pairscore score` of that file into that folder."""
    given = ("score", "--input", source, "--output", folder, "--json", "--quiet", *options)
    return [sys.executable, "-m", "pairscore", *map(str, given)]


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start it; its outputs are read."""
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **OFFLINE},
    )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it reported.

    Raises:
        RuntimeError: it failed; the message ends in what it said last.
    """
    said, noted = process.communicate()
    if process.returncode:
        raise RuntimeError(
            f"ended with {process.returncode}: {' | '.join(noted.splitlines()[-3:])}"
        )
    report: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return report


def peak_mib(process: subprocess.Popen[str], *, every_s: float = 0.2) -> float:
    """The most memory that the process itself, without its children, had resident until it ended."""
    peak = 0.0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        peak = max(peak, _high_water(status))
        time.sleep(every_s)
    return peak


def done_blocks(folder: Path) -> list[Done]:
    """The blocks that are done so far."""
    return list(_markers(folder / "_pairscore" / "blocks"))


def left_in(folder: Path, num_rows: int) -> Left:
    """Read the numbers of all rows of the output."""
    seen: Counter[int] = Counter()
    for path in folder.glob("part-*.parquet"):
        seen.update(pq.read_table(path, columns=["id"])["id"].to_pylist())
    return Left(
        num_lost=sum(row not in seen for row in range(num_rows)),
        num_doubled=sum(count - 1 for count in seen.values()),
    )


def _markers(folder: Path) -> Iterator[Done]:
    for path in folder.glob("part-*.json"):
        marker = json.loads(path.read_text(encoding="utf-8"))
        yield Done(
            name=marker["name"],
            worker=marker["worker"],
            at=path.stat().st_mtime,
            elapsed_s=marker["elapsed_s"],
        )


def _high_water(status: Path) -> float:
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    found = islice((line for line in lines if line.startswith("VmHWM:")), 1)
    return sum(int(line.split()[1]) for line in found) / 1024
