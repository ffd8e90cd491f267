"""Jobs over small files, scored without weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pairscore.batch.planning import sources_of
from pairscore.batch.records import Job, ModelChoice
from pairscore.files import FileFormat

__all__ = ["FAKE", "job_of", "read_lines", "write_lines", "write_pairs"]

FAKE = ModelChoice(max_chars=2_000_000, options={"backend": "fake"})


def write_lines(path: Path, rows: Sequence[Mapping[str, Any] | str]) -> Path:
    """A file of JSON lines; a text stands there as it is."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_pairs(path: Path, num: int) -> Path:
    """That many pairs, each with an id."""
    rows = [{"id": i, "query": f"berlin {i}", "document": f"berlin {i % 3}"} for i in range(num)]
    return write_lines(path, rows)


def read_lines(folder: Path, pattern: str = "part-*.jsonl") -> list[dict[str, Any]]:
    """The rows of all files of a folder, in the order of their names."""
    parts = sorted(folder.glob(pattern))
    return [json.loads(line) for part in parts for line in part.read_bytes().splitlines()]


def job_of(place: object, output: object, **given: Any) -> Job:
    """A job with these files; results are JSON lines unless `given` says something else."""
    options = {"output_format": FileFormat.JSONL, "model": FAKE, **given}
    return Job(sources=sources_of(str(place)), output=str(output), **options)
