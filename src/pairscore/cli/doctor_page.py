"""A diagnosis for people, as a page of sections, and for machines, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.console import Group

    from pairscore.diagnosis.diagnosis import Diagnosis, Hub
    from pairscore.diagnosis.folders import FolderFacts
    from pairscore.diagnosis.machine import MachineFacts
    from pairscore.diagnosis.model import Examined, ModelFacts
    from pairscore.diagnosis.speed import Speed
    from pairscore.road.backends.installed import BackendFacts
    from pairscore.road.checks import Finding
    from pairscore.road.choice import Choice

__all__ = ["as_facts", "as_page"]

Row: TypeAlias = tuple[str, str]
"""What is said, and what of; a name may be empty where it goes on."""


def as_facts(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything as JSON values; of an error its kind and its message."""
    found = diagnosis.examined
    error = found.error
    return {
        "can_be_used": error is None,
        "error": None if error is None else {"kind": type(error).__name__, "message": str(error)},
        "machine": _plain(asdict(diagnosis.machine)),
        "engines": [_plain(asdict(one)) for one in diagnosis.engines],
        "folders": [_plain(asdict(one)) for one in diagnosis.folders],
        "hub": _plain(asdict(diagnosis.hub)),
        "model": None if found.model is None else _plain(asdict(found.model)),
        "checks": [
            {"name": one.name, "result": _result(one), "message": one.message}
            for one in found.checks
        ],
        "choice": None if found.choice is None else _plain(asdict(found.choice)),
        "speed": None if found.speed is None else _plain(asdict(found.speed)),
        "warnings": [_plain(asdict(one)) for one in diagnosis.warnings],
    }


def as_page(diagnosis: Diagnosis) -> Group:
    """The same for people: a heading for each section, a line for each fact."""
    # Here, because machines ask for JSON and rich takes a while to import.
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    found = diagnosis.examined
    sections: dict[str, list[Row]] = {
        "Machine": list(_machine(diagnosis.machine)),
        "Backends": [_engine(one) for one in diagnosis.engines],
        "Folders": [_folder(one) for one in diagnosis.folders],
        "Hub": list(_hub(diagnosis.hub)),
        "Model": list(_model(found)),
        "Checks": [(one.name, f"{_result(one)}: {one.message}") for one in found.checks],
        "What --backend auto takes": list(_choice(found.choice)),
        "Speed": list(_speed(found.speed)),
        "Warnings": [
            ("", f"{number}. {one.text}. Remedy: {one.remedy}.")
            for number, one in enumerate(diagnosis.warnings, start=1)
        ],
    }
    parts: list[Any] = []
    for title, rows in sections.items():
        if not rows:
            continue
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, said in rows:
            # As text: what a file or a user wrote is no markup.
            grid.add_row(Text(f"  {name}" if name else ""), Text(said, style=_style(title, said)))
        parts += [Text(title, style="bold"), grid, Text()]
    return Group(*parts, Text(*_verdict(found)))


def _machine(machine: MachineFacts) -> Iterator[Row]:
    memory = machine.memory
    yield "cpu", f"{machine.cpu}, {machine.system}"
    yield "instruction sets", ", ".join(machine.flags) or "not listed"
    yield "int8", machine.int8
    quota = "" if machine.quota is None else f"; the cgroup pays for {machine.quota:g}"
    yield "cores", f"{machine.num_cores} used of {machine.num_processors}{quota}"
    limit = "" if memory.limit is None else f"; the cgroup allows {_gigabytes(memory.limit)}"
    yield "memory", f"{_gigabytes(memory.available)} free of {_gigabytes(memory.total)}{limit}"
    yield "python", machine.python
    yield "versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())


def _engine(engine: BackendFacts) -> Row:
    if not engine.installed:
        return engine.name, engine.why_not or "cannot be used"
    return engine.name, f"{engine.version}, on {', '.join(engine.devices or ('cpu',))}"


def _folder(folder: FolderFacts) -> Row:
    size = _megabytes(folder.num_bytes) if folder.is_there else "not there yet"
    return (
        folder.name,
        f"{folder.path}, {size}{'' if folder.is_writable else ', cannot be written'}",
    )


def _hub(hub: Hub) -> Iterator[Row]:
    if hub.reach is None:
        closed = "; HF_HUB_OFFLINE closes the network" if hub.is_closed else ""
        yield "reachable", f"not asked (--network asks){closed}"
    elif hub.reach.reached and hub.reach.seconds is not None:
        yield "reachable", f"{hub.reach.endpoint} answers after {hub.reach.seconds:.2f} s"
    else:
        yield "reachable", f"no: {hub.reach.endpoint}: {hub.reach.why_not}"


def _model(found: Examined) -> Iterator[Row]:
    if found.model is not None:
        yield from _facts(found.model)
    if found.error is not None:
        yield "cannot be used", str(found.error)


def _facts(model: ModelFacts) -> Iterator[Row]:
    yield "name", f"{model.name} ({model.source})"
    yield "folder", str(model.folder)
    yield "revision", model.revision or "nobody says"
    yield "weights", f"{model.weights}, {_megabytes(model.num_bytes)}"
    known = "verified" if model.is_verified else "computed; nothing says what it should be"
    yield "sha256", f"{model.sha256} ({known})"
    labels = f", labels {', '.join(model.labels)}" if model.labels else ""
    yield "card", f"{model.task}, scale {model.scale}, up to {model.max_length} tokens{labels}"
    if model.calibration is not None:
        yield "calibrated", model.calibration
    yield (
        "runs on",
        f"{model.backend}: {model.num_workers} threads, micro-batches of {model.budget:,} tokens",
    )


def _choice(choice: Choice | None) -> Iterator[Row]:
    if choice is None:
        return
    yield "takes", f"{choice.backend} on {choice.device}"
    yield "why", f"{choice.reason}{' (measured earlier)' if choice.is_kept else ''}"
    for one in choice.skipped:
        yield "not", one.sentence


def _speed(speed: Speed | None) -> Iterator[Row]:
    if speed is None:
        return
    pairs = f"{speed.pairs_per_s:,.1f} pairs/s of {speed.num_tokens} tokens"
    yield "rate", f"{pairs}, {speed.tokens_per_s:,.0f} tokens/s, in {speed.numbers}"
    yield "one pair alone", f"{speed.alone_s * 1000:,.1f} ms on one thread"
    yield (
        "the machine at best",
        f"float32 {speed.peak.float32_per_s / 1e9:,.0f} GFLOP/s, int8 {speed.peak.int8_per_s / 1e9:,.0f} GOP/s",
    )
    if speed.share_of_peak is not None and speed.flops_of_pair is not None:
        best = f"the fastest round, {speed.best_pairs_per_s:,.1f} pairs/s"
        cost = f"a pair costs {speed.flops_of_pair / 1e9:.2f} GFLOP"
        yield "share of that", f"{speed.share_of_peak:.0%} of {speed.numbers} in {best}; {cost}"


def _verdict(found: Examined) -> tuple[str, str]:
    if found.error is None:
        return "The model can be used.", "bold green"
    return "The model cannot be used.", "bold red"


def _style(title: str, said: str) -> str:
    if title == "Warnings":
        return "yellow"
    return "red" if title == "Checks" and said.startswith("failed") else ""


def _result(finding: Finding) -> str:
    if finding.skipped:
        return "skipped"
    return "passed" if finding.passed else "failed"


def _plain(value: Any) -> Any:
    """Paths as texts, tuples as lists."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"


def _gigabytes(num_bytes: int | None) -> str:
    return "an unknown amount" if num_bytes is None else f"{num_bytes / 1e9:,.1f} GB"
