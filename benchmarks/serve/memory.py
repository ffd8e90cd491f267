"""Does the server's memory grow? 100,000 pairs through pairscore, its resident memory looked at on the way.

Most passages are cut to their first words, or it would take long; each fiftieth is whole, so that micro-batches
of all sizes are run from the beginning to the end.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from measuring import say
from serve.cells import measure
from serve.load import Job
from serve.servers import Server, Spec
from serve.traffic import Texts
from workers import WORK

__all__ = ["Memory", "watch_memory"]

_WORDS, _WHOLE_EACH = 6, 50
_DOCUMENTS, _CLIENTS = 100, 8
_STEPS = 10
_LIMIT_S = 900.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Resident megabytes of the server, after each tenth of the pairs.

    Attributes:
        num_pairs: all that were scored.
        rss_mb: one entry for each tenth.
        peak_mb: the most that was seen.
        pairs_per_s: over the whole.
        errors: requests that were not answered well.
    """

    num_pairs: int
    rss_mb: tuple[float, ...]
    peak_mb: float
    pairs_per_s: float
    errors: int

    @property
    def growth(self) -> float:
        """By which share it grew from the first tenth to the last."""
        return self.rss_mb[-1] / self.rss_mb[0] - 1

    def record(self) -> dict[str, Any]:
        """As the JSON line has it."""
        return {
            "num_pairs": self.num_pairs,
            "rss_mb": [round(value, 1) for value in self.rss_mb],
            "peak_mb": round(self.peak_mb, 1),
            "growth": self.growth,
            "pairs_per_s": self.pairs_per_s,
            "errors": self.errors,
        }


def watch_memory(options: argparse.Namespace, spec: Spec, texts: Texts) -> Memory:
    """Send the pairs in ten loads and look at the memory after each.

    Raises:
        PeerError: the server does not run or does not answer.
    """
    short = texts.shortened(words=_WORDS, whole_each=_WHOLE_EACH)
    file = str(short.write(WORK / "serve-short.json"))
    requests = options.memory_pairs // _STEPS // _DOCUMENTS
    measured = []
    with Server(spec) as server:
        for step in range(_STEPS):
            job = Job(
                port=server.port,
                wire=spec.wire(_DOCUMENTS),
                texts=file,
                num_documents=_DOCUMENTS,
                first=step * requests,
                num_clients=_CLIENTS,
                seconds=_LIMIT_S,
                max_requests=requests,
                health=server.health,
            )
            measured.append(measure(server, job))
            sent = (step + 1) * requests * _DOCUMENTS
            say(f"memory: {measured[-1].usage.rss_mb:.0f} MB after {sent:,} pairs")
    seconds = sum(entry.seconds for entry in measured)
    num_pairs = sum(len(entry.latencies) for entry in measured) * _DOCUMENTS
    return Memory(
        num_pairs=num_pairs,
        rss_mb=tuple(entry.usage.rss_mb for entry in measured),
        peak_mb=max(entry.usage.peak_mb for entry in measured),
        pairs_per_s=num_pairs / seconds,
        errors=sum(sum(entry.errors.values()) for entry in measured),
    )
