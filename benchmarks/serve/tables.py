"""What was found, as tables for people, as targets, and as a record for the JSON line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from report import Target, show_table
from serve.cells import Load, Measurement, many, percentile
from serve.contestants import ARTICLE, INFINITY_ONNX, OWN
from serve.idle import Times
from serve.memory import Memory
from serve.rounds import OPEN, TARGET, Found, Rounds

__all__ = ["record_of", "show", "targets_of"]

_COLUMNS = (
    "pairs/s",
    "req/s",
    "p50 s",
    "p95 s",
    "p99 s",
    "health ms",
    "failed",
    "peak MB",
    "CPU s",
)
_SLOW_HEALTH_MS, _MAX_OVERHEAD_MS, _MAX_MEMORY_MB, _MAX_GROWTH = 50, 3, 450, 5


def show(rounds: Rounds, memory: Memory | None, *, title: str) -> None:
    """Print all tables."""
    loads = sorted({load for found in rounds.found for load in found.loads})
    for size in sorted({load.num_documents for load in loads if load.num_clients}):
        rows = [
            [found.spec.name, str(load.num_clients), *_row(found.loads[load])]
            for load in loads
            if load.num_documents == size and load.num_clients
            for found in rounds.found
            if load in found.loads
        ]
        show_table(f"{many(size, 'document')} a request, {title}", ("", "clients", *_COLUMNS), rows)
    own = rounds.found[0]
    rows = [[f"{load.share:.0%}", *_row(own.loads[load])] for load in OPEN if load in own.loads]
    if rows:
        few = many(OPEN[0].num_documents, "document")
        title = f"{OWN}: {few} a request, at random moments, timed from when each was due"
        show_table(title, ("of capacity", *_COLUMNS), rows)
    _show_idle(rounds)
    _show_scores(rounds)
    if memory is not None:
        print(
            f"memory: {memory.rss_mb[0]:.0f} MB after a tenth of {memory.num_pairs:,} pairs, "
            f"{memory.rss_mb[-1]:.0f} MB at the end, {memory.peak_mb:.0f} MB at most"
        )
    if rounds.library:
        print(f"library on the same pairs: {statistics.median(rounds.library):.1f} pairs/s")
    for name, reason in _missing(rounds).items():
        print(f"{name}: not measured: {reason}")


def _row(measured: Sequence[Measurement]) -> list[str]:
    """Rates, CPU and memory are medians over the rounds; latencies are those of all rounds together."""
    latencies = sorted(value for entry in measured for value in entry.latencies)
    probes = sorted(value for entry in measured for value in entry.probes)
    failed: dict[str, int] = {}
    for entry in measured:
        for kind, count in entry.errors.items():
            failed[kind] = failed.get(kind, 0) + count
    return [
        f"{statistics.median(entry.pairs_per_s for entry in measured):.1f}",
        f"{statistics.median(entry.requests_per_s for entry in measured):.2f}",
        *(f"{percentile(latencies, share):.3f}" for share in (0.5, 0.95, 0.99)),
        f"{1000 * percentile(probes, 0.99):.1f}" if probes else "-",
        ", ".join(f"{count} x {kind}" for kind, count in failed.items()) or "0",
        f"{max(entry.usage.peak_mb for entry in measured):.0f}",
        f"{statistics.median(entry.usage.cpu_s for entry in measured):.1f}",
    ]


def _show_idle(rounds: Rounds) -> None:
    rows = [
        [found.spec.name, f"{statistics.median(_p50s(found.idle)):.2f}"]
        for found in rounds.found
        if found.idle
    ]
    times = rounds.found[0].overhead
    if times:
        rows.append([f"{OWN}, POST /score", f"{statistics.median(_p50s(times)):.2f}"])
        library = statistics.median(value for entry in times for value in entry.library)
        rows.append(["the library in a process, the same pairs", f"{library:.2f}"])
        inference = [value for entry in times for value in entry.inference]
        if inference:
            name = f"{OWN}, POST /score: inference as it says"
            rows.append([name, f"{statistics.median(inference):.2f}"])
    if rows:
        title = "One pair at a time, the server idle otherwise"
        show_table(title, ("", "p50 ms"), rows)


def _p50s(times: Sequence[Times]) -> list[float]:
    return [statistics.median(entry.http) for entry in times]


def _show_scores(rounds: Rounds) -> None:
    rows = [
        [name, *(f"{value:.3f}" for value in difference.values())]
        for name, difference in _differences(rounds).items()
    ]
    if rows:
        title = f"Logits beside {ARTICLE}, the same pairs"
        show_table(title, ("", "mean difference", "largest"), rows)


def _differences(rounds: Rounds) -> dict[str, dict[str, float]]:
    """How far each server's logits lie from those of the float32 weights, which the article's app runs."""
    scores = {found.spec.name: found.scores for found in rounds.found if found.scores}
    exact = scores.get(ARTICLE)
    if exact is None:
        return {}
    found = {}
    for name, values in scores.items():
        gaps = [abs(one - other) for one, other in zip(values, exact, strict=True)]
        found[name] = {"mean": statistics.mean(gaps), "largest": max(gaps)}
    return found


def _missing(rounds: Rounds) -> dict[str, str]:
    failed = {found.spec.name: found.note for found in rounds.found if found.note}
    return rounds.missing | failed


def targets_of(rounds: Rounds, memory: Memory | None) -> list[Target]:
    """What is promised of the server, beside what was measured."""
    own, missing = rounds.found[0], _missing(rounds)
    named = {found.spec.name: found for found in rounds.found}
    targets = []
    for name, goal in ((ARTICLE, 2.8), (INFINITY_ONNX, 1.5)):
        other = named[name].rates(TARGET) if name in named else []
        value = _ratio(own.rates(TARGET), other)
        note = missing.get(name) or missing.get(OWN) or str(TARGET)
        targets.append(Target(f"times {name}", goal, value, at_least=True, unit="x", note=note))
    value = _ratio(own.rates(TARGET), rounds.library)
    note = "the same pairs, CrossEncoder().predict"
    targets.append(Target("of the library's throughput", 0.95, value, at_least=True, note=note))
    targets.append(_health(own))
    targets.append(_idle(own, named.get(INFINITY_ONNX)))
    targets.append(_overhead(own))
    return targets + _memory(own, memory)


def _ratio(mine: Sequence[float], theirs: Sequence[float]) -> float | None:
    """The median of the ratios within each round; None if one of the two was not measured."""
    ratios = [one / other for one, other in zip(mine, theirs, strict=False)]
    return statistics.median(ratios) if ratios else None


def _health(own: Found) -> Target:
    cells = [entry for entries in own.loads.values() for entry in entries if entry.probes]
    value = max((1000 * percentile(entry.probes, 0.99) for entry in cells), default=None)
    errors = sum(entry.probe_errors for entry in cells)
    note = f"the worst of {len(cells)} loads, {errors} probes failed" if cells else ""
    name = "health route, p99"
    return Target(name, _SLOW_HEALTH_MS, value, at_least=False, unit=" ms", note=note)


def _idle(own: Found, other: Found | None) -> Target:
    value = _ratio(_p50s(own.idle), _p50s(other.idle)) if other is not None else None
    name = f"one pair alone, p50, beside {INFINITY_ONNX}"
    return Target(name, 1.0, value, at_least=False, unit="x")


def _overhead(own: Found) -> Target:
    """HTTP less what the model took: as the server says it, else as the library took for the same pair.

    The server may give a lone pair more threads than the library does, so that the second can be below zero.
    """
    said = [
        a - b for entry in own.overhead for a, b in zip(entry.http, entry.inference, strict=False)
    ]
    beside = [
        a - b for entry in own.overhead for a, b in zip(entry.http, entry.library, strict=False)
    ]
    gaps = said or beside
    value = statistics.median(gaps) if gaps else None
    note = "HTTP less the inference that the server tells" if said else "HTTP less the library"
    if said and beside:
        note += f"; less the library: {statistics.median(beside):.2f} ms"
    name = "overhead of one pair over HTTP, p50"
    return Target(name, _MAX_OVERHEAD_MS, value, at_least=False, unit=" ms", note=note)


def _memory(own: Found, memory: Memory | None) -> list[Target]:
    peaks = [entry.usage.peak_mb for entries in own.loads.values() for entry in entries]
    note = "under all loads"
    if memory is not None:
        peaks, note = [*peaks, memory.peak_mb], f"over {memory.num_pairs:,} pairs"
    growth = None if memory is None else 100 * memory.growth
    asked = "" if memory is not None else "--only memory measures it"
    return [
        Target(
            "resident memory at most",
            _MAX_MEMORY_MB,
            max(peaks, default=None),
            at_least=False,
            unit=" MB",
            note=note if peaks else "",
        ),
        Target(
            "growth since the first tenth",
            _MAX_GROWTH,
            growth,
            at_least=False,
            unit=" %",
            note=asked,
        ),
    ]


def record_of(rounds: Rounds) -> dict[str, Any]:
    """All that was found, as the JSON line has it."""
    return {
        "servers": [_found_record(found) for found in rounds.found],
        "library_pairs_per_s": rounds.library,
        "not_measured": _missing(rounds),
        "scores_beside_float32": _differences(rounds),
    }


def _found_record(found: Found) -> dict[str, Any]:
    return {
        "name": found.spec.name,
        "how": found.spec.note,
        "start_s": found.start_s,
        "loads": [_load_record(load, entries) for load, entries in sorted(found.loads.items())],
        "one_pair_p50_ms": _p50s(found.idle),
        "overhead": [
            {
                name: statistics.median(values)
                for name, values in (
                    ("http_p50_ms", entry.http),
                    ("inference_p50_ms", entry.inference),
                    ("library_p50_ms", entry.library),
                )
                if values
            }
            for entry in found.overhead
        ],
    }


def _load_record(load: Load, entries: Sequence[Measurement]) -> dict[str, Any]:
    return {
        "num_documents": load.num_documents,
        "num_clients": load.num_clients,
        "share_of_capacity": load.share or None,
        "pairs_per_s": statistics.median(entry.pairs_per_s for entry in entries),
        "rounds": [entry.record() for entry in entries],
    }
